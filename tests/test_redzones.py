"""What stands around a block: where it lies, what of it is noticed, and of which block it is said."""

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emuleak import quarantine as quarantine_module
from emuleak.allocators import ExactFit
from emuleak.batch import Batch
from emuleak.events import Call, Event, Log, Op
from emuleak.heap import Heap
from emuleak.memory import HEAP_BASE, HEAP_SIZE, PAGE, AddressSpace, Fault
from emuleak.placement import Placement
from emuleak.redzones import FREED, LARGEST_TOLD, LEAD, MAGIC, RED, TAIL, blank, damage, damage_freed, lay, usable_size

MEMORY = AddressSpace()
AT = HEAP_BASE + 4096

sizes = st.one_of(st.integers(0, 60), st.integers(0, LARGEST_TOLD + 40), st.sampled_from([0, 7, 8, 24, 25, 999, 1000]))


class Guest:
    """A heap, ways to call it, and what it noted in short."""

    def __init__(self) -> None:
        self.memory = AddressSpace()
        self.log = Log()
        self.heap = Heap(self.memory, ExactFit(HEAP_BASE, HEAP_SIZE), self.log)
        self.calls = 0

    def call(self, op: Op, *arguments: int) -> int:
        self.calls += 1
        first, second, third = (*arguments, 0, 0, 0)[:3]
        return self.heap.handle(Call(op, first, second, third, self.calls.to_bytes(8, "little"), 0))

    def malloc(self, size: int) -> int:
        return self.call("malloc", size)

    def free(self, address: int) -> None:
        assert self.call("free", address) == 0

    def flip(self, address: int, length: int = 1) -> None:
        """Change every one of some bytes."""
        self.memory.poke(address, bytes(byte ^ 0x55 for byte in self.memory.peek(address, length)))

    def noted(self) -> list[tuple[str, int, int, int]]:
        return [(event.problem, event.old, event.offset, event.size) for event in self.log.misuses]

    def end(self) -> list[tuple[str, int, int, int]]:
        self.heap.check()
        return self.noted()


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    del guest.heap
    guest.memory.close()


# ---- one block


@settings(max_examples=300, deadline=None)
@given(size=sizes, stretched=st.booleans(), told=st.booleans(), data=st.data())
def test_every_changed_byte_around_a_live_block_is_noticed(
    size: int, stretched: bool, told: bool, data: st.DataObject
) -> None:
    usable = usable_size(size)
    fence = usable if stretched else size
    MEMORY.poke(AT - LEAD - 1, RED)
    lay(MEMORY, AT, fence, usable, int(told))
    assert damage(MEMORY, AT, fence, usable, int(told)) == []
    before = st.integers(AT - LEAD, AT - 1)
    behind = st.integers(AT + fence, AT + usable + TAIL - 1)
    changed = sorted(data.draw(st.sets(st.one_of(before, behind), min_size=1, max_size=5)))
    for address in changed:
        MEMORY.poke(address, bytes([MEMORY.peek(address, 1)[0] ^ data.draw(st.integers(1, 255))]))
    low, high = [a for a in changed if a < AT], [a for a in changed if a >= AT]
    expected = [("heap-overflow", high[0] - AT - fence, high[-1] + 1 - high[0], False)] if high else []
    expected += [("heap-underflow", low[0] - AT, low[-1] + 1 - low[0], False)] if low else []
    assert damage(MEMORY, AT, fence, usable, int(told)) == expected


@settings(max_examples=200, deadline=None)
@given(size=sizes, content=st.binary(max_size=1100), data=st.data())
def test_every_changed_byte_of_a_freed_block_is_noticed(size: int, content: bytes, data: st.DataObject) -> None:
    usable = usable_size(size)
    kept = content[:usable].ljust(usable, b"k")
    MEMORY.poke(AT - LEAD - 1, RED + RED * 8 + FREED + kept + RED * TAIL)
    assert damage_freed(MEMORY, AT, kept, usable) is None
    changed = sorted(data.draw(st.sets(st.integers(AT - LEAD, AT + usable + TAIL - 1), min_size=1, max_size=5)))
    for address in changed:
        MEMORY.poke(address, bytes([MEMORY.peek(address, 1)[0] ^ data.draw(st.integers(1, 255))]))
    offset, length = changed[0] - AT, changed[-1] + 1 - changed[0]
    assert damage_freed(MEMORY, AT, kept, usable) == ("write-after-free", offset, length, False)


