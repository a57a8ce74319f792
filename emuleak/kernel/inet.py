"""Names and ports of ip(7) and ipv6(7) between the threads and processes of a run: the loopback, and nothing else.

A name is the 16 bytes of an IPv6 address and the two of a port; IPv4's are the mapped ones (RFC 4291, 2.5.5.2), so that
a socket of either family can be connected to one of both.
"""

import struct
from typing import Final

from emuleak.kernel.abi import O_NONBLOCK, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import BrokenPipe
from emuleak.kernel.sockets import SOCK_DGRAM, SOCK_STREAM, Socket

AF_INET, AF_INET6 = 2, 10
IPPROTO_TCP, IPPROTO_UDP = 6, 17
_MAPPED: Final = bytes(10) + b"\xff\xff"
_ANY4, _ANY6 = _MAPPED + bytes(4), bytes(16)
_LOOPBACK4, _LOOPBACK6 = _MAPPED + bytes((127, 0, 0, 1)), bytes(15) + b"\1"
_SIZES: Final = {AF_INET: 16, AF_INET6: 24}
_PORT: Final = struct.Struct(">H")
_FIRST_PRIVATE: Final = 1024  # a port that anybody may bind
_EPHEMERAL: Final = range(32768, 61000)  # net.ipv4.ip_local_port_range
_SO_REUSEADDR, _SO_REUSEPORT = 2, 15
_IPV6, _V6ONLY = 41, 26


def kind_of(kind: int, protocol: int) -> int:
    """Check type and protocol as socket(2) gives them; the type. Raises SyscallError."""
    wanted = {SOCK_STREAM: IPPROTO_TCP, SOCK_DGRAM: IPPROTO_UDP}
    if kind not in wanted:
        raise SyscallError("EPERM" if kind == 3 else "ESOCKTNOSUPPORT")  # SOCK_RAW: for root
    if protocol not in {0, wanted[kind]}:
        raise SyscallError("EPROTONOSUPPORT")
    return kind


def parse(kernel: Kernel, mine: Socket, address: int, length: int) -> bytes:
    """The name in a sockaddr_in or sockaddr_in6. Raises SyscallError, Fault."""
    if not 2 <= length <= 128:
        raise SyscallError("EINVAL")
    data = kernel.memory.read(address, min(length, 28))
    family = int.from_bytes(data[:2], "little")
    if family != mine.family:
        raise SyscallError("EAFNOSUPPORT")
    if length < _SIZES[family]:
        raise SyscallError("EINVAL")
    return (_MAPPED + data[4:8] if family == AF_INET else data[8:24]) + data[2:4]


def packed(mine: Socket, name: bytes) -> bytes:
    """A name as sockaddr_in or sockaddr_in6, whatever the family of the socket is."""
    address, port = name[:16] or _unnamed(mine), name[16:] or bytes(2)
    if mine.family == AF_INET:
        return struct.pack("<H", AF_INET) + port + address[12:] + bytes(8)
    return struct.pack("<H", AF_INET6) + port + bytes(4) + address + bytes(4)


def bind(kernel: Kernel, mine: Socket, name: bytes) -> None:
    """Give a socket its name; port 0 stands for any. Raises SyscallError."""
    address, (port,) = name[:16], _PORT.unpack(name[16:])
    if mine.name:
        raise SyscallError("EINVAL")
    if not _is_here(address):
        kernel.note(f"{_shown(name)} is no address of the loopback: bind(2) was refused; --net host gives the host's")
        raise SyscallError("EADDRNOTAVAIL")
    if 0 < port < _FIRST_PRIVATE and kernel.identity.uid:
        raise SyscallError("EACCES")
    if not port:
        port = _free_port(kernel, mine, address)
    elif any(_collide(mine, address, other) for other in _bound(kernel, mine.kind, port)):
        raise SyscallError("EADDRINUSE")
    mine.name = address + _PORT.pack(port)
    kernel.system.ports.setdefault((mine.kind, port), []).append(mine)


def listen(kernel: Kernel, mine: Socket) -> None:
    """What listen(2) does first: give a socket without a name one."""
    if not mine.name and mine.kind == SOCK_STREAM:
        bind(kernel, mine, _unnamed(mine) + bytes(2))


def connect(kernel: Kernel, mine: Socket, name: bytes) -> None:
    """connect(2). Raises SyscallError, WouldBlock."""
    mine.tell_error()
    if mine.connecting:
        mine.connecting = False
        return
    if mine.peer is not None or mine.backlog is not None:
        raise SyscallError("EISCONN")
    name = _reachable(kernel, name)
    was_named = bool(mine.name)
    _give_name(kernel, mine, name[:16])
    mine.name = _source(mine, name)
    if mine.kind == SOCK_DGRAM:
        mine.remote = name
        return
    listener = next((each for each in _hearers(kernel, mine, name) if each.backlog is not None), None)
    if listener is not None:
        mine.connect(listener).name = name
    if mine.flags & O_NONBLOCK:
        mine.connecting, mine.error = listener is not None, "" if listener else "ECONNREFUSED"
        raise SyscallError("EINPROGRESS")
    if listener is None:
        if not was_named:
            mine.name = b""
        raise SyscallError("ECONNREFUSED")


