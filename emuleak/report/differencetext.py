"""A difference as text: what became worse in full, like a report's findings; the rest in a line each."""

from collections import Counter
from collections.abc import Sequence
from typing import Final, TextIO

import msgspec
from msgspec import UNSET

from emuleak.report.difference import KINDS, Amount, Change, Difference, Kind, failing, is_complete
from emuleak.report.document import Finding
from emuleak.report.entries import MAX_ENTRIES, Entry
from emuleak.report.findingtext import BODY, FindingText
from emuleak.report.paper import Paper, clean, paper_for, wrapped
from emuleak.report.source import Sources
from emuleak.report.stacktext import here, own_frame, place
from emuleak.report.verdict import amount, is_leak, leak_kind, misuse_name, number

_IN_FULL: Final[tuple[tuple[Kind, str], ...]] = (
    ("new", "NEW"),
    ("grown", "GROWN"),
    ("changed", "CHANGED FOR THE WORSE"),
)
_IN_BRIEF: Final[tuple[tuple[Kind, str], ...]] = (("changed", "CHANGED"), ("shrunk", "SHRUNK"), ("gone", "GONE"))


class DifferenceText(msgspec.Struct, frozen=True, kw_only=True):
    """Writes a difference. `old` and `new` name the reports; `fail_on`, `colour`, `cwd` as of the text report."""

    old: str
    new: str
    fail_on: frozenset[str]
    colour: bool | None = None
    cwd: str | None = None
    sources: Sources | None = None

    def write(self, difference: Difference, out: TextIO) -> None:
        """Write the sentence, then what there is to say."""
        paper = paper_for(out, self.colour)
        cwd = self.cwd or here()
        text = FindingText(paper, difference.new.program, cwd, self.sources or Sources())
        style = "bad" if any(failing(difference, self.fail_on)) else "good"
        paper.line((sentence(difference), style))
        ordinal = 1
        for kind, title in _IN_FULL:
            changes = [change for change in difference.of(kind) if change.worse]
            _write_in_full(title, changes, ordinal, paper, text)
            ordinal += min(len(changes), MAX_ENTRIES)
        for kind, title in _IN_BRIEF:
            _write_in_brief(title, [change for change in difference.of(kind) if not change.worse], paper, cwd)
        for name, report, what in (
            (self.old, difference.old, "what is new may only not have come to light there"),
            (self.new, difference.new, "what is gone may only not have happened there"),
        ):
            if not is_complete(report):
                paper.gap()
                for line in wrapped(f"{name}: that run did not come to its own end, or not all was emulated: {what}."):
                    paper.line((line, "warn"))


def sentence(difference: Difference) -> str:
    """All changes in one line: `emuleak diff: 1 new, 2 gone; 5 unchanged`."""
    tally = Counter(change.change for change in difference.changes)
    changed = ", ".join(f"{tally[kind]:,} {kind}" for kind in KINDS if tally[kind] and kind != "unchanged")
    same = f"{tally['unchanged']:,} unchanged" if tally["unchanged"] else ""
    if not changed:
        return f"emuleak diff: no difference: {same or 'nothing was found in either run'}"
    return f"emuleak diff: {changed}{'; ' if same else ''}{same}"


def _write_in_full(title: str, changes: Sequence[Change], first: int, paper: Paper, text: FindingText) -> None:
    if changes:
        paper.gap()
        paper.line((title, "title"))
    for ordinal, change in enumerate(changes[:MAX_ENTRIES], first):
        paper.gap()
        finding = msgspec.structs.replace(change.finding, why=f"{_before(change)}{change.finding.why}")
        now = change.after or _nothing(finding)
        text.write(ordinal, Entry(finding, now.bytes, now.blocks))
    _write_hidden(len(changes) - MAX_ENTRIES, paper)


def _nothing(finding: Finding) -> Amount:
    return Amount(bytes=finding.bytes, blocks=finding.blocks)


def _before(change: Change) -> str:
    """What the older report said of the place, as a sentence."""
    before, after = change.before, change.after
    if before is None or after is None:
        return ""
    if before.leak_kind is UNSET:
        return f"It happened {number(before.blocks, 'time')} before, and {number(after.blocks, 'time')} now. "
    kind = "" if before.leak_kind == after.leak_kind else f"{before.leak_kind.replace('-', ' ')}, "
    return f"Before it was {kind}{amount(before.bytes, before.blocks)}. "


def _write_in_brief(title: str, changes: Sequence[Change], paper: Paper, cwd: str | None) -> None:
    if changes:
        paper.gap()
        paper.line((title, "title"))
    for change in changes[:MAX_ENTRIES]:
        for line in wrapped(_brief(change, cwd), BODY, BODY + "    "):
            paper.line(line)
    _write_hidden(len(changes) - MAX_ENTRIES, paper)


def _brief(change: Change, cwd: str | None) -> str:
    finding = change.finding
    name = leak_kind(finding).replace("-", " ") if is_leak(finding) else clean(misuse_name(finding.kind))
    frame = own_frame(finding.stack)
    where = f"{clean(frame.function)} ({place(frame, cwd)})" if frame else "at an unknown place"
    return f"{name.capitalize()}: {_amounts(change)}: {where}"


def _amounts(change: Change) -> str:
    """`16 bytes in 1 block`, with what it was before where that is told, too."""
    told = [_amount(side, change) for side in (change.before, change.after) if side is not None]
    return told[0] if len(told) == 1 else f"{told[1]}, before {told[0]}"


def _amount(side: Amount, change: Change) -> str:
    if side.leak_kind is UNSET:
        return number(side.blocks, "time")
    told = amount(side.bytes, side.blocks)
    changed = change.change == "changed" and side is change.before
    return f"{side.leak_kind.replace('-', ' ')}, {told}" if changed else told


def _write_hidden(hidden: int, paper: Paper) -> None:
    if hidden > 0:
        paper.line((f"{BODY}{number(hidden, 'more place')} not listed here; --format json lists them all.", "warn"))
