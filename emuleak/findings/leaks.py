"""Leaks: the verdicts on the blocks that were left, merged by where they were allocated."""

from collections.abc import Iterable, Sequence
from typing import Final

from emuleak.findings.finding import Finding, Frame, LeakKind, Owner
from emuleak.findings.frames import Symbolizer
from emuleak.findings.owner import is_library, owner_of
from emuleak.findings.reachability import State, Verdict

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


def leaks(verdicts: Iterable[Verdict], symbolizer: Symbolizer) -> list[Finding]:
    """One finding for each allocation stack, kind and owner; by kind, then the biggest first."""
    groups: dict[tuple[object, ...], _Group] = {}
    for position, verdict in enumerate(verdicts):
        block, state = verdict.block, verdict.state
        root = verdict.root if state is State.REACHABLE else None
        kept = root is not None and root.holder == "data" and is_library(root.module)
        key = (state, block.stack, block.maker, kept)
        group = groups.get(key)
        if group is None:
            frames = symbolizer.call(block.stack, block.maker)
            lost = state in {State.LOST, State.INDIRECT}
            owner = owner_of(frames, lost=lost, kept_by_library=kept)
            # A stack found from two kinds of roots is still one finding when its owner is the same.
            merged = (state, block.stack, block.maker, owner)
            group = groups.setdefault(merged, _Group(frames, owner, position))
            groups[key] = group
        group.bytes += block.size
        group.blocks += 1
    return _findings({id(group): (key[0], group) for key, group in groups.items()}.values())


def _findings(groups: Iterable[tuple[object, _Group]]) -> list[Finding]:
    ordered: Sequence[tuple[State, _Group]] = sorted(
        ((state, group) for state, group in groups if isinstance(state, State)),
        key=lambda item: (_ORDER[item[0]], -item[1].bytes, -item[1].blocks, item[1].first),
    )
    return [
        Finding(
            kind="leak",
            leak_kind=_KINDS[state],
            bytes=group.bytes,
            blocks=group.blocks,
            owner=group.owner,
            why=_WHY[state],
            stack=group.frames,
        )
        for state, group in ordered
    ]