def test_no_header_is_that_of_another_size_or_address_or_of_a_freed_block() -> None:
    """A block's header, written to another place by an overflow, makes no other block look alive there."""
    headers = {FREED, RED * 8}
    count = 0
    for address in (AT, AT + 16, HEAP_BASE + 16, HEAP_BASE + (1 << 35)):
        for size in (0, 1, 24, LARGEST_TOLD):
            lay(MEMORY, address, size, usable_size(size), 1)
            headers.add(bytes(MEMORY.peek(address - 8, 8)))
            count += 1
    assert len(headers) == count + 2


def test_a_header_tells_no_size_where_the_stub_may_not_free() -> None:
    for size, told in ((24, False), (LARGEST_TOLD + 1, True)):
        lay(MEMORY, AT, 24, 24, 1)
        small = bytes(MEMORY.peek(AT - 8, 8))
        lay(MEMORY, AT, size, usable_size(size), int(told))
        assert bytes(MEMORY.peek(AT - 8, 8)) != small
        assert (int.from_bytes(MEMORY.peek(AT - 8, 8), "little") ^ AT ^ MAGIC) & 0xFFFF > LARGEST_TOLD


def test_the_image_of_a_block_is_what_is_laid() -> None:
    """But for the header, which the stub writes when it gives the block out."""
    lay(MEMORY, AT, 40, 40, 1)
    MEMORY.poke(AT, bytes(40))
    laid = bytes(MEMORY.peek(AT - LEAD, LEAD + 40 + TAIL))
    assert laid[:8] + RED * 8 + laid[16:] == blank(40)


@pytest.mark.parametrize("address", [0, 8, 16, 0x4000_0000_0000_0000, (1 << 64) - 8])
def test_a_freed_block_that_cannot_be_is_not_looked_at(address: int) -> None:
    assert damage_freed(MEMORY, address, bytes(24), 24) is None


def test_the_placement_looks_at_no_block_that_cannot_be() -> None:
    placement = Placement(MEMORY, ExactFit(HEAP_BASE, HEAP_SIZE))
    for address in (0, 16, 1 << 62, (1 << 64) - 16):
        record = (24, address, b"")
        assert list(placement.suspicious([record])) == [record]
        assert placement.damage(record) == []
        with pytest.raises(Fault):
            placement.freed(record)
        placement.release([address], [address])


# ---- blocks where no other block's red zone ends below: an underflow is theirs all the same


def first(guest: Guest) -> int:
    address = guest.malloc(24)
    assert address == HEAP_BASE + LEAD
    return address


def aligned(guest: Guest) -> int:
    guest.malloc(24)
    return guest.call("memalign", 64, 24)


def page_aligned(guest: Guest) -> int:
    return guest.call("valloc", 10_000)


def behind_a_large_one(guest: Guest) -> int:
    guest.malloc(70_000)
    return guest.malloc(24)


def behind_a_freed_one(guest: Guest) -> int:
    below = guest.malloc(24)
    address = guest.malloc(24)
    guest.free(below)
    return address


def reserved(guest: Guest) -> int:
    below, address = guest.heap.reserve(24, 2)
    for each in (below, address):
        lay(guest.memory, each, 24, 24, 1)
    guest.heap.take(Batch.of([(24, below, b""), (24, address, b"")]))
    return address


@pytest.mark.parametrize("place", [first, aligned, page_aligned, behind_a_large_one, behind_a_freed_one, reserved])
def test_an_underflow_is_noticed_wherever_the_block_lies(guest: Guest, place) -> None:
    address = place(guest)
    guest.flip(address - LEAD, LEAD)
    guest.free(address)
    assert guest.noted() == [("heap-underflow", address, -LEAD, LEAD)]
    assert guest.end() == guest.noted()[:1]


# ---- an overflow that goes on into the block above: said once, of the block below


def overflowing_pair(guest: Guest, reach: int) -> tuple[int, int]:
    lower, upper = guest.malloc(20), guest.malloc(24)
    assert upper == lower + 24 + TAIL + LEAD
    guest.memory.poke(lower + 20, b"A" * (4 + reach))
    return lower, upper


