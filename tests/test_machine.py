"""The CPU's TLB: it grows with the program, so that pages are looked up a bounded number of times."""

import gc
import random
import struct
from collections.abc import Callable, Sequence

import pytest

from emuleak.machine import BREAKPOINT, PAGE_FAULT, CpuException, Machine
from emuleak.memory import EXEC, HEAP_BASE, PAGE, PROGRAM_BASE, READ, WRITE, AddressSpace, Region

TABLE = 0x10_0000
PAGES = 3000
NO_CODE = False

# rdi: a table of addresses, rdx: how many, r8: how often. Adds one to the word at each address.
WALK = bytes.fromhex(
    "4889fe"  # outer: mov rsi, rdi
    "4889d1"  # mov rcx, rdx
    "488b06"  # inner: mov rax, [rsi]
    "4883c608"  # add rsi, 8
    "48ff00"  # inc qword ptr [rax]
    "48ffc9"  # dec rcx
    "75f1"  # jnz inner
    "49ffc8"  # dec r8
    "75e6"  # jnz outer
    "cc"  # int3
)


class Counting(Machine):
    """Counts the fills of the TLB, those for pages of its own widening apart."""

    fills = 0
    widenings = 0

    def _make_fill(self) -> Callable[..., bool]:
        fill = super()._make_fill()

        def counted(*arguments: int) -> bool:
            self.fills += not self._widening
            return fill(*arguments)

        return counted

    def _widen(self, entries: int) -> None:
        self.widenings += 1
        super()._widen(entries)


class Guest:
    """Walks over pages again and again."""

    def __init__(self, places: Sequence[int]) -> None:
        gc.collect()  # a machine keeps itself alive in a circle, and with it a TiB of addresses
        self.places = places
        self.memory = AddressSpace()
        self.machine = Counting(self.memory)
        self.memory.map(Region(PROGRAM_BASE, PROGRAM_BASE + PAGE, READ | EXEC, "file"))
        self.memory.map(Region(TABLE, TABLE + (8 * len(places) + PAGE & -PAGE), READ | WRITE, "anonymous"))
        self.memory.poke(TABLE, struct.pack(f"<{len(places)}Q", *places))
        self.memory.map(Region(min(places) & -PAGE, (max(places) & -PAGE) + PAGE, READ | WRITE, "anonymous"))
        self.memory.poke(PROGRAM_BASE, WALK)
        self.rounds = 0

    def walk(self, rounds: int) -> int:
        """How many fills it takes to walk over all places so often."""
        before = self.machine.fills
        for register, value in (("rdi", TABLE), ("rdx", len(self.places)), ("r8", rounds), ("rip", PROGRAM_BASE)):
            self.machine.set(register, value)
        assert self.machine.run() == CpuException(BREAKPOINT)
        self.rounds += rounds
        return self.machine.fills - before

    def values(self) -> set[int]:
        return {self.memory.word(place) for place in self.places}


ORDERS = {
    "neighbours": [HEAP_BASE + PAGE * number for number in range(PAGES)],
    # With fewer entries than 65,536 several of these have one place in the TLB, and push each other out in turn.
    "far apart": [HEAP_BASE + 16 * PAGE * number for number in range(PAGES)],
    "anywhere": [HEAP_BASE + PAGE * page for page in random.Random(1).sample(range(60_000), PAGES)],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_the_fills_are_bounded_however_long_a_program_runs(order: list[int]) -> None:
    guest = Guest(order)
    warm = guest.walk(60)
    assert warm < 60 * PAGES, "the first rounds, in which the TLB grows"
    later = guest.walk(60)
    assert guest.walk(60) <= later < 60 * PAGES / 4
    assert guest.machine.fills < 160_000
    assert guest.values() == {guest.rounds}


def test_what_is_looked_up_to_widen_it_is_no_memory_of_the_guests() -> None:
    guest = Guest(ORDERS["far apart"])
    guest.walk(60)
    assert guest.machine.widenings
    for address in (0x7000_0000_0000, 0x7000_0000_1000, 0x7000_0FFF_F000):
        guest.memory.poke(TABLE, struct.pack("<Q", address))
        guest.machine.set("rip", PROGRAM_BASE)
        for register, value in (("rdi", TABLE), ("rdx", 1), ("r8", 1)):
            guest.machine.set(register, value)
        ended = guest.machine.run()
        assert ended == CpuException(PAGE_FAULT, address, "write") or ended == CpuException(PAGE_FAULT, address, "read")
    assert guest.values() == {guest.rounds}


def test_pages_changed_after_it_grew_are_seen_as_they_are() -> None:
    """Nothing stale is left in it."""
    guest = Guest(ORDERS["far apart"])
    guest.walk(60)
    place = ORDERS["far apart"][7]
    guest.memory.protect(place & -PAGE, PAGE, READ)
    guest.machine.set("rip", PROGRAM_BASE)
    for register, value in (("rdi", TABLE), ("rdx", PAGES), ("r8", 1)):
        guest.machine.set(register, value)
    assert guest.machine.run() == CpuException(PAGE_FAULT, place, "write")
    assert guest.machine.get("rax") == place
    assert guest.memory.word(place) == guest.rounds


def test_it_is_not_widened_where_the_fills_come_from_flushes() -> None:
    """A program that maps and unmaps all the time empties its TLB; a larger one would only be emptied more slowly."""
    guest = Guest(ORDERS["neighbours"][:200])
    for _ in range(200):
        guest.walk(1)
        guest.memory.on_change(NO_CODE)
    assert guest.machine.fills > 1 << 14
    assert guest.machine.widenings == 0
    assert guest.values() == {guest.rounds}
