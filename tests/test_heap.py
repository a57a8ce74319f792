"""The heap against a model in plain Python: what it answers, what it counts, what it notices, what it never does.

The model knows only requests and rules: glibc's for what the guest sees (malloc(3), posix_memalign(3)), valgrind's for
what is counted. Where a block lies it learns from the heap, and checks that nobody else lies there.
"""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from oracles.peers import need

from emuleak import heap as heap_module
from emuleak.allocators import GAP, ExactFit
from emuleak.events import NO_STACK, Block, Call, Event, HeapCounts, Log, Op, Record, Stack, record_of
from emuleak.heap import Heap, usable_size
from emuleak.memory import HEAP_BASE, HEAP_SIZE, PAGE, READ, WRITE, AddressSpace, Fault, Region

EINVAL, ENOMEM = 22, 12
LIMIT = 1 << 63  # what is this long or longer no allocator tries
SCRATCH = 0x10_0000  # a page outside the heap: posix_memalign's target, and pointers that are no block's
QUARANTINE_BYTES, QUARANTINE_BLOCKS = 4000, 6

sizes = st.one_of(st.integers(0, 100), st.integers(0, 5000), st.sampled_from([0, 1, 8, 24, 25, PAGE, 131_048, 131_049]))
refused = st.one_of(st.integers(HEAP_SIZE, LIMIT - 1), st.integers(LIMIT, (1 << 64) - 1))
alignments = st.one_of(st.integers(0, 13).map(lambda exponent: 1 << exponent), st.integers(0, 5000))


@dataclass
class Known:
    """What the model knows of a block; `content` holds the bytes that were written, by offset."""

    address: int
    size: int
    room: int
    stack: Stack
    content: dict[int, int]
    freed: Stack = NO_STACK


@dataclass
class Model:
    """Live blocks and quarantine by address, in the order in which they were made and freed."""

    live: dict[int, Known] = field(default_factory=dict)
    quarantine: dict[int, Known] = field(default_factory=dict)
    reserved: dict[int, int] = field(default_factory=dict)  # address to size: not given out yet
    counts: HeapCounts = field(default_factory=HeapCounts)
    misuses: list[tuple[str, int, int | None]] = field(default_factory=list)

    def holds(self, start: int, end: int) -> bool:
        """Whether a live or quarantined block, or the gap behind it, touches `[start, end)`."""
        rooms = [(block.address, block.room) for block in (*self.live.values(), *self.quarantine.values())]
        rooms += [(address, usable_size(size)) for address, size in self.reserved.items()]
        return any(start < address + room + GAP and address < end for address, room in rooms)

    def count(self, allocs: int = 0, frees: int = 0, size: int = 0) -> None:
        self.counts.allocs += allocs
        self.counts.frees += frees
        self.counts.bytes_allocated += size

    def born(self, block: Known) -> None:
        counts = self.counts
        self.live[block.address] = block
        counts.in_use_blocks += 1
        counts.in_use_bytes += block.size
        counts.peak_bytes = max(counts.peak_bytes, counts.in_use_bytes)

    def retire(self, block: Known, stack: Stack) -> None:
        del self.live[block.address]
        self.counts.in_use_blocks -= 1
        self.counts.in_use_bytes -= block.size
        block.freed = stack
        self.quarantine[block.address] = block

    def trim(self) -> None:
        while len(self.quarantine) > QUARANTINE_BLOCKS or self.quarantined_bytes() > QUARANTINE_BYTES:
            del self.quarantine[next(iter(self.quarantine))]

    def quarantined_bytes(self) -> int:
        return sum(block.size for block in self.quarantine.values())

    def around(self, address: int) -> int | None:
        """The block into which an address points."""
        for block in (*self.live.values(), *self.quarantine.values()):
            if block.address <= address < block.address + max(block.size, 1):
                return block.address
        return None


