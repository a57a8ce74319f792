"""The report as text: the verdict first, then what to repair, then the figures that valgrind's users look for."""

from collections.abc import Sequence
from typing import TextIO

import msgspec
from msgspec import UNSET

from emuleak.report.document import Report
from emuleak.report.entries import MAX_ENTRIES, Entry, listing
from emuleak.report.findingtext import FindingText
from emuleak.report.paper import Paper, clean, paper_for
from emuleak.report.source import Sources
from emuleak.report.stacktext import here
from emuleak.report.summary import write_baseline, write_ending, write_heap, write_leaks, write_notices
from emuleak.report.verdict import (
    FAIL_ON_DEFAULT,
    Totals,
    amount,
    counting,
    is_leak,
    number,
    sentence,
    totals,
)


class Terminal(msgspec.Struct, frozen=True, kw_only=True):
    """The writer `text`.

    `show_reachable` lists still-reachable blocks too; `fail_on` says which findings count. `colour` None asks the
    stream. Paths below `cwd` (None: the working directory) are shortened; `sources` says which files may be quoted.
    """

    show_reachable: bool = False
    fail_on: frozenset[str] = FAIL_ON_DEFAULT
    colour: bool | None = None
    cwd: str | None = None
    sources: Sources | None = None

    def write(self, report: Report, out: TextIO) -> None:
        """Write the report."""
        paper = paper_for(out, self.colour)
        text = FindingText(paper, report.program, self.cwd or here(), self.sources or Sources())
        sums = totals(report.findings)
        style = "bad" if any(counting(report, self.fail_on)) else "warn" if _doubtful(report) else "good"
        paper.line((clean(sentence(report)), style))
        self._write_findings(report, sums, paper, text)
        text.write_note()
        write_heap(report.heap, paper)
        write_leaks(sums, paper)
        if report.suppressed is not UNSET:
            from emuleak.report.keptouttext import write_kept_out  # noqa: PLC0415 - most runs keep nothing out

            write_kept_out(report, paper)
        write_ending(report, paper, text)
        write_notices(report, paper)

    def _write_findings(self, report: Report, sums: Totals, paper: Paper, text: FindingText) -> None:
        listed = listing(report.findings, show_reachable=self.show_reachable)
        _write_entries(listed.misuse, 1, paper, text)
        if len(listed.leaks) < listed.leak_findings:
            paper.gap()
            places = number(len(listed.leaks), "place")
            paper.line(f"{listed.leak_findings:,} leaks come from {places} in the program; each place is listed once.")
        _write_entries(listed.leaks, listed.first_leak, paper, text)
        if report.baseline is not UNSET:
            write_baseline(report.baseline, report.findings, paper)
        reachable = sums.leaks["still-reachable"]
        if reachable.findings and not self.show_reachable:
            paper.gap()
            where = number(reachable.findings, "place")
            paper.line(f"Still reachable: {amount(reachable.bytes, reachable.blocks)}, allocated in {where}.")
            paper.line(("Not listed; --show-reachable lists them.", "quiet"))


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
