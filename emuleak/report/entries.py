"""From findings to what stands under one heading: merged, ordered, grouped when there are very many."""

from collections.abc import Callable, Hashable, Iterable

import msgspec

from emuleak.report.document import Finding, Frame
from emuleak.report.stacktext import own_frame
from emuleak.report.verdict import LEAK_KINDS, is_leak, leak_kind

GROUP_ABOVE = 50
MAX_ENTRIES = 100


class Entry(msgspec.Struct):
    """One finding shown for all that it stands for; `findings`, `bytes` and `blocks` are sums over those."""

    finding: Finding
    bytes: int
    blocks: int
    findings: int = 1
    site: Frame | None = None

    def add(self, finding: Finding) -> None:
        """Count one more finding of the same sort."""
        self.findings += 1
        self.bytes += finding.bytes
        self.blocks += finding.blocks


class Listing(msgspec.Struct, frozen=True):
    """What the text report tells one by one, of each sort at most MAX_ENTRIES; `leak_findings` is before grouping."""

    misuse: list[Entry]
    leaks: list[Entry]
    leak_findings: int

    @property
    def first_leak(self) -> int:
        """The number of the first leak; misuse is numbered from 1."""
        return min(len(self.misuse), MAX_ENTRIES) + 1

    def numbered(self) -> list[tuple[int, Entry]]:
        """The entries with the numbers by which the text report calls them."""
        return [*enumerate(self.misuse[:MAX_ENTRIES], 1), *enumerate(self.leaks[:MAX_ENTRIES], self.first_leak)]


def listing(findings: Iterable[Finding], *, show_reachable: bool) -> Listing:
    """Choose what to list: not what libraries keep, nor what a baseline knew, nor what is reachable unless asked."""
    unknown = [finding for finding in findings if finding.baseline != "known"]
    leaks = [
        finding
        for finding in unknown
        if is_leak(finding)
        and finding.owner != "library"
        and (show_reachable or leak_kind(finding) != "still-reachable")
    ]
    misuse = misuse_entries(finding for finding in unknown if not is_leak(finding))
    return Listing(sorted(misuse, key=_news), sorted(leak_entries(leaks), key=_news), len(leaks))


def _news(entry: Entry) -> int:
    """New findings before those that only became worse; where there is no baseline all are alike."""
    return entry.finding.baseline in {"grown", "changed"}


def misuse_entries(findings: Iterable[Finding]) -> list[Entry]:
    """Misuse in order of occurrence; the same mistake from the same stacks is told once, with a count."""
    return _merged(findings, _same_mistake)


def _same_mistake(finding: Finding) -> Hashable:
    return finding.kind, finding.access, finding.owner, finding.stack, finding.freed, finding.allocated


def leak_entries(findings: Iterable[Finding], group_above: int = GROUP_ABOVE) -> list[Entry]:
    """Leaks by kind, the biggest first; more than `group_above` are grouped by the line that allocated."""
    ordered = sorted(findings, key=_rank)
    if len(ordered) <= group_above:
        return [Entry(finding, finding.bytes, finding.blocks) for finding in ordered]
    entries = _merged(ordered, _same_line)
    for entry in entries:
        entry.site = own_frame(entry.finding.stack)
    return sorted(entries, key=lambda entry: (LEAK_KINDS.index(leak_kind(entry.finding)), -entry.bytes, -entry.blocks))


def _rank(finding: Finding) -> tuple[int, int, int]:
    return LEAK_KINDS.index(leak_kind(finding)), -finding.bytes, -finding.blocks


def _same_line(finding: Finding) -> Hashable:
    frame = own_frame(finding.stack)
    if frame is None:
        return leak_kind(finding), None
    if frame.file is None or frame.line is None:
        return leak_kind(finding), frame.object, frame.pc
    return leak_kind(finding), frame.file, frame.line


def _merged(findings: Iterable[Finding], key_of: Callable[[Finding], Hashable]) -> list[Entry]:
    entries: dict[Hashable, Entry] = {}
    for finding in findings:
        key = key_of(finding)
        if key in entries:
            entries[key].add(finding)
        else:
            entries[key] = Entry(finding, finding.bytes, finding.blocks)
    return list(entries.values())
