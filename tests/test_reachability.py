"""The mark phase against valgrind's rules applied the slow way, on random heaps; then against valgrind itself."""

import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import emuleak, valgrind
from oracles.peers import need

from emuleak.events import NO_STACK, Block, Op
from emuleak.findings.heuristics import Heuristics
from emuleak.findings.reachability import Root, Scan, State, Verdict, pointers
from emuleak.findings.trail import Tops, link, ways
from emuleak.memory import EXEC, HEAP_BASE, HEAP_SIZE, PAGE, PROGRAM_BASE, READ, WRITE, AddressSpace, Region

# A million blocks are no test. Measured: a random graph of 1e6 blocks with two pointers each takes 7.7 s, a list 3.5 s.

Judge = Callable[[Block, int], bool]


# ---- the slow way


def words(data: bytes) -> list[int]:
    return [struct.unpack_from("<Q", data, at)[0] for at in range(0, len(data) - 7, 8)]


@dataclass
class Slow:
    """memcheck/mc_leakcheck.c as it is told in valgrind's manual, 4.2.8, with no thought for speed.

    `blocks` are in the order of their allocation.
    """

    blocks: Sequence[Block]
    contents: dict[int, bytes]
    heuristic: Judge

    def block_at(self, word: int) -> Block | None:
        for block in self.blocks:
            if block.address <= word < block.address + max(block.size, 1):
                return block
        for block in self.blocks:
            # The one thing that is ours: the pointer that `new T[0]` returns lies behind its block.
            if block.size == 8 and word == block.address + 8 and self.heuristic(block, word):
                return block
        return None

    def targets(self, data: bytes) -> Iterator[tuple[Block, bool]]:
        """The blocks to which data points, and whether to their start, or where that is as good."""
        for word in words(data):
            block = self.block_at(word)
            if block is not None:
                yield block, word == block.address or self.heuristic(block, word)

    def closure(self, first: bytes, *, starts_only: bool) -> set[int]:
        """The addresses of the blocks that can be reached from `first`."""
        found: set[int] = set()
        todo = [first]
        while todo:
            for block, to_start in self.targets(todo.pop()):
                if block.address not in found and (to_start or not starts_only):
                    found.add(block.address)
                    todo.append(self.contents[block.address])
        return found

    def verdicts(self, roots: bytes) -> dict[int, State]:
        reachable = self.closure(roots, starts_only=True)
        possible = self.closure(roots, starts_only=False) - reachable
        state = dict.fromkeys(possible, State.POSSIBLE) | dict.fromkeys(reachable, State.REACHABLE)
        for block in self.blocks:
            if block.address not in state:
                state[block.address] = State.LOST
                self.clique(block, block.address, state)
        return state

    def clique(self, leader: Block, address: int, state: dict[int, State]) -> None:
        """What hangs on a lost block is lost with it, even one that was a leader before."""
        for block, _ in self.targets(self.contents[address]):
            if block is not leader and state.get(block.address, State.LOST) is State.LOST:
                state[block.address] = State.INDIRECT
                self.clique(leader, block.address, state)


# ---- random heaps


@dataclass(frozen=True)
class RandomHeap:
    blocks: tuple[Block, ...]
    contents: dict[int, bytes]
    roots: tuple[bytes, ...]

    def read(self, block: Block) -> bytes:
        return self.contents[block.address]


def second_word(block: Block, pointer: int) -> bool:
    """A heuristic for the random heaps, of half of the blocks."""
    return pointer == block.address + 8 and bool(block.address & 0x20)


@st.composite
def random_heaps(draw: st.DrawFn) -> RandomHeap:
    sizes = draw(st.lists(st.sampled_from([0, 1, 7, 8, 8, 9, 16, 24, 40, 64]), min_size=1, max_size=14))
    # To the range's very end in places, since only the upper bytes of an address mark it.
    base = draw(st.sampled_from([HEAP_BASE, HEAP_BASE + (1 << 32) - 0x80, HEAP_BASE + HEAP_SIZE - 0x1000]))
    blocks, address = [], base
    for size in sizes:
        blocks.append(Block(address, size, NO_STACK, "malloc", 0))
        address += (size + 15) // 16 * 16 + draw(st.sampled_from([16, 32]))
    pointer = st.one_of(
        st.sampled_from(blocks).map(lambda block: block.address),
        st.tuples(st.sampled_from(blocks), st.integers(-1, 70)).map(lambda pair: pair[0].address + pair[1]),
        st.sampled_from([0, 1, HEAP_BASE - 8, HEAP_BASE + HEAP_SIZE, HEAP_BASE + HEAP_SIZE - 8, (1 << 64) - 1]),
        st.integers(0, (1 << 64) - 1),
    )
    image = st.lists(pointer, max_size=6).map(lambda values: struct.pack(f"<{len(values)}Q", *values))
    contents = {}
    for block in blocks:
        data = draw(image) + draw(st.binary(max_size=7))
        contents[block.address] = (data + bytes(block.size))[: block.size]
    roots = tuple(draw(st.lists(st.tuples(image, st.binary(max_size=7)).map(b"".join), max_size=3)))
    # Where a block lies says nothing of when it was made.
    return RandomHeap(tuple(draw(st.permutations(blocks))), contents, roots)


