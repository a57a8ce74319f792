"""From a block back to what holds it: the trail that the scan left, looked up for the few blocks a report speaks of."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from emuleak.findings.reachability import JOINED_THREAD, OUTSIDE, Root, Scan, State

_LARGEST_RING: Final = 1000
_NEVER: Final = -1


class Link(NamedTuple):
    """Where a pointer to a block lies: `offset` bytes into the block `holder`, or into `root` if that is OUTSIDE.

    `inside`: how far behind the start of its target the pointer points.
    """

    holder: int
    root: Root | None
    offset: int
    inside: int


def link(scan: Scan, index: int) -> Link | None:
    """The pointer by which the scan found the block; None for a definitely lost one."""
    holder, root = scan.parent(index), scan.root(index)
    if holder == OUTSIDE and root is None:
        return None
    data = root.data if holder == OUTSIDE and root is not None else scan.contents(holder)
    start = scan.block(index).address
    at = _NEVER if holder == OUTSIDE and root is not None and root.holder == JOINED_THREAD else _aligned(data, start)
    inside = 0
    if at == _NEVER:
        reachable = scan.state(index) is State.REACHABLE
        for word in scan.pointers(data):
            if scan.target(word) == index and (not reachable or scan.counts_as_start(index, word)):
                at, inside = _aligned(data, word), word - start
                break
    if at == _NEVER:
        return None
    return Link(holder, root if holder == OUTSIDE else None, at, inside)


def _aligned(data: bytes, word: int) -> int:
    """The offset of the first aligned word of that value."""
    return next(occurrences(data, word.to_bytes(8, "little")), _NEVER)


def occurrences(data: bytes, word: bytes) -> Iterator[int]:
    """The offsets of the aligned words of that value."""
    at = data.find(word)
    while at >= 0:
        if not at & 7:
            yield at
        at = data.find(word, at + 1)


def ways(scan: Scan, index: int, most: int) -> list[int]:
    """The last blocks of the trail that ends with this one, the outermost first: `most` at most."""
    found = [index]
    while len(found) < most and (index := scan.parent(index)) != OUTSIDE:
        found.append(index)
    return found[::-1]


class Tops:
    """Where trails begin. Every block is passed once, however many trails lead through it."""

    def __init__(self, scan: Scan) -> None:
        self._scan = scan
        self._known: dict[int, tuple[int, int]] = {}

    def of(self, index: int) -> tuple[int, int]:
        """The block that a root holds, or the definitely lost one, from which this one hangs; blocks in between.

        The count has the first but not the last: 0 where both are the same.
        """
        passed = []
        while index not in self._known and (parent := self._scan.parent(index)) != OUTSIDE:
            passed.append(index)
            index = parent
        top, depth = self._known.setdefault(index, (index, 0))
        for number, each in enumerate(reversed(passed), 1):
            self._known[each] = top, depth + number
        return (top, depth + len(passed))


class Ring(NamedTuple):
    """Blocks that hold each other: how many there are besides the first, None where there are too many to count."""

    others: int | None


def ring(scan: Scan, leader: int) -> Ring | None:
    """The lost blocks that lead to the definitely lost one and are led to by it."""
    if scan.closes_ring(leader) is None:
        return None
    targets: dict[int, set[int]] = {}
    todo = [leader]
    while todo:
        index = todo.pop()
        if index in targets:
            continue
        if len(targets) == _LARGEST_RING:
            return Ring(None)
        found = {scan.target(word) for word in scan.pointers(scan.contents(index))}
        lost = (State.LOST, State.INDIRECT)
        targets[index] = {target for target in found if target is not None and scan.state(target) in lost}
        todo.extend(targets[index])
    return Ring(len(_leading_to(leader, targets)) - 1)


def _leading_to(leader: int, targets: dict[int, set[int]]) -> set[int]:
    sources: dict[int, list[int]] = {}
    for index, each in targets.items():
        for target in each:
            sources.setdefault(target, []).append(index)
    found, todo = {leader}, [leader]
    while todo:
        for source in sources.get(todo.pop(), ()):
            if source not in found:
                found.add(source)
                todo.append(source)
    return found
