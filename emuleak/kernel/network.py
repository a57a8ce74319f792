"""System calls on sockets: socketpair(2), connect(2), sendmsg(2) and their kin, for unix(7), ip(7) and ipv6(7).

By default ip(7) leads to other threads and processes of the run and nowhere else; with --net host it is the host's.
Sockets of other families are refused with EAFNOSUPPORT, and the report says so.
"""

import struct
from typing import Protocol

from emuleak.kernel import addresses
from emuleak.kernel.abi import O_CLOEXEC, O_NONBLOCK, SyscallError
from emuleak.kernel.addresses import AF_UNIX
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import BrokenPipe
from emuleak.kernel.sockets import SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, Socket
from emuleak.kernel.table import Int, Pointer, ULong, syscall
from emuleak.kernel.transfers import vector, windows
from emuleak.memory import READ, WRITE

_FAMILY_MAX = 45
_KIND_BITS = 0xF
_MSG_PEEK, _MSG_TRUNC, _MSG_DONTWAIT, _MSG_NOSIGNAL = 0x2, 0x20, 0x40, 0x4000
_MSGHDR = struct.Struct("<QI4xQQQQI4x")
_IP = (2, 10)  # AF_INET, AF_INET6


def socket_of(kernel: Kernel, fd: int) -> Socket:
    """The socket a descriptor refers to. Raises SyscallError EBADF, ENOTSOCK."""
    description = kernel.files.get(fd)
    if not isinstance(description, Socket):
        raise SyscallError("ENOTSOCK")
    return description


class _Ways(Protocol):
    """What a module knows of the ways of ip(7)."""

    def bind(self, _kernel: Kernel, _mine: Socket, _name: bytes, /) -> None: ...

    def connect(self, _kernel: Kernel, _mine: Socket, _name: bytes, /) -> None: ...

    def send_to(self, _kernel: Kernel, _mine: Socket, _data: bytes, _name: bytes | None, /, *, wait: bool) -> int: ...


def _ways(mine: Socket) -> _Ways:
    """Those of a socket of ip(7), of which most programs have none."""
    if mine.on_host:
        from emuleak.kernel import hostsockets  # noqa: PLC0415

        return hostsockets
    from emuleak.kernel import inet  # noqa: PLC0415

    return inet


def _made(kernel: Kernel, family: int, kind: int, flags: int) -> Socket:
    """A new socket, of the host's where that was allowed."""
    if family == AF_UNIX or kernel.system.net != "host":
        return Socket(kind, flags, family)
    from emuleak.kernel.hostsockets import HostSocket  # noqa: PLC0415

    return HostSocket(kind, flags, family)


def _parsed(kernel: Kernel, mine: Socket, address: int, length: int) -> bytes:
    """The name in a sockaddr of ip(7)."""
    from emuleak.kernel.inet import parse  # noqa: PLC0415

    return parse(kernel, mine, address, length)


def _packed(mine: Socket, name: bytes) -> bytes:
    """A name as the sockaddr that the socket's family has for it."""
    if mine.family == AF_UNIX:
        return addresses.packed(name)
    from emuleak.kernel.inet import packed  # noqa: PLC0415

    return packed(mine, name)


def _give(kernel: Kernel, mine: Socket, name: bytes, address: int, length: int) -> None:
    addresses.give(kernel, _packed(mine, name), address, length)


def _name_of_peer(mine: Socket) -> bytes:
    """The name of who connected; nothing once it has left."""
    try:
        return mine.peer_name()
    except (SyscallError, OSError):
        return b""


def _kind(kernel: Kernel, family: int, kind: int, protocol: int) -> int:
    """Check the first arguments of socket(2); the type without its flags."""
    if kind & ~(_KIND_BITS | O_CLOEXEC | O_NONBLOCK):
        raise SyscallError("EINVAL")
    if family != AF_UNIX:
        if family in _IP and kernel.system.net == "none":
            kernel.note("the program has no network: a socket of ip(7) was refused with EAFNOSUPPORT")
            raise SyscallError("EAFNOSUPPORT")
        if family in _IP:
            from emuleak.kernel.inet import kind_of  # noqa: PLC0415

            return kind_of(kind & _KIND_BITS, protocol)
        if 0 < family <= _FAMILY_MAX:
            kernel.note(f"a socket of family {family} (see socket(2)) was refused with EAFNOSUPPORT")
        raise SyscallError("EAFNOSUPPORT")
    if protocol not in {0, AF_UNIX}:
        raise SyscallError("EPROTONOSUPPORT")
    plain = kind & _KIND_BITS
    plain = SOCK_DGRAM if plain == 3 else plain  # SOCK_RAW: "for compatibility", says net/unix/af_unix.c
    if plain not in {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}:
        raise SyscallError("ESOCKTNOSUPPORT")
    return plain


