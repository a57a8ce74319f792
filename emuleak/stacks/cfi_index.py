"""Two ways from an address to the FDE that covers it.

`HeaderIndex` is the binary-search table that linkers write into `.eh_frame_hdr` for the run-time unwinder; nothing of
it is copied, so that opening the largest library costs no more than the smallest. `ScannedIndex` reads every entry
once, for files that have no such table.

Source: Linux Standard Base Core 5.0 section 10.6.2.
"""

import sys
from bisect import bisect_right
from collections.abc import Iterable
from typing import Literal

from emuleak.stacks.cfi_bytes import ABSOLUTE, DATA_RELATIVE, OMITTED, WORD_MASK, BadCallFrameInfo, Reader
from emuleak.stacks.cfi_elf import ElfFile, Stretch
from emuleak.stacks.cfi_entries import Fde, FrameTable

_VERSION = 1
_LONGEST_PREFIX = 4 + 10 + 10

# Low four bits of the table's encoding -> format of a number, in memoryview's terms, and its size in bytes.
_FORMATS: dict[int, tuple[Literal["H", "h", "I", "i", "Q", "q"], int]] = {
    0x00: ("Q", 8),
    0x02: ("H", 2),
    0x03: ("I", 4),
    0x04: ("Q", 8),
    0x0A: ("h", 2),
    0x0B: ("i", 4),
    0x0C: ("q", 8),
}


class HeaderIndex:
    """The binary-search table of `.eh_frame_hdr`.

    `locations` and `entries` are its two columns, the begin and the address of each FDE, both counted from `base`;
    `table` is the segment the FDEs are in.
    """

    def __init__(self, locations: memoryview, entries: memoryview, base: int, table: FrameTable) -> None:
        self._locations = locations
        self._entries = entries
        self._base = base
        self._table = table
        self._sorted: bool | None = None

    def find(self, address: int) -> Fde | None:
        """The FDE that covers the address, or None.

        Raises BadCallFrameInfo when what the search ends at is no FDE, or not the one the table says.
        """
        row = bisect_right(self._locations, address - self._base) - 1
        if row < 0:
            return None
        fde = self._table.fde(self._base + self._entries[row] - self._table.address)
        if fde.begin != (self._base + self._locations[row]) & WORD_MASK:
            raise BadCallFrameInfo("the table in .eh_frame_hdr does not agree with .eh_frame")
        return fde if address < fde.end else None

    def is_sorted(self) -> bool:
        """Whether the table is in order, so that what the search does not find is not there. Answered once."""
        if self._sorted is None:
            locations = self._locations.tolist()
            self._sorted = locations == sorted(locations)
        return self._sorted


class EhFrameHeader:
    """What `.eh_frame_hdr` says: where the entries begin, and the table if it has one that can be used.

    `start` is the link-time address of the first entry, `table` the segment that holds it. Raises BadCallFrameInfo when
    the header itself cannot be read.
    """

    def __init__(self, elf: ElfFile, header: Stretch) -> None:
        reader = Reader(bytes(header.data[:_LONGEST_PREFIX]), header.address)
        version, start_encoding, count_encoding, encoding = reader.take(4)
        if version != _VERSION:
            raise BadCallFrameInfo(f"version {version} of .eh_frame_hdr is not known")
        self.start = reader.pointer(start_encoding, data_base=header.address)
        segment = elf.segment_at(self.start)
        if segment is None:
            raise BadCallFrameInfo("the .eh_frame that .eh_frame_hdr points to is in no segment")
        self.table = FrameTable(segment.data, segment.address)
        self.index: HeaderIndex | None = None
        if OMITTED not in {count_encoding, encoding}:
            count = reader.pointer(count_encoding, data_base=header.address)
            self.index = self._index(header, reader.at, count, encoding)

    def _index(self, header: Stretch, at: int, count: int, encoding: int) -> HeaderIndex | None:
        # memoryview reads numbers in the order of the host's bytes; a big-endian host takes the slow way.
        if sys.byteorder != "little" or count == 0:
            return None
        if encoding & 0x0F not in _FORMATS or encoding & 0xF0 not in {ABSOLUTE, DATA_RELATIVE}:
            return None
        code, size = _FORMATS[encoding & 0x0F]
        end = at + count * 2 * size
        if end > len(header.data):
            return None
        numbers = header.data[at:end].cast(code)
        base = header.address if encoding & 0xF0 == DATA_RELATIVE else 0
        return HeaderIndex(numbers[::2], numbers[1::2], base, self.table)

    def scan(self) -> "ScannedIndex":
        """The index of the entries from `start` to the empty one that ends them."""
        index = ScannedIndex()
        index.add(self.table, self.table.entries(self.start - self.table.address, until_terminator=True))
        return index


class ScannedIndex:
    """The FDEs of whole sections, ordered by the addresses they begin at."""

    def __init__(self) -> None:
        self._rows: list[tuple[int, int, int, FrameTable]] = []
        self._begins: list[int] | None = None

    def add(self, table: FrameTable, offsets: Iterable[int]) -> None:
        """Take in the FDEs among the entries of a table. A corrupt one is left out."""
        for offset in offsets:
            try:
                fde = table.fde(offset) if table.is_fde(offset) else None
            except BadCallFrameInfo:
                continue
            # A begin of zero is left of a function that the linker has discarded.
            if fde is not None and 0 < fde.begin < fde.end:
                self._rows.append((fde.begin, fde.end, offset, table))
        self._begins = None

    def find(self, address: int) -> Fde | None:
        """The FDE that covers the address, or None; of several the one that begins last, and of these the longest."""
        if self._begins is None:
            self._rows.sort(key=lambda row: row[:3])
            self._begins = [row[0] for row in self._rows]
        at = bisect_right(self._begins, address) - 1
        if at < 0:
            return None
        _, end, offset, table = self._rows[at]
        return table.fde(offset) if address < end else None
