"""Calls whose arguments have forms of their own: clone, clone3, fcntl, ioctl, prctl, mmap, open, mremap, memfd."""

import struct
from typing import Final

from emuleak.strace import constants
from emuleak.strace.call import Call, signed
from emuleak.strace.signalvalues import signal_name
from emuleak.strace.values import (
    address_of,
    hexa_of,
    octal,
    read,
    string,
)

_CLONE_ARGS: Final = struct.Struct("<8Q")
_SETTID, _SETTLS, _CHILD_TIDS = 0x10_0000, 0x8_0000, 0x120_0000
_FLOCK: Final = struct.Struct("<hh4xqqi4x")
_O_CREAT, _O_TMPFILE, _O_DIRECTORY = 0x40, 0x41_0000, 0x1_0000
_ACCESS: Final = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")


# ---- open, mmap


def open_flags(value: int) -> str:
    """The flags of open(2): the access mode always."""
    value &= 0xFFFF_FFFF
    words, rest = constants.OPEN.split(value & ~3)
    return "|".join([_ACCESS[value & 3], *words, *([hexa_of(rest)] if rest else [])])


def flags_of_open(_call: Call, value: int) -> str:
    """The flags argument of open(2)."""
    return open_flags(value)


def creation_mode(call: Call, value: int) -> str | None:
    """The mode argument of open(2), which counts only where a file may be made."""
    flags = call.registers[1 if call.name == "open" else 2]
    makes = flags & _O_CREAT or flags & _O_TMPFILE == _O_TMPFILE
    return octal(value & 0xFFFF) if makes else None


def map_flags(_call: Call, value: int) -> str:
    """The flags of mmap(2): the type first."""
    value &= 0xFFFF_FFFF
    kind = constants.MAPPING_TYPES.by_number.get(value & 0xF)
    first = "MAP_FILE" if not value & 0xF else kind or f"{value & 0xF:#x} /* MAP_??? */"
    words, rest = constants.MAPPING.split(value & ~0xF)
    return "|".join([first, *words, *([hexa_of(rest)] if rest else [])])


def new_address(call: Call, value: int) -> str | None:
    """The last argument of mremap(2), which counts with MREMAP_FIXED or MREMAP_DONTUNMAP only."""
    return address_of(value) if call.registers[3] & 6 else None


# ---- clone


def _clone_flags(flags: int) -> str:
    """The flags of clone(2) with the signal in the low byte."""
    number = flags & 0xFF
    words, rest = constants.CLONE.split(flags & ~0xFF)
    words += [hexa_of(rest)] if rest else []
    words += [signal_name(number)] if number else []
    return "|".join(words) or "0"


def clone_head(call: Call) -> str:
    """The arguments of clone(2) that are known before it is made."""
    return f"child_stack={address_of(call.registers[1])}, flags={_clone_flags(call.registers[0])}"


def clone_rest(call: Call) -> str:
    """Those of the other arguments of clone(2) that its flags ask for, with their names."""
    flags, _, parent, child, tls, _ = call.registers
    words = [""]
    if flags & _SETTID:
        told = None if call.failed else read(call, parent, 4)
        words.append("parent_tid=" + (f"[{int.from_bytes(told, 'little')}]" if told else address_of(parent)))
    if flags & _SETTLS:
        words.append(f"tls={address_of(tls)}")
    if flags & _CHILD_TIDS:
        words.append(f"child_tidptr={address_of(child)}")
    return ", ".join(words)


def clone_structure(call: Call, value: int) -> str:
    """The struct clone_args of clone3(2)."""
    raw = read(call, value, _CLONE_ARGS.size) if call.registers[1] >= _CLONE_ARGS.size else None
    if raw is None:
        return address_of(value)
    flags, _pidfd, child, parent, number, stack, size, tls = _CLONE_ARGS.unpack(raw)
    fields = [f"flags={constants.CLONE.bits(flags)}"]
    if flags & _CHILD_TIDS:
        fields.append(f"child_tid={hexa_of(child)}")
    if flags & _SETTID:
        fields.append(f"parent_tid={hexa_of(parent)}")
    fields += [
        f"exit_signal={signal_name(number) if number else 0}",
        f"stack={address_of(stack)}",
        f"stack_size={hexa_of(size)}",
    ]
    if flags & _SETTLS:
        fields.append(f"tls={hexa_of(tls)}")
    return "{" + ", ".join(fields) + "}"


# ---- fcntl

_WITHOUT: Final = frozenset((1, 3, 9, 11, 0x401, 0x408, 0x40A))
_LOCKS: Final = frozenset((5, 6, 7, 36, 37, 38))