@syscall(41)
def socket(kernel: Kernel, domain: Int, kind: Int, protocol: Int) -> int:
    """socket(2)."""
    plain = _kind(kernel, domain, kind, protocol)
    made = _made(kernel, domain, plain, kind & O_NONBLOCK)
    return kernel.files.add(made, cloexec=bool(kind & O_CLOEXEC))


@syscall(53)
def socketpair(kernel: Kernel, domain: Int, kind: Int, protocol: Int, sv: Pointer) -> int:
    """socketpair(2)."""
    plain = _kind(kernel, domain, kind, protocol)
    if domain != AF_UNIX:
        raise SyscallError("EOPNOTSUPP")
    kernel.memory.check(sv, 8, WRITE)
    fds = kernel.files.add_pair(Socket.pair(plain, kind & O_NONBLOCK), cloexec=bool(kind & O_CLOEXEC))
    kernel.memory.write(sv, struct.pack("<ii", *fds))
    return 0


@syscall(49)
def bind(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Int) -> int:
    """bind(2)."""
    bound = socket_of(kernel, sockfd)
    if bound.family == AF_UNIX:
        addresses.bind(kernel, bound, addresses.parse(kernel, addr, addrlen))
    else:
        _ways(bound).bind(kernel, bound, _parsed(kernel, bound, addr, addrlen))
    return 0


@syscall(50)
def listen(kernel: Kernel, sockfd: Int, backlog: Int) -> int:
    """listen(2)."""
    mine = socket_of(kernel, sockfd)
    if mine.family != AF_UNIX and not mine.on_host:
        from emuleak.kernel.inet import listen as name_it  # noqa: PLC0415

        name_it(kernel, mine)
    mine.listen(backlog)
    return 0


@syscall(42)
def connect(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Int) -> int:
    """connect(2)."""
    mine = socket_of(kernel, sockfd)
    if mine.kind == SOCK_DGRAM and addrlen >= 2 and kernel.memory.read(addr, 2) == bytes(2):
        mine.peer, mine.remote = None, b""  # AF_UNSPEC: disconnect
        return 0
    if mine.family != AF_UNIX:
        _ways(mine).connect(kernel, mine, _parsed(kernel, mine, addr, addrlen))
        return 0
    mine.connect(addresses.find(kernel, addresses.parse(kernel, addr, addrlen)))
    return 0