def never(_block: Block, _pointer: int) -> bool:
    return False


def scan(heap: RandomHeap, heuristic: Judge) -> list[Verdict]:
    roots = [Root("data", f"module{number}", 0, data) for number, data in enumerate(heap.roots)]
    return Scan(heap.blocks, heap.read, heuristic).run(roots)


@settings(max_examples=400, deadline=None)
@given(heap=random_heaps(), heuristic=st.sampled_from([never, second_word]))
def test_against_the_slow_way(heap: RandomHeap, heuristic: Judge) -> None:
    # The roots one behind the other, each ending where a word ends.
    roots = b"".join(data[: len(data) // 8 * 8] for data in heap.roots)
    wanted = Slow(heap.blocks, heap.contents, heuristic).verdicts(roots)
    found = scan(heap, heuristic)
    assert {verdict.block.address: verdict.state for verdict in found} == wanted
    assert [verdict.block for verdict in found] == list(heap.blocks)


@settings(max_examples=200, deadline=None)
@given(heap=random_heaps(), heuristic=st.sampled_from([never, second_word]))
def test_every_block_that_is_not_lost_names_a_root_that_leads_to_it(heap: RandomHeap, heuristic: Judge) -> None:
    slow = Slow(heap.blocks, heap.contents, heuristic)
    for block, state, root, direct in scan(heap, heuristic):
        if state in {State.LOST, State.INDIRECT}:
            assert root is None
            assert not direct
            continue
        assert root is not None
        data = root.data[: len(root.data) // 8 * 8]
        assert block.address in slow.closure(data, starts_only=state is State.REACHABLE)
        if direct:
            assert block.address in {target.address for target, _ in slow.targets(data)}


@settings(max_examples=300, deadline=None)
@given(heap=random_heaps(), heuristic=st.sampled_from([never, second_word]))
def test_trails_lead_back_to_a_root_or_to_a_lost_block(heap: RandomHeap, heuristic: Judge) -> None:
    """Whatever is not definitely lost has a pointer to it where the trail says, and no trail goes in a circle."""
    found = Scan(heap.blocks, heap.read, heuristic)
    found.run([Root("data", f"module{number}", 0, data) for number, data in enumerate(heap.roots)])
    tops = Tops(found)
    for block in heap.blocks:
        index = found.index_of(block)
        state, held = found.state(index), link(found, index)
        assert (held is None) is (state is State.LOST)
        top, depth = tops.of(index)
        assert (len(ways(found, index, 100)), ways(found, index, 100)[0]) == (depth + 1, top)
        assert (found.state(top) is State.LOST) is (state in {State.LOST, State.INDIRECT})
        if held is not None:
            data = found.contents(held.holder) if held.root is None else held.root.data
            assert words(data)[held.offset // 8] == block.address + held.inside
            if state is State.REACHABLE:
                assert held.inside == 0 or heuristic(block, block.address + held.inside)


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=9),
            st.integers(HEAP_BASE - 9, HEAP_BASE + HEAP_SIZE + 9).map(lambda word: word.to_bytes(8, "little")),
        ),
        max_size=12,
    ).map(b"".join)
)
def test_pointers_are_the_aligned_words_in_range(data: bytes) -> None:
    assert list(pointers(data)) == [word for word in words(data) if HEAP_BASE <= word < HEAP_BASE + HEAP_SIZE]


# ---- shapes that a reader can follow


