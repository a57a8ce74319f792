"""The end of the text report: the heap's figures, the leaks by kind, how the program ended, what is missing."""

from collections.abc import Iterable, Sequence

from msgspec import UNSET

from emuleak.report.document import Baseline, Exit, Finding, HeapSummary, Report
from emuleak.report.findingtext import FindingText
from emuleak.report.paper import Paper, clean, wrapped
from emuleak.report.verdict import LEAK_KINDS, Total, Totals, amount, is_crash, is_leak, number, signal_name

_NULL_PAGE = 4096
_LABEL = 20


def write_baseline(baseline: Baseline, findings: Iterable[Finding], paper: Paper) -> None:
    """What an older report knew already, in one line, and what of it is gone."""
    leaks = [finding for finding in findings if finding.baseline == "known" and is_leak(finding)]
    size = amount(sum(leak.bytes for leak in leaks), sum(leak.blocks for leak in leaks))
    gone = f"; {number(baseline.gone, 'place')} of it gone" if baseline.gone else ""
    known = f"{number(baseline.known, 'place')}{f' ({size})' if leaks else ''}" if baseline.known else "nothing"
    listed = ", not listed" if baseline.known else ""
    paper.gap()
    for line in wrapped(f"Known from {baseline.file}{listed}: {known}{gone}."):
        paper.line((line, "quiet"))


def write_heap(heap: HeapSummary, paper: Paper) -> None:
    """The figures of valgrind's HEAP SUMMARY, and the peak."""
    paper.gap()
    paper.line(("HEAP SUMMARY", "title"))
    calls = f"{number(heap.allocs, 'alloc')}, {number(heap.frees, 'free')}"
    rows = [
        ("in use at exit", amount(heap.in_use_bytes, heap.in_use_blocks)),
        ("total heap usage", f"{calls}, {number(heap.bytes_allocated, 'byte')} allocated"),
        ("peak", f"{number(heap.peak_bytes, 'byte')} in use at once"),
    ]
    for label, text in rows:
        paper.line(f"    {label:<{_LABEL}}{text}")


def write_leaks(sums: Totals, paper: Paper) -> None:
    """The table of valgrind's LEAK SUMMARY; nothing when nothing was in use."""
    rows = [(kind.replace("-", " "), sums.leaks[kind]) for kind in LEAK_KINDS]
    rows.append(("kept by libraries", sums.library))
    if not any(total.findings for _, total in rows):
        return
    widths = _width("bytes", [total.bytes for _, total in rows]), _width("blocks", [total.blocks for _, total in rows])
    paper.gap()
    paper.line(("LEAK SUMMARY", "title"), f"{'':<{_LABEL - 8}}{'bytes':>{widths[0]}}   {'blocks':>{widths[1]}}")
    for label, total in rows:
        paper.line(_row(label, total, widths))


def _row(label: str, total: Total, widths: tuple[int, int]) -> str:
    return f"    {label:<{_LABEL}}{total.bytes:>{widths[0]},}   {total.blocks:>{widths[1]},}"


def _width(title: str, figures: Sequence[int]) -> int:
    return max(len(title), *(len(f"{figure:,}") for figure in figures))


def write_ending(report: Report, paper: Paper, text: FindingText) -> None:
    """How the program ended, unless it ended well."""
    if report.schedule_seed is not UNSET:
        paper.gap()
        paper.line((f"Threads were switched by chance; --schedule-seed {report.schedule_seed} repeats it.", "quiet"))
    ending = ending_text(report.exit)
    if not ending:
        return
    paper.gap()
    for line in wrapped(ending):
        paper.line((line, "warn"))
    if report.exit.stack is not UNSET:
        text.write_stack(report.exit.stack)
    if report.exit.threads is not UNSET:
        for thread in report.exit.threads:
            paper.gap()
            for line in wrapped(f"Thread {thread.thread} waits for {clean(thread.waits_for)}:"):
                paper.line((line, "warn"))
            text.write_stack(thread.stack)


def ending_text(exit_: Exit) -> str:
    """How the program ended, `""` if it ended well."""
    if exit_.stopped is not UNSET:
        return f"emuleak stopped the program: {exit_.stopped}. What is said here is what was seen until then."
    if exit_.signal is not None:
        verb = "crashed with" if is_crash(exit_) else "was ended by"
        known = f" (signal {exit_.signal})" if exit_.signal_name is not UNSET else ""
        return f"The program {verb} {signal_name(exit_)}{known}{_access(exit_)}."
    return f"The program exited with status {exit_.code}." if exit_.code else ""


def _access(exit_: Exit) -> str:
    if exit_.address is UNSET:
        return ""
    detail = f" on access to address {exit_.address}"
    try:
        near_null = int(exit_.address, 16) < _NULL_PAGE
    except ValueError:
        return detail
    return detail + (": a null pointer was used" if near_null else "")


def write_notices(report: Report, paper: Paper) -> None:
    """What emuleak could not do for the program, and whose blocks it saw."""
    paper.gap()
    for text in report.incomplete:
        for line in wrapped(f"incomplete: {text}", rest=" " * len("incomplete: ")):
            paper.line((line, "warn"))
    paper.gap()
    for text in () if report.remarks is UNSET else report.remarks:
        for line in wrapped(f"note: {text}", rest=" " * len("note: ")):
            paper.line((line, "quiet"))