def send_to(kernel: Kernel, mine: Socket, data: bytes, name: bytes | None, *, wait: bool) -> int:
    """Send to a name, or to the peer. Raises SyscallError, BrokenPipe, WouldBlock."""
    if mine.kind == SOCK_STREAM:
        if mine.peer is None:
            raise BrokenPipe
        return mine.send(data, wait=wait)
    mine.tell_error()
    if name is None and not mine.remote:
        raise SyscallError("EDESTADDRREQ")
    if len(data) > 65507:  # what an IPv4 packet can hold
        raise SyscallError("EMSGSIZE")
    name = mine.remote if name is None else _reachable(kernel, name)
    _give_name(kernel, mine, name[:16])
    source = _source(mine, name)
    hearer = next((each for each in _hearers(kernel, mine, name) if each.remote in {b"", source}), None)
    if hearer is None:
        mine.error = "ECONNREFUSED" if mine.remote else ""  # nobody tells who is not connected
    elif hearer.reads and hearer.room() >= len(data):
        hearer.deliver(bytearray(data), joined=False, sender=source)
    return len(data)


def disconnect(mine: Socket) -> None:
    """connect(2) with AF_UNSPEC."""
    mine.remote = b""


# ---- addresses and ports


def _unnamed(mine: Socket) -> bytes:
    return _ANY4 if mine.family == AF_INET else _ANY6


def _is_here(address: bytes) -> bool:
    """Whether an address is the loopback's, or stands for all."""
    return address in {_ANY4, _ANY6, _LOOPBACK6} or address.startswith(_MAPPED + b"\x7f")


def _reachable(kernel: Kernel, name: bytes) -> bytes:
    """A name to which there is a way. Raises SyscallError."""
    address = name[:16]
    if not _is_here(address):
        kernel.note(
            f"there is no network but the loopback: {_shown(name)} was told unreachable; --net host gives the host's"
        )
        raise SyscallError("ENETUNREACH")
    return {_ANY4: _LOOPBACK4, _ANY6: _LOOPBACK6}.get(address, address) + name[16:]


def _shown(name: bytes) -> str:
    from ipaddress import ip_address  # noqa: PLC0415 - 5 ms, for a program that is refused

    host = ip_address(name[12:16] if name.startswith(_MAPPED) else name[:16])
    return f"{host} port {_PORT.unpack(name[16:])[0]}"


def _give_name(kernel: Kernel, mine: Socket, target: bytes) -> None:
    """Give a socket that speaks without a name one, as it would have for that target."""
    if not mine.name:
        bind(kernel, mine, (_LOOPBACK4 if target.startswith(_MAPPED) else _LOOPBACK6) + bytes(2))


def _source(mine: Socket, target: bytes) -> bytes:
    """The name that somebody at `target` sees."""
    if mine.name[:16] not in {_ANY4, _ANY6}:
        return mine.name
    return (_LOOPBACK4 if target.startswith(_MAPPED) else _LOOPBACK6) + mine.name[16:]


def _bound(kernel: Kernel, kind: int, port: int) -> list[Socket]:
    """The open sockets that have a port."""
    known = kernel.system.ports.get((kind, port), [])
    known[:] = [each for each in known if each.name and not each.closed]
    return known


def _free_port(kernel: Kernel, mine: Socket, address: bytes) -> int:
    """The next port that nobody has."""
    for _ in _EPHEMERAL:
        port = kernel.system.next_port
        kernel.system.next_port = port + 1 if port + 1 in _EPHEMERAL else _EPHEMERAL.start
        if not any(_collide(mine, address, other) for other in _bound(kernel, mine.kind, port)):
            return port
    raise SyscallError("EADDRINUSE")


def _collide(mine: Socket, address: bytes, other: Socket) -> bool:
    """Whether two sockets cannot share a port."""
    theirs = other.name[:16]
    if theirs != address and not (_covers(mine, address, theirs) or _covers(other, theirs, address)):
        return False
    if any(mine.options[option] != bytes(4) != other.options[option] for option in (_SO_REUSEPORT,)):
        return False
    both = mine.options[_SO_REUSEADDR] != bytes(4) and other.options[_SO_REUSEADDR] != bytes(4)
    return not both or other.backlog is not None


def _covers(socket: Socket, bound: bytes, address: bytes) -> bool:
    """Whether a socket bound to one address hears what is sent to another."""
    mapped = address.startswith(_MAPPED)
    if bound == _ANY4:
        return mapped
    return bound == _ANY6 and not (mapped and socket.more_options.get((_IPV6, _V6ONLY), bytes(4)) != bytes(4))


def _hearers(kernel: Kernel, mine: Socket, name: bytes) -> list[Socket]:
    """The sockets to which a name leads, the most particular first."""
    address, (port,) = name[:16], _PORT.unpack(name[16:])
    found = _bound(kernel, mine.kind, port)
    exact = [each for each in found if each.name[:16] == address]
    connected = [each for each in exact if each.remote]
    return connected + exact + [each for each in found if _covers(each, each.name[:16], address)]
