"""What travels between the rooms: Call (what the guest asked), Event (what the heap did), Log (all of a run).

Plain data: nothing but the gate knows how a call arrived, nothing but the heap knows how it was served.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

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
]
OPS: tuple[Op, ...] = get_args(Op)  # an operation's code is its place here
_OPS_BY_CODE = (*OPS, *[OPS[0]] * (256 - len(OPS)))  # the rest only a guest that lies can have written

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

It is the very tuple that the gate made of the call: a million blocks come and go without another object being made.
"""
OP_SHIFT = 56
THREAD_SHIFT = 40
SIZE_MASK = (1 << THREAD_SHIFT) - 1


def record_of(op: Op, thread: int, size: int, address: int, stack: Stack) -> Record:
    """The record of a block; `size` below 1 TiB."""
    return (OPS.index(op) << OP_SHIFT | thread << THREAD_SHIFT | size, address, stack)


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


class Event(msgspec.Struct, frozen=True, gc=False):
    """What the heap did for a call.

    `address` is 0 where nothing was allocated; `old` is the address given to free or realloc. `problem` is the kind of
    misuse, "" for none; then `block` is the block concerned (the freed one, or the one `old` points into).
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


class HeapCounts(msgspec.Struct):
    """The heap's figures, counted as valgrind counts them. Sizes in bytes as requested."""

    allocs: int = 0
    frees: int = 0
    bytes_allocated: int = 0
    peak_bytes: int = 0
    in_use_bytes: int = 0
    in_use_blocks: int = 0


class Log:
    """The run's record, written by the heap alone: the events worth keeping and what is live.

    Misuses are kept; every other event is only told to the listeners (a trace, a timeline), since a run may have
    millions of them.
    """

    def __init__(self) -> None:
        self.misuses: list[Event] = []
        self.listeners: list[Callable[[Event], None]] = []
        self.counts = HeapCounts()
        self.live: dict[int, Record] = {}  # by address, in the order of allocation

    def blocks(self) -> list[Block]:
        """The live blocks in the order of their allocation."""
        return [block_of(record) for record in self.live.values()]
