"""What was kept out of a report, as text: a quiet line for each reason, and the suppressions that had no use."""

from collections.abc import Iterator

from msgspec import UNSET

from emuleak.report.document import Report, Suppressed
from emuleak.report.paper import Paper, wrapped
from emuleak.report.verdict import amount, number

MAX_UNUSED = 10


def write_kept_out(report: Report, paper: Paper) -> None:
    """Nothing where nothing was kept out and every suppression had its use."""
    lines = [line for text in _texts(report) for line in wrapped(text, rest="  ")]
    if lines:
        paper.gap()
    for line in lines:
        paper.line((line, "quiet"))


def _texts(report: Report) -> Iterator[str]:
    if report.suppressed is not UNSET:
        yield from map(_kept_out, report.suppressed)
    if report.unused_suppressions is not UNSET:
        unused = report.unused_suppressions
        yield from (f"Suppression without use: {name}" for name in unused[:MAX_UNUSED])
        if len(unused) > MAX_UNUSED:
            hidden = number(len(unused) - MAX_UNUSED, "more suppression")
            yield f"{hidden} without use; --format json lists them all."


def _kept_out(one: Suppressed) -> str:
    return f"Kept out: {number(one.findings, 'finding')} ({amount(one.bytes, one.blocks)}): {one.name}"
