"""Printers of sockets: kinds, addresses, messages, vectors, options."""

import struct
from ipaddress import IPv6Address
from typing import Final

from emuleak.strace import netconstants
from emuleak.strace.call import Call, Printer, signed
from emuleak.strace.flags import Names
from emuleak.strace.quoting import quoted
from emuleak.strace.values import address_of, data, hexa_of, read

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_IOVEC: Final = struct.Struct("<QQ")
_MSGHDR: Final = struct.Struct("<QI4xQQQQI4x")
_MOST_VECTORS: Final = 1024
_OPTIONS: Final[dict[int, Names]] = {
    0: netconstants.IP_OPTIONS,
    1: netconstants.SOCKET_OPTIONS,
    6: netconstants.TCP_OPTIONS,
    41: netconstants.IPV6_OPTIONS,
}


def kind(_call: Call, value: int) -> str:
    """The type argument of socket(2), with its flags."""
    flags, rest = netconstants.SOCKET_FLAGS.split(value & 0xFFFF_FFFF)
    number = rest & 0xF
    first = netconstants.SOCKET_TYPES.one(number) if number or not flags else None
    more = [f"{rest & ~0xF:#x} /* SOCK_??? */"] if rest & ~0xF else []
    return "|".join([*([first] if first else []), *flags, *more]) if value else "0"


def protocol(call: Call, value: int) -> str:
    """The protocol argument of socket(2), which has names for the Internet only."""
    if call.int(0) in {_AF_INET, _AF_INET6}:
        return netconstants.PROTOCOLS.one(signed(value))
    return str(signed(value))


# ---- addresses


def address(raw: bytes) -> str:
    """A struct sockaddr."""
    if len(raw) < 2:
        return quoted(raw)
    family = struct.unpack_from("<H", raw)[0]
    head = f"{{sa_family={netconstants.ADDRESS_FAMILIES.one(family)}"
    if family == _AF_UNIX:
        return f"{head}{_unix(raw[2:])}}}"
    if family == _AF_INET and len(raw) >= 8:
        port, numbers = struct.unpack_from(">H4s", raw, 2)
        return f'{head}, sin_port=htons({port}), sin_addr=inet_addr("{".".join(map(str, numbers))}")}}'
    if family == _AF_INET6 and len(raw) >= 28:
        port, flow, numbers = struct.unpack_from(">HI16s", raw, 2)
        (scope,) = struct.unpack_from("<I", raw, 24)
        text = f"sin6_port=htons({port}), sin6_flowinfo=htonl({flow})"
        return f'{head}, {text}, inet_pton(AF_INET6, "{IPv6Address(numbers)}", &sin6_addr), sin6_scope_id={scope}}}'
    return f"{head}, sa_data={quoted(raw[2:16])}}}" if len(raw) > 2 else f"{head}}}"


def _unix(name: bytes) -> str:
    if not name:
        return ""
    if name[0] == 0:
        return f", sun_path=@{quoted(name[1:])}"
    return f", sun_path={quoted(name.split(bytes(1))[0])}"


def given_address(length_index: int) -> Printer:
    """An address whose length is another argument."""

    def printer(call: Call, value: int) -> str:
        raw = read(call, value, min(call.registers[length_index] & 0xFFFF_FFFF, 128))
        return address_of(value) if raw is None else address(raw)

    return printer


def told_address(length_index: int) -> Printer:
    """An address that the call stored; another argument points to its length."""

    def printer(call: Call, value: int) -> str:
        length = _length(call, call.registers[length_index])
        raw = None if call.failed or length is None else read(call, value, min(length, 128))
        return address_of(value) if raw is None else address(raw)

    return printer


def _length(call: Call, where: int) -> int | None:
    raw = read(call, where, 4)
    return None if raw is None else signed(int.from_bytes(raw, "little"))


