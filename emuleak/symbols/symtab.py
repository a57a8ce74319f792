"""The symbol table: which function or variable stands at an address, without any debug information.

Read with one `iter_unpack` over .symtab or .dynsym and kept sorted: libc's 10,000 symbols in a few milliseconds, where
a general ELF library takes a hundred times that.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterator
from functools import cached_property
from typing import NamedTuple

from emuleak.symbols.objectfile import SHF_EXECINSTR, ObjectFile, c_string

SYMBOL = struct.Struct("<IBBHQQ")
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_COMMON, STT_TLS, STT_GNU_IFUNC = 0, 1, 2, 5, 6, 10
STB_LOCAL = 0
_FUNCTION_KINDS = frozenset((STT_FUNC, STT_GNU_IFUNC))
_OBJECT_KINDS = frozenset((STT_OBJECT, STT_COMMON))
_THREAD_LOCAL_KINDS = frozenset((STT_TLS,))
# How far back to look for a symbol around a nested one.
LOOK_BACK = 8


Row = tuple[int, int, int, int, int]  # value, size, offset of the name, info, section index


class Symbol(NamedTuple):
    """A named range of addresses: `start` inclusive, `size` in bytes."""

    start: int
    size: int
    name: str


class SymbolTable:
    """Functions and data objects of one file, by address. Each sort of them, and names, when they are asked for."""

    def __init__(self, file: ObjectFile) -> None:
        self._sections = file.sections
        self._names = self._entries = b""
        table = file.section(".symtab") or file.section(".dynsym")
        if table is not None and table.link < len(file.sections):
            self._names = file.section_bytes(file.sections[table.link])
            raw = file.section_bytes(table)
            self._entries = raw[: len(raw) - len(raw) % SYMBOL.size]

    @cached_property
    def _functions(self) -> list[Row]:
        """Functions, and labels in code."""
        code = {index for index, section in enumerate(self._sections) if section.flags & SHF_EXECINSTR}
        return sorted(self._defined(_FUNCTION_KINDS, code))

    @cached_property
    def _objects(self) -> list[Row]:
        return sorted(self._defined(_OBJECT_KINDS))

    @cached_property
    def _thread_locals(self) -> list[Row]:
        return self._defined(_THREAD_LOCAL_KINDS)

    def _defined(self, kinds: frozenset[int], code: Container[int] = ()) -> list[Row]:
        """What is defined in this file: symbols of these types, and those without a type in the sections `code`."""
        count = len(self._sections)
        return [
            (value, size, name, info, index)
            for name, info, _, index, value, size in SYMBOL.iter_unpack(self._entries)
            if (info & 15 in kinds or (info & 15 == STT_NOTYPE and index in code)) and name and 0 < index < count
        ]

    @cached_property
    def _starts(self) -> list[int]:
        return [row[0] for row in self._functions]

    @cached_property
    def _object_starts(self) -> list[int]:
        return [row[0] for row in self._objects]

    def function(self, address: int) -> Symbol | None:
        """Give the function that covers the address."""
        return self._covering(self._functions, self._starts, address)

    def names(self, address: int) -> tuple[str, ...]:
        """Give all names of the function that covers the address, the one that valgrind chooses first.

        A versioned name (`strdup@@GLIBC_2.2.5`) is followed by itself without the version. valgrind takes the shortest,
        not counting versions, of two the one with a version, then the first of the alphabet.
        """
        symbol = self.function(address)
        if symbol is None:
            return ()
        first, after = bisect_left(self._starts, symbol.start), bisect_right(self._starts, symbol.start)
        names = {c_string(self._names, row[2]) for row in self._functions[first:after]}
        ranked = sorted(names, key=lambda name: (len(name.partition("@")[0]), "@" not in name, name))
        return tuple(dict.fromkeys(form for name in ranked for form in (name, name.partition("@")[0])))

    def nearest(self, address: int) -> Symbol | None:
        """Give the last function symbol before the address in the same section."""
        at = bisect_right(self._starts, address)
        if at == 0 or address >= self._section_end(self._functions[at - 1]):
            return None
        return self._best(self._functions, self._starts, self._starts[at - 1])

    def object(self, address: int) -> Symbol | None:
        """Give the variable that covers the address."""
        return self._covering(self._objects, self._object_starts, address)

    def thread_local(self, offset: int) -> Symbol | None:
        """Give the thread-local variable that covers the offset in the module's thread-local block."""
        for row in self._thread_locals:
            if row[0] <= offset < row[0] + row[1]:
                return Symbol(row[0], row[1], self._name(row))
        return None

    def _covering(self, rows: list[Row], starts: list[int], address: int) -> Symbol | None:
        at = bisect_right(starts, address)
        for _ in range(LOOK_BACK):
            if at == 0:
                return None
            symbol = self._best(rows, starts, starts[at - 1])
            if address < symbol.start + symbol.size:
                return symbol
            at = bisect_left(starts, symbol.start)
        return None

    def _best(self, rows: list[Row], starts: list[int], start: int) -> Symbol:
        """Choose among the names of one address."""
        first, after = bisect_left(starts, start), bisect_right(starts, start)
        row = min(rows[first:after], key=self._rank)
        size = row[1]
        if not size and rows is self._functions:
            # Assembler code and `_init` record no size: they reach to the next function or the section's end.
            end = starts[after] if after < len(starts) else self._section_end(row)
            size = max(0, min(end, self._section_end(row)) - start)
        return Symbol(start, size, self._name(row))

    def _name(self, row: Row) -> str:
        return c_string(self._names, row[2]).partition("@")[0]

    def _section_end(self, row: Row) -> int:
        section = self._sections[row[4]]
        return section.address + section.size

    def _rank(self, row: Row) -> tuple[int | str, ...]:
        """Prefer sized, typed and exported names, and of `puts` and `_IO_puts` the one that programs call."""
        name = self._name(row)
        underscores = 0 if name.startswith(("_Z", "_R")) else len(name) - len(name.lstrip("_"))
        kind, binding = row[3] & 15, row[3] >> 4
        return (not name, row[1] == 0, kind == STT_NOTYPE, binding == STB_LOCAL, underscores, len(name), name)


def undefined_names(file: ObjectFile) -> Iterator[str]:
    """The names in .dynsym that another file is to define."""
    table = file.section(".dynsym")
    if table is None or table.link >= len(file.sections):
        return
    names, raw = file.section_bytes(file.sections[table.link]), file.section_bytes(table)
    for name, _, _, index, _, _ in SYMBOL.iter_unpack(raw[: len(raw) - len(raw) % SYMBOL.size]):
        if name and index == 0:
            yield c_string(names, name).partition("@")[0]
