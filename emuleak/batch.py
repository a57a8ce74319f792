"""Calls that were served in the guest, as the gate's stub wrote them down: taken apart only as far as somebody asks.

A program makes millions of them, and of most nobody asks more than what they did to the heap's figures. A slice of
packed words, a translated string, a sum are made in C, at 10 to 30 ns a call; a tuple of a call costs 300.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from itertools import compress
from typing import Final, Self

from emuleak.events import OP_SHIFT, RELEASES_BY_CODE, SIZE_MASK, Record

# operation << 56 | thread << 40 | size, address, bytes by which the heap grows, where the stack ends, address >> 4; of
# the last two the lower half
_RECORD: Final = struct.Struct("<QQqII")
_WORDS: Final = _RECORD.size // 8
_HALF: Final = (1 << 32) - 1
_RELEASE: Final = bytes(family > 0 for family in RELEASES_BY_CODE)
_MAKES: Final = bytes(family == 0 for family in RELEASES_BY_CODE)


class Batch:
    """Some calls in their order: records of fixed size, and the stacks, one behind the other from `origin` on.

    Behind the stack of a release stands what the block held.
    """

    __slots__ = ("area", "origin", "records")

    def __init__(self, records: bytes, area: bytes, origin: int) -> None:
        self.records, self.area, self.origin = records, area, origin

    @classmethod
    def of(cls, calls: Sequence[Record]) -> Self:
        """The same of calls that were not served in the guest; a release's size is its block's."""
        records, end = [], 0
        for word, address, stack in calls:
            end += len(stack)
            size = word & SIZE_MASK
            growth = -size if _RELEASE[word >> OP_SHIFT] else size
            records.append(_RECORD.pack(word, address, growth, end, address >> 4 & _HALF))
        return cls(b"".join(records), b"".join([stack for _, _, stack in calls]), 0)

    def __len__(self) -> int:
        return len(self.records) // _RECORD.size

    @property
    def weight(self) -> int:
        """How many bytes it takes."""
        return len(self.records) + len(self.area)

    def growth(self) -> list[int]:
        """By how many bytes each call made the heap grow: a release by less than none."""
        return memoryview(self.records).cast("q")[2::_WORDS].tolist()

    def addresses(self) -> list[int]:
        """The address of each call's block."""
        return memoryview(self.records).cast("Q")[1::_WORDS].tolist()

    def units(self) -> list[int]:
        """The addresses in units of 16 bytes, modulo 2**32: small numbers that tell the heap's blocks apart."""
        return memoryview(self.records).cast("I")[2 * _WORDS - 1 :: 2 * _WORDS].tolist()

    def releases(self) -> bytes:
        """A 1 for each call that released a block, a 0 for each that made one."""
        return self.records[7 :: _RECORD.size].translate(_RELEASE)

    def makes(self) -> bytes:
        """The opposite of `releases`."""
        return self.records[7 :: _RECORD.size].translate(_MAKES)

    def released_at(self, units: Collection[int]) -> list[int]:
        """The addresses of those released blocks that are among some, given as `units` does."""
        every = zip(self.addresses(), self.units(), self.releases(), strict=True)
        return [address for address, unit, release in every if release and unit in units]

    def calls(self) -> list[Record]:
        """All calls, as the ledger keeps those of live blocks."""
        area, origin, start, calls = self.area, self.origin & _HALF, self.origin & _HALF, []
        for word, address, _, end, _ in _RECORD.iter_unpack(self.records):
            calls.append((word, address, area[start - origin : end - origin]))
            start = end
        return calls

    def made(self, units: Collection[int] | None = None) -> Iterator[Record]:
        """The calls that made blocks, or of these only those at some addresses, given as `units` does."""
        area, origin, start = self.area, self.origin & _HALF, self.origin & _HALF
        for word, address, _, end, unit in _RECORD.iter_unpack(self.records):
            if (units is None or unit in units) and not _RELEASE[word >> OP_SHIFT]:
                yield word, address, area[start - origin : end - origin]
            start = end

    def released(self, first: int = 0, last: int | None = None) -> Iterator[Record]:
        """The calls that released blocks, or of these those from the `first` to before the `last`."""
        places = list(compress(range(len(self)), self.releases()))[first:last]
        if not places:
            return
        low, area, origin = places[0] * _RECORD.size, self.area, self.origin & _HALF
        start = _RECORD.unpack_from(self.records, low - _RECORD.size)[3] if low else origin
        records = memoryview(self.records)[low : (places[-1] + 1) * _RECORD.size]
        for word, address, _, end, _ in _RECORD.iter_unpack(records):
            if _RELEASE[word >> OP_SHIFT]:
                yield word, address, area[start - origin : end - origin]
            start = end
