"""System calls on sockets: socketpair(2), connect(2), sendmsg(2) and their kin, for unix(7) within the process.

There is no network: a socket of another family is refused with EAFNOSUPPORT, and the report says so.
"""

import struct

from emuleak.kernel import addresses
from emuleak.kernel.abi import ERRNO, O_CLOEXEC, O_NONBLOCK, SyscallError
from emuleak.kernel.addresses import AF_UNIX
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import BrokenPipe
from emuleak.kernel.sockets import SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, Socket
from emuleak.kernel.table import Int, Pointer, UInt, ULong, syscall
from emuleak.kernel.transfers import vector, windows
from emuleak.memory import READ, WRITE

_FAMILY_MAX = 45
_KIND_BITS = 0xF
_MSG_PEEK, _MSG_TRUNC, _MSG_DONTWAIT, _MSG_NOSIGNAL = 0x2, 0x20, 0x40, 0x4000
_MSGHDR = struct.Struct("<QI4xQQQQI4x")
_SOL_SOCKET = 1


def socket_of(kernel: Kernel, fd: int) -> Socket:
    """The socket a descriptor refers to. Raises SyscallError EBADF, ENOTSOCK."""
    description = kernel.files.get(fd)
    if not isinstance(description, Socket):
        raise SyscallError("ENOTSOCK")
    return description


def _kind(kernel: Kernel, family: int, kind: int, protocol: int) -> int:
    """Check the first arguments of socket(2); the type without its flags."""
    if kind & ~(_KIND_BITS | O_CLOEXEC | O_NONBLOCK):
        raise SyscallError("EINVAL")
    if family != AF_UNIX:
        if 0 < family <= _FAMILY_MAX:
            kernel.note(f"there is no network: a socket of family {family} was refused with EAFNOSUPPORT")
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
    made = Socket(_kind(kernel, domain, kind, protocol), kind & O_NONBLOCK)
    return kernel.files.add(made, cloexec=bool(kind & O_CLOEXEC))


@syscall(53)
def socketpair(kernel: Kernel, domain: Int, kind: Int, protocol: Int, sv: Pointer) -> int:
    """socketpair(2)."""
    plain = _kind(kernel, domain, kind, protocol)
    kernel.memory.check(sv, 8, WRITE)
    fds = kernel.files.add_pair(Socket.pair(plain, kind & O_NONBLOCK), cloexec=bool(kind & O_CLOEXEC))
    kernel.memory.write(sv, struct.pack("<ii", *fds))
    return 0


@syscall(49)
def bind(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Int) -> int:
    """bind(2)."""
    bound = socket_of(kernel, sockfd)
    addresses.bind(kernel, bound, addresses.parse(kernel, addr, addrlen))
    return 0


@syscall(50)
def listen(kernel: Kernel, sockfd: Int, backlog: Int) -> int:
    """listen(2)."""
    socket_of(kernel, sockfd).listen(backlog)
    return 0


@syscall(42)
def connect(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Int) -> int:
    """connect(2)."""
    mine = socket_of(kernel, sockfd)
    if mine.kind == SOCK_DGRAM and addrlen >= 2 and kernel.memory.read(addr, 2) == bytes(2):
        mine.peer = None  # AF_UNSPEC: disconnect
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
    addresses.give(kernel, accepted.peer.name if accepted.peer else b"", addr, addrlen)
    return kernel.files.add(accepted, cloexec=bool(flags & O_CLOEXEC))


@syscall(43)
def accept(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Pointer) -> int:
    """accept(2)."""
    return accept4(kernel, sockfd, addr, addrlen, Int(0))


@syscall(51)
def getsockname(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Pointer) -> int:
    """getsockname(2)."""
    addresses.give(kernel, socket_of(kernel, sockfd).name, addr, addrlen)
    return 0


@syscall(52)
def getpeername(kernel: Kernel, sockfd: Int, addr: Pointer, addrlen: Pointer) -> int:
    """getpeername(2)."""
    peer = socket_of(kernel, sockfd).peer
    if peer is None:
        raise SyscallError("ENOTCONN")
    addresses.give(kernel, peer.name, addr, addrlen)
    return 0


