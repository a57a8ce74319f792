"""The leaks as a tree of calls, main at its root: what the flame graph is drawn from.

The tree is for the eye, so what would be narrower than a hair is added up: stacks after the heaviest thousands as far
as those have no branch for them, and branches of less than a share of their category. Nothing is lost from the sums.
"""

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from emuleak.report.card import CATEGORIES, MAX_NAME, category
from emuleak.report.document import Finding, Frame
from emuleak.report.paper import clipped
from emuleak.report.stacktext import Fold, above_start, fold, own_frame, place
from emuleak.report.verdict import number

LEAK_CATEGORIES = CATEGORIES[:-1]
MAX_STACKS = 2000
MAX_BRANCHES = 4000
_MAX_DEPTH = 60
_FOLD_ABOVE = 24
_FINEST = 1 / 2000  # of its category's bytes: a branch with less is not drawn
_ROOM = len(LEAK_CATEGORIES)

_Step = tuple[str, str]  # function, place


class Branch:
    """A function called from its parent, or at the end of a stack the line that allocates.

    `place` is without the line where calls from several lines were put together; `sizes` are bytes by category.
    """

    __slots__ = ("branches", "name", "ordinal", "place", "sizes")

    def __init__(self, name: str, place: str) -> None:
        self.name = name
        self.place = place
        self.sizes = [0] * _ROOM
        self.ordinal = 0
        self.branches: dict[tuple[str, str], Branch] = {}


class Twig(NamedTuple):
    """One line of the tree written flat, a parent before its branches; `ordinal` is the finding's, 0 for none."""

    depth: int
    name: str
    place: str
    sizes: Sequence[int]
    ordinal: int


def call_tree(findings: Iterable[Finding], ordinals: Mapping[int, int], cwd: str | None) -> list[Twig]:
    """The tree of all leaks, at most MAX_BRANCHES lines; `ordinals` gives the number of a finding by its `id`."""
    leaks = [finding for finding in findings if finding.kind == "leak" and finding.bytes]
    totals = [0] * _ROOM
    for finding in leaks:
        totals[_column(finding)] += finding.bytes
    root = Branch("all", "")
    heaviest = heapq.nlargest(MAX_STACKS, leaks, key=lambda finding: finding.bytes / totals[_column(finding)])
    for finding in heaviest:
        _add(root, finding, ordinals.get(id(finding), 0), cwd)
    if len(heaviest) < len(leaks):
        grown = {id(finding) for finding in heaviest}
        for finding in leaks:
            if id(finding) not in grown:
                _add_light(root, finding, cwd)
    root.sizes = totals
    return list(_written(root, 0, _widest(root, totals))) if leaks else []


def _column(finding: Finding) -> int:
    return LEAK_CATEGORIES.index(category(finding))


def _add(root: Branch, finding: Finding, ordinal: int, cwd: str | None) -> None:
    """Let the tree grow by a stack and, at its end, the line that allocates."""
    column, branch = _column(finding), root
    for name, where in _path(finding.stack, cwd):
        key = name, _file(where)
        child = branch.branches.get(key)
        if child is None:
            child = branch.branches[key] = Branch(name, where)
        elif child.place != where:
            child.place = key[1]
        child.sizes[column] += finding.bytes
        branch = child
    site = own_frame(finding.stack)
    where = "unknown place" if site is None else clipped(place(site, cwd), MAX_NAME)
    leaf = branch.branches.setdefault((where, f"leaf {column}"), Branch(where, ""))
    leaf.sizes[column] += finding.bytes
    leaf.ordinal = leaf.ordinal or ordinal


def _add_light(root: Branch, finding: Finding, cwd: str | None) -> None:
    """Count a stack as far as the tree has its functions already; there, what is light stands together."""
    column, branch = _column(finding), root
    for name, where in _path(finding.stack, cwd):
        child = branch.branches.get((name, _file(where)))
        if child is None:
            break
        if child.place != where:
            child.place = _file(where)
        child.sizes[column] += finding.bytes
        branch = child
    rest = branch.branches.setdefault(("", "rest"), Branch("smaller stacks", ""))
    rest.sizes[column] += finding.bytes


def _file(where: str) -> str:
    return where.rpartition(":")[0] or where


def _path(stack: Sequence[Frame], cwd: str | None) -> list[_Step]:
    """The outermost call first, recursion folded where the stack is deep, the middle left out where it is deeper."""
    steps = [(clipped(frame.function, MAX_NAME), clipped(place(frame, cwd), MAX_NAME)) for frame in above_start(stack)]
    steps.reverse()
    if len(steps) > _FOLD_ABOVE:
        steps = [_folded(item) if isinstance(item, Fold) else item for item in fold(steps)]
    if len(steps) > _MAX_DEPTH:
        half = _MAX_DEPTH // 2
        steps = [*steps[:half], (f"{number(len(steps) - 2 * half, 'frame')} left out", ""), *steps[-half:]]
    return steps


def _folded(item: Fold) -> _Step:
    return f"the same {number(item.period, 'frame')} {number(item.times, 'more time')}", ""


def _widest(root: Branch, totals: Sequence[int]) -> set[int]:
    """The `id` of the branches to be drawn: those with the largest share of their category.

    A branch is never wider than its parent, so none is chosen without it. Of equals the deeper comes first: better one
    stack to its end than the beginnings of ten.
    """
    chosen: set[int] = set()
    waiting, order = [(-1.0, 0, root)], 0
    while waiting and len(chosen) < MAX_BRANCHES // 2:  # for each there may be one that stands for those left out
        branch = heapq.heappop(waiting)[-1]
        chosen.add(id(branch))
        for child in branch.branches.values():
            share = max(size / total for size, total in zip(child.sizes, totals, strict=True) if total)
            if share >= _FINEST:
                order -= 1
                heapq.heappush(waiting, (-share, order, child))
    return chosen


def _written(branch: Branch, depth: int, chosen: set[int]) -> Iterator[Twig]:
    """The branch and what hangs from it, the widest first; what is not chosen as one."""
    yield Twig(depth, branch.name, branch.place, branch.sizes, branch.ordinal)
    narrow, hidden = 0, [0] * _ROOM
    for child in sorted(branch.branches.values(), key=lambda child: -sum(child.sizes)):
        if id(child) in chosen:
            yield from _written(child, depth + 1, chosen)
        else:
            narrow += 1
            hidden = [before + size for before, size in zip(hidden, child.sizes, strict=True)]
    if narrow:
        yield Twig(depth + 1, number(narrow, "smaller branch", "smaller branches"), "", hidden, 0)
