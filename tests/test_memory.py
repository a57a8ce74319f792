"""The address space against a model that keeps every page by itself, as a byte array with permissions.

The CPU caches what `fill` told it until `on_change` is called; the model keeps such a cache, too, and no entry in it
may ever be stale.
"""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from emuleak.memory import (
    EXEC,
    GATE_BASE,
    HEAP_BASE,
    MMAP_TOP,
    PAGE,
    PAGE_SHIFT,
    PROGRAM_BASE,
    READ,
    STACK_TOP,
    WRITE,
    AddressSpace,
    Fault,
    OutOfAddressSpace,
    Region,
    page_ceil,
    page_floor,
)

WINDOW = 12  # pages: so few that the rules meet on the same ones
KINDS = ("file", "anonymous", "stack", "brk")

pages = st.integers(0, WINDOW - 1)
lengths = st.one_of(st.integers(1, 3), st.integers(1, WINDOW))
protections = st.integers(0, 7)
offsets = st.one_of(st.integers(0, 2 * PAGE), st.integers(0, WINDOW * PAGE - 1))


@dataclass
class Page:
    """One page as the model knows it. `mapping` tells pages apart that are not of one call of map."""

    prot: int
    kind: str
    path: str
    offset: int
    mapping: int
    content: bytearray = field(default_factory=lambda: bytearray(PAGE))

    @property
    def granted(self) -> int:
        """x86 has no page that can be written or run but not read."""
        return self.prot | READ if self.prot else 0