def _lock(call: Call, value: int, command: int) -> str:
    raw = read(call, value, _FLOCK.size)
    if raw is None or (call.failed and command in {5, 36}):
        return address_of(value)
    kind, whence, start, length, pid = _FLOCK.unpack(raw)
    fields = [
        f"l_type={constants.LOCK_TYPES.one(kind)}",
        f"l_whence={constants.SEEK.one(whence)}",
        f"l_start={start}",
        f"l_len={length}",
    ]
    if command in {5, 36}:
        fields.append(f"l_pid={pid}")
    return "{" + ", ".join(fields) + "}"


def control_argument(call: Call, value: int) -> str | None:
    """The last argument of fcntl(2), which the command explains."""
    command = call.int(1)
    if command in _WITHOUT:
        return None
    if command in _LOCKS:
        return _lock(call, value, command)
    table = {2: constants.FD_FLAGS, 0x400: constants.LOCK_TYPES, 0x409: constants.SEALS}.get(command)
    if table is not None:
        return table.one(signed(value)) if command == 0x400 else table.bits(value & 0xFFFF_FFFF)
    if command == 4:
        return open_flags(value)
    if command == 10:
        return signal_name(signed(value))
    return str(signed(value)) if command in {0, 8, 0x406, 0x407} else address_of(value)


def control_result(call: Call) -> str | None:
    """The result of fcntl(2) where it is a set of flags."""
    command, result = call.int(1), call.result or 0
    if command == 1:
        return f"{result:#x} (flags {constants.FD_FLAGS.bits(result)})" if result else "0"
    if command == 3:
        return f"{hexa_of(result)} (flags {open_flags(result)})"
    if command == 0x40A:
        return f"{result:#x} (seals {constants.SEALS.bits(result)})" if result else "0"
    return None


# ---- ioctl, prctl, arch_prctl


# Numbers that two drivers use.
_TWO_NAMES: Final = {
    0x5402: "SNDCTL_TMR_START or TCSETS",
    0x5403: "SNDCTL_TMR_STOP or TCSETSW",
    0x5404: "SNDCTL_TMR_CONTINUE or TCSETSF",
    0x40049409: "BTRFS_IOC_CLONE or FICLONE",
}


def request(_call: Call, value: int) -> str:
    """The request of ioctl(2)."""
    value &= 0xFFFF_FFFF
    known = constants.IOCTL.by_number.get(value)
    if known:
        return _TWO_NAMES.get(value) or known
    ways = ("_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE")
    parts = (hexa_of(value >> 8 & 0xFF), hexa_of(value & 0xFF), hexa_of(value >> 16 & 0x3FFF))
    return f"_IOC({ways[value >> 30]}, {', '.join(parts)})"


def request_argument(call: Call, value: int) -> str | None:
    """What an ioctl(2) is given or gives: a window's size, a number; an address for the rest."""
    number = call.registers[1] & 0xFFFF_FFFF
    if number in {0x540C, 0x540D, 0x5422, 0x5450, 0x5451}:
        return None
    if number == 0x40049409:
        return str(signed(value))
    if number == 0x5413 and not call.failed and (raw := read(call, value, 8)) is not None:
        return "{{ws_row={}, ws_col={}, ws_xpixel={}, ws_ypixel={}}}".format(*struct.unpack("<4H", raw))
    told = number in {0x541B, 0x540F, 0x5411} and not call.failed
    if (told or number in {0x5410, 0x5421}) and (raw := read(call, value, 4)) is not None:
        return f"[{int.from_bytes(raw, 'little', signed=True)}]"
    if number in constants.IOCTL.by_number:
        return address_of(value)
    return hexa_of(value)


_PRCTL_WITHOUT: Final = frozenset((3, 7, 0x1B, 0x1E))


def process_control(call: Call) -> str:
    """The arguments of prctl(2): as many as the option has."""
    option = call.int(0)
    name = constants.PRCTL.one(option)
    first, *rest = call.registers[1:5]
    if option in _PRCTL_WITHOUT:
        return name
    if option in {15, 16}:
        return f"{name}, {address_of(first) if call.failed else string(call, first)}"
    if option == 1:
        return f"{name}, {signal_name(signed(first))}"
    if option in {0x17, 0x18}:
        return f"{name}, {hexa_of(first)}"
    if option == 4:
        words = {0: "SUID_DUMP_DISABLE", 1: "SUID_DUMP_USER", 2: "SUID_DUMP_ROOT"}
        return f"{name}, {words.get(first) or hexa_of(first)}"
    if option in {8, 0x1D, 0x24}:
        return f"{name}, {first}"
    if option == 0x26:
        return ", ".join([name, str(first), *map(hexa_of, rest)])
    return ", ".join([name, *map(hexa_of, (first, *rest))])
