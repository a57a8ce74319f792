"""The report as text: the verdict first, then what to repair, then the figures that valgrind's users look for."""

from collections.abc import Sequence
from typing import TextIO

import msgspec

from emuleak.report.document import Finding, Report
from emuleak.report.entries import Entry, leak_entries, misuse_entries
from emuleak.report.findingtext import FindingText
from emuleak.report.paper import Paper, clean, paper_for
from emuleak.report.source import Sources
from emuleak.report.stacktext import here
from emuleak.report.summary import write_ending, write_heap, write_incomplete, write_leaks
from emuleak.report.verdict import Totals, amount, counting, is_leak, leak_kind, number, sentence, totals

MAX_ENTRIES = 100


class Terminal(msgspec.Struct, frozen=True, kw_only=True):
    """The writer `text`.

    `show_reachable` lists still-reachable blocks too. `colour` None asks the stream. Paths below `cwd` (None: the
    working directory) are shortened; `sources` says which files may be quoted.
    """

    show_reachable: bool = False
    colour: bool | None = None
    cwd: str | None = None
    sources: Sources | None = None

    def write(self, report: Report, out: TextIO) -> None:
        """Write the report."""
        paper = paper_for(out, self.colour)
        text = FindingText(paper, report.program, self.cwd or here(), self.sources or Sources())
        sums = totals(report.findings)
        style = "bad" if any(counting(report)) else "warn" if _doubtful(report) else "good"
        paper.line((clean(sentence(report)), style))
        self._write_findings(report, sums, paper, text)
        text.write_note()
        write_heap(report.heap, paper)
        write_leaks(sums, paper)
        write_ending(report, paper, text)
        write_incomplete(report.incomplete, paper)

    def _write_findings(self, report: Report, sums: Totals, paper: Paper, text: FindingText) -> None:
        misuse = misuse_entries(finding for finding in report.findings if not is_leak(finding))
        _write_entries(misuse, 1, paper, text)
        leaks = [finding for finding in report.findings if self._listed(finding)]
        entries = leak_entries(leaks)
        if len(entries) < len(leaks):
            paper.gap()
            places = number(len(entries), "place")
            paper.line(f"{len(leaks):,} leaks come from {places} in the program; each place is listed once.")
        _write_entries(entries, min(len(misuse), MAX_ENTRIES) + 1, paper, text)
        reachable = sums.leaks["still-reachable"]
        if reachable.findings and not self.show_reachable:
            paper.gap()
            where = number(reachable.findings, "place")
            paper.line(f"Still reachable: {amount(reachable.bytes, reachable.blocks)}, allocated in {where}.")
            paper.line(("Not listed; --show-reachable lists them.", "quiet"))

    def _listed(self, finding: Finding) -> bool:
        if not is_leak(finding) or finding.owner == "library":
            return False
        return self.show_reachable or leak_kind(finding) != "still-reachable"


def write(report: Report, out: TextIO) -> None:
    """Write the report with everything left to the stream and the working directory."""
    Terminal().write(report, out)


def _doubtful(report: Report) -> bool:
    return report.exit.code is None or bool(report.incomplete)


def _write_entries(entries: Sequence[Entry], first: int, paper: Paper, text: FindingText) -> None:
    for ordinal, entry in enumerate(entries[:MAX_ENTRIES], first):
        paper.gap()
        text.write(ordinal, entry)
    hidden = entries[MAX_ENTRIES:]
    if hidden:
        paper.gap()
        paper.line((_hidden_text(hidden), "warn"))


def _hidden_text(hidden: Sequence[Entry]) -> str:
    findings = sum(entry.findings for entry in hidden)
    if is_leak(hidden[0].finding):
        size, blocks = sum(entry.bytes for entry in hidden), sum(entry.blocks for entry in hidden)
        what = f"{number(findings, 'more leak')} ({amount(size, blocks)})"
    else:
        what = f"{number(findings, 'more misuse')} of the heap"
    return f"{what} not listed here; --format json lists them all."