def heap_of(*targets: Sequence[int], roots: Sequence[int] = ()) -> dict[int, State]:
    """Blocks 0, 1, ... of 64 bytes in order of allocation, each pointing to the starts of the blocks named."""
    blocks = [Block(HEAP_BASE + 96 * number, 64, NO_STACK, "malloc", 0) for number in range(len(targets))]

    def image(numbers: Sequence[int]) -> bytes:
        return b"".join((HEAP_BASE + 96 * number).to_bytes(8, "little") for number in numbers)

    contents = {block.address: image(numbers).ljust(64, b"\0") for block, numbers in zip(blocks, targets, strict=True)}
    return {n: v.state for n, v in enumerate(scan(RandomHeap(tuple(blocks), contents, (image(roots),)), never))}


LOST, INDIRECT, REACHABLE = State.LOST, State.INDIRECT, State.REACHABLE


def test_a_lost_list_is_one_definite_leak() -> None:
    assert heap_of([1], [2], []) == {0: LOST, 1: INDIRECT, 2: INDIRECT}


def test_a_list_built_from_its_end_is_lost_at_its_head() -> None:
    assert heap_of([], [0], [1]) == {0: INDIRECT, 1: INDIRECT, 2: LOST}


def test_of_a_ring_the_first_one_allocated_leads() -> None:
    assert heap_of([1], [2], [0]) == {0: LOST, 1: INDIRECT, 2: INDIRECT}


def test_a_block_that_points_to_itself_is_lost() -> None:
    assert heap_of([0]) == {0: LOST}


def test_a_ring_held_by_a_root_is_reachable() -> None:
    assert heap_of([1], [2], [0], roots=[2]) == dict.fromkeys(range(3), REACHABLE)


def test_a_lost_block_that_points_to_a_reachable_one_does_not_change_it() -> None:
    assert heap_of([1], [], roots=[1]) == {0: LOST, 1: REACHABLE}


def test_a_list_of_any_length_needs_no_recursion() -> None:
    count = 50_000
    targets = [[number + 1] for number in range(count - 1)] + [[]]
    assert set(heap_of(*targets, roots=[0]).values()) == {REACHABLE}
    assert sum(state is LOST for state in heap_of(*targets).values()) == 1


def test_what_a_lost_block_knows_only_by_a_heuristic_is_lost_with_it() -> None:
    """The pointer that `new T[0]` returned lies behind its block of 8 bytes."""
    owner = Block(HEAP_BASE, 16, NO_STACK, "malloc", 0)
    empty = Block(HEAP_BASE + 32, 8, NO_STACK, "malloc", 0)
    contents = {owner.address: (empty.address + 8).to_bytes(8, "little"), empty.address: bytes(8)}
    heap = RandomHeap((owner, empty), contents, ())
    assert [verdict.state for verdict in scan(heap, lambda block, _: block is empty)] == [LOST, INDIRECT]
    assert [verdict.state for verdict in scan(heap, never)] == [LOST, LOST]


# ---- pointers into the middle that count


@pytest.fixture
def memory() -> AddressSpace:
    space = AddressSpace()
    space.map(Region(HEAP_BASE, HEAP_BASE + PAGE, READ | WRITE, "heap"))
    code, data = PROGRAM_BASE, PROGRAM_BASE + PAGE
    space.map(Region(code, code + PAGE, READ | EXEC, "file", "/program"))
    space.map(Region(data, data + PAGE, READ | WRITE, "file", "/program", PAGE))
    return space


def counts(memory: AddressSpace, content: bytes, offset: int, size: int | None = None, maker: Op = "malloc") -> bool:
    memory.clear(HEAP_BASE, PAGE)
    memory.write(HEAP_BASE, content)
    block = Block(HEAP_BASE, len(content) if size is None else size, NO_STACK, maker, 0)
    return Heuristics(memory).counts_as_start(block, HEAP_BASE + offset)


def pack(*values: int, size: int = 0) -> bytes:
    return struct.pack(f"<{len(values)}Q", *values).ljust(size, b"\1")


def test_stdstring(memory: AddressSpace) -> None:
    """Length, capacity, reference count, characters, NUL: the pointer is to the characters."""
    assert counts(memory, pack(5, 10, 0, size=35), 24)
    assert counts(memory, pack(10, 10, 0, size=35), 24)
    assert not counts(memory, pack(11, 10, 0, size=35), 24)
    assert not counts(memory, pack(5, 10, 0, size=36), 24)
    assert not counts(memory, pack(5, 10, 0, size=35), 16)
    assert not counts(memory, pack(5, 10, 0), 24)


