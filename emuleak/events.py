"""What travels between the rooms: Call (what the guest asked), Event (what the heap did), Log (all of a run).

Plain data: nothing but the gate knows how a call arrived, nothing but the heap knows how it was served.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal, NamedTuple, get_args

import msgspec

Op = Literal[
    "malloc",
    "free",
    "calloc",
    "realloc",
    "reallocarray",
    "memalign",
    "posix_memalign",
    "aligned_alloc",
    "valloc",
    "pvalloc",
    "malloc_usable_size",
    "operator new",
    "operator new[]",
    "operator delete",
    "operator delete[]",
    "aligned operator new",
    "aligned operator new[]",
    "sized operator delete",
    "sized operator delete[]",
    "aligned operator delete",
    "aligned operator delete[]",
    "sized aligned operator delete",
    "sized aligned operator delete[]",
]
OPS: tuple[Op, ...] = get_args(Op)  # an operation's code is its place here
_OPS_BY_CODE = (*OPS, *[OPS[0]] * (256 - len(OPS)))  # the rest only a guest that lies can have written


def is_operator(op: Op) -> bool:
    """Whether the operation is one of C++'s `operator new` and `operator delete`."""
    return " " in op


# Which operations go together: what a function of one family made, only one of the same may release.
_C, _SINGLE, _ARRAY, _ALIGNED_SINGLE, _ALIGNED_ARRAY = range(1, 6)
_FAMILY: dict[Op, int] = {
    "operator new": _SINGLE,
    "operator new[]": _ARRAY,
    "aligned operator new": _ALIGNED_SINGLE,
    "aligned operator new[]": _ALIGNED_ARRAY,
    "operator delete": _SINGLE,
    "operator delete[]": _ARRAY,
    "sized operator delete": _SINGLE,
    "sized operator delete[]": _ARRAY,
    "aligned operator delete": _ALIGNED_SINGLE,
    "aligned operator delete[]": _ALIGNED_ARRAY,
    "sized aligned operator delete": _ALIGNED_SINGLE,
    "sized aligned operator delete[]": _ALIGNED_ARRAY,
}
FAMILY_BY_CODE: tuple[int, ...] = tuple(_FAMILY.get(op, _C) for op in _OPS_BY_CODE)
"""The family of each operation, by its code."""
RELEASES_BY_CODE: tuple[int, ...] = tuple(
    FAMILY_BY_CODE[code] if op == "free" or "delete" in op else 0 for code, op in enumerate(_OPS_BY_CODE)
)
"""The family that an operation releases a block of, by its code; 0 for those that release none."""


def family_of(op: Op) -> int:
    """Which functions go with this one."""
    return FAMILY_BY_CODE[OPS.index(op)]


def releasers(maker: Op) -> tuple[Op, ...]:
    """The operations that may release what `maker` made."""
    family = FAMILY_BY_CODE[OPS.index(maker)]
    return tuple(op for code, op in enumerate(OPS) if RELEASES_BY_CODE[code] == family)


Stack = bytes
"""The return addresses of a call, innermost first, as packed 64-bit words: the form in which they arrive.

It is hashed, compared and kept as it is, and taken apart only for a report: as a tuple of numbers it would take five
times the memory, and most stacks are never looked at.
"""
NO_STACK: Stack = b""


def return_addresses(stack: Stack) -> Sequence[int]:
    """The addresses of a packed stack; a guest that wrote to the gate's data may have left part of a word."""
    return memoryview(stack)[: len(stack) & -8].cast("Q")


Record = tuple[int, int, Stack]
"""What the ledger keeps of a block: (operation << 56 | thread << 40 | size in bytes, address, stack).

Most blocks come and go without one: a record is made of what lives when somebody asks (ledger.py).
"""
OP_SHIFT = 56
THREAD_SHIFT = 40
SIZE_MASK = (1 << THREAD_SHIFT) - 1


