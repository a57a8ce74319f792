"""From findings to what stands under one heading: merged, ordered, grouped when there are very many."""

from collections.abc import Callable, Hashable, Iterable

import msgspec

from emuleak.report.document import Finding, Frame
from emuleak.report.stacktext import own_frame
from emuleak.report.verdict import LEAK_KINDS, leak_kind

GROUP_ABOVE = 50


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
