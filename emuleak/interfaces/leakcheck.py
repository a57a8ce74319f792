"""A leak check while the program runs: it asked for one. The run goes on afterwards."""

import io
from collections.abc import Iterable
from contextlib import closing
from typing import Final, NamedTuple

import msgspec
from msgspec import UNSET

from emuleak.events import SIZE_MASK, Stack
from emuleak.findings.declared import ignored_records
from emuleak.findings.frames import Symbolizer
from emuleak.findings.leaks import leaks
from emuleak.interfaces.guest import Guest
from emuleak.kernel.core import Ending
from emuleak.report.document import Exit, Finding, Frame, HeapSummary, Report
from emuleak.report.remains import Remains
from emuleak.report.source import Sources
from emuleak.report.terminal import Terminal
from emuleak.report.verdict import sentence

ANY, ADDED, CHANGED = range(3)
"""Which findings to show: all, those that grew since the last check, those that changed."""

_LOST: Final = frozenset({"definitely-lost", "indirectly-lost", "possibly-lost"})


class Amounts(NamedTuple):
    """What a check found: bytes, and the blocks they are in."""

    leaked: tuple[int, int] = (0, 0)
    dubious: tuple[int, int] = (0, 0)
    reachable: tuple[int, int] = (0, 0)
    suppressed: tuple[int, int] = (0, 0)


_Key = tuple[object, ...]


class LeakChecks:
    """The checks of one run; each remembers what the last one found."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._last: dict[_Key, tuple[int, int]] = {}
        self.amounts = Amounts()
        self.errors = 0  # findings of full checks that valgrind would count as errors

    def copy_for(self, guest: Guest) -> "LeakChecks":
        """Those of a forked process: what its parent did wrong until then is among the errors that it counts."""
        copy = LeakChecks(guest)
        copy._last, copy.amounts = dict(self._last), self.amounts
        copy.errors = self.errors + len(self._guest.heap.log.misuses)
        return copy

    def check(self, stack: Stack, *, full: bool = True, which: int = ANY) -> Report:
        """Look for leaks, write a report as text to the guest's standard error, and return it.

        `stack` says who asked for it.
        """
        report = self.look()
        shown = self._changed(report, which)
        text = io.StringIO()
        if full:
            self.errors += sum(finding.leak_kind in _LOST - {"indirectly-lost"} for finding in shown.findings)
            roots = self._guest.source_roots
            sources = None if roots is None else Sources(roots)
            Terminal(show_reachable=which != ANY, sources=sources).write(shown, text)
        else:
            text.write(sentence(shown) + "\n")
        with closing(self._guest.symbolizer()) as symbolizer:
            frames = symbolizer.call(stack, "malloc")
        heading = f"emuleak: leak check{_asked_by(frames[0]) if frames else ''}\n"
        self._guest.write_stderr((heading + text.getvalue()).encode("utf-8", "surrogateescape"))
        return report

    def look(self) -> Report:
        """Look for leaks and return what a report of the run would say now."""
        guest = self._guest
        with closing(guest.symbolizer()) as symbolizer:
            report = self._report(Remains(
                guest.kernel, guest.process, guest.heap.log, guest.unwinder, symbolizer, guest.heap.freed,
                Ending(stopped="leak check"),
            ), symbolizer)  # fmt: skip
        self._count(report)
        return report

    def _report(self, remains: Remains, symbolizer: Symbolizer) -> Report:
        guest = self._guest
        report = report_of(guest, leaks(remains.verdicts(), symbolizer, remains.reasons))
        return guest.selection(report, symbolizer.symbol_names) if guest.selection is not None else report

    def _count(self, report: Report) -> None:
        """Keep the amounts for COUNT_LEAKS."""
        sums = {kind: [0, 0] for kind in (*_LOST, "still-reachable")}
        for finding in report.findings:
            if finding.leak_kind is not UNSET:
                sums[finding.leak_kind][0] += finding.bytes
                sums[finding.leak_kind][1] += finding.blocks
        ignored = [record[0] & SIZE_MASK for record, _ in ignored_records(self._guest.heap.log)]
        kept_out = () if report.suppressed is UNSET else report.suppressed
        self.amounts = Amounts(
            leaked=(
                sums["definitely-lost"][0] + sums["indirectly-lost"][0],
                sums["definitely-lost"][1] + sums["indirectly-lost"][1],
            ),
            dubious=(sums["possibly-lost"][0], sums["possibly-lost"][1]),
            reachable=(sums["still-reachable"][0], sums["still-reachable"][1]),
            suppressed=(
                sum(ignored) + sum(one.bytes for one in kept_out),
                len(ignored) + sum(one.blocks for one in kept_out),
            ),
        )

    def _changed(self, report: Report, which: int) -> Report:
        """The report with those findings alone that shall be shown; each says by how much it changed."""
        before, self._last = self._last, {_key(each): (each.bytes, each.blocks) for each in report.findings}
        if which == ANY:
            return report
        shown = []
        for finding in report.findings:
            size, blocks = before.pop(_key(finding), (0, 0))
            more = (finding.bytes - size, finding.blocks - blocks)
            if max(more) > 0 or (which == CHANGED and min(more) < 0):
                why = f"{finding.why} Since the last leak check: {more[0]:+,} bytes, {more[1]:+,} blocks."
                shown.append(msgspec.structs.replace(finding, why=why))
        return msgspec.structs.replace(report, findings=tuple(shown))


def report_of(guest: Guest, findings: Iterable[Finding]) -> Report:
    """Some findings of a process, as the report of a run that ends now."""
    counts = guest.heap.log.counts
    return Report(
        program=guest.process.program.path,
        arguments=tuple(guest.argv[1:]),
        exit=Exit(code=0, signal=None),
        heap=HeapSummary(**{name: getattr(counts, name) for name in HeapSummary.__struct_fields__}),
        findings=tuple(findings),
    )


def _asked_by(frame: Frame) -> str:
    place = f" at {frame.file}:{frame.line}" if frame.file else ""
    return f", asked for by {frame.function}{place}"


def _key(finding: Finding) -> _Key:
    return (finding.leak_kind, finding.owner, tuple(frame.pc for frame in finding.stack))


def is_loss(finding: Finding) -> bool:
    """Whether it is a leak that is not still reachable."""
    return finding.leak_kind in _LOST
