"""System calls on the options of sockets: getsockopt(2), setsockopt(2)."""

import struct
from typing import Final

from emuleak.kernel.abi import ERRNO, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.network import socket_of
from emuleak.kernel.sockets import SOCK_STREAM, Socket
from emuleak.kernel.table import Int, Pointer, UInt, syscall

_SOL_SOCKET, _IP, _TCP, _UDP, _IPV6 = 1, 0, 6, 17, 41
_AF_UNIX, _AF_INET6 = 1, 10
_SO_TYPE, _SO_ERROR, _SO_PEERCRED, _SO_ACCEPTCONN, _SO_PROTOCOL, _SO_DOMAIN = 3, 4, 17, 30, 38, 39
_LONGEST: Final = 1 << 10  # bytes of an option that is kept
# What the options of tcp(7), ip(7) and ipv6(7) are that nobody has set, where that is not 0.
_DEFAULTS: Final = {
    (_TCP, 2): struct.pack("<i", 536),  # TCP_MAXSEG
    (_TCP, 4): struct.pack("<i", 7200),  # TCP_KEEPIDLE
    (_TCP, 5): struct.pack("<i", 75),
    (_TCP, 6): struct.pack("<i", 9),
    (_TCP, 11): b"\1" + bytes(103),  # TCP_INFO: the state is TCP_ESTABLISHED
    (_TCP, 12): struct.pack("<i", 1),  # TCP_QUICKACK
    (_TCP, 13): b"cubic".ljust(16, b"\0"),  # TCP_CONGESTION
    (_IP, 2): struct.pack("<i", 64),  # IP_TTL
    (_IP, 33): struct.pack("<i", 1),  # IP_MULTICAST_TTL
    (_IP, 34): struct.pack("<i", 1),
    (_IPV6, 16): struct.pack("<i", 64),  # IPV6_UNICAST_HOPS
}


def _levels(mine: Socket) -> tuple[int, ...]:
    """The levels beside SOL_SOCKET at which a socket has options."""
    if mine.family == _AF_UNIX:
        return ()
    transport = _TCP if mine.kind == SOCK_STREAM else _UDP
    return (transport, _IP, _IPV6) if mine.family == _AF_INET6 else (transport, _IP)


def _of_socket(kernel: Kernel, mine: Socket, name: int) -> bytes | None:
    """The value of an option of socket(7); None: there is no such option."""
    identity = kernel.identity
    protocol = 0 if mine.family == _AF_UNIX else _TCP if mine.kind == SOCK_STREAM else _UDP
    numbers = {
        _SO_TYPE: mine.kind,
        _SO_ACCEPTCONN: mine.backlog is not None,
        _SO_PROTOCOL: protocol,
        _SO_DOMAIN: mine.family,
    }
    if name == _SO_PEERCRED:
        return struct.pack("<iII", identity.pid, identity.uid, identity.gid)
    if name == _SO_ERROR:
        return struct.pack("<i", _pending_error(mine))
    if name in mine.options:
        return mine.options[name]
    return struct.pack("<i", numbers[name]) if name in numbers else None


def _pending_error(mine: Socket) -> int:
    """The error that SO_ERROR tells, and takes away."""
    if mine.on_host:
        from emuleak.kernel.hostsockets import HostSocket  # noqa: PLC0415 - most programs have none

        assert isinstance(mine, HostSocket)
        mine.take_error()
    error = mine.error or ("ECONNRESET" if mine.reset else "")
    mine.error, mine.reset = "", False
    return ERRNO[error] if error else 0


@syscall(55)
def getsockopt(kernel: Kernel, sockfd: Int, level: Int, name: Int, value: Pointer, length: Pointer) -> int:
    """getsockopt(2)."""
    mine = socket_of(kernel, sockfd)
    (room,) = struct.unpack("<i", kernel.memory.read(length, 4))
    if room < 0:
        raise SyscallError("EINVAL")
    if level == _SOL_SOCKET:
        found = _of_socket(kernel, mine, name)
    elif level in _levels(mine):
        found = mine.more_options.get((level, name), _DEFAULTS.get((level, name), bytes(4)))
    else:
        raise SyscallError("EOPNOTSUPP")
    if found is None:
        raise SyscallError("ENOPROTOOPT")
    kernel.memory.write(value, found[:room])
    kernel.memory.write(length, struct.pack("<i", min(room, len(found))))
    return 0


@syscall(54)
def setsockopt(kernel: Kernel, sockfd: Int, level: Int, name: Int, value: Pointer, length: UInt) -> int:
    """setsockopt(2): kept for getsockopt(2); within one run few of them could change anything."""
    mine = socket_of(kernel, sockfd)
    if level == _SOL_SOCKET:
        if name not in mine.options:
            raise SyscallError("ENOPROTOOPT")
        size = len(mine.options[name])
        if length < size:
            raise SyscallError("EINVAL")
        mine.options[name] = kernel.memory.read(value, size)
    elif level in _levels(mine):
        mine.more_options[level, name] = kernel.memory.read(value, min(length, _LONGEST))
    else:
        raise SyscallError("EOPNOTSUPP")
    if mine.on_host:
        from emuleak.kernel.hostsockets import HostSocket  # noqa: PLC0415 - most programs have none

        assert isinstance(mine, HostSocket)
        mine.set_host_option(level, name, kernel.memory.read(value, min(length, 4)))
    return 0