class AgainstModel(RuleBasedStateMachine):
    """Every function of the interface, rightly and wrongly used."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = AddressSpace()
        self.memory.map(Region(SCRATCH, SCRATCH + PAGE, READ | WRITE, "anonymous"))
        self.log = Log()
        self.events: list[Event] = []
        self.log.listeners.append(self.events.append)
        self.heap = Heap(self.memory, ExactFit(HEAP_BASE, HEAP_SIZE), self.log)
        self.model = Model()
        self.calls = 0

    # ---- calls

    def call(self, op: Op, first: int = 0, second: int = 0, third: int = 0) -> int:
        return self.heap.handle(Call(op, first, second, third, self.next_stack(), 7))

    def next_stack(self) -> Stack:
        """A new one for each call, so that it is known by it."""
        self.calls += 1
        return self.stack

    @property
    def stack(self) -> Stack:
        return self.calls.to_bytes(8, "little")

    def made(self, address: int, size: int, alignment: int = 16, *, content: dict[int, int] | None = None) -> None:
        """Check what was given and take it into the books."""
        assert address > 0
        assert address % max(alignment, 16) == 0
        room = max(usable_size(size), size)
        assert HEAP_BASE <= address < address + room + GAP <= HEAP_BASE + HEAP_SIZE
        assert not self.model.holds(address, address + room + GAP)
        event = self.events[-1]
        assert (event.address, event.size, event.stack, event.thread) == (address, size, self.stack, 7)
        self.model.born(Known(address, size, room, self.stack, content or {}))

    def retired(self, block: Known) -> None:
        self.model.retire(block, self.stack)
        self.model.trim()

    def block(self, data: st.DataObject, among: dict[int, Known]) -> Known:
        return among[data.draw(st.sampled_from(sorted(among)))]

    @rule(size=sizes)
    def malloc(self, size: int) -> None:
        self.made(self.call("malloc", size), size)
        self.model.count(allocs=1, size=size)

    @rule(count=st.integers(0, 80), size=st.integers(0, 80))
    def calloc(self, count: int, size: int) -> None:
        self.made(self.call("calloc", count, size), count * size, content=dict.fromkeys(range(count * size), 0))
        self.model.count(allocs=1, size=count * size)

    @rule(size=refused, op=st.sampled_from(["malloc", "calloc", "valloc", "pvalloc", "memalign", "aligned_alloc"]))
    def refuse(self, size: int, op: Op) -> None:
        arguments = {"calloc": (size, 1), "memalign": (64, size), "aligned_alloc": (64, size)}.get(op, (size,))
        assert self.call(op, *arguments) == -ENOMEM

    @rule(count=st.integers(1 << 32, (1 << 64) - 1), size=st.integers(1 << 32, (1 << 64) - 1))
    def calloc_overflow(self, count: int, size: int) -> None:
        """The product does not fit, though its low 64 bits may."""
        assert self.call("calloc", count, size) == -ENOMEM

    @rule(size=sizes, alignment=alignments, op=st.sampled_from(["memalign", "aligned_alloc"]))
    def memalign(self, size: int, alignment: int, op: Op) -> None:
        rounded = 1
        while rounded < alignment:
            rounded *= 2
        self.made(self.call(op, alignment, size), size, rounded)
        self.model.count(allocs=1, size=size)

    @rule(alignment=st.integers(LIMIT + 1, (1 << 64) - 1))
    def memalign_to_no_power(self, alignment: int) -> None:
        assert self.call("memalign", alignment, 1) == -EINVAL

    @rule(size=sizes, alignment=alignments)
    def posix_memalign(self, size: int, alignment: int) -> None:
        self.memory.write(SCRATCH, b"untouchd")
        answer = self.call("posix_memalign", SCRATCH, alignment, size)
        if alignment in {1 << n for n in range(3, 64)}:
            assert answer == 0
            self.made(self.memory.word(SCRATCH), size, alignment)
            self.model.count(allocs=1, size=size)
        else:
            assert answer == EINVAL
            assert self.memory.read(SCRATCH, 8) == b"untouchd"

    @rule(size=refused)
    def posix_memalign_refused(self, size: int) -> None:
        self.memory.write(SCRATCH, b"untouchd")
        assert self.call("posix_memalign", SCRATCH, 32, size) == ENOMEM
        assert self.memory.read(SCRATCH, 8) == b"untouchd"

    @rule(size=sizes)
    def valloc(self, size: int) -> None:
        self.made(self.call("valloc", size), size, PAGE)
        self.model.count(allocs=1, size=size)

    @rule(size=sizes)
    def pvalloc(self, size: int) -> None:
        address = self.call("pvalloc", size)
        self.made(address, size, PAGE)
        assert self.call("malloc_usable_size", address) >= (size + PAGE - 1) // PAGE * PAGE
        self.model.live[address].room = usable_size((size + PAGE - 1) // PAGE * PAGE)
        self.model.count(allocs=1, size=size)

    @rule(size=sizes, array=st.booleans())
    def realloc_of_null(self, size: int, array: bool) -> None:
        address = self.call("reallocarray", 0, 1, size) if array else self.call("realloc", 0, size)
        self.made(address, size)
        self.model.count(allocs=1, size=size)

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), size=sizes, array=st.booleans())
    def realloc(self, data: st.DataObject, size: int, array: bool) -> None:
        old = self.block(data, self.model.live)
        answer = self.call("reallocarray", old.address, size, 1) if array else self.call("realloc", old.address, size)
        if size == 0:
            assert answer == 0
            self.model.count(frees=1)
            self.retired(old)
            return
        self.model.retire(old, self.stack)
        self.made(answer, size, content={n: byte for n, byte in old.content.items() if n < size})
        assert self.events[-1].old == old.address
        self.model.count(allocs=1, frees=1, size=size)
        self.model.trim()

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), size=refused)
    def realloc_refused(self, data: st.DataObject, size: int) -> None:
        """The block stays; valgrind counts the attempt, unless the size is no size at all."""
        old = self.block(data, self.model.live)
        assert self.call("realloc", old.address, size) == -ENOMEM
        if size < LIMIT:
            self.model.count(allocs=1, frees=1, size=size)

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), count=st.integers(1 << 33, 1 << 62), size=st.integers(1 << 33, 1 << 62))
    def reallocarray_overflow(self, data: st.DataObject, count: int, size: int) -> None:
        assert self.call("reallocarray", self.block(data, self.model.live).address, count, size) == -ENOMEM

    @precondition(lambda self: self.model.live)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        block = self.block(data, self.model.live)
        assert self.call("free", block.address) == 0
        event = self.events[-1]
        assert (event.op, event.old, event.size, event.problem) == ("free", block.address, block.size, "")
        self.model.count(frees=1)
        self.retired(block)

    @rule()
    def free_null(self) -> None:
        before = len(self.events)
        assert self.call("free", 0) == 0
        assert len(self.events) == before

    # ---- calls that were served in the guest, told many at a time

    @rule(size=st.integers(0, 1000), count=st.integers(0, 6))
    def reserve(self, size: int, count: int) -> None:
        addresses = self.heap.reserve(usable_size(size), count)
        assert len(addresses) == count
        for address in addresses:
            assert address % 16 == 0
            assert not self.model.holds(address, address + usable_size(size) + GAP)
            self.model.reserved[address] = size

    @rule(data=st.data(), length=st.integers(1, 12))
    def take(self, data: st.DataObject, length: int) -> None:
        """As if the calls had come one by one, but that the quarantine is trimmed when all are known."""
        before, told = len(self.log.misuses), len(self.events)
        calls = [call for _ in range(length) if (call := self.served(data)) is not None]
        self.heap.take(calls)
        noted = [(event.problem, event.old, event.stack) for event in self.log.misuses[before:]]
        expected = self.model.misuses[before:]
        assert [(problem, old) for problem, old, _ in noted] == [(problem, old) for problem, old, _ in expected]
        assert self.events[told:] == self.log.misuses[before:]
        self.model.trim()

    def served(self, data: st.DataObject) -> Record | None:
        """One more call in the guest, entered in the model."""
        model, stack = self.model, self.next_stack()
        action = data.draw(st.sampled_from(["malloc", "calloc", "free", "free again"]))
        if action in {"malloc", "calloc"} and model.reserved:
            address = data.draw(st.sampled_from(sorted(model.reserved)))
            size = model.reserved.pop(address)
            model.born(Known(address, size, usable_size(size), stack, {}))
            model.count(allocs=1, size=size)
            return record_of("malloc" if action == "malloc" else "calloc", 7, size, address, stack)
        if action == "free" and model.live:
            block = self.block(data, model.live)
            model.retire(block, stack)
            model.count(frees=1)
            return record_of("free", 7, 0, block.address, stack)
        if action == "free again" and model.quarantine:
            again = self.block(data, model.quarantine)
            model.misuses.append(("double-free", again.address, again.address))
            model.count(frees=1)
            return record_of("free", 7, 0, again.address, stack)
        return None

    # ---- misuse

    def misused(self, problem: str, address: int, block: int | None) -> None:
        self.model.misuses.append((problem, address, block))
        event = self.log.misuses[-1]
        assert (event.stack, event.old, event.problem) == (self.stack, address, problem)
        assert event is self.events[-1]
        if block is not None and block in self.model.quarantine:
            assert event.block is not None
            assert event.block.freed == self.model.quarantine[block].freed

    @precondition(lambda self: self.model.quarantine)
    @rule(data=st.data())
    def double_free(self, data: st.DataObject) -> None:
        block = self.block(data, self.model.quarantine)
        assert self.call("free", block.address) == 0
        self.misused("double-free", block.address, block.address)
        self.model.count(frees=1)

    @precondition(lambda self: self.model.quarantine)
    @rule(data=st.data(), size=st.one_of(sizes, refused))
    def realloc_of_freed(self, data: st.DataObject, size: int) -> None:
        block = self.block(data, self.model.quarantine)
        answer = self.call("realloc", block.address, size)
        assert answer == (-ENOMEM if size else 0)
        self.misused("invalid-realloc", block.address, block.address)
        if size < LIMIT:
            self.model.count(allocs=size > 0, frees=1, size=size)

    @rule(data=st.data(), op=st.sampled_from(["free", "realloc", "malloc_usable_size"]))
    def wild_pointer(self, data: st.DataObject, op: Op) -> None:
        books = {**self.model.live, **self.model.quarantine}
        inside = [address + n for address, block in books.items() for n in (1, block.size - 1, block.size, block.room)]
        address = data.draw(st.sampled_from([SCRATCH, 1, (1 << 64) - 8, HEAP_BASE + HEAP_SIZE - 16, *inside]))
        assume(address not in books)
        answer = self.call(op, address, 10)
        if op == "malloc_usable_size":
            assert answer == 0
            return
        assert answer == (0 if op == "free" else -ENOMEM)
        self.misused("invalid-free" if op == "free" else "invalid-realloc", address, self.model.around(address))
        self.model.count(allocs=op == "realloc", frees=1, size=10 if op == "realloc" else 0)

    # ---- what the guest writes, rightly or not

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), byte=st.integers(1, 255))
    def write(self, data: st.DataObject, byte: int) -> None:
        block = self.block(data, self.model.live)
        assume(block.size)
        start = data.draw(st.integers(0, block.size - 1))
        end = min(block.size, start + data.draw(st.integers(1, 64)))
        self.memory.write(block.address + start, bytes([byte]) * (end - start))
        block.content |= dict.fromkeys(range(start, end), byte)

    @rule(data=st.data())
    def write_where_nothing_lives(self, data: st.DataObject) -> None:
        """Behind the last block or into freed ones: no block that lives now changes, nor any that will be cleared."""
        known = (*self.model.live.values(), *self.model.quarantine.values())
        end = max((block.address + block.size for block in known), default=HEAP_BASE)
        self.memory.write(end, b"overflow" * data.draw(st.integers(1, 100)))
        if self.model.quarantine:
            stale = self.block(data, self.model.quarantine)
            self.memory.write(stale.address, b"s" * stale.size)

    # ---- what must always hold

    @invariant()
    def the_counts_are_valgrinds(self) -> None:
        assert self.log.counts == self.model.counts

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        found = [(block.address, block.size, block.stack, block.thread, block.freed) for block in self.log.blocks()]
        assert found == [(b.address, b.size, b.stack, 7, NO_STACK) for b in self.model.live.values()]
        assert self.heap.footprint == len(self.model.live) + len(self.model.quarantine)
        misuses = [(event.problem, event.old, event.block and event.block.address) for event in self.log.misuses]
        assert misuses == self.model.misuses

    @invariant()
    def the_contents_are_kept(self) -> None:
        for block in self.model.live.values():
            found = self.memory.read(block.address, block.size)
            assert all(found[n] == byte for n, byte in block.content.items())
            assert self.heap.handle(Call("malloc_usable_size", block.address, 0, 0, NO_STACK, 0)) >= block.size

    @invariant()
    def the_clock_never_goes_back(self) -> None:
        ticks = [event.tick for event in self.events]
        assert ticks == sorted(set(ticks))


@pytest.fixture
def small_quarantine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap_module, "QUARANTINE_BYTES", QUARANTINE_BYTES)
    monkeypatch.setattr(heap_module, "QUARANTINE_BLOCKS", QUARANTINE_BLOCKS)


@pytest.mark.usefixtures("small_quarantine")
def test_against_the_model() -> None:
    run_state_machine_as_test(AgainstModel, settings=settings(max_examples=150, stateful_step_count=50, deadline=None))


# ---- single cases


class Guest:
    """A heap and short ways to call it."""

    def __init__(self) -> None:
        self.memory = AddressSpace()
        self.log = Log()
        self.heap = Heap(self.memory, ExactFit(HEAP_BASE, HEAP_SIZE), self.log)

    def call(self, op: Op, first: int = 0, second: int = 0, third: int = 0) -> int:
        return self.heap.handle(Call(op, first, second, third, b"12345678", 1))


@pytest.fixture
def guest() -> Iterator[Guest]:
    return Guest()


def test_a_freed_block_is_not_given_again_while_it_is_in_quarantine(guest: Guest) -> None:
    first = guest.call("malloc", 100)
    guest.call("free", first)
    later = [guest.call("malloc", 100) for _ in range(1000)]
    assert first not in later
    guest.call("free", first)
    assert [event.problem for event in guest.log.misuses] == ["double-free"]


@pytest.mark.usefixtures("small_quarantine")
def test_the_oldest_leaves_the_quarantine_first(guest: Guest) -> None:
    addresses = [guest.call("malloc", 100) for _ in range(QUARANTINE_BLOCKS + 2)]
    for address in addresses:
        guest.call("free", address)
    for address in addresses:
        guest.call("free", address)
    problems = [event.problem for event in guest.log.misuses]
    assert problems == ["invalid-free"] * 2 + ["double-free"] * QUARANTINE_BLOCKS


def test_calloc_is_zero_where_an_overflow_had_written(guest: Guest) -> None:
    before = guest.call("malloc", 16)
    guest.memory.write(before, b"x" * 500)
    zeroed = guest.call("calloc", 10, 10)
    assert guest.memory.read(zeroed, 100) == bytes(100)


@pytest.mark.parametrize("size", [64, 200_000])
def test_malloc_gives_no_old_bytes_again(guest: Guest, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A stale pointer in what a block held before would keep a lost block alive in the scan."""
    monkeypatch.setattr(heap_module, "QUARANTINE_BLOCKS", 0)
    first = guest.call("malloc", size)
    guest.memory.write(first, b"\xff" * size)
    guest.call("free", first)
    again = guest.call("malloc", size)
    assert again == first
    assert guest.memory.read(again, size) == bytes(size)


