"""Which blocks can the program still get at? A conservative mark phase with valgrind's four verdicts.

Every aligned word of the roots, and of each block found, is taken for a pointer if it points into a block. To its start
(or where a heuristic says that this is as good): the block is reachable; into its middle: possibly lost, and so is what
hangs on it. What no root leads to is lost: indirectly, if a lost block leads to it, else definitely.
(memcheck/mc_leakcheck.c; valgrind's manual, section 4.2.8.)

Finding candidates is the work, a comparison for each of millions of words. Blocks lie where no other data looks like
their addresses, so a byte search for the addresses' common upper bytes does it at memory speed, without numpy's 0.15 s
of start-up.
"""

import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from emuleak.events import Block
from emuleak.memory import HEAP_BASE, HEAP_SIZE

# Bytes 5 to 7 of every pointer into the heap's range, little-endian; the range fixes no more than these.
_MARK: Final = HEAP_BASE.to_bytes(8, "little")[5:]
_MARK_AT: Final = 5
_HEAP_END: Final = HEAP_BASE + HEAP_SIZE


class State(IntEnum):
    """What the scan says of a block, from worst to best."""

    LOST = 0
    INDIRECT = 1
    POSSIBLE = 2
    REACHABLE = 3


JOINED_THREAD: Final = "joined thread"
"""The holder of memory in which a pointer to a block's start does not count."""


class Root(NamedTuple):
    """A piece of memory outside the heap that the program can reach: its bytes start at a multiple of 8.

    `holder` says what it is ("registers", "stack", "data", "mapping"), `module` of which file for "data". Registers
    have no address: for them it is the thread's place among the threads.
    """

    holder: str
    module: str
    address: int
    data: bytes


class Verdict(NamedTuple):
    """A block, its state, and from where it was first found: the root it hangs on (None for lost blocks)."""

    block: Block
    state: State
    root: Root | None
    direct: bool


def pointers(data: bytes) -> Iterator[int]:
    """Every aligned word of `data` that lies in the heap's range."""
    find = data.find
    at = find(_MARK, _MARK_AT)
    while at >= 0:
        if at & 7 == _MARK_AT:
            word = int.from_bytes(data[at - _MARK_AT : at + 3], "little")
            if HEAP_BASE <= word < _HEAP_END:
                yield word
        at = find(_MARK, at + 1)


Heuristic = Callable[[Block, int], bool]
"""Whether a pointer to the address, inside the block, counts as one to its start."""


OUTSIDE: Final = -1
"""The parent of a block that was found from a root, or from nowhere."""


