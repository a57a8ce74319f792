"""One finding as the page shows it: plain data for the template, every word of it chosen here or in the text report."""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec import UNSET

from emuleak.report.document import Finding, Frame
from emuleak.report.entries import Entry
from emuleak.report.findingtext import STANDINGS, by_interest, heading, merger
from emuleak.report.paper import clipped
from emuleak.report.source import SourceLine, Sources
from emuleak.report.stacktext import UNKNOWN, Fold, above_start, fold, is_system, own_frame, place
from emuleak.report.verdict import LEAK_KINDS, is_leak, leak_kind, misuse_name, number

CATEGORIES = (*LEAK_KINDS, "library", "misuse")
"""What the page gives a colour: the program's leaks by kind, what libraries keep, misuse."""

MAX_NAME = 600  # characters; a template's instance may have thousands
_CONTEXT = 2
_MAX_ROWS, _HEAD, _TAIL = 64, 40, 20


class Row(NamedTuple):
    """One line of a stack; `note` stands for frames that are not listed one by one, and then alone."""

    name: str = ""
    place: str = ""
    inlined: bool = False
    system: bool = False
    note: str = ""


class StackView(NamedTuple):
    """A stack with the source of its most telling frame; `title` says which frame if it is not the first."""

    label: str
    frames: int
    rows: Sequence[Row]
    title: str
    excerpt: Sequence[SourceLine]


class Card(NamedTuple):
    """A finding, or the group that it stands for."""

    ordinal: int
    entry: Entry
    kind: str
    category: str
    title: str
    amount: str
    site: Row
    reasons: Sequence[str]
    facts: Sequence[tuple[str, str]]
    chain: Sequence[str]
    stacks: Sequence[StackView]


def card(ordinal: int, entry: Entry, cwd: str | None, sources: Sources) -> Card:
    """All that is said of an entry."""
    finding = entry.finding
    title, amount, _ = heading(entry)
    site = own_frame(finding.stack)
    return Card(
        ordinal=ordinal,
        entry=entry,
        kind=kind_of(finding),
        category=category(finding),
        title=title,
        amount=amount,
        site=Row() if site is None else _row(site, cwd),
        reasons=[text for text in (finding.why, _standing(finding), merger(entry, cwd)) if text],
        facts=_facts(finding),
        chain=() if finding.chain is UNSET else [clipped(link, MAX_NAME) for link in finding.chain[:_MAX_ROWS]],
        stacks=_stacks(finding, cwd, sources),
    )


def category(finding: Finding) -> str:
    """Which of CATEGORIES it belongs to."""
    if not is_leak(finding):
        return "misuse"
    return "library" if finding.owner == "library" else leak_kind(finding)


def kind_of(finding: Finding) -> str:
    """The kind by which the page filters: of leaks the leak's."""
    return leak_kind(finding) if is_leak(finding) else finding.kind


def kind_name(kind: str) -> str:
    """The words for it."""
    return kind.replace("-", " ") if kind in LEAK_KINDS else misuse_name(kind)


def _standing(finding: Finding) -> str:
    return "" if finding.baseline is UNSET else STANDINGS.get(finding.baseline, "")


def _stacks(finding: Finding, cwd: str | None, sources: Sources) -> list[StackView]:
    first = "Allocated here" if is_leak(finding) else "Happened here"
    named = ((first, finding.stack), ("Freed here", finding.freed), ("Allocated here", finding.allocated))
    return [
        stack_view(label, stack, cwd, sources, _CONTEXT if stack is finding.stack else 1)
        for label, stack in named
        if stack
    ]


def stack_view(
    label: str, stack: Sequence[Frame], cwd: str | None, sources: Sources, context: int = _CONTEXT
) -> StackView:
    """The stack from main on, recursion folded, the middle of a very deep one left out."""
    shown = above_start(stack)
    title, excerpt = "", sources.excerpt(None, None)
    for index, frame in by_interest(stack):
        excerpt = sources.excerpt(frame.file, frame.line, context)
        if excerpt:
            title = clipped(place(frame, cwd), MAX_NAME) if index else ""
            break
    return StackView(label, len(shown), _rows([_row(frame, cwd) for frame in shown]), title, excerpt)


def _row(frame: Frame, cwd: str | None) -> Row:
    name = frame.function if frame.function and frame.function != UNKNOWN else frame.pc
    return Row(clipped(name, MAX_NAME), clipped(place(frame, cwd), MAX_NAME), frame.inlined, is_system(frame))


def _rows(rows: Sequence[Row]) -> list[Row]:
    items = list(fold(rows))
    if len(items) > _MAX_ROWS:
        frames = sum(item.period * item.times if isinstance(item, Fold) else 1 for item in items[_HEAD:-_TAIL])
        left_out = Row(note=f"{number(frames, 'frame')} not shown here; --format json lists them all")
        items = [*items[:_HEAD], left_out, *items[-_TAIL:]]
    return [_fold_row(item) if isinstance(item, Fold) else item for item in items]


def _fold_row(item: Fold) -> Row:
    frames = "frame" if item.period == 1 else f"{item.period} frames"
    return Row(note=f"the same {frames} {number(item.times, 'more time')}")


def _facts(finding: Finding) -> list[tuple[str, str]]:
    """What else the detector knows, in words."""
    facts = (
        ("made by", finding.maker),
        ("released by", finding.releaser),
        ("offset", UNSET if finding.offset is UNSET else number(finding.offset, "byte")),
        ("thread", UNSET if finding.thread is UNSET else f"{finding.thread}"),
    )
    return [(label, value) for label, value in facts if value is not UNSET]
