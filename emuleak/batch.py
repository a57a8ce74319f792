"""Calls that were served in the guest, as the gate's stub wrote them down: taken apart only as far as somebody asks.

A program makes millions of them, and of most nobody asks more than what they did to the heap's figures. A slice of
packed words, a translated string, a sum are made in C, at 10 to 30 ns a call; a tuple of a call costs 300.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Self

from emuleak.events import OP_SHIFT, RELEASES_BY_CODE, SIZE_MASK, Record

# operation << 56 | thread << 40 | size, address, bytes by which the heap grows, where the stack ends
_RECORD: Final = struct.Struct("<QQqQ")
_WORDS: Final = _RECORD.size // 8
_ALIGNED: Final = bytes(range(0, 256, 16))
_RELEASE: Final = bytes(family > 0 for family in RELEASES_BY_CODE)
_MAKES: Final = bytes(family == 0 for family in RELEASES_BY_CODE)


class Batch:
    """Some calls in their order: records of fixed size, and the stacks, one behind the other from `origin` on.

    Behind the stack of a release stands what the block held.
    """

    __slots__ = ("_area", "_origin", "_records")

    def __init__(self, records: bytes, area: bytes, origin: int) -> None:
        self._records, self._area, self._origin = records, area, origin

    @classmethod
    def of(cls, calls: Sequence[Record]) -> Self:
        """The same of calls that were not served in the guest; a release's size is its block's."""
        records, end = [], 0
        for word, address, stack in calls:
            end += len(stack)
            size = word & SIZE_MASK
            records.append(_RECORD.pack(word, address, -size if _RELEASE[word >> OP_SHIFT] else size, end))
        return cls(b"".join(records), b"".join([stack for _, _, stack in calls]), 0)

    def __len__(self) -> int:
        return len(self._records) // _RECORD.size

    @property
    def weight(self) -> int:
        """How many bytes it takes."""
        return len(self._records) + len(self._area)

    def growth(self) -> list[int]:
        """By how many bytes each call made the heap grow: a release by less than none."""
        return memoryview(self._records).cast("q")[2::_WORDS].tolist()

    def addresses(self) -> list[int]:
        """The address of each call's block."""
        return memoryview(self._records).cast("Q")[1::_WORDS].tolist()

    def releases(self) -> bytes:
        """A 1 for each call that released a block, a 0 for each that made one."""
        return self._records[7 :: _RECORD.size].translate(_RELEASE)

    def makes(self) -> bytes:
        """The opposite of `releases`."""
        return self._records[7 :: _RECORD.size].translate(_MAKES)

    def is_aligned(self) -> bool:
        """Whether every address is a multiple of 16, as it is where no guest wrote to the records."""
        return not self._records[8 :: _RECORD.size].translate(None, _ALIGNED)

    def calls(self) -> list[Record]:
        """All calls, as the ledger keeps those of live blocks."""
        area, origin, start, calls = self._area, self._origin, self._origin, []
        for word, address, _, end in _RECORD.iter_unpack(self._records):
            calls.append((word, address, area[start - origin : end - origin]))
            start = end
        return calls

    def made(self, addresses: Collection[int]) -> Iterator[Record]:
        """The calls that made blocks at some addresses."""
        area, origin, start = self._area, self._origin, self._origin
        for word, address, _, end in _RECORD.iter_unpack(self._records):
            if address in addresses and not _RELEASE[word >> OP_SHIFT]:
                yield word, address, area[start - origin : end - origin]
            start = end

    def released(self) -> Iterator[Record]:
        """The calls that released blocks."""
        area, origin, start = self._area, self._origin, self._origin
        for word, address, _, end in _RECORD.iter_unpack(self._records):
            if _RELEASE[word >> OP_SHIFT]:
                yield word, address, area[start - origin : end - origin]
            start = end
