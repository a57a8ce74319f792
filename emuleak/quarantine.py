"""Freed blocks that are not given out again yet: a second free of one is recognised, and so is a write to it.

What a block held when it was freed is kept beside its stack. The block itself is left as it was: a program that goes on
reading a freed block reads what valgrind would let it read, and fills of any kind would lead it astray.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from emuleak.events import SIZE_MASK, Block, Record, Stack, block_of
from emuleak.memory import HEAP_BASE, HEAP_SIZE, AddressSpace
from emuleak.redzones import FREED, LARGEST_TOLD, LEAD, RED, TAIL, Damage, damage_freed, usable_size

# As valgrind's --freelist-vol; the count bounds what the quarantine costs the host (about 400 bytes a block).
QUARANTINE_BYTES: Final = 20_000_000
QUARANTINE_BLOCKS: Final = 200_000
# Of larger blocks only the beginning is kept: a program that frees megabytes all the time shall not pay for a copy.
_KEPT_WHOLE: Final = 64 << 10
_KEPT: Final = 4096

_BEFORE: Final = RED * 8 + FREED
_BEHIND: Final = RED * TAIL
_USABLE: Final = tuple(usable_size(size) for size in range(LARGEST_TOLD + 1))


def kept_bytes(size: int) -> int:
    """How many bytes of a freed block of `size` bytes are kept, from its start."""
    usable = usable_size(size)
    return usable if usable <= _KEPT_WHOLE else _KEPT


Entry = tuple[Record, bytes]
"""A freed block's record; the freeing stack, and behind it what was kept: the stub writes them in one string."""


class Quarantine:
    """Owner of the freed blocks. `entries` has them in the order of their release.

    By address they are only known once somebody asked: few programs free a block twice.
    """

    def __init__(self, memory: AddressSpace) -> None:
        self._memory = memory
        self._heap = memory.peek(HEAP_BASE, HEAP_SIZE)
        self.entries: deque[Entry] = deque()
        self._index: dict[int, Entry] | None = None
        self._indexed = 0  # entries at the end that are not in the index are those added since
        self.bytes = 0

    def copy_for(self, memory: AddressSpace) -> "Quarantine":
        """The same blocks in a copy of the memory."""
        copy = Quarantine(memory)
        copy.entries, copy.bytes = self.entries.copy(), self.bytes
        return copy

    def __len__(self) -> int:
        return len(self.entries)

    def add(self, record: Record, stack: Stack) -> None:
        """A block was freed just now."""
        size, address = record[0] & SIZE_MASK, record[1]
        self.entries.append((record, stack + bytes(self._memory.peek(address, kept_bytes(size)))))
        self.bytes += size

    def get(self, address: int) -> Block | None:
        """The freed block at an address."""
        if self._index is None:
            self._index, self._indexed = {}, 0
        added = islice(reversed(self.entries), len(self.entries) - self._indexed)
        self._index.update({entry[0][1]: entry for entry in reversed(list(added))})
        self._indexed = len(self.entries)
        found = self._index.get(address)
        return None if found is None else _block(found)

    def blocks(self) -> Iterator[Block]:
        """All of them, the oldest first."""
        return map(_block, self.entries)

    def overflowing(self) -> list[Entry]:
        """Take out the oldest until the rest is within bounds."""
        gone = []
        while self.bytes > QUARANTINE_BYTES or len(self.entries) > QUARANTINE_BLOCKS:
            entry = self.entries.popleft()
            self.bytes -= entry[0][0] & SIZE_MASK
            gone.append(entry)
        if self._index is not None:
            for entry in gone[: self._indexed]:
                self._index.pop(entry[0][1], None)  # a guest that writes to the gate's data frees what it likes
            self._indexed -= min(len(gone), self._indexed)
        return gone

    def damaged(self, entries: Iterable[Entry] | None = None) -> Iterator[tuple[Block, Damage]]:
        """Those that were changed after they were freed, of some that were taken out or of all that are left.

        A program frees millions of blocks, so an intact small one is recognised in one comparison (0.5 us).
        """
        heap, usable = self._heap, _USABLE
        for entry in self.entries if entries is None else entries:
            (word, address, _), rest = entry
            size = word & SIZE_MASK
            if size <= LARGEST_TOLD:
                at, room = address - HEAP_BASE, usable[size]
                if heap[at - LEAD : at + room + TAIL] == _BEFORE + rest[-room:] + _BEHIND:
                    continue
            found = damage_freed(self._memory, address, rest[-kept_bytes(size) :], usable_size(size))
            if found is not None:
                yield _block(entry), found


def _block(entry: Entry) -> Block:
    record, rest = entry
    return block_of(record, rest[: -kept_bytes(record[0] & SIZE_MASK)])