def test_length64(memory: AddressSpace) -> None:
    assert counts(memory, pack(100, size=108), 8)
    assert not counts(memory, pack(101, size=108), 8)
    assert not counts(memory, pack(100, size=108), 16)


def test_newarray(memory: AddressSpace) -> None:
    """Elements of equal size behind their count."""
    assert counts(memory, pack(5, size=8 + 5 * 12), 8)
    assert not counts(memory, pack(7, size=8 + 5 * 12), 8)
    assert not counts(memory, pack(0, size=8 + 5 * 12), 8)


def test_newarray_of_nothing(memory: AddressSpace) -> None:
    assert counts(memory, pack(0), 8, maker="operator new[]")
    assert counts(memory, pack(0), 8, maker="aligned operator new[]")
    assert not counts(memory, pack(1), 8, maker="operator new[]")
    assert not counts(memory, pack(0), 8), "one past the end of eight bytes from malloc leads nowhere"


def test_multiple_inheritance(memory: AddressSpace) -> None:
    """The first word and the one pointed to hold addresses of tables of functions."""
    table, code = PROGRAM_BASE + PAGE, PROGRAM_BASE
    memory.write(table, pack(code + 16, code + 32, code + 48))
    memory.write(table + 64, pack(0, code + 64, 0, code + 80))
    memory.write(table + 256, pack(code + 16, 12345, code + 32))
    both = pack(table, 7, table + 64, size=40)
    assert counts(memory, both, 16)
    assert not counts(memory, both, 8)
    assert not counts(memory, both, 17)
    assert not counts(memory, pack(7, 7, table + 64, size=40), 16)
    assert not counts(memory, pack(table + 256, 7, table, size=40), 16)
    assert not counts(memory, pack(table, 7, table + 1, size=40), 16)
    assert not counts(memory, pack(table, 7, HEAP_BASE + 64, size=40), 16)


# ---- against valgrind itself

BUILDER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* stdin: a count; for each block its size; then lines "from slot to offset", from -1 for a root; then "drop". */
static char *roots[64];
static void wire(char **all) {
    int from, slot, to, offset;
    while (scanf("%d %d %d %d", &from, &slot, &to, &offset) == 4) {
        char *value = all[to] + offset;
        if (from < 0) roots[slot] = value; else memcpy(all[from] + 8 * slot, &value, 8);
    }
}
static void build(void) {
    int count, size;
    scanf("%d", &count);
    char *all[count + 1];
    for (int n = 0; n < count; n++) { scanf("%d", &size); all[n] = calloc(1, size); }
    wire(all);
    memset(all, 0, sizeof all);
}
static int scrub(int depth) {
    volatile char stack[4096];
    memset((char *)stack, 0, sizeof stack);
    return depth ? scrub(depth - 1) + stack[depth] : 0;
}
int main(void) { build(); return scrub(8); }
"""


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that builds the heap its stdin tells of, and forgets it but for some roots."""
    directory = tmp_path_factory.mktemp("builder")
    (directory / "builder.c").write_text(BUILDER)
    command = [need("gcc"), "-O0", "-w", "-g", "-o", "builder", "builder.c"]
    subprocess.run(command, cwd=directory, check=True)
    return directory / "builder"


def random_description(seed: int) -> str:
    """A heap of blocks of one size, so that valgrind's order, by address, is the order of allocation, too."""
    random = Random(seed)
    count = random.randrange(50, 200)
    size = random.choice([24, 40, 64])
    lines = [str(count), *[str(size)] * count]
    for _ in range(random.randrange(count * 2)):
        offset = random.choice([0, 0, 0, 1, 8, size - 1, size])
        lines.append(f"{random.randrange(count)} {random.randrange(size // 8)} {random.randrange(count)} {offset}")
    roots = range(random.randrange(12))
    lines.extend(f"-1 {slot} {random.randrange(count)} {random.choice([0, 0, 8])}" for slot in roots)
    return "\n".join(lines) + "\nend\n"


@pytest.mark.peer("valgrind")
@pytest.mark.parametrize("seed", range(6))
def test_against_valgrind(builder: Path, tmp_path: Path, seed: int) -> None:
    stdin = tmp_path / "heap.txt"
    stdin.write_text(random_description(seed))
    peer = valgrind.check(builder, stdin=stdin)
    found = emuleak.check(builder, stdin=stdin).summary
    assert found.totals() == peer.totals()
    assert found.heap == peer.heap
    assert sum(size.blocks > 0 for size in found.totals().values()) >= 3, "a dull heap: change the seed"
