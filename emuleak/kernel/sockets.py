"""Sockets of unix(7) inside the process: pairs, and what a thread connects to that another listens on.

There is no way out: nothing of the host's can be connected to, see network.py.
"""

import itertools
import os
import stat
from collections import deque

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import BrokenPipe, Description, WouldBlock

SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET = 1, 2, 5
_BUFFER = 212_992  # bytes: net.core.wmem_default
_POLLRDHUP = 0x2000
# What setsockopt(2) may change at SOL_SOCKET, see socket(7), and the values to begin with.
_OPTIONS = {number: bytes(4) for number in (1, 2, 5, 6, 9, 10, 12, 15, 16, 18, 29, 32, 33)}
_OPTIONS |= {7: _BUFFER.to_bytes(4, "little"), 8: _BUFFER.to_bytes(4, "little"), 13: bytes(8), 18: b"\1\0\0\0"}
_OPTIONS |= {20: bytes(16), 21: bytes(16)}


class Socket(Description):
    """One socket. Raises WouldBlock where a thread would sleep."""

    _inodes = itertools.count(1 << 35)

    def __init__(self, kind: int, flags: int) -> None:
        self._inode = next(self._inodes)
        self.path, self.flags = f"socket:[{self._inode}]", abi.O_RDWR | flags
        self.kind = kind
        self.name = b""
        self.peer: Socket | None = None
        self.backlog: deque[Socket] | None = None  # those that wait for accept(2); None: it does not listen
        self.backlog_limit = 0
        self.closed = False
        self.reads, self.writes = True, True  # until shutdown(2)
        self.reset = False  # the peer left without having read all: ECONNRESET, told once
        self.options = dict(_OPTIONS)
        self._inbox: deque[bytearray] = deque()

    @classmethod
    def pair(cls, kind: int, flags: int) -> tuple["Socket", "Socket"]:
        """Two sockets connected to each other."""
        one, other = cls(kind, flags), cls(kind, flags)
        one.peer, other.peer = other, one
        return one, other

    # ---- data

    def receive(self, size: int, *, peek: bool = False, wait: bool = True) -> tuple[bytes, int]:
        """Up to `size` bytes or one packet, and how long the packet was; nothing at the end of a stream."""
        if self.kind != SOCK_DGRAM and self.peer is None:
            raise SyscallError("EINVAL" if self.kind == SOCK_STREAM else "ENOTCONN")
        if not self._inbox:
            if self.reset:
                self.reset = False
                raise SyscallError("ECONNRESET")
            if self._ended():
                return b"", 0
            self._block(wait)
        first = self._inbox[0]
        data = bytes(first[:size])
        length = len(data) if self.kind == SOCK_STREAM else len(first)
        if not peek:
            del first[:length]
            if not first:
                self._inbox.popleft()
        return data, length

    def send(self, data: bytes, target: "Socket | None" = None, *, wait: bool = True) -> int:
        """Give data to the peer, or for datagrams to `target`; how much was taken.

        A blocking send that finds any room is taken whole, as for a pipe. Raises BrokenPipe when nobody can read it.
        """
        peer = self._hearer(target or self.peer)
        stream = self.kind == SOCK_STREAM
        if not stream and len(data) > _BUFFER:
            raise SyscallError("EMSGSIZE")
        room = peer.room()
        if data and room < (1 if stream else len(data)):
            self._block(wait)
        if stream and (self.flags & abi.O_NONBLOCK or not wait):
            data = data[:room]
        peer.deliver(bytearray(data), joined=stream)
        return len(data)

    def _hearer(self, peer: "Socket | None") -> "Socket":
        """The peer, if it can hear this socket."""
        if not self.writes:
            raise BrokenPipe
        if peer is None:
            raise SyscallError("ENOTCONN")
        if self.kind == SOCK_DGRAM and peer.closed:
            raise SyscallError("ECONNREFUSED")
        if peer.closed or not peer.reads:
            raise BrokenPipe
        return peer

    def room(self) -> int:
        """How many bytes more the inbox takes."""
        return max(0, _BUFFER - sum(map(len, self._inbox)))

    def deliver(self, data: bytearray, *, joined: bool) -> None:
        """Take in what was sent; the bytes of a stream join those that are there."""
        if joined and self._inbox:
            self._inbox[0] += data
        elif data or not joined:
            self._inbox.append(data)

    def _block(self, wait: bool) -> None:
        if self.flags & abi.O_NONBLOCK or not wait:
            raise SyscallError("EAGAIN")
        raise WouldBlock

    def _ended(self) -> bool:
        """Whether nothing can come any more."""
        if not self.reads:
            return True
        return self.kind != SOCK_DGRAM and self.peer is not None and (self.peer.closed or not self.peer.writes)

    def read(self, size: int, offset: int | None) -> bytes:
        """read(2), which is recv(2) without flags."""
        if offset is not None:
            raise SyscallError("ESPIPE")
        return self.receive(size)[0]

    def write(self, data: bytes, offset: int | None) -> int:
        """write(2), which is send(2) without flags."""
        if offset is not None:
            raise SyscallError("ESPIPE")
        return self.send(data)

    # ---- connections

    def listen(self, limit: int) -> None:
        """listen(2)."""
        if self.kind == SOCK_DGRAM:
            raise SyscallError("EOPNOTSUPP")
        if self.peer is not None or not self.name:
            raise SyscallError("EINVAL")
        self.backlog = deque() if self.backlog is None else self.backlog
        self.backlog_limit = max(0, limit) + 1

    def connect(self, listener: "Socket") -> None:
        """Join the line of those that wait to be accepted; the connection stands at once."""
        if listener.kind != self.kind:
            raise SyscallError("EPROTOTYPE")
        if self.kind == SOCK_DGRAM:
            self.peer = listener
            return
        if self.peer is not None:
            raise SyscallError("EISCONN")
        if listener.backlog is None or listener.closed:
            raise SyscallError("ECONNREFUSED")
        if len(listener.backlog) >= listener.backlog_limit:
            self._block(wait=True)
        server = Socket(self.kind, 0)
        server.name, server.peer, self.peer = listener.name, self, server
        listener.backlog.append(server)

    def accept(self) -> "Socket":
        """The server's end of the connection that waits longest."""
        if self.backlog is None:
            raise SyscallError("EOPNOTSUPP" if self.kind == SOCK_DGRAM else "EINVAL")
        if not self.backlog:
            self._block(wait=True)
        return self.backlog.popleft()

    # ---- the file

    def stat(self) -> os.stat_result:
        """fstat(2)."""
        return abi.memory_stat(stat.S_IFSOCK | 0o777, 0, self._inode)

    def ready(self) -> int:
        """As poll(2) has it for sockets."""
        if self.backlog is not None:
            return abi.READABLE if self.backlog else 0
        some = abi.READABLE if self._inbox else 0
        if self.kind == SOCK_DGRAM:
            return some | (abi.WRITABLE if self.peer is None or self.peer.room() else 0)
        if self.peer is None:
            return abi.POLLOUT | abi.POLLHUP
        if self._ended():
            some |= abi.READABLE | _POLLRDHUP
            if self.peer.closed or not self.writes:
                some |= abi.POLLHUP
            if self.reset:
                some |= abi.POLLERR
        return some | (abi.WRITABLE if self.peer.closed or self.peer.room() else 0)

    def held(self) -> int:
        """Bytes that wait in it, and in those that wait to be accepted."""
        return sum(map(len, self._inbox)) + sum(waiting.held() for waiting in self.backlog or ())

    def pending(self) -> int:
        """What can be read at once."""
        return len(self._inbox[0]) if self._inbox else 0

    def close(self) -> None:
        """Tell the other end, and those who still waited to be accepted."""
        self.closed = True
        if self._inbox and self.peer is not None and self.kind != SOCK_DGRAM:
            self.peer.reset = True
        for waiting in self.backlog or ():
            waiting.close()
