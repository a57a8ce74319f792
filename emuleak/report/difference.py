"""What changed between two reports, place by place: new, grown, changed, shrunk, gone.

`emuleak-diff/1` history
    1   the first: old, new, the number of places by change, and what changed; unchanged places are only counted
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal, TextIO, get_args

import msgspec
from msgspec import UNSET, UnsetType

from emuleak.report.document import Baseline, Finding, LeakKind, Report, Standing
from emuleak.report.fingerprint import LEAK_CLASSES
from emuleak.report.json import indented
from emuleak.report.matching import Defect, Pair, pairs
from emuleak.report.verdict import FAIL_ON_DEFAULT, counts, is_leak, leak_kind

SCHEMA = "emuleak-diff/1"

Kind = Literal["new", "grown", "changed", "shrunk", "gone", "unchanged"]
KINDS: tuple[Kind, ...] = get_args(Kind)

# How much worse it is to be of a class: of a lost block nobody can say that it is still in use.
_GRAVITY = {"reachable": 0, "indirect": 1, "lost": 2}

_STANDINGS: dict[Kind, Standing] = {"new": "new", "grown": "grown", "changed": "changed"}


class Amount(msgspec.Struct, frozen=True, kw_only=True):
    """How much a report says of one place; `leak_kind` is the worst there."""

    leak_kind: LeakKind | UnsetType = UNSET
    bytes: int
    blocks: int


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One place in both reports.

    `grown` is more blocks or more bytes of a leak, more occurrences of a misuse. `changed` is another kind of leak.
    `worse` says whether a run is to fail for it, if the kind of `finding` counts: for all that is new or grown, and for
    a block that a pointer led to and that is lost now. `finding` is the new report's; of what is gone the old one's.
    """

    change: Kind
    worse: bool
    fingerprint: str
    before: Amount | None
    after: Amount | None
    finding: Finding


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """All changes, in the order of the new report, what is gone at the end."""

    old: Report
    new: Report
    changes: tuple[Change, ...]

    def of(self, *kinds: Kind) -> Iterator[Change]:
        """The changes of these kinds."""
        return (change for change in self.changes if change.change in kinds)


def compare(old: Report, new: Report) -> Difference:
    """Find out what became of each of the program's defects."""
    return Difference(old=old, new=new, changes=tuple(_change(pair) for pair in pairs(old, new)))


def failing(difference: Difference, fail_on: frozenset[str] = FAIL_ON_DEFAULT) -> Iterator[Change]:
    """The changes for which a run is to fail."""
    return (change for change in difference.changes if change.worse and counts(change.finding, fail_on))


def _change(pair: Pair) -> Change:
    shown = pair.new or pair.old
    assert shown is not None, "a pair has at least one defect"
    kind, worse = _judged(pair)
    return Change(
        change=kind,
        worse=worse,
        fingerprint=shown.fingerprint,
        before=_amount(pair.old),
        after=_amount(pair.new),
        # What the new report says of a baseline of its own is no part of this comparison.
        finding=msgspec.structs.replace(shown.finding, baseline=UNSET),
    )


def _amount(defect: Defect | None) -> Amount | None:
    if defect is None:
        return None
    kind = leak_kind(defect.finding) if is_leak(defect.finding) else UNSET
    return Amount(leak_kind=kind, bytes=defect.bytes, blocks=defect.blocks)


def _judged(pair: Pair) -> tuple[Kind, bool]:
    """The kind of change, and whether it is one for the worse."""
    old, new = pair.old, pair.new
    if old is None or new is None:
        return ("new", True) if old is None else ("gone", False)
    before, after = _size(old), _size(new)
    if _gravity(new) > _gravity(old):
        return "changed", True
    if any(now > then for then, now in zip(before, after, strict=True)):
        return "grown", True
    if is_leak(new.finding) and leak_kind(old.finding) != leak_kind(new.finding):
        return "changed", False
    return ("unchanged" if before == after else "shrunk"), False


def _gravity(defect: Defect) -> int:
    return _GRAVITY[LEAK_CLASSES[leak_kind(defect.finding)]] if is_leak(defect.finding) else 0


def _size(defect: Defect) -> tuple[int, ...]:
    """What can grow. The size of a block that is freed twice says nothing of how bad that is."""
    return (defect.blocks, defect.bytes) if is_leak(defect.finding) else (max(defect.blocks, len(defect.indices)),)


# ---- a run and its baseline


def against(baseline: Report, file: str, report: Report) -> Report:
    """The report with each finding marked by what the `baseline`, read from `file`, knew of it."""
    matched = pairs(baseline, report)
    standings: dict[int, Standing] = {}
    tally: Counter[str] = Counter()
    for pair in matched:
        kind, worse = _judged(pair)
        standing = _standing(kind, worse=worse)
        tally["gone" if pair.new is None else standing] += 1
        standings.update(dict.fromkeys(pair.new.indices if pair.new else (), standing))
    return msgspec.structs.replace(
        report,
        baseline=Baseline(
            file=file,
            new=tally["new"],
            grown=tally["grown"],
            changed=tally["changed"],
            known=tally["known"],
            gone=tally["gone"],
        ),
        findings=tuple(
            msgspec.structs.replace(finding, baseline=standings.get(index, UNSET))
            for index, finding in enumerate(report.findings)
        ),
    )


def _standing(kind: Kind, *, worse: bool) -> Standing:
    return _STANDINGS.get(kind, "known") if worse else "known"


# ---- the document


class _Side(msgspec.Struct, frozen=True):
    program: str
    findings: int
    complete: bool


def write_json(difference: Difference, fail_on: frozenset[str], out: TextIO) -> None:
    """Write the difference as `emuleak-diff/1`."""
    tally = Counter(change.change for change in difference.changes)
    document = {
        "schema": SCHEMA,
        "old": _side(difference.old),
        "new": _side(difference.new),
        "counts": {kind: tally[kind] for kind in KINDS},
        "failing": sum(1 for _ in failing(difference, fail_on)),
        "changes": [change for change in difference.changes if change.change != "unchanged"],
    }
    out.write(indented(document, depth=0) + "\n")


def _side(report: Report) -> _Side:
    return _Side(report.program, len(report.findings), is_complete(report))


def is_complete(report: Report) -> bool:
    """Whether the program ran to its end and got all that it asked for: else something may only not have happened."""
    return report.exit.code is not None and not report.incomplete
