"""Sockets of the host's, for --net host: a guest's socket(2) of ip(7) makes one, through Python's portable interface.

The host's socket never blocks: a thread of the guest that has to wait lets the others run. Options that mean something
to the host are passed on by their names; the others are kept for getsockopt(2).
"""

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any, Final, TypeVar

from emuleak.kernel.abi import (
    ERRNO,
    O_NONBLOCK,
    POLLIN,
    POLLOUT,
    READABLE,
    WRITABLE,
    SyscallError,
)
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import BrokenPipe
from emuleak.kernel.hostfiles import poll_host
from emuleak.kernel.inet import AF_INET
from emuleak.kernel.sockets import SOCK_DGRAM, SOCK_STREAM, Socket

_MAPPED: Final = bytes(10) + b"\xff\xff"
_LARGEST: Final = 1 << 16  # bytes of a datagram
_PORT: Final = struct.Struct(">H")
# The guest's level and number, and the names that Python has for them.
_OPTIONS: Final = {
    (1, 2): ("SOL_SOCKET", "SO_REUSEADDR"),
    (1, 6): ("SOL_SOCKET", "SO_BROADCAST"),
    (1, 7): ("SOL_SOCKET", "SO_SNDBUF"),
    (1, 8): ("SOL_SOCKET", "SO_RCVBUF"),
    (1, 9): ("SOL_SOCKET", "SO_KEEPALIVE"),
    (1, 15): ("SOL_SOCKET", "SO_REUSEPORT"),
    (6, 1): ("IPPROTO_TCP", "TCP_NODELAY"),
    (41, 26): ("IPPROTO_IPV6", "IPV6_V6ONLY"),
}
_UNDER_WAY: Final = frozenset(
    (errno.EINPROGRESS, errno.EALREADY, errno.EWOULDBLOCK, getattr(errno, "WSAEWOULDBLOCK", -1))
)
_T = TypeVar("_T")


class HostSocket(Socket):
    """A socket of the host's."""

    on_host = True

    def __init__(self, kind: int, flags: int, family: int, made: socket.socket | None = None) -> None:
        super().__init__(kind, flags, family)
        families = {AF_INET: socket.AF_INET}
        kinds = {SOCK_STREAM: socket.SOCK_STREAM, SOCK_DGRAM: socket.SOCK_DGRAM}
        self.host = made or socket.socket(families.get(family, socket.AF_INET6), kinds[kind])
        self.host.settimeout(0)

    # ---- data

    def receive(self, size: int, *, peek: bool = False, wait: bool = True) -> tuple[bytes, int]:
        """See Socket."""
        flags = socket.MSG_PEEK if peek else 0
        room = size if self.kind == SOCK_STREAM else max(size, _LARGEST)
        data, sender = self._ask(lambda: self.host.recvfrom(room, flags), POLLIN, wait=wait)
        self.sender = _name(sender)
        return data[:size], min(len(data), size) if self.kind == SOCK_STREAM else len(data)

    def send(self, data: bytes, _target: Socket | None = None, *, wait: bool = True) -> int:
        """See Socket."""
        return self.send_to(data, None, wait=wait)

    def send_to(self, data: bytes, name: bytes | None, *, wait: bool) -> int:
        """Send to a name, or to the peer."""
        if name is None or self.kind == SOCK_STREAM:
            return self._ask(lambda: self.host.send(data), POLLOUT, wait=wait)
        return self._ask(lambda: self.host.sendto(data, self.address(name)), POLLOUT, wait=wait)

    def _ask(self, call: Callable[[], _T], event: int, *, wait: bool = True) -> _T:
        try:
            return call()
        except (BlockingIOError, InterruptedError):
            self._block(wait, 20 if event == POLLIN else 21, {self.host.fileno(): event})
        except BrokenPipeError:
            raise BrokenPipe from None

    # ---- connections

    def listen(self, limit: int) -> None:
        """See Socket."""
        self.host.listen(max(0, limit))
        self.backlog_limit = limit

    def connect_to(self, name: bytes) -> None:
        """connect(2); made again while the thread waits."""
        code = self.host.connect_ex(self.address(name))
        if code in _UNDER_WAY:
            if self.flags & O_NONBLOCK:
                raise SyscallError("EALREADY" if code == errno.EALREADY else "EINPROGRESS")
            self._block(wait=True, limit=21, hosts={self.host.fileno(): POLLOUT})
        if code:
            raise OSError(code, "connect")

    def take_error(self) -> None:
        """Remember the error that the host's socket has for us."""
        code = self.host.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        name = errno.errorcode.get(code, "EIO") if code else ""
        self.error = name if name in ERRNO or not name else "EIO"

    def accept(self) -> "HostSocket":
        """See Socket."""
        made, _ = self._ask(self.host.accept, POLLIN)
        return HostSocket(self.kind, 0, self.family, made)

    def own_name(self) -> bytes:
        """See Socket."""
        return _name(self.host.getsockname())

    def peer_name(self) -> bytes:
        """See Socket."""
        return _name(self.host.getpeername())

    def shut(self, how: int) -> None:
        """See Socket."""
        self.host.shutdown((socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR)[how])

    def address(self, name: bytes) -> Any:
        """A name as the host's interface has it."""
        (port,) = _PORT.unpack(name[16:])
        if self.family == AF_INET:
            return socket.inet_ntop(socket.AF_INET, name[12:16]), port
        return socket.inet_ntop(socket.AF_INET6, name[:16]), port

    # ---- options and the file

    def set_host_option(self, level: int, number: int, data: bytes) -> None:
        """Pass an option on, if the host knows it."""
        known, named = (getattr(socket, name, None) for name in _OPTIONS.get((level, number), ("", "")))
        if known is not None and named is not None and len(data) >= 4:
            self.host.setsockopt(known, named, int.from_bytes(data[:4], "little", signed=True))

    def ready(self) -> int:
        """As poll(2) has it on the host."""
        fd = self.host.fileno()
        return poll_host({fd: READABLE | WRITABLE}, 0).get(fd, 0)

    def host_fd(self) -> int | None:
        """See Description."""
        return self.host.fileno()

    def close(self) -> None:
        """See Socket."""
        self.closed = True
        self.host.close()


def _name(address: Any) -> bytes:
    """What the host's interface calls an address, as a name; nothing for none."""
    if not address:
        return b""
    host, port = address[0].partition("%")[0], address[1]
    if ":" in host:
        return socket.inet_pton(socket.AF_INET6, host) + _PORT.pack(port)
    return _MAPPED + socket.inet_pton(socket.AF_INET, host) + _PORT.pack(port)


# ---- what network.py calls: as inet.py has it


def _of_host(mine: Socket) -> HostSocket:
    assert isinstance(mine, HostSocket)
    return mine


def bind(_kernel: Kernel, mine: Socket, name: bytes) -> None:
    """bind(2)."""
    of_host = _of_host(mine)
    of_host.host.bind(of_host.address(name))


def connect(_kernel: Kernel, mine: Socket, name: bytes) -> None:
    """connect(2)."""
    _of_host(mine).connect_to(name)


def send_to(_kernel: Kernel, mine: Socket, data: bytes, name: bytes | None, *, wait: bool) -> int:
    """sendto(2)."""
    return _of_host(mine).send_to(data, name, wait=wait)
