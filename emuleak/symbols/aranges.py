"""Which compilation unit covers an address, from .debug_aranges.

gcc writes the section always, clang only when asked. Source: DWARF 5, section 6.1.2.
"""

import struct
from bisect import bisect_right

from emuleak.symbols.objectfile import ObjectFile

HEADER = struct.Struct("<IHIBB")
PAIR = struct.Struct("<QQ")


class AddressRanges:
    """The offset in .debug_info of the unit around an address. Damaged entries are left out."""

    def __init__(self, file: ObjectFile) -> None:
        self._ranges = sorted(_read(file.contents(".debug_aranges")))
        self._starts = [start for start, _, _ in self._ranges]

    def unit(self, address: int) -> int | None:
        """Give the unit's offset in .debug_info, or None where no range covers the address."""
        at = bisect_right(self._starts, address)
        if at == 0:
            return None
        start, size, unit = self._ranges[at - 1]
        return unit if address < start + size else None


def _read(raw: bytes) -> list[tuple[int, int, int]]:
    found = []
    at = 0
    while at + HEADER.size <= len(raw):
        length, version, unit, address_size, segment_size = HEADER.unpack_from(raw, at)
        end = min(at + 4 + length, len(raw))
        # 64-bit DWARF (length 0xffffffff) and segments are not used on x86-64 Linux.
        if version != 2 or address_size != 8 or segment_size != 0:
            break
        first = at + 16
        usable = (end - first) // PAIR.size * PAIR.size
        # Code that the linker dropped keeps its entry, at address 0.
        found += [
            (start, size, unit) for start, size in PAIR.iter_unpack(raw[first : first + usable]) if start and size
        ]
        at = end if end > at else len(raw)
    return found
