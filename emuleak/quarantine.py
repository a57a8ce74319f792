"""Freed blocks that nobody gets yet: a second free of one is recognised, and so is a write to it.

What a block held when it was freed is kept beside its stack. The block itself is left as it was: a program that goes on
reading a freed block reads what valgrind would let it read, and fills of any kind would lead it astray.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from emuleak.batch import Batch
from emuleak.events import SIZE_MASK, Block, Record, Stack, block_of
from emuleak.memory import HEAP_BASE, HEAP_SIZE, AddressSpace
from emuleak.redzones import FREED, LARGEST_TOLD, LEAD, RED, TAIL, USABLE, Damage, damage_freed, usable_size
from emuleak.shelves import Entry, Era, Loose, Packed, Shelf

# As valgrind's --freelist-vol; the count bounds what the quarantine costs the host (about 400 bytes a block).
QUARANTINE_BYTES: Final = 20_000_000
QUARANTINE_BLOCKS: Final = 200_000
# Of larger blocks only the beginning is kept: a program that frees megabytes all the time shall not pay for a copy.
_KEPT_WHOLE: Final = 64 << 10
_KEPT: Final = 4096

_BEFORE: Final = RED * 8 + FREED
_BEHIND: Final = RED * TAIL


def kept_bytes(size: int) -> int:
    """How many bytes of a freed block of `size` bytes are kept, from its start."""
    usable = usable_size(size)
    return usable if usable <= _KEPT_WHOLE else _KEPT


class Quarantine:
    """Owner of the freed blocks, in the order of their release; `bytes` is their size in all.

    By address they are only known once somebody asked: few programs free a block twice.
    """

    def __init__(self, memory: AddressSpace) -> None:
        self._memory = memory
        self._heap = memory.peek(HEAP_BASE, HEAP_SIZE)
        self._shelves: deque[Shelf] = deque()
        self._index: dict[int, Entry | Packed] | None = None
        self._count = 0
        self.bytes = 0

    def copy_for(self, memory: AddressSpace) -> "Quarantine":
        """The same blocks in a copy of the memory."""
        copy = Quarantine(memory)
        copy._shelves = deque(shelf.copy() for shelf in self._shelves)
        copy._count, copy.bytes = self._count, self.bytes
        return copy

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        return chain.from_iterable(self._shelves)

    def add(self, record: Record, stack: Stack) -> None:
        """A block was freed just now."""
        size, address = record[0] & SIZE_MASK, record[1]
        self.enter([(record, stack + bytes(self._memory.peek(address, kept_bytes(size))))])

    def enter(self, entries: Sequence[Entry]) -> None:
        """Some blocks were freed; what is to be kept of each was taken already."""
        if not entries:
            return
        if self._shelves and isinstance(last := self._shelves[-1], Loose):
            last.entries.extend(entries)
        else:
            self._shelves.append(Loose(entries))
        self._count += len(entries)
        self.bytes += sum([record[0] & SIZE_MASK for record, _ in entries])
        if self._index is not None:
            self._index.update({record[1]: (record, rest) for record, rest in entries})

    def enter_era(self, batches: Iterable[Batch], earlier: dict[int, Record]) -> None:
        """The same of all releases in some batches. `earlier`: the blocks among them that those batches did not make.

        No two of the calls release, and no two make, a block at the same address.
        """
        batches = tuple(batches)
        era = Era(batches, earlier)
        for batch in batches:
            shelf = Packed(era, batch)
            if not len(shelf):
                continue
            self._shelves.append(shelf)
            self._count += len(shelf)
            self.bytes += shelf.size
            if self._index is not None:
                self._index.update(dict.fromkeys(shelf.addresses(), shelf))

    def get(self, address: int) -> Block | None:
        """The freed block at an address."""
        if self._index is None:
            self._index = {}
            for shelf in self._shelves:
                if isinstance(shelf, Packed):
                    self._index.update(dict.fromkeys(shelf.addresses(), shelf))
                else:
                    self._index.update({entry[0][1]: entry for entry in shelf.entries})
        found = self._index.get(address)
        if isinstance(found, Packed):
            found = found.entry(address)
        return None if found is None else _block(found)

    def blocks(self) -> Iterator[Block]:
        """All of them, the oldest first."""
        return map(_block, self)

    def is_overfull(self, count: int = 0, size: int = 0) -> bool:
        """Whether it is beyond its bounds, with so many more blocks of so many bytes in all."""
        return self.bytes + size > QUARANTINE_BYTES or self._count + count > QUARANTINE_BLOCKS

    def overflowing(self) -> list[Shelf]:
        """Take out the oldest until the rest is within bounds."""
        gone: list[Shelf] = []
        while self._shelves and self.is_overfull():
            shelf = self._shelves[0]
            leaving = shelf.leave(self.bytes - QUARANTINE_BYTES, self._count - QUARANTINE_BLOCKS)
            gone.append(leaving)
            self._count -= len(leaving)
            self.bytes -= leaving.size
            if not len(shelf):
                self._shelves.popleft()
            if self._index is not None:
                for address in leaving.addresses():
                    self._index.pop(address, None)  # a guest that writes to the gate's data frees what it likes
        return gone

    def damaged(
        self, shelves: Iterable[Shelf] | None = None, are_intact: Callable[[Batch], bool] | None = None
    ) -> Iterator[tuple[Block, Damage]]:
        """Those that were changed after they were freed, of some that were taken out or of all that are left.

        `are_intact` tells of all blocks that a batch released at once. A program frees millions, so by itself,
        too, an intact small one is recognised in one comparison (0.5 us).
        """
        heap, usable = self._heap, USABLE
        for shelf in self._shelves if shelves is None else shelves:
            if are_intact and isinstance(shelf, Packed) and (batch := shelf.whole) and are_intact(batch):
                continue
            for word, address, rest in shelf.held():
                size = word & SIZE_MASK
                if size <= LARGEST_TOLD:
                    at, room = address - HEAP_BASE, usable[size]
                    if heap[at - LEAD : at + room + TAIL] == _BEFORE + rest[-room:] + _BEHIND:
                        continue
                found = damage_freed(self._memory, address, rest[-kept_bytes(size) :], usable_size(size))
                if found is not None:
                    yield _block(shelf.entry_of(address, rest)), found


def _block(entry: Entry) -> Block:
    record, rest = entry
    return block_of(record, rest[: -kept_bytes(record[0] & SIZE_MASK)])