def test_a_grown_block_holds_nothing_of_its_neighbour(guest: Guest) -> None:
    """A neighbour's pointer, copied along, would keep lost blocks alive in the scan."""
    old, neighbour = guest.call("malloc", 16), guest.call("malloc", 500)
    guest.memory.write(old, b"o" * 16)
    guest.memory.write(neighbour, b"n" * 500)
    grown = guest.call("realloc", old, 400)
    assert guest.memory.read(grown, 400) == b"o" * 16 + bytes(384)


def test_reallocarray_does_not_look_at_the_pointer_when_the_product_does_not_fit(guest: Guest) -> None:
    assert guest.call("reallocarray", 0x1234, 1 << 40, 1 << 40) == -ENOMEM
    assert not guest.log.misuses
    assert guest.log.counts == HeapCounts()


def test_posix_memalign_to_a_bad_address_is_the_guests_fault(guest: Guest) -> None:
    with pytest.raises(Fault):
        guest.call("posix_memalign", 0x10, 16, 10)


def test_the_pressure_is_told_while_blocks_are_made(guest: Guest) -> None:
    told = []
    guest.heap.on_pressure = lambda: told.append(guest.log.counts.allocs)
    for _ in range(10_000):
        guest.call("free", guest.call("malloc", 1))
    assert len(told) >= 2