class AgainstModel(RuleBasedStateMachine):
    """One window of addresses at the top of where mmap places."""

    def __init__(self) -> None:
        super().__init__()
        self.base = MMAP_TOP - WINDOW * PAGE
        self.space = AddressSpace()
        self.space.on_change = self.changed
        self.model: dict[int, Page] = {}
        self.tlb: dict[int, int] = {}  # page to permissions, as the CPU was told
        self.code: set[int] = set()  # pages from which the CPU translated code
        self.mappings = 0

    @initialize(base=st.sampled_from([MMAP_TOP - WINDOW * PAGE, PROGRAM_BASE, HEAP_BASE, 0x40_0000]))
    def somewhere(self, base: int) -> None:
        self.base = base

    def changed(self, code: bool) -> None:
        self.tlb.clear()
        if code:
            self.code.clear()

    def at(self, page: int) -> int:
        return self.base + page * PAGE

    def span(self, offset: int, length: int) -> list[Page | None]:
        """The model's pages of a range of bytes."""
        return [self.model.get(page) for page in range(offset // PAGE, (offset + length - 1) // PAGE + 1)]

    def bytes_of(self, offset: int, length: int) -> bytes:
        found = bytearray()
        for place in range(offset, offset + length):
            page = self.model[place // PAGE]
            found.append(page.content[place % PAGE])
        return bytes(found)

    def store(self, offset: int, data: bytes) -> None:
        for place, byte in enumerate(data, offset):
            self.model[place // PAGE].content[place % PAGE] = byte

    # ---- mapping

    @rule(start=pages, length=lengths, prot=protections, kind=st.sampled_from(KINDS), offset=st.integers(0, 9))
    def map(self, start: int, length: int, prot: int, kind: str, offset: int) -> None:
        end = min(start + length, WINDOW)
        path = f"/lib/{offset}" if kind == "file" else ""
        self.space.map(Region(self.at(start), self.at(end), prot, kind, path, offset * PAGE))
        self.mappings += 1
        for page in range(start, end):
            self.model[page] = Page(prot, kind, path, (offset + page - start) * PAGE, self.mappings)

    @rule(start=pages, length=lengths)
    def unmap(self, start: int, length: int) -> None:
        gone = [self.model.pop(page, None) for page in range(start, min(start + length, WINDOW))]
        found = self.space.unmap(self.at(start), (min(start + length, WINDOW) - start) * PAGE)
        assert found == any(page is not None for page in gone)

    @rule(start=pages, length=lengths, prot=protections)
    def protect(self, start: int, length: int, prot: int) -> None:
        end = min(start + length, WINDOW)
        hit = [self.model.get(page) for page in range(start, end)]
        possible = None not in hit
        assert self.space.protect(self.at(start), (end - start) * PAGE, prot) == possible
        for page in hit:
            if possible and page is not None:
                page.prot = prot

    @rule(length=lengths)
    def find_hole(self, length: int) -> None:
        """The highest one, by trying all."""
        free = (
            start
            for start in range(WINDOW - length, -1, -1)
            if not any(page in self.model for page in range(start, start + length))
        )
        wanted = next(free, None)
        top, bottom = self.at(WINDOW), self.at(0)
        if wanted is None:
            with pytest.raises(OutOfAddressSpace):
                self.space.find_hole(length * PAGE, top, bottom)
        else:
            assert self.space.find_hole(length * PAGE, top, bottom) == self.at(wanted)

    # ---- bytes

    @rule(offset=offsets, length=st.integers(0, 2 * PAGE + 9))
    def read(self, offset: int, length: int) -> None:
        assume(offset + length <= WINDOW * PAGE)
        readable = length == 0 or all(page is not None and page.granted for page in self.span(offset, length))
        if readable:
            assert self.space.read(self.base + offset, length) == self.bytes_of(offset, length)
        else:
            with pytest.raises(Fault):
                self.space.read(self.base + offset, length)

    @rule(offset=offsets, data=st.binary(max_size=40), repeat=st.integers(1, 250))
    def write(self, offset: int, data: bytes, repeat: int) -> None:
        data *= repeat
        assume(offset + len(data) <= WINDOW * PAGE)
        writable = not data or all(page is not None and page.prot & WRITE for page in self.span(offset, len(data)))
        if writable:
            self.space.write(self.base + offset, data)
            self.store(offset, data)
        else:
            with pytest.raises(Fault):
                self.space.write(self.base + offset, data)

    @rule(offset=offsets, data=st.binary(min_size=1, max_size=40))
    def write_through_a_window(self, offset: int, data: bytes) -> None:
        assume(offset + len(data) <= WINDOW * PAGE)
        if all(page is not None and page.prot & WRITE for page in self.span(offset, len(data))):
            self.space.writable(self.base + offset, len(data))[:] = data
            self.store(offset, data)
        else:
            with pytest.raises(Fault):
                self.space.writable(self.base + offset, len(data))

    @rule(offset=offsets, data=st.binary(min_size=1, max_size=40))
    def poke(self, offset: int, data: bytes) -> None:
        assume(offset + len(data) <= WINDOW * PAGE and None not in self.span(offset, len(data)))
        self.space.poke(self.base + offset, data)
        self.store(offset, data)

    @rule(offset=offsets, length=st.one_of(st.integers(0, 100), st.integers(0, WINDOW * PAGE)))
    def clear(self, offset: int, length: int) -> None:
        assume(offset + length <= WINDOW * PAGE and (not length or None not in self.span(offset, length)))
        self.space.clear(self.base + offset, length)
        for place in range(offset, offset + length):
            self.model[place // PAGE].content[place % PAGE] = 0

    @rule(source=offsets, to=offsets, length=st.integers(0, 3 * PAGE))
    def copy(self, source: int, to: int, length: int) -> None:
        assume(source + length <= to or to + length <= source)
        assume(max(source, to) + length <= WINDOW * PAGE)
        assume(not length or None not in (*self.span(source, length), *self.span(to, length)))
        self.space.copy(self.base + source, self.base + to, length)
        self.store(to, self.bytes_of(source, length))

    @rule(offset=offsets, limit=st.sampled_from([10, PAGE, 1 << 20]))
    def cstring(self, offset: int, limit: int) -> None:
        found, place = bytearray(), offset
        while place < WINDOW * PAGE and (page := self.model.get(place // PAGE)) is not None and page.granted:
            byte = page.content[place % PAGE]
            if byte == 0:
                assert self.space.cstring(self.base + offset) == found
                return
            found.append(byte)
            place += 1
        if place < WINDOW * PAGE:
            with pytest.raises(Fault):
                self.space.cstring(self.base + offset, limit)

    # ---- the CPU

    @rule(page=pages, access=st.sampled_from([READ, WRITE, EXEC]))
    def cpu_touches(self, page: int, access: int) -> None:
        number = self.at(page) >> PAGE_SHIFT
        granted = self.space.pages.get(number)
        if granted is None:
            granted = self.space.fill(number)
        known = self.model.get(page)
        assert granted == (known.granted if known else 0)
        if granted & access:
            self.tlb[page] = granted
            if access == EXEC:
                self.code.add(page)

    # ---- what must always hold

    @invariant()
    def the_cpu_knows_nothing_stale(self) -> None:
        for page, granted in self.tlb.items():
            assert self.model[page].granted == granted
        for page in self.code:
            assert self.model[page].prot & EXEC

    @invariant()
    def the_regions_are_the_pages(self) -> None:
        seen: dict[int, Page] = {}
        last = 0
        for region in self.space.regions():
            assert last <= region.start < region.end
            last = region.end
            assert self.space.region_at(region.start) is region
            assert self.space.region_at(region.end - 1) is region
            for page in range((region.start - self.base) // PAGE, (region.end - self.base) // PAGE):
                known = seen[page] = self.model[page]
                offset = region.offset + self.at(page) - region.start
                assert (region.prot, region.kind, region.path) == (known.prot, known.kind, known.path)
                assert offset == known.offset
        assert seen.keys() == self.model.keys()

    @invariant()
    def untouched_pages_are_zero(self) -> None:
        runs = list(self.space.touched(self.at(0), self.at(WINDOW)))
        assert all(low < high and low % PAGE == high % PAGE == 0 for low, high in runs)
        assert all(high < low for (_, high), (low, _) in itertools.pairwise(runs))
        for page, known in self.model.items():
            touched = any(low <= self.at(page) < high for low, high in runs)
            assert touched or not any(known.content), f"page {page} holds something, but was never touched"

    @invariant()
    def the_bytes_are_the_models(self) -> None:
        for page, known in self.model.items():
            assert self.space.peek(self.at(page), PAGE) == known.content


def test_against_the_model() -> None:
    run_state_machine_as_test(AgainstModel, settings=settings(max_examples=150, stateful_step_count=50, deadline=None))


# ---- single cases


@pytest.fixture
def space() -> AddressSpace:
    return AddressSpace()


def test_rounding() -> None:
    assert [page_floor(n) for n in (0, 1, PAGE - 1, PAGE)] == [0, 0, 0, PAGE]
    assert [page_ceil(n) for n in (0, 1, PAGE, PAGE + 1)] == [0, PAGE, PAGE, 2 * PAGE]


def test_unmapped_memory_reads_as_zero_when_it_is_mapped_again(space: AddressSpace) -> None:
    region = Region(HEAP_BASE, HEAP_BASE + PAGE, READ | WRITE, "anonymous")
    space.map(region)
    space.write(HEAP_BASE, b"secret")
    space.map(region)
    assert space.read(HEAP_BASE, 6) == bytes(6)


def test_a_partly_bad_range_is_not_written_at_all(space: AddressSpace) -> None:
    space.map(Region(HEAP_BASE, HEAP_BASE + PAGE, READ | WRITE, "anonymous"))
    with pytest.raises(Fault) as fault:
        space.write(HEAP_BASE + PAGE - 2, b"abcd")
    assert fault.value.address == HEAP_BASE + PAGE
    assert space.read(HEAP_BASE + PAGE - 2, 2) == bytes(2)


@pytest.mark.parametrize("address", [0, 0xFFFF, STACK_TOP, GATE_BASE - 8, 1 << 63, (1 << 64) - 8])
def test_an_address_outside_the_arenas_is_a_fault(space: AddressSpace, address: int) -> None:
    for use in (space.read, space.peek, space.writable):
        with pytest.raises(Fault):
            use(address, 8)
    for store in (space.write, space.poke):
        with pytest.raises(Fault):
            store(address, b"12345678")
    with pytest.raises(Fault):
        space.cstring(address)
    assert not space.can_hold(address, 8)


def test_a_range_that_leaves_its_arena_cannot_be_mapped(space: AddressSpace) -> None:
    for arena in space.arenas:
        assert space.can_hold(arena.base, arena.size)
        assert not space.can_hold(arena.base, arena.size + PAGE)
        assert not space.can_hold(arena.end - PAGE, 2 * PAGE)


def test_the_arenas_do_not_overlap(space: AddressSpace) -> None:
    ends = [(arena.base, arena.end) for arena in space.arenas]
    assert all(end <= base for (_, end), (base, _) in itertools.pairwise(ends))
    assert ends[-1][1] == STACK_TOP


def test_words_are_little_endian(space: AddressSpace) -> None:
    space.map(Region(HEAP_BASE, HEAP_BASE + PAGE, READ | WRITE, "anonymous"))
    space.write(HEAP_BASE + 8, bytes(range(1, 9)))
    assert space.word(HEAP_BASE + 8) == 0x0807060504030201
    (arena,) = (arena for arena in space.arenas if arena.base <= HEAP_BASE < arena.end)
    assert arena.words[(HEAP_BASE - arena.base) // 8 + 1] == 0x0807060504030201


def test_a_page_that_can_only_be_written_can_be_read_as_well(space: AddressSpace) -> None:
    """As on the CPU, whether the page was touched before its permissions changed or not."""
    for touched in (True, False):
        space.map(Region(HEAP_BASE, HEAP_BASE + PAGE, READ | WRITE, "anonymous"))
        if touched:
            space.fill(HEAP_BASE >> PAGE_SHIFT)
        space.protect(HEAP_BASE, PAGE, WRITE)
        assert space.read(HEAP_BASE, 4) == bytes(4)
        assert space.pages.get(HEAP_BASE >> PAGE_SHIFT, READ | WRITE) == READ | WRITE
        assert space.fill(HEAP_BASE >> PAGE_SHIFT) == READ | WRITE


def test_a_string_without_end_is_a_fault(space: AddressSpace) -> None:
    space.map(Region(HEAP_BASE, HEAP_BASE + 4 * PAGE, READ | WRITE, "anonymous"))
    space.write(HEAP_BASE, b"x" * 4 * PAGE)
    with pytest.raises(Fault):
        space.cstring(HEAP_BASE)
    with pytest.raises(Fault):
        space.cstring(HEAP_BASE, limit=PAGE)


def test_clearing_much_gives_the_pages_back(space: AddressSpace) -> None:
    size = 1 << 20
    space.map(Region(HEAP_BASE, HEAP_BASE + size, READ | WRITE, "heap"))
    told = []
    space.on_change = told.append
    space.write(HEAP_BASE, b"x" * size)
    space.clear(HEAP_BASE + 100, size - 200)
    assert space.read(HEAP_BASE, 200) == b"x" * 100 + bytes(100)
    assert space.read(HEAP_BASE + size - 200, 200) == bytes(100) + b"x" * 100
    assert len(space.pages) == 2
    assert told == [False]


def test_copying_much_copies_what_was_touched(space: AddressSpace) -> None:
    size, target = 1 << 30, HEAP_BASE + (1 << 31)
    space.map(Region(HEAP_BASE, HEAP_BASE + (1 << 32), READ | WRITE, "heap"))
    space.write(HEAP_BASE + 5000, b"first")
    space.write(HEAP_BASE + size - 4, b"last, and beyond")
    space.write(target + 100_000, b"stale")
    space.copy(HEAP_BASE + 16, target + 32, size)
    assert space.read(target + 5016, 5) == b"first"
    assert space.read(target + 32 + size - 20, 20) == b"last, and beyond"[:20].ljust(20, b"\0")
    assert space.read(target + 100_000, 5) == bytes(5)
    assert len(space.pages) < 12
