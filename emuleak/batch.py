"""Calls that were served in the guest, as the gate's stub wrote them down: taken apart only as far as somebody asks.

A program makes millions of them, and of most nobody asks more than what they did to the heap's figures. A slice of
packed words, a translated string, a sum are made in C, at 10 to 30 ns a call; a tuple of a call costs 300.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from itertools import compress, islice
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
    """Some calls in their order: records of fixed size, and in `area` the stacks, one behind the other.

    Behind the stack of a release stands what the block held. `drained`: they are the stub's.
    """

    __slots__ = ("area", "drained", "records")

    def __init__(self, records: bytes, area: bytes, *, drained: bool) -> None:
        self.records, self.area, self.drained = records, area, drained

    @classmethod
    def of(cls, calls: Sequence[Record]) -> Self:
        """The same of calls that were not served in the guest; a release's size is its block's."""
        records, end = [], 0
        for word, address, stack in calls:
            end += len(stack)
            size = word & SIZE_MASK
            growth = -size if _RELEASE[word >> OP_SHIFT] else size
            records.append(_RECORD.pack(word, address, growth, end, address >> 4 & _HALF))
        return cls(b"".join(records), b"".join([stack for _, _, stack in calls]), drained=False)

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

    def fields(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Of each call: its word, the address, where in `area` its stack starts and ends, 1 for a release."""
        words = memoryview(self.records).cast("Q")
        ends = self._ends()
        return zip(words[::_WORDS].tolist(), self.addresses(), [0, *ends], ends, self.releases(), strict=False)

    def calls(self) -> list[Record]:
        """All calls, as the ledger keeps those of live blocks."""
        area = self.area
        return [(word, address, area[start:end]) for word, address, start, end, _ in self.fields()]

    def made(self, units: Collection[int] | None = None) -> Iterator[Record]:
        """The calls that made blocks, or of these only those at some addresses, given as `units` does."""
        area = self.area
        for (word, address, start, end, release), unit in zip(self.fields(), self.units(), strict=True):
            if not release and (units is None or unit in units):
                yield word, address, area[start:end]

    def released(self, first: int = 0, last: int | None = None) -> Iterator[Record]:
        """The calls that released blocks, or of these those from the `first` to before the `last`."""
        area, releases = self.area, self.releases()
        for word, address, start, end, _ in islice(compress(self.fields(), releases), first, last):
            yield word, address, area[start:end]

    def _ends(self) -> list[int]:
        return memoryview(self.records).cast("I")[6 :: 2 * _WORDS].tolist()
