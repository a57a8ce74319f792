"""Sockets between the threads and processes of a run: pairs, and what one connects to that another listens on.

Those of unix(7) are found by addresses.py, those of ip(7) by inet.py. There is no way out: see hostsockets.py.
"""

import itertools
import os
import stat
import struct
from collections import deque
from collections.abc import Mapping
from typing import NoReturn

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import BrokenPipe, Description, WouldBlock

SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET = 1, 2, 5
_BUFFER = 212_992  # bytes: net.core.wmem_default
_POLLRDHUP = 0x2000
_AF_UNIX = 1
_SO_RCVTIMEO, _SO_SNDTIMEO = 20, 21
_TIMEVAL = struct.Struct("<qq")
# What setsockopt(2) may change at SOL_SOCKET, see socket(7), and the values to begin with.
_OPTIONS = {number: bytes(4) for number in (1, 2, 5, 6, 9, 10, 12, 15, 16, 18, 29, 32, 33)}
_OPTIONS |= {7: _BUFFER.to_bytes(4, "little"), 8: _BUFFER.to_bytes(4, "little"), 13: bytes(8), 18: b"\1\0\0\0"}
_OPTIONS |= {20: bytes(16), 21: bytes(16)}


class Socket(Description):
    """One socket. Raises WouldBlock where a thread would sleep."""

    _inodes = itertools.count(1 << 35)

    on_host = False

    def __init__(self, kind: int, flags: int, family: int = 1) -> None:
        self._inode = next(self._inodes)
        self.path, self.flags = f"socket:[{self._inode}]", abi.O_RDWR | flags
        self.kind, self.family = kind, family
        self.name = b""
        self.peer: Socket | None = None
        self.remote = b""  # whom a datagram socket of ip(7) is connected to
        self.sender = b""  # who sent what was received last
        self.error = ""  # the errno that the next call is told
        self.connecting = False  # whether connect(2) has said EINPROGRESS and nobody has asked since
        self.backlog: deque[Socket] | None = None  # those that wait for accept(2); None: it does not listen
        self.backlog_limit = 0
        self.closed = False
        self.reads, self.writes = True, True  # until shutdown(2)
        self.reset = False  # the peer left without having read all: ECONNRESET, told once
        self.options = dict(_OPTIONS)
        self.more_options: dict[tuple[int, int], bytes] = {}  # by level and name
        self._inbox: deque[bytearray] = deque()
        self._senders: deque[bytes] = deque()  # of the packets in the inbox

    @classmethod
    def pair(cls, kind: int, flags: int) -> tuple["Socket", "Socket"]:
        """Two sockets connected to each other."""
        one, other = cls(kind, flags), cls(kind, flags)
        one.peer, other.peer = other, one
        return one, other

    # ---- data

    def receive(self, size: int, *, peek: bool = False, wait: bool = True) -> tuple[bytes, int]:
        """Up to `size` bytes or one packet, and how long the packet was; nothing at the end of a stream."""
        self.tell_error()
        if self.kind != SOCK_DGRAM and self.peer is None:
            raise SyscallError("EINVAL" if self.kind == SOCK_STREAM and self.family == _AF_UNIX else "ENOTCONN")
        if not self._inbox:
            if self.reset:
                self.reset = False
                raise SyscallError("ECONNRESET")
            if self._ended():
                return b"", 0
            self._block(wait, _SO_RCVTIMEO)
        first, self.sender = self._inbox[0], self._senders[0]
        data = bytes(first[:size])
        length = len(data) if self.kind == SOCK_STREAM else len(first)
        if not peek:
            del first[:length]
            if not first:
                self._inbox.popleft()
                self._senders.popleft()
        return data, length

    def tell_error(self) -> None:
        """Raise what an earlier call led to, once."""
        if self.error:
            error, self.error = self.error, ""
            raise SyscallError(error)

    def send(self, data: bytes, target: "Socket | None" = None, *, wait: bool = True) -> int:
        """Give data to the peer, or for datagrams to `target`; how much was taken.

        A blocking send that finds any room is taken whole, as for a pipe. Raises BrokenPipe when nobody can read it.
        """
        self.tell_error()
        peer = self._hearer(target or self.peer)
        stream = self.kind == SOCK_STREAM
        if not stream and len(data) > _BUFFER:
            raise SyscallError("EMSGSIZE")
        room = peer.room()
        if data and room < (1 if stream else len(data)):
            self._block(wait, _SO_SNDTIMEO)
        if stream and (self.flags & abi.O_NONBLOCK or not wait):
            data = data[:room]
        peer.deliver(bytearray(data), joined=stream, sender=self.name)
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

    def deliver(self, data: bytearray, *, joined: bool, sender: bytes = b"") -> None:
        """Take in what was sent; the bytes of a stream join those that are there."""
        if joined and self._inbox:
            self._inbox[0] += data
        elif data or not joined:
            self._inbox.append(data)
            self._senders.append(sender)

    def _block(self, wait: bool, limit: int = _SO_RCVTIMEO, hosts: Mapping[int, int] | None = None) -> NoReturn:
        """Wait, as long as the option `limit` says, for others, or for descriptors of the host's."""
        if self.flags & abi.O_NONBLOCK or not wait:
            raise SyscallError("EAGAIN")
        seconds, microseconds = _TIMEVAL.unpack(self.options[limit])
        blocked = WouldBlock((seconds * 1_000_000 + microseconds) * 1000 or None, hosts)
        blocked.on_timeout = _again
        raise blocked

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
            raise SyscallError("EINVAL")  # who is of ip(7) was given a name by now
        self.backlog = deque() if self.backlog is None else self.backlog
        self.backlog_limit = max(0, limit) + 1

    def connect(self, listener: "Socket") -> "Socket":
        """Join the line of those that wait to be accepted; the connection stands at once. The other end."""
        if listener.kind != self.kind:
            raise SyscallError("EPROTOTYPE")
        if self.kind == SOCK_DGRAM:
            self.peer = listener
            return listener
        if self.peer is not None:
            raise SyscallError("EISCONN")
        if listener.backlog is None or listener.closed:
            raise SyscallError("ECONNREFUSED")
        if len(listener.backlog) >= listener.backlog_limit and not (
            self.family != _AF_UNIX and self.flags & abi.O_NONBLOCK
        ):
            self._block(wait=True, limit=_SO_SNDTIMEO)
        server = Socket(self.kind, 0, listener.family)
        server.name, server.peer, self.peer = listener.name, self, server
        listener.backlog.append(server)
        return server

    def accept(self) -> "Socket":
        """The server's end of the connection that waits longest."""
        if self.backlog is None:
            raise SyscallError("EOPNOTSUPP" if self.kind == SOCK_DGRAM else "EINVAL")
        if not self.backlog:
            self._block(wait=True)
        return self.backlog.popleft()

    def own_name(self) -> bytes:
        """The name that getsockname(2) tells."""
        return self.name

    def peer_name(self) -> bytes:
        """The name that getpeername(2) tells. Raises SyscallError ENOTCONN."""
        if self.remote:
            return self.remote
        if self.peer is None:
            raise SyscallError("ENOTCONN")
        return self.peer.name

    def shut(self, how: int) -> None:
        """shutdown(2): SHUT_RD, SHUT_WR or SHUT_RDWR."""
        if self.family != _AF_UNIX and self.peer is None and not self.remote and self.backlog is None:
            raise SyscallError("ENOTCONN")
        self.reads, self.writes = self.reads and how == 1, self.writes and how == 0

    # ---- the file

    def stat(self) -> os.stat_result:
        """fstat(2)."""
        return abi.memory_stat(stat.S_IFSOCK | 0o777, 0, self._inode)

    def ready(self) -> int:
        """As poll(2) has it for sockets."""
        if self.backlog is not None:
            return abi.READABLE if self.backlog else 0
        some = abi.READABLE if self._inbox else 0
        if self.error:
            return some | abi.READABLE | abi.WRITABLE | abi.POLLERR | (abi.POLLHUP if self.kind == SOCK_STREAM else 0)
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


def _again() -> int:
    """The time that SO_RCVTIMEO or SO_SNDTIMEO allow is over."""
    raise SyscallError("EAGAIN")
