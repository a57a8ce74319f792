"""Where blocks lie: a policy's places, each with a block in it and red zones around that."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Final

from emuleak.allocators import ALIGNMENT, GAP, Allocator
from emuleak.events import FAMILY_BY_CODE, OP_SHIFT, OPS, SIZE_MASK, Record
from emuleak.memory import HEAP_BASE, HEAP_SIZE, PAGE, READ, WRITE, AddressSpace, Fault, Region
from emuleak.redzones import (
    FAMILY_SHIFT,
    FREED,
    LARGEST_TOLD,
    LEAD,
    MAGIC,
    RED,
    TAIL,
    TWICE,
    USABLE,
    Damage,
    blank,
    damage,
    header,
    lay,
    lay_freed,
    mark,
    usable_size,
)

_FAMILY_BITS: Final = tuple(family << FAMILY_SHIFT for family in FAMILY_BY_CODE)
_LEAD_IMAGE: Final = struct.Struct("<QQ")
_RED_WORD: Final = int.from_bytes(RED * 8, "little")
_PVALLOC: Final = OPS.index("pvalloc")
# A place this large is cleared when its block leaves quarantine, a smaller one when it is given out again (hooks/stub.S
# gives out what `reserve` cleared).
_LARGE: Final = LEAD + LARGEST_TOLD + TAIL - GAP + 1


class Placement:
    """Owner of the places, and of the heap's region. Addresses are the blocks' own."""

    def __init__(self, memory: AddressSpace, policy: Allocator) -> None:
        self._memory = memory
        self.policy = policy
        if memory.region_at(HEAP_BASE) is None:
            memory.map(Region(HEAP_BASE, HEAP_BASE + HEAP_SIZE, READ | WRITE, "heap"))
        self._heap = memory.peek(HEAP_BASE, HEAP_SIZE)
        self._leads: dict[int, int] = {}  # of aligned blocks: how far behind its place's start each begins
        self._stretched: set[int] = set()  # blocks whose usable size the program knows
        self._spilled: set[int] = set()  # blocks into whose lead the reported damage of the one below goes on

    def copy_for(self, memory: AddressSpace) -> "Placement":
        """The same places in a copy of the memory."""
        copy = Placement(memory, self.policy.copy())
        copy._leads, copy._stretched, copy._spilled = dict(self._leads), set(self._stretched), set(self._spilled)
        return copy

    def place(self, size: int, family: int, alignment: int = ALIGNMENT) -> int:
        """The address of a new block of `size` bytes with its red zones, 0 where there is no room.

        `family`: that of the function that makes it (events.py).

        It holds nothing of an earlier block: the stale pointers would keep lost blocks alive in the scan.
        """
        usable, lead = usable_size(size), max(alignment, LEAD)
        place = self.policy.memalign(alignment, lead + usable + TAIL - GAP)
        if not place:
            return 0
        address = place + lead
        if lead > LEAD:
            self._leads[address] = lead
        if (room := self.policy.usable_size(place)) < _LARGE:
            self._memory.clear(place, room)
        lay(self._memory, address, size, usable, family if lead == LEAD else 0)
        if lead > LEAD:
            mark(self._memory, address - LEAD)
        if (end := place + room + GAP) > address + usable + TAIL:
            mark(self._memory, end)
        self._spilled.discard(address)
        return address

    def reserve(self, size: int, count: int) -> list[int]:
        """Addresses of up to `count` blocks of `size` usable bytes, to be given out later: clear, red zones laid."""
        places = self.policy.reserve(LEAD + size + TAIL - GAP, count)
        image = blank(size)
        in_order = sorted(places)
        for first, last in _side_by_side(in_order, len(image)):
            self._memory.poke(in_order[first], image * (last - first))
        addresses = [place + LEAD for place in places]
        if self._spilled:
            self._spilled.difference_update(addresses)
        return addresses

    def stretch(self, record: Record) -> int:
        """The usable size of a live block, all of which the program may use from now on."""
        address, usable = record[1], _usable(record)
        intact = all(self.is_of_below(address, found) for found in self.damage(record))
        if intact and self.fence(record) < usable:
            self._stretched.add(address)
            self._spilled.discard(address)
            lay(self._memory, address, usable, usable, 0)
        return usable

    def fence(self, record: Record) -> int:
        """How many bytes of a live block the program may use."""
        return _usable(record) if record[1] in self._stretched else _rounded(record)

    def suspicious(self, records: Iterable[Record]) -> Iterator[Record]:
        """Those of some live blocks around which something may have changed.

        A report may have to look at half a million, so an intact small one is recognised in 0.7 us.
        """
        heap, usable, behind, families = self._heap, USABLE, RED * (TAIL + USABLE[-1]), _FAMILY_BITS
        for record in records:
            word, address, _ = record
            size = word & SIZE_MASK
            if size <= LARGEST_TOLD:
                at, room = address - HEAP_BASE, usable[size] + TAIL
                lead = _LEAD_IMAGE.pack(_RED_WORD, size * TWICE ^ families[word >> OP_SHIFT] ^ address ^ MAGIC)
                if heap[at + size : at + room] == behind[: room - size] and heap[at - LEAD : at] == lead:
                    continue
            yield record

    def damage(self, record: Record) -> list[Damage]:
        """What was changed around a live block."""
        address = record[1]
        family = 0 if address in self._leads or address in self._stretched else FAMILY_BY_CODE[record[0] >> OP_SHIFT]
        try:
            return damage(self._memory, address, self.fence(record), _usable(record), family)
        except Fault:
            return []  # a block that only a guest which wrote to the gate's data spoke of

    def reported(self, address: int) -> None:
        """A block's damage is known: where it goes on above, it is not to be reported of that block, too.

        To be called before anything is laid anew.
        """
        place = address - self._leads.get(address, LEAD)
        with suppress(KeyError):  # a block that only a guest which wrote to the gate's data spoke of
            end = place + self.policy.usable_size(place) + GAP
            if RED not in bytes(self._heap[end - HEAP_BASE - 1 : end - HEAP_BASE + 1]):
                self._spilled.add(end + LEAD)

    def is_of_below(self, address: int, found: Damage) -> bool:
        """Whether the damage of a block is, or was already, reported of the one below."""
        return found.from_below or (found.offset == -LEAD and address in self._spilled)

    def as_the_stub(self, address: int, family: int) -> int | None:
        """The size of a live block that the stub would free for a function of the family, None if it would not."""
        if not HEAP_BASE < address < HEAP_BASE + HEAP_SIZE - LARGEST_TOLD - TAIL - LEAD or address % ALIGNMENT:
            return None
        word = int.from_bytes(self._memory.peek(address - 8, 8), "little")
        size = (word ^ address ^ MAGIC) & 0xFFFF
        if size > LARGEST_TOLD or word != header(address, size, family):
            return None
        return None if damage(self._memory, address, size, USABLE[size], family) else size

    def free_as_the_stub(self, address: int, size: int) -> bytes:
        """What the stub does to a block that it frees; what the block held, to its usable size."""
        self._memory.poke(address - len(FREED), FREED)
        return bytes(self._memory.peek(address, USABLE[size]))

    def freed(self, record: Record) -> None:
        """A block was freed, and what was wrong around it is reported."""
        address = record[1]
        self._stretched.discard(address)
        self._spilled.discard(address)
        lay_freed(self._memory, address, usable_size(record[0] & SIZE_MASK))

    def release(self, addresses: Sequence[int], large: Iterable[int] = ()) -> None:
        """Nobody needs to know any more what was at some addresses: they may be given out again.

        `large`: those of them whose blocks are larger than a header can tell. An address that is none is one of which a
        guest spoke that wrote to the gate's data.
        """
        leads = self._leads
        for address in (*large, *(leads.keys() & addresses if leads else ())):
            place = address - leads.get(address, LEAD)
            with suppress(KeyError):
                if (room := self.policy.usable_size(place)) >= _LARGE:
                    self._memory.clear(place, room)
        if leads:
            self.policy.free_all([address - leads.pop(address, LEAD) for address in addresses])
        else:
            self.policy.free_all([address - LEAD for address in addresses])


def _side_by_side(places: list[int], step: int) -> Iterator[tuple[int, int]]:
    """The runs of places that follow each other at distances of `step`, as positions."""
    if places and places == list(range(places[0], places[0] + step * len(places), step)):
        return iter([(0, len(places))])
    gaps = [position for position in range(1, len(places)) if places[position] - places[position - 1] != step]
    return pairwise([0, *gaps, len(places)]) if places else iter(())


def _rounded(record: Record) -> int:
    """What was asked for: pvalloc is asked for whole pages."""
    size = record[0] & SIZE_MASK
    return (size + PAGE - 1) & -PAGE if record[0] >> OP_SHIFT == _PVALLOC else size


def _usable(record: Record) -> int:
    return usable_size(_rounded(record))