@syscall(288)
def accept4(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Pointer, flags: Int) -> int:
    """accept4(2)."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK):
        raise SyscallError("EINVAL")
    listener = socket_of(kernel, sockfd)
    kernel.files.lowest()
    accepted = listener.accept()
    accepted.flags |= flags & O_NONBLOCK
    _give(kernel, accepted, _name_of_peer(accepted), addr, addrlen)
    return kernel.files.add(accepted, cloexec=bool(flags & O_CLOEXEC))


@syscall(43)
def accept(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Pointer) -> int:
    """accept(2)."""
    return accept4(kernel, sockfd, addr, addrlen, Int(0))


@syscall(51)
def getsockname(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Pointer) -> int:
    """getsockname(2)."""
    mine = socket_of(kernel, sockfd)
    _give(kernel, mine, mine.own_name(), addr, addrlen)
    return 0


@syscall(52)
def getpeername(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Pointer) -> int:
    """getpeername(2)."""
    mine = socket_of(kernel, sockfd)
    _give(kernel, mine, mine.peer_name(), addr, addrlen)
    return 0


@syscall(48)
def shutdown(kernel: Kernel, sockfd: Int, how: Int) -> int:
    """shutdown(2)."""
    mine = socket_of(kernel, sockfd)
    if not 0 <= how <= 2:
        raise SyscallError("EINVAL")
    mine.shut(how)
    return 0


# ---- data


def _send(kernel: Kernel, fd: int, data: bytes, flags: int, target: tuple[int, int]) -> int:
    """Send to `target`, the address and length of a sockaddr, or to the peer."""
    mine = socket_of(kernel, fd)
    kernel.files.admit(mine)
    other = None
    wait = not flags & _MSG_DONTWAIT
    if mine.family == AF_UNIX and target[0] and mine.kind == SOCK_DGRAM:
        other = addresses.find(kernel, addresses.parse(kernel, *target))
    elif mine.family == AF_UNIX and target[0] and target[1]:
        raise SyscallError("EISCONN" if mine.peer else "EOPNOTSUPP")
    try:
        if mine.family != AF_UNIX:
            name = _parsed(kernel, mine, *target) if target[0] and mine.kind == SOCK_DGRAM else None
            return _ways(mine).send_to(kernel, mine, data, name, wait=wait)
        return mine.send(data, other, wait=wait)
    except BrokenPipe:
        if flags & _MSG_NOSIGNAL:
            raise SyscallError("EPIPE") from None
        raise


def _receive(kernel: Kernel, fd: int, targets: list[memoryview], flags: int) -> tuple[int, int]:
    """Fill the windows; how many bytes came and how long the packet was."""
    size = sum(map(len, targets))
    data, length = socket_of(kernel, fd).receive(size, peek=bool(flags & _MSG_PEEK), wait=not flags & _MSG_DONTWAIT)
    for window in targets:
        piece, data = data[: len(window)], data[len(window) :]
        window[: len(piece)] = piece
    return min(size, length), length


@syscall(44)
def sendto(kernel: Kernel, sockfd: Int, buf: Pointer, size: ULong, flags: Int, addr: Pointer, addrlen: Int) -> int:
    """sendto(2)."""
    socket_of(kernel, sockfd)
    data = b"".join(windows(kernel.memory, [(buf, size)], READ))
    return _send(kernel, sockfd, data, flags, (addr, addrlen))


@syscall(45)
def recvfrom(
    kernel: Kernel, sockfd: Int, buf: Pointer, size: ULong, flags: Int, addr: Pointer, addrlen: Pointer
) -> int:
    """recvfrom(2)."""
    mine = socket_of(kernel, sockfd)
    count, length = _receive(kernel, sockfd, windows(kernel.memory, [(buf, size)], WRITE), flags)
    if mine.kind == SOCK_DGRAM and mine.sender:
        _give(kernel, mine, mine.sender, addr, addrlen)
    elif addr:
        kernel.memory.write(addrlen, struct.pack("<i", 0))
    return length if flags & _MSG_TRUNC else count


@syscall(46)
def sendmsg(kernel: Kernel, sockfd: Int, msg: Pointer, flags: Int) -> int:
    """sendmsg(2), without control messages."""
    socket_of(kernel, sockfd)
    name, name_length, iov, count, _control, control_length, _ = _MSGHDR.unpack(kernel.memory.read(msg, _MSGHDR.size))
    if control_length:
        kernel.note("control messages of sendmsg(2) are not emulated: the program was told EOPNOTSUPP")
        raise SyscallError("EOPNOTSUPP")
    data = b"".join(windows(kernel.memory, vector(kernel.memory, iov, count), READ))
    return _send(kernel, sockfd, data, flags, (name, name_length))


@syscall(47)
def recvmsg(kernel: Kernel, sockfd: Int, msg: Pointer, flags: Int) -> int:
    """recvmsg(2): no control message ever comes."""
    mine = socket_of(kernel, sockfd)
    name, room, iov, count, control, _, _ = _MSGHDR.unpack(kernel.memory.read(msg, _MSGHDR.size))
    targets = windows(kernel.memory, vector(kernel.memory, iov, count), WRITE)
    came, length = _receive(kernel, sockfd, targets, flags)
    cut = _MSG_TRUNC if length > came else 0
    sender = b""
    if name and mine.kind == SOCK_DGRAM and mine.sender:
        sender = _packed(mine, mine.sender)
        kernel.memory.write(name, sender[:room])
    kernel.memory.write(msg, _MSGHDR.pack(name, len(sender), iov, count, control, 0, cut))
    return length if flags & _MSG_TRUNC else came