def told_length(call: Call, value: int) -> str:
    """A socklen_t that the call may have changed: what it was, and what it is."""
    now = _length(call, value)
    before = call.before.get(value)
    if now is None:
        return address_of(value)
    return f"[{now}]" if before is None or before == now or call.failed else f"[{before} => {now}]"


# ---- vectors and messages


def vector(call: Call, value: int, count: int, limit: int | None = None) -> str:
    """A struct iovec array; of what a call filled in only `limit` bytes count."""
    raw = read(call, value, min(count, _MOST_VECTORS) * _IOVEC.size)
    if raw is None:
        return address_of(value) if count else "[]" if value else "NULL"
    items = []
    for base, length in _IOVEC.iter_unpack(raw):
        shown = length if limit is None else min(length, limit)
        if limit is not None:
            limit -= shown
        items.append(f"{{iov_base={data(call, base, shown)}, iov_len={length}}}")
    more = ["..."] if len(items) > call.style.longest else []
    return "[" + ", ".join([*items[: call.style.longest], *more]) + "]"


def sent_vector(call: Call, value: int) -> str:
    """The vector of writev(2)."""
    return vector(call, value, signed(call.registers[2]))


def filled_vector(call: Call, value: int) -> str:
    """The vector of readv(2)."""
    if call.failed:
        return address_of(value)
    return vector(call, value, signed(call.registers[2]), call.result)


def _message(call: Call, value: int, limit: int | None) -> str:
    raw = read(call, value, _MSGHDR.size)
    if raw is None:
        return address_of(value)
    name, length, vectors, count, control, size, flags = _MSGHDR.unpack(raw)
    where = read(call, name, min(length, 128)) if length else None
    fields = [
        f"msg_name={address_of(name) if where is None else address(where)}",
        f"msg_namelen={length}",
        f"msg_iov={vector(call, vectors, count, limit)}",
        f"msg_iovlen={count}",
        *([f"msg_control={address_of(control)}"] if size else []),
        f"msg_controllen={size}",
        f"msg_flags={netconstants.MESSAGE.bits(flags)}",
    ]
    return "{" + ", ".join(fields) + "}"


def sent_message(call: Call, value: int) -> str:
    """The struct msghdr of sendmsg(2)."""
    return _message(call, value, None)


def filled_message(call: Call, value: int) -> str:
    """The struct msghdr of recvmsg(2)."""
    if call.failed:
        raw = read(call, value, _MSGHDR.size)
        return address_of(value) if raw is None else f"{{msg_namelen={_MSGHDR.unpack(raw)[1]}}}"
    return _message(call, value, call.result)


# ---- options


def option(call: Call, value: int) -> str:
    """The name of an option, which depends on its level."""
    names = _OPTIONS.get(call.int(1))
    return hexa_of(value & 0xFFFF_FFFF) if names is None else names.one(signed(value))


def given_option(call: Call, value: int) -> str:
    """The value of setsockopt(2)."""
    return _option_value(call, value, call.registers[4] & 0xFFFF_FFFF)


def told_option(call: Call, value: int) -> str:
    """The value of getsockopt(2)."""
    length = None if call.failed else _length(call, call.registers[4])
    return address_of(value) if length is None else _option_value(call, value, length)


def _option_value(call: Call, value: int, length: int) -> str:
    raw = read(call, value, min(length, 64)) if length else None
    if raw is None:
        return address_of(value)
    level, name = call.int(1), call.int(2)
    if level == 1 and name == 13 and length >= 8:
        return "{{l_onoff={}, l_linger={}}}".format(*struct.unpack_from("<ii", raw))
    if level == 1 and name == 17 and length >= 12:
        return "{{pid={}, uid={}, gid={}}}".format(*struct.unpack_from("<iII", raw))
    if level == 1 and name in {20, 21} and length >= 16:
        return "{{tv_sec={}, tv_usec={}}}".format(*struct.unpack_from("<qq", raw))
    return f"[{signed(int.from_bytes(raw, 'little'))}]" if length == 4 else quoted(raw, call.style.longest)
