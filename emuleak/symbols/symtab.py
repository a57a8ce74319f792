"""The symbol table: which function or variable stands at an address, without any debug information.

Read with one `iter_unpack` over .symtab or .dynsym and kept sorted: libc's 10,000 symbols in a few milliseconds, where
a general ELF library takes a hundred times that.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from typing import NamedTuple

from emuleak.symbols.objectfile import SHF_EXECINSTR, ObjectFile, c_string

SYMBOL = struct.Struct("<IBBHQQ")
STT_NOTYPE, STT_OBJECT, STT_FUNC, STT_COMMON, STT_GNU_IFUNC = 0, 1, 2, 5, 10
STB_LOCAL = 0
# How far back to look for a symbol around a nested one.
LOOK_BACK = 8


Row = tuple[int, int, int, int, int]  # value, size, offset of the name, info, section index


class Symbol(NamedTuple):
    """A named range of addresses: `start` inclusive, `size` in bytes."""

    start: int
    size: int
    name: str


class SymbolTable:
    """Functions and data objects of one file, by address. Names are read when they are asked for."""

    def __init__(self, file: ObjectFile) -> None:
        self._sections = file.sections
        self._names = b""
        self._functions: list[Row] = []
        self._objects: list[Row] = []
        table = file.section(".symtab") or file.section(".dynsym")
        if table is not None and table.link < len(file.sections):
            self._names = file.section_bytes(file.sections[table.link])
            raw = file.section_bytes(table)
            self._sort(SYMBOL.iter_unpack(raw[: len(raw) - len(raw) % SYMBOL.size]))
        self._starts = [row[0] for row in self._functions]
        self._object_starts = [row[0] for row in self._objects]

    def _sort(self, entries: Iterable[tuple[int, ...]]) -> None:
        """Keep what is defined in this file: functions, labels in code, and variables."""
        count = len(self._sections)
        code = {index for index, section in enumerate(self._sections) if section.flags & SHF_EXECINSTR}
        for name, info, _, index, value, size in entries:
            kind = info & 15
            if not name or not 0 < index < count:
                continue
            if kind in {STT_FUNC, STT_GNU_IFUNC} or (kind == STT_NOTYPE and index in code):
                self._functions.append((value, size, name, info, index))
            elif kind in {STT_OBJECT, STT_COMMON}:
                self._objects.append((value, size, name, info, index))
        self._functions.sort()
        self._objects.sort()

    def function(self, address: int) -> Symbol | None:
        """Give the function that covers the address."""
        return self._covering(self._functions, self._starts, address)

    def nearest(self, address: int) -> Symbol | None:
        """Give the last function symbol before the address in the same section."""
        at = bisect_right(self._starts, address)
        if at == 0 or address >= self._section_end(self._functions[at - 1]):
            return None
        return self._best(self._functions, self._starts, self._starts[at - 1])

    def object(self, address: int) -> Symbol | None:
        """Give the variable that covers the address."""
        return self._covering(self._objects, self._object_starts, address)

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
