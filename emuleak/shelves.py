"""How freed blocks are kept: one by one, as the ledger had them, or by the batches in which they were released.

A batch is taken apart when a block of it is asked for, which happens to few.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import accumulate, compress, islice

from emuleak.batch import Batch
from emuleak.events import NO_STACK, SIZE_MASK, Record

Entry = tuple[Record, bytes]
"""A freed block's record; the freeing stack, and behind it what was kept: the stub writes them in one string."""


class Era:
    """Batches that were entered together; `earlier` has the blocks that they released and did not make."""

    def __init__(self, batches: tuple[Batch, ...], earlier: dict[int, Record]) -> None:
        self._batches = batches
        self._earlier = earlier
        self._made: dict[int, Record] | None = None

    def record(self, address: int) -> Record:
        """Of the block at an address that one of the batches released."""
        if self._made is None:
            self._made = {record[1]: record for batch in self._batches for record in batch.made()}
            self._made.update(self._earlier)
        # None only where a guest that wrote to the gate's data frees what never was.
        return self._made.get(address) or (0, address, NO_STACK)


class Loose:
    """Freed blocks one by one, the oldest first."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = deque(entries)

    def copy(self) -> "Loose":
        """The same blocks, of which others may leave."""
        return Loose(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @property
    def size(self) -> int:
        """Their size in all, as it was asked for."""
        return sum([record[0] & SIZE_MASK for record, _ in self.entries])

    def addresses(self) -> list[int]:
        """Where they are."""
        return [record[1] for record, _ in self.entries]

    def larger_than(self, size: int) -> list[int]:
        """Where those are that are larger."""
        return [record[1] for record, _ in self.entries if record[0] & SIZE_MASK > size]

    def held(self) -> Iterator[Record]:
        """A word with the size, the address, and what an entry has besides the record."""
        for (word, address, _), rest in self.entries:
            yield word, address, rest

    def entry_of(self, address: int, rest: bytes) -> Entry:
        """The entry of which `held` told."""
        return next(entry for entry in self.entries if entry[0][1] == address and entry[1] is rest)

    def leave(self, size: int, count: int) -> "Loose":
        """Take out the oldest until they are at least so many, and have so many bytes, or none is left."""
        gone = Loose(())
        while self.entries and (size > 0 or count > 0):
            entry = self.entries.popleft()
            size -= entry[0][0] & SIZE_MASK
            count -= 1
            gone.entries.append(entry)
        return gone


class Packed:
    """The blocks that one batch of an era released, from the `first` to before the `last` of them."""

    def __init__(self, era: Era, batch: Batch, first: int = 0, last: int | None = None) -> None:
        self._era, self._batch = era, batch
        self._first = first
        self._last = batch.releases().count(1) if last is None else last

    @property
    def whole(self) -> Batch | None:
        """The batch, if all blocks that it released are here."""
        return self._batch if len(self) == self._batch.releases().count(1) else None

    def copy(self) -> "Packed":
        """See Loose."""
        return Packed(self._era, self._batch, self._first, self._last)

    def __len__(self) -> int:
        return self._last - self._first

    def __iter__(self) -> Iterator[Entry]:
        for _, address, rest in self.held():
            yield self._era.record(address), rest

    @property
    def size(self) -> int:
        """See Loose."""
        return sum(self._sizes())

    def addresses(self) -> list[int]:
        """See Loose."""
        every = compress(self._batch.addresses(), self._batch.releases())
        return list(islice(every, self._first, self._last))

    def larger_than(self, size: int) -> list[int]:
        """See Loose."""
        sizes = self._sizes()
        if max(sizes, default=0) <= size:
            return []
        return [address for address, each in zip(self.addresses(), sizes, strict=True) if each > size]

    def held(self) -> Iterator[Record]:
        """See Loose."""
        return self._batch.released(self._first, self._last)

    def entry(self, address: int) -> Entry:
        """The entry of the block at an address."""
        rest = next(rest for _, at, rest in self.held() if at == address)
        return self._era.record(address), rest

    def entry_of(self, address: int, rest: bytes) -> Entry:
        """See Loose."""
        return self._era.record(address), rest

    def leave(self, size: int, count: int) -> "Packed":
        """See Loose."""
        number = count
        if size > 0:
            number = max(number, bisect_left(list(accumulate(self._sizes())), size) + 1)
        middle = min(self._first + number, self._last)
        gone = Packed(self._era, self._batch, self._first, middle)
        self._first = middle
        return gone

    def _sizes(self) -> list[int]:
        every = compress(self._batch.growth(), self._batch.releases())
        return [-growth for growth in islice(every, self._first, self._last)]


Shelf = Loose | Packed