ORDERS = {
    "both live": (),
    "lower freed": ("lower",),
    "upper freed": ("upper",),
    "lower first": ("lower", "upper"),
    "upper first": ("upper", "lower"),
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize("reach", [TAIL + 1, TAIL + 8, TAIL + 12, TAIL + LEAD, TAIL + LEAD + 10])
def test_an_overflow_into_the_next_block_is_one_finding(guest: Guest, order: tuple[str, ...], reach: int) -> None:
    lower, upper = overflowing_pair(guest, reach)
    for which in order:
        guest.free(lower if which == "lower" else upper)
    assert guest.end() == [("heap-overflow", lower, 0, 4 + TAIL)]


@pytest.mark.parametrize("reach", [TAIL + 1, TAIL + LEAD, TAIL + LEAD + 10])
@pytest.mark.parametrize("lower_first", [True, False])
def test_an_overflow_into_a_freed_block_is_one_finding(guest: Guest, reach: int, lower_first: bool) -> None:
    lower, upper = guest.malloc(24), guest.malloc(24)
    guest.free(upper)
    guest.memory.poke(lower + 24, b"A" * reach)
    if lower_first:
        guest.free(lower)
    assert guest.end() == [("heap-overflow", lower, 0, TAIL)]


def test_a_stale_write_that_goes_on_into_the_next_block_is_one_finding(guest: Guest) -> None:
    lower, upper = guest.malloc(24), guest.malloc(24)
    guest.free(lower)
    guest.memory.poke(lower, b"A" * (24 + TAIL + LEAD))
    guest.free(upper)
    assert guest.end() == [("write-after-free", lower, 0, 24 + TAIL)]


def test_the_lead_is_still_the_lower_blocks_when_that_left_quarantine(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    lower, upper = guest.malloc(24), guest.malloc(24)
    guest.free(lower)
    guest.memory.poke(lower, b"A" * (24 + TAIL + LEAD))
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BLOCKS", 0)
    guest.free(guest.malloc(100))
    assert guest.malloc(24) == lower  # its red zones are whole again
    guest.free(upper)
    assert guest.end() == [("write-after-free", lower, 0, 24 + TAIL)]


def test_an_overflow_through_a_whole_block_is_no_underflow(guest: Guest) -> None:
    lower, middle, upper = (guest.malloc(24) for _ in range(3))
    guest.memory.poke(lower + 24, b"A" * (upper - lower - 24))
    for address in (lower, middle, upper):
        guest.free(address)
    noted = guest.end()
    assert ("heap-overflow", lower, 0, TAIL) in noted
    assert all(kind == "heap-overflow" for kind, *_ in noted)


def test_what_is_wrong_later_is_said_though_an_overflow_went_there_before(guest: Guest) -> None:
    lower, upper = overflowing_pair(guest, TAIL + LEAD)
    guest.free(lower)
    assert guest.call("malloc_usable_size", upper) == 24
    guest.free(upper)  # laid anew
    guest.flip(upper - LEAD, LEAD)
    assert guest.end() == [("heap-overflow", lower, 0, 4 + TAIL), ("write-after-free", upper, -LEAD, LEAD)]


def test_a_block_given_out_from_a_spoilt_list_is_not_blamed(guest: Guest) -> None:
    """The stub writes no red zone before the header: that of the list is what the overflow left."""
    lower, upper = guest.heap.reserve(24, 2)
    lay(guest.memory, lower, 24, 24, 1)
    guest.heap.take(Batch.of([(24, lower, b"")]))
    guest.memory.poke(lower + 24, b"A" * (TAIL + 8))
    guest.free(lower)
    guest.memory.poke(upper - 8, bytes(8))
    image = bytes(guest.memory.peek(upper - LEAD, 8))
    lay(guest.memory, upper, 24, 24, 1)
    guest.memory.poke(upper - LEAD, image)
    guest.heap.take(Batch.of([(24, upper, b"")]))
    guest.free(upper)
    assert guest.end() == [("heap-overflow", lower, 0, TAIL)]


def test_places_that_are_reserved_again_are_as_new(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an overflow had left there is gone, and so is what was said of it."""
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BLOCKS", 0)
    lower, upper = guest.heap.reserve(24, 2)
    lay(guest.memory, lower, 24, 24, 1)
    lay(guest.memory, upper, 24, 24, 1)
    guest.heap.take(Batch.of([(24, lower, b""), (24, upper, b"")]))
    guest.free(upper)  # released at once
    guest.memory.poke(lower + 24, b"A" * (TAIL + LEAD))
    guest.free(lower)
    again = guest.heap.reserve(24, 2)
    assert sorted(again) == [lower, upper]
    for address in again:
        lay(guest.memory, address, 24, 24, 1)
    guest.heap.take(Batch.of([(24, address, b"") for address in again]))
    guest.flip(upper - LEAD, LEAD)
    guest.free(upper)
    assert guest.end() == [("heap-overflow", lower, 0, TAIL), ("heap-underflow", upper, -LEAD, LEAD)]


# ---- the whole usable size


def test_who_asks_for_the_usable_size_may_use_it(guest: Guest) -> None:
    address = guest.malloc(100)
    usable = guest.call("malloc_usable_size", address)
    assert usable == 104
    guest.memory.write(address, b"x" * usable)
    guest.free(address)
    assert guest.end() == []


def test_who_asks_for_the_usable_size_may_not_use_more(guest: Guest) -> None:
    address = guest.malloc(100)
    guest.call("malloc_usable_size", address)
    guest.memory.write(address, b"x" * 105)
    guest.free(address)
    assert guest.noted() == [("heap-overflow", address, 0, 1)]


def test_what_was_written_before_it_was_asked_for_was_an_overflow(guest: Guest) -> None:
    address = guest.malloc(100)
    guest.memory.write(address, b"x" * 102)
    guest.call("malloc_usable_size", address)
    guest.free(address)
    assert guest.noted() == [("heap-overflow", address, 0, 2)]


def test_the_next_block_at_the_address_has_its_own_end(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BLOCKS", 0)
    address = guest.malloc(100)
    guest.call("malloc_usable_size", address)
    guest.free(address)
    assert guest.malloc(100) == address
    guest.memory.write(address, b"x" * 101)
    guest.free(address)
    assert guest.noted() == [("heap-overflow", address, 0, 1)]


def test_realloc_copies_what_the_program_may_have_used(guest: Guest) -> None:
    address = guest.malloc(100)
    usable = guest.call("malloc_usable_size", address)
    guest.memory.write(address, b"x" * usable)
    grown = guest.call("realloc", address, 200)
    assert guest.memory.read(grown, 200) == b"x" * usable + bytes(200 - usable)


def test_pvalloc_gives_whole_pages(guest: Guest) -> None:
    address = guest.call("pvalloc", 5000)
    guest.memory.write(address, b"x" * 2 * PAGE)
    guest.free(address)
    assert guest.noted() == []


# ---- when it is said


def last(guest: Guest) -> Event:
    return guest.log.misuses[-1]


def test_an_overflow_is_said_by_the_call_that_frees_the_block(guest: Guest) -> None:
    for op, arguments in (("free", ()), ("realloc", (50,)), ("realloc", (0,)), ("reallocarray", (5, 5))):
        address = guest.malloc(24)
        guest.flip(address + 30, 2)
        guest.call(op, address, *arguments)
        event = last(guest)
        assert (event.problem, event.op, event.offset, event.size) == ("heap-overflow", op, 6, 2)
        assert event.stack == guest.calls.to_bytes(8, "little")
        assert event.block is not None
        assert (event.block.address, event.block.size) == (address, 24)
    assert [kind for kind, *_ in guest.noted()].count("heap-overflow") == 4
    assert guest.end() == guest.noted()


def test_what_is_left_is_looked_at_in_the_end(guest: Guest) -> None:
    live, huge, freed = guest.malloc(24), guest.malloc(1 << 20), guest.malloc(24)
    guest.free(freed)
    guest.flip(live - 1)
    guest.flip(huge + (1 << 20))
    guest.flip(freed + 3)
    assert guest.noted() == []
    assert guest.end() == [
        ("heap-underflow", live, -1, 1),
        ("heap-overflow", huge, 0, 1),
        ("write-after-free", freed, 3, 1),
    ]
    assert all(event.stack == b"" for event in guest.log.misuses)