def record_of(op: Op, thread: int, size: int, address: int, stack: Stack) -> Record:
    """The record of a block; `size` below 1 TiB."""
    return (OPS.index(op) << OP_SHIFT | thread << THREAD_SHIFT | size, address, stack)


def is_mismatch(record: Record, op: Op, size: int) -> bool:
    """Whether `op`, which releases, is none that may release the block, or is told a wrong size (0: none)."""
    made, family = record[0], FAMILY_BY_CODE[OPS.index(op)]
    return FAMILY_BY_CODE[made >> OP_SHIFT] != family or size not in {0, made & SIZE_MASK}


class Call(msgspec.Struct, frozen=True, gc=False):
    """One call of the allocator's interface as the guest made it: its raw arguments in order, and who called."""

    op: Op
    first: int
    second: int
    third: int
    stack: Stack
    thread: int


class Block(NamedTuple):
    """One block of the ledger, unpacked: `size` is what was asked for, in bytes; `thread` counts from 0.

    `freed` is the stack of the call that freed it, NO_STACK while it lives.
    """

    address: int
    size: int
    stack: Stack
    maker: Op
    thread: int
    freed: Stack = NO_STACK


def block_of(record: Record, freed: Stack = NO_STACK) -> Block:
    """A record, unpacked."""
    word, address, stack = record
    thread = word >> THREAD_SHIFT & (1 << OP_SHIFT - THREAD_SHIFT) - 1
    return Block(address, word & SIZE_MASK, stack, _OPS_BY_CODE[word >> OP_SHIFT], thread, freed)


def block_around(address: int, blocks: Iterable[Block]) -> Block | None:
    """The block that `address` points into."""
    return next((block for block in blocks if 0 <= address - block.address < max(block.size, 1)), None)


class Event(msgspec.Struct, frozen=True, gc=False):
    """What the heap did for a call.

    `address` is 0 where nothing was allocated; `old` is the address given to free or realloc. `problem` is the kind of
    misuse, "" for none; then `block` is the block concerned (the freed one, or the one `old` points into). For a
    damaged block `offset` is the first changed byte, from the block's end (overflow) or its start, and `size` how far
    the damage reaches from there, both in bytes; `stack` is where it was noticed, NO_STACK at the end of the run.
    """

    tick: int
    op: Op
    address: int
    size: int
    old: int
    stack: Stack
    thread: int
    problem: str = ""
    block: Block | None = None
    offset: int = 0


class FailedRealloc(NamedTuple):
    """A realloc of a live block to `size` bytes that returned NULL: the block stayed as it was."""

    record: Record
    size: int
    stack: Stack


class HeapCounts(msgspec.Struct):
    """The heap's figures, counted as valgrind counts them. Sizes in bytes as requested."""

    allocs: int = 0
    frees: int = 0
    bytes_allocated: int = 0
    peak_bytes: int = 0
    in_use_bytes: int = 0
    in_use_blocks: int = 0


class Growth:
    """The heap over time in a bounded number of samples, of which the highest is always one.

    Time is cut into strides of equal length in ticks, and of each the sample with the most bytes is kept. When there
    are too many, strides become twice as long: at most 64 times in all, so that a sample costs the same however many
    there are.
    """

    LIMIT: Final = 1024

    def __init__(self) -> None:
        self._stride = 1
        self._kept: dict[int, tuple[int, int, int]] = {}  # by number of stride, in the order of time
        self._last = (0, 0, 0)

    def add(self, tick: int, size: int, blocks: int) -> None:
        """Note `size` bytes in `blocks` blocks in use at `tick`, which is never less than it was the last time."""
        self._last = tick, size, blocks
        self._keep(self._last)
        while len(self._kept) >= self.LIMIT:
            self._stride *= 2
            kept, self._kept = self._kept, {}
            for sample in kept.values():
                self._keep(sample)

    def _keep(self, sample: tuple[int, int, int]) -> None:
        stride = sample[0] // self._stride
        known = self._kept.get(stride)
        if known is None or sample[1] > known[1]:
            self._kept[stride] = sample

    def samples(self) -> list[tuple[int, int, int]]:
        """At most LIMIT of (tick, bytes, blocks) in the order of time; the last is the last that was added."""
        samples = list(self._kept.values())
        if samples and samples[-1] != self._last:
            samples.append(self._last)
        return samples


