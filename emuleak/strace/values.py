"""Printers of arguments that are numbers, addresses, descriptors, paths and buffers."""

import struct
from collections.abc import Callable
from typing import Final

from emuleak.kernel.abi import SyscallError
from emuleak.memory import Fault
from emuleak.strace.call import Call, Printer, signed, signed_long
from emuleak.strace.flags import Names
from emuleak.strace.quoting import hexadecimal, quoted

_AT_FDCWD: Final = -100
_LONGEST_PATH: Final = 4095
_MOST_POINTERS: Final = 4096


def integer(_call: Call, value: int) -> str:
    """An int."""
    return str(signed(value))


def unsigned(_call: Call, value: int) -> str:
    """An unsigned int."""
    return str(value & 0xFFFF_FFFF)


def long(_call: Call, value: int) -> str:
    """A long or an off_t."""
    return str(signed_long(value))


def size(_call: Call, value: int) -> str:
    """A size_t."""
    return str(value)


def hexa(_call: Call, value: int) -> str:
    """A number in hexadecimal digits."""
    return hexa_of(value)


def hexa_of(value: int) -> str:
    """A number as `%#x` of printf(3) has it."""
    return f"{value:#x}" if value else "0"


def hexa32(_call: Call, value: int) -> str:
    """An unsigned int in hexadecimal digits."""
    return hexa_of(value & 0xFFFF_FFFF)


def pointer(_call: Call, value: int) -> str:
    """An address."""
    return address_of(value)


def address_of(value: int) -> str:
    """An address, or NULL."""
    return f"{value:#x}" if value else "NULL"


def user(_call: Call, value: int) -> str:
    """A uid_t or gid_t, of which -1 means something."""
    return "-1" if value & 0xFFFF_FFFF == 0xFFFF_FFFF else str(value & 0xFFFF_FFFF)


def mode(_call: Call, value: int) -> str:
    """A mode_t of permissions."""
    return octal(value & 0xFFFF)


def octal(value: int) -> str:
    """At least three octal digits, of which the first is 0."""
    return f"0{value:o}".rjust(3, "0") if value else "000"


def descriptor(call: Call, value: int) -> str:
    """A file descriptor, with -y and its file."""
    fd = signed(value)
    return f"{fd}{file_of(call, fd)}"


def file_of(call: Call, fd: int) -> str:
    """With -y the file of a descriptor between < and >."""
    if not call.style.paths or fd < 0:
        return ""
    try:
        return f"<{call.kept.get(fd) or call.kernel.files.get(fd).path}>"
    except SyscallError:
        return ""


def directory(call: Call, value: int) -> str:
    """The descriptor of an -at call."""
    if signed(value) != _AT_FDCWD:
        return descriptor(call, value)
    return "AT_FDCWD" + (f"<{call.kernel.files.cwd}>" if call.style.paths else "")


def path(call: Call, value: int) -> str:
    """A path, whole."""
    text = string_at(call, value)
    return address_of(value) if text is None else quoted(text, _LONGEST_PATH)


def string(call: Call, value: int) -> str:
    """A string that ends with NUL, cut to what -s says."""
    text = string_at(call, value)
    return address_of(value) if text is None else quoted(text, call.style.longest)


def string_at(call: Call, address: int) -> bytes | None:
    """The bytes before the NUL; None where they cannot be read."""
    try:
        return call.kernel.memory.cstring(address)
    except Fault:
        return None


def read(call: Call, address: int, length: int) -> bytes | None:
    """Guest memory; None where it cannot be read."""
    try:
        return call.kernel.memory.read(address, length) if address else None
    except Fault:
        return None


def data(call: Call, address: int, length: int) -> str:
    """A buffer of which `length` bytes count."""
    found = read(call, address, min(length, call.style.longest + 1)) if length else b"" if address else None
    return address_of(address) if found is None else quoted(found, call.style.longest)


def sized(index: int) -> Printer:
    """A buffer whose length is another argument."""
    return lambda call, value: data(call, value, call.registers[index])


def filled(call: Call, value: int) -> str:
    """A buffer into which the call has put as many bytes as its result says."""
    if call.failed or call.result is None:
        return address_of(value)
    return data(call, value, call.result)


def filled_path(call: Call, value: int) -> str:
    """As `filled`, of a path that ends with NUL (getcwd)."""
    if call.failed or call.result is None:
        return address_of(value)
    return quoted(read(call, value, max(call.result - 1, 0)) or b"", _LONGEST_PATH)


def random_bytes(call: Call, value: int) -> str:
    """As `filled`, of bytes that are no text."""
    found = None if call.failed or call.result is None else read(call, value, call.result)
    return address_of(value) if found is None else hexadecimal(found, call.style.longest)


def packed(format_: str, show: Callable[..., str]) -> Printer:
    """A struct in memory: its fields, unpacked, are given to `show`. NULL and what cannot be read is an address."""
    layout = struct.Struct("<" + format_)

    def printer(call: Call, value: int) -> str:
        raw = None if call.failed else read(call, value, layout.size)
        return address_of(value) if raw is None else show(*layout.unpack(raw))

    return printer


def given(format_: str, show: Callable[..., str]) -> Printer:
    """As `packed`, for a struct that the program filled in: a failure of the call does not matter."""
    layout = struct.Struct("<" + format_)

    def printer(call: Call, value: int) -> str:
        raw = read(call, value, layout.size)
        return address_of(value) if raw is None else show(*layout.unpack(raw))

    return printer


def one(names: Names) -> Printer:
    """An int that is one of several constants."""
    return lambda _call, value: names.one(signed(value))


def bits(names: Names, zero: str = "0") -> Printer:
    """An unsigned int that is a set of bits."""
    return lambda _call, value: names.bits(value & 0xFFFF_FFFF, zero=zero)


def pair(call: Call, value: int) -> str:
    """The two descriptors that pipe(2) and socketpair(2) give."""
    raw = None if call.failed else read(call, value, 8)
    if raw is None:
        return address_of(value)
    return "[" + ", ".join(descriptor(call, fd) for fd in struct.unpack("<ii", raw)) + "]"


def strings(call: Call, value: int) -> str:
    """A vector of strings that ends with NULL: argv."""
    words = []
    for index in range(_MOST_POINTERS):
        raw = read(call, value + 8 * index, 8)
        if raw is None:
            return address_of(value)
        where = int.from_bytes(raw, "little")
        if not where:
            break
        if index == call.style.longest:
            words.append("...")
            break
        words.append(string(call, where))
    return "[" + ", ".join(words) + "]"


def counted(call: Call, value: int) -> str:
    """A vector of strings of which only the number is told: envp."""
    if not value:
        return "NULL"
    count = 0
    while (raw := read(call, value + 8 * count, 8)) is not None and any(raw) and count < _MOST_POINTERS:
        count += 1
    return f"{value:#x} /* {count} var{'' if count == 1 else 's'} */"