def test_a_block_of_the_log_says_who_made_and_who_freed_it(guest: Guest) -> None:
    address = guest.heap.handle(Call("calloc", 3, 5, 0, b"made....", 2))
    assert guest.log.blocks() == [Block(address, 15, b"made....", "calloc", 2)]
    guest.heap.handle(Call("free", address, 0, 0, b"freed...", 3))
    guest.heap.handle(Call("free", address, 0, 0, b"again...", 3))
    assert guest.log.misuses[0].block == Block(address, 15, b"made....", "calloc", 2, freed=b"freed...")


USABLE = """
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) { printf("%zu\\n", malloc_usable_size(malloc(strtoul(argv[1], 0, 10)))); return 0; }
"""


@pytest.mark.peer("gcc")
def test_usable_size_is_glibcs(tmp_path: Path) -> None:
    """In a fresh process each time: later it hangs on what was freed before, and from 131,049 bytes to 134,488 on
    whether the rest of the first 132 KiB of the break still has room for the block.
    """
    (tmp_path / "usable.c").write_text(USABLE)
    program = tmp_path / "usable"
    subprocess.run([need("gcc"), "-w", "-o", program, tmp_path / "usable.c"], check=True)
    for size in (0, 1, 24, 25, 40, 41, 1000, 4096, 131_048, 135_152, 135_153, 200_000, 1 << 20):
        native = subprocess.run([program, str(size)], capture_output=True, check=True).stdout
        assert usable_size(size) == int(native), size