class Pool(msgspec.Struct):
    """A memory pool that the program told of (valgrind's CREATE_MEMPOOL); its blocks by address.

    `redzone` bytes around each block are not to be used. Of a pool that is `meta` blocks are cut into blocks; with
    `auto_free` these go when theirs is freed.
    """

    redzone: int = 0
    meta: bool = False
    auto_free: bool = False
    blocks: dict[int, Record] = {}


class Declared:
    """What the program itself said of its memory, in valgrind's or LeakSanitizer's language. Most say nothing.

    `blocks` are those of its own allocators (MALLOCLIKE_BLOCK) by address, `pools` its pools by what it calls them.
    `ignored` has, by address, blocks that are not to be looked for, and who said so. `closed` are ranges in which
    nothing is stored any more, in order and apart from each other, by the block of malloc's that holds them; under 0
    those that lie elsewhere. `regions` are searched like global variables; `stacks` are the program's own, by number.
    """

    def __init__(self) -> None:
        self.blocks: dict[int, Record] = {}
        self.pools: dict[int, Pool] = {}
        self.ignored: dict[int, tuple[Record, str]] = {}
        self.closed: dict[int, tuple[Record | None, list[tuple[int, int]]]] = {}
        self.regions: list[tuple[int, int]] = []
        self.stacks: dict[int, tuple[int, int]] = {}

    def copy(self) -> "Declared":
        """The same of a process that has a copy of the memory."""
        copy = Declared()
        copy.blocks, copy.ignored = dict(self.blocks), dict(self.ignored)
        copy.pools = {
            name: msgspec.structs.replace(pool, blocks=dict(pool.blocks)) for name, pool in self.pools.items()
        }
        copy.closed = {key: (record, list(ranges)) for key, (record, ranges) in self.closed.items()}
        copy.regions, copy.stacks = list(self.regions), dict(self.stacks)
        return copy

    def __bool__(self) -> bool:
        return bool(self.blocks or self.pools or self.ignored or self.closed or self.regions or self.stacks)


def _nothing() -> None:
    return


class Log:
    """The run's record, written by the heap alone: the events worth keeping and what is live.

    Misuses are kept; every other event is only told to the listeners (a trace, a timeline), since a run may have
    millions of them. Calls that were served in the guest are entered when somebody looks: `settle` does that.
    """

    def __init__(self) -> None:
        self.settle: Callable[[], None] = _nothing
        self._misuses: list[Event] = []
        self.listeners: list[Callable[[Event], None]] = []
        self.counts = HeapCounts()
        self.growth = Growth()
        self.failed_reallocs: dict[int, FailedRealloc] = {}  # by the block's address, the last one of each
        self._live: dict[int, Record] = {}
        self.declared = Declared()

    @property
    def live(self) -> dict[int, Record]:
        """The records of the live blocks by address, in the order of allocation."""
        self.settle()
        return self._live

    @property
    def misuses(self) -> list[Event]:
        """What was done wrong, in the order in which it was noticed."""
        self.settle()
        return self._misuses

    def fork(self) -> "Log":
        """A forked process's: what is live is so there, too; what was done wrong was done here."""
        child = Log()
        child._live, child.failed_reallocs = dict(self.live), dict(self.failed_reallocs)
        child.declared = self.declared.copy()
        child.counts.in_use_bytes, child.counts.in_use_blocks = self.counts.in_use_bytes, self.counts.in_use_blocks
        child.counts.peak_bytes = self.counts.in_use_bytes
        return child

    def blocks(self) -> list[Block]:
        """The live blocks in the order of their allocation."""
        return [block_of(record) for record in self.live.values()]
