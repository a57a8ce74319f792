"""Leaks: the verdicts on the blocks that were left, merged by where they were allocated."""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from msgspec import UNSET

from emuleak.findings.finding import Finding, Frame, LeakKind, Owner
from emuleak.findings.frames import Symbolizer
from emuleak.findings.owner import is_library, owner_of
from emuleak.findings.reachability import State, Verdict

if TYPE_CHECKING:
    from emuleak.events import Block
    from emuleak.findings.reasons import Reasons

# To name what holds a block takes a look at the debug information; this many findings are as many as anybody reads.
_MOST_REASONS: Final = 200
# Of how many blocks of a finding it is asked whether they are alike; of more only the first is spoken of.
_MOST_MEMBERS: Final = 1000

_KINDS: Final[dict[State, LeakKind]] = {
    State.LOST: "definitely-lost",
    State.INDIRECT: "indirectly-lost",
    State.POSSIBLE: "possibly-lost",
    State.REACHABLE: "still-reachable",
}
_ORDER: Final = {state: position for position, state in enumerate(_KINDS)}
_WHY: Final = {
    State.LOST: "No pointer to it is left: nothing in the program can free it any more.",
    State.INDIRECT: "Only other lost blocks point to it: it is lost together with them.",
    State.POSSIBLE: "No pointer to its start is left, only one into its middle or one in a possibly lost block.",
    State.REACHABLE: "It was never freed, but a pointer to it was left at the end.",
}


class _Group:
    """Blocks of one stack, one verdict and one owner."""

    def __init__(self, frames: tuple[Frame, ...], owner: Owner, first: int) -> None:
        self.frames, self.owner, self.first = frames, owner, first
        self.bytes = self.blocks = 0
        self.members: list[Block] = []
        self.threads: set[int] = set()


def leaks(
    verdicts: Iterable[Verdict],
    symbolizer: Symbolizer,
    reasons: "Callable[[], Reasons] | None" = None,
    *,
    library_stacks: bool = True,
    threads: bool = False,
) -> list[Finding]:
    """One finding for each allocation stack, kind and owner; by kind, then the biggest first.

    `reasons` is called when there is a leak of the program's: to give the others' would be work for nothing. Without
    `library_stacks` what a library plainly allocated for itself has no stack: to find out its lines takes a while.
    `threads`: say which one allocated, where it was one alone.
    """
    groups: dict[tuple[object, ...], _Group] = {}
    for position, verdict in enumerate(verdicts):
        block, state = verdict.block, verdict.state
        root = verdict.root if state is State.REACHABLE else None
        kept = root is not None and root.holder == "data" and is_library(root.module)
        key = (state, block.stack, block.maker, kept)
        group = groups.get(key)
        if group is None:
            own = symbolizer.is_allocated_by_library(block.stack)
            frames = symbolizer.call(block.stack, block.maker) if library_stacks or not own else ()
            lost = state in {State.LOST, State.INDIRECT}
            owner = "library" if own else owner_of(frames, lost=lost, kept_by_library=kept)
            # A stack found from two kinds of roots is still one finding when its owner is the same.
            merged = (state, block.stack, block.maker, owner)
            group = groups.setdefault(merged, _Group(frames, owner, position))
            groups[key] = group
        group.bytes += block.size
        group.blocks += 1
        if threads:
            group.threads.add(block.thread)
        if len(group.members) < _MOST_MEMBERS:
            group.members.append(block)
    return _findings({id(group): (key[0], group) for key, group in groups.items()}.values(), reasons)


def _findings(groups: Iterable[tuple[object, _Group]], reasons: "Callable[[], Reasons] | None") -> list[Finding]:
    ordered: Sequence[tuple[State, _Group]] = sorted(
        ((state, group) for state, group in groups if isinstance(state, State)),
        key=lambda item: (_ORDER[item[0]], -item[1].bytes, -item[1].blocks, item[1].first),
    )
    source: Reasons | None = None
    findings: list[Finding] = []
    for state, group in ordered:
        why: str = _WHY[state]
        chain: tuple[str, ...] = ()
        if reasons is not None and group.owner == "program" and len(findings) < _MOST_REASONS:
            source = source or reasons()
            why, chain = source.of(state, group.members, group.blocks)
        findings.append(_finding(state, group, why, chain))
    return findings


def _finding(state: State, group: _Group, why: str, chain: tuple[str, ...]) -> Finding:
    return Finding(
        kind="leak",
        leak_kind=_KINDS[state],
        bytes=group.bytes,
        blocks=group.blocks,
        owner=group.owner,
        maker=group.members[0].maker,
        thread=next(iter(group.threads)) if len(group.threads) == 1 else UNSET,
        why=why,
        chain=chain or UNSET,
        stack=group.frames,
    )