@syscall(48)
def shutdown(kernel: Kernel, sockfd: Int, how: Int) -> int:
    """shutdown(2)."""
    mine = socket_of(kernel, sockfd)
    if not 0 <= how <= 2:
        raise SyscallError("EINVAL")
    mine.reads, mine.writes = mine.reads and how == 1, mine.writes and how == 0
    return 0


# ---- data


def _send(kernel: Kernel, fd: int, data: bytes, flags: int, target: tuple[int, int]) -> int:
    """Send to `target`, the address and length of a sockaddr, or to the peer."""
    mine = socket_of(kernel, fd)
    kernel.files.admit(mine)
    other = None
    if target[0] and mine.kind == SOCK_DGRAM:
        other = addresses.find(kernel, addresses.parse(kernel, *target))
    elif target[0] and target[1]:
        raise SyscallError("EISCONN" if mine.peer else "EOPNOTSUPP")
    try:
        return mine.send(data, other, wait=not flags & _MSG_DONTWAIT)
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
    """recvfrom(2): senders without a name have none here."""
    socket_of(kernel, sockfd)
    count, length = _receive(kernel, sockfd, windows(kernel.memory, [(buf, size)], WRITE), flags)
    if addr:
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
    socket_of(kernel, sockfd)
    name, _, iov, count, control, _, _ = _MSGHDR.unpack(kernel.memory.read(msg, _MSGHDR.size))
    targets = windows(kernel.memory, vector(kernel.memory, iov, count), WRITE)
    came, length = _receive(kernel, sockfd, targets, flags)
    cut = _MSG_TRUNC if length > came else 0
    kernel.memory.write(msg, _MSGHDR.pack(name, 0, iov, count, control, 0, cut))
    return length if flags & _MSG_TRUNC else came


# ---- options


def _option(kernel: Kernel, mine: Socket, name: int) -> bytes | None:
    """The value of an option of socket(7); None: there is no such option."""
    identity = kernel.identity
    numbers = {3: mine.kind, 30: mine.backlog is not None, 38: 0, 39: AF_UNIX}
    if name == 17:  # SO_PEERCRED
        return struct.pack("<iII", identity.pid, identity.uid, identity.gid)
    if name == 4:  # SO_ERROR
        error, mine.reset = ERRNO["ECONNRESET"] if mine.reset else 0, False
        return struct.pack("<i", error)
    if name in mine.options:
        return mine.options[name]
    return struct.pack("<i", numbers[name]) if name in numbers else None


@syscall(55)
def getsockopt(kernel: Kernel, sockfd: Int, level: Int, name: Int, value: Pointer, length: Pointer) -> int:
    """getsockopt(2)."""
    mine = socket_of(kernel, sockfd)
    (room,) = struct.unpack("<i", kernel.memory.read(length, 4))
    if room < 0:
        raise SyscallError("EINVAL")
    if level != _SOL_SOCKET:
        raise SyscallError("EOPNOTSUPP")
    found = _option(kernel, mine, name)
    if found is None:
        raise SyscallError("ENOPROTOOPT")
    kernel.memory.write(value, found[:room])
    kernel.memory.write(length, struct.pack("<i", min(room, len(found))))
    return 0


@syscall(54)
def setsockopt(kernel: Kernel, sockfd: Int, level: Int, name: Int, value: Pointer, length: UInt) -> int:
    """setsockopt(2): kept for getsockopt(2); between threads of one process they change nothing but the time-outs."""
    mine = socket_of(kernel, sockfd)
    if level != _SOL_SOCKET:
        raise SyscallError("EOPNOTSUPP")
    if name not in mine.options:
        raise SyscallError("ENOPROTOOPT")
    if length < len(mine.options[name]):
        raise SyscallError("EINVAL")
    data = kernel.memory.read(value, len(mine.options[name]))
    if name in {20, 21} and data != bytes(16):
        kernel.note("SO_RCVTIMEO and SO_SNDTIMEO of socket(7) are not emulated: the program waits on")
    mine.options[name] = data
    return 0