class Scan:
    """One mark phase over the live blocks. `read` gives a block's bytes; blocks are taken in order of allocation.

    `pointers` finds what may be a pointer in some bytes: blocks outside the heap's range need another search.

    Of each block it keeps the one that led to it. Where in that the pointer lies is not kept: only the few blocks that
    a report speaks of need it, and for those it is looked up again (findings/trail.py).
    """

    def __init__(
        self,
        blocks: Iterable[Block],
        read: Callable[[Block], bytes],
        heuristic: Heuristic,
        pointers: Callable[[bytes], Iterable[int]] = pointers,
    ) -> None:
        in_order = list(blocks)
        positions = sorted(range(len(in_order)), key=lambda position: in_order[position].address)
        self._blocks = [in_order[position] for position in positions]
        self._order = sorted(range(len(positions)), key=lambda index: positions[index])
        self._starts = [block.address for block in self._blocks]
        self._exact = {start: index for index, start in enumerate(self._starts)}
        self._read = read
        self.pointers = pointers
        self._heuristic = heuristic
        self._state = [State.LOST] * len(self._blocks)
        self._root: list[Root | None] = [None] * len(self._blocks)
        self._parent = [OUTSIDE] * len(self._blocks)
        self._closing: dict[int, int] = {}  # of a lost block that a block which hangs on it points to: the latter

    def run(self, roots: Iterable[Root]) -> list[Verdict]:
        """The verdict on every block, in order of allocation."""
        for root in roots:
            for word in self.pointers(root.data):
                if root.holder != JOINED_THREAD or word not in self._exact:
                    self._mark_from(root, word)
        for index in self._order:
            if self._state[index] is State.LOST:
                self._mark_lost_from(index)
        return [
            Verdict(
                self._blocks[index],
                self._state[index],
                self._root[index],
                self._root[index] is not None and self._parent[index] == OUTSIDE,
            )
            for index in self._order
        ]

    def _find(self, word: int) -> int | None:
        """The index of the block that holds `word`; a block of no bytes still has its start."""
        exact = self._exact.get(word)
        if exact is not None:
            return exact
        index = bisect.bisect_right(self._starts, word) - 1
        if index >= 0 and word < self._starts[index] + self._blocks[index].size:
            return index
        return None

    def _mark_from(self, root: Root, word: int) -> None:
        stack: list[int] = []
        self._reach(word, definite=True, root=root, parent=OUTSIDE, stack=stack)
        while stack:
            index = stack.pop()
            definite = self._state[index] is State.REACHABLE
            for inner in self.pointers(self._read(self._blocks[index])):
                self._reach(inner, definite=definite, root=root, parent=index, stack=stack)

    def _reach(self, word: int, *, definite: bool, root: Root, parent: int, stack: list[int]) -> None:
        index = self._exact.get(word)
        to_start = index is not None
        if index is None:
            index = self._find_inner(word)
            if index is None:
                return
        state = self._state[index]
        if state is State.REACHABLE:
            return
        if definite and (to_start or self._heuristic(self._blocks[index], word)):
            self._state[index] = State.REACHABLE
        elif state is State.LOST:
            self._state[index] = State.POSSIBLE
        else:
            return
        self._root[index], self._parent[index] = root, parent
        stack.append(index)

    def _find_inner(self, word: int) -> int | None:
        """As `_find`, with one more case: `new T[0]` points just behind its block of 8 bytes."""
        index = self._find(word)
        if index is not None:
            return index
        index = bisect.bisect_right(self._starts, word) - 1
        if index >= 0 and self._blocks[index].size == 8 and word == self._starts[index] + 8:
            return index if self._heuristic(self._blocks[index], word) else None
        return None

    def _mark_lost_from(self, leader: int) -> None:
        """What hangs on a lost block is lost with it; an earlier such block that hangs on this one is, too."""
        stack = [leader]
        while stack:
            holder = stack.pop()
            for word in self.pointers(self._read(self._blocks[holder])):
                index = self._find_inner(word)
                if index is None:
                    continue
                if index == leader:
                    self._closing.setdefault(leader, holder)
                elif self._state[index] is State.LOST:
                    self._state[index] = State.INDIRECT
                    self._parent[index] = holder
                    stack.append(index)

    # ---- what the reasons ask afterwards; blocks are named by their index in the order of their addresses

    def index_of(self, block: Block) -> int:
        """The index of a block of this scan."""
        return self._exact[block.address]

    def block(self, index: int) -> Block:
        """The block of an index."""
        return self._blocks[index]

    def state(self, index: int) -> State:
        """The verdict on a block."""
        return self._state[index]

    def root(self, index: int) -> Root | None:
        """The root from which a block was found."""
        return self._root[index]

    def parent(self, index: int) -> int:
        """The block that led to this one, or OUTSIDE."""
        return self._parent[index]

    def closes_ring(self, leader: int) -> int | None:
        """Of a definitely lost block: one that hangs on it and points back to it, if there is such."""
        return self._closing.get(leader)

    def contents(self, index: int) -> bytes:
        """The bytes of a block."""
        return self._read(self._blocks[index])

    def counts_as_start(self, index: int, word: int) -> bool:
        """Whether a pointer into the block is as good as one to its start."""
        return word == self._starts[index] or self._heuristic(self._blocks[index], word)

    def blocks(self) -> Sequence[Block]:
        """All blocks, by index."""
        return self._blocks

    def target(self, word: int) -> int | None:
        """The block that a word points to or into."""
        return self._find_inner(word)
