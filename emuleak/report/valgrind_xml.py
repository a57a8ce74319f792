"""The report as valgrind's XML, protocol 4 of memcheck: what IDEs and CI servers already read.

The order of the elements is that of docs/internals/xml-output-protocol4.txt in valgrind and of what valgrind 3.19
writes; `fatal_signal`, which that text does not name, stands where valgrind puts it. A report knows no clock: both
times are zero. The process ids are those that the program itself saw.
"""

import posixpath
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TextIO

import msgspec
from msgspec import UNSET

from emuleak._version import __version__
from emuleak.report.document import Exit, Finding, Frame, Report
from emuleak.report.entries import Entry, misuse_entries
from emuleak.report.stacktext import UNKNOWN, above_start
from emuleak.report.valgrind_errors import LEAKS, kind_of, what_of, where_of
from emuleak.report.verdict import is_crash, is_leak, leak_kind, signal_name
from emuleak.report.xmltext import leaf

PID, PPID = 4711, 4710
_TIME = "00:00:00:00.000 "
_ALWAYS = frozenset({"definitely-lost", "possibly-lost"})


class ValgrindXml(msgspec.Struct, frozen=True, kw_only=True):
    """The writer `valgrind-xml`.

    Like memcheck it lists what is definitely or possibly lost; with `show_reachable` also what is indirectly lost or
    still reachable, whoever owns it.
    """

    show_reachable: bool = False

    def write(self, report: Report, out: TextIO) -> None:
        """Write the document; only one error at a time exists as text."""
        out.write('<?xml version="1.0"?>\n\n<valgrindoutput>\n\n')
        out.write("<protocolversion>4</protocolversion>\n<protocoltool>memcheck</protocoltool>\n\n")
        _write_preamble(report, out)
        _write_arguments(report, out)
        _write_status("RUNNING", out)
        misuse = misuse_entries(finding for finding in report.findings if not is_leak(finding))
        for unique, entry in enumerate(misuse):
            _write_misuse(unique, entry.finding, out)
        _write_signal(report.exit, out)
        _write_status("FINISHED", out)
        self._write_leaks(report, len(misuse), out)
        _write_counts(misuse, out)
        _write_suppressions(report, out)
        out.write("</valgrindoutput>\n")

    def _write_leaks(self, report: Report, first: int, out: TextIO) -> None:
        records = sorted(filter(is_leak, report.findings), key=lambda finding: finding.bytes)
        unique = first
        for record, finding in enumerate(records, 1):
            if self.show_reachable or leak_kind(finding) in _ALWAYS:
                _write_leak(unique, finding, f"loss record {record:,} of {len(records):,}", out)
                unique += 1


def _write_preamble(report: Report, out: TextIO) -> None:
    out.write("<preamble>\n")
    out.writelines(leaf("line", line, "  ") for line in _preamble(report))
    out.write(f"</preamble>\n\n<pid>{PID}</pid>\n<ppid>{PPID}</ppid>\n<tool>memcheck</tool>\n\n")


def _preamble(report: Report) -> Iterator[str]:
    yield f"emuleak {__version__}, the memory of a program checked by emulation; written in memcheck's form"
    yield f"Command: {' '.join((report.program, *report.arguments))}"
    if report.exit.stopped is not UNSET:
        yield f"Stopped early: {report.exit.stopped}"
    for text in report.incomplete:
        yield f"Incomplete: {text}"
    for text in () if report.remarks is UNSET else report.remarks:
        yield f"Note: {text}"


def _write_arguments(report: Report, out: TextIO) -> None:
    out.write("<args>\n  <vargv>\n    <exe>emuleak</exe>\n    <arg>run</arg>\n  </vargv>\n  <argv>\n")
    out.write(leaf("exe", report.program, "    "))
    out.writelines(leaf("arg", argument, "    ") for argument in report.arguments)
    out.write("  </argv>\n</args>\n\n")


def _write_status(state: str, out: TextIO) -> None:
    out.write(f"<status>\n  <state>{state}</state>\n  <time>{_TIME}</time>\n</status>\n\n")


def _write_head(unique: int, thread: int, kind: str, out: TextIO) -> None:
    out.write(f"<error>\n  <unique>{unique:#x}</unique>\n  <tid>{thread}</tid>\n  <kind>{kind}</kind>\n")


def _write_misuse(unique: int, finding: Finding, out: TextIO) -> None:
    _write_head(unique, _thread(finding), kind_of(finding), out)
    out.write(leaf("what", what_of(finding), "  "))
    _write_stack(finding.stack, out)
    stacks = [stack for stack in (finding.freed, finding.allocated) if stack]
    if finding.address is not UNSET or stacks:
        out.write(leaf("auxwhat", where_of(finding), "  "))
    for index, stack in enumerate(stacks):
        if index:
            out.write(leaf("auxwhat", "Block was alloc'd at", "  "))
        _write_stack(stack, out)
    out.write("</error>\n\n")


def _thread(finding: Finding) -> int:
    """Valgrind counts threads from 1."""
    return 1 if finding.thread is UNSET else finding.thread + 1


def _write_leak(unique: int, finding: Finding, record: str, out: TextIO) -> None:
    kind, words = LEAKS[leak_kind(finding)]
    _write_head(unique, _thread(finding), kind, out)
    out.write("  <xwhat>\n")
    text = f"{finding.bytes:,} bytes in {finding.blocks:,} blocks are {words} in {record}"
    values = ("text", text), ("leakedbytes", finding.bytes), ("leakedblocks", finding.blocks)
    out.writelines(leaf(name, value, "    ") for name, value in values)
    out.write("  </xwhat>\n")
    _write_stack(finding.stack, out)
    out.write("</error>\n\n")


def _write_stack(stack: Sequence[Frame], out: TextIO) -> None:
    """A stack down to main; it has at least one frame: the protocol demands it, and parsers rely on it."""
    out.write("  <stack>\n")
    out.writelines(_frame(frame) for frame in above_start(stack) or (Frame("0x0", UNKNOWN, None, None, ""),))
    out.write("  </stack>\n")


@lru_cache(maxsize=1 << 14)  # the frames next to main are those of most stacks
def _frame(frame: Frame) -> str:
    elements = "".join(leaf(name, value, "      ") for name, value in _frame_values(frame))
    return f"    <frame>\n{elements}    </frame>\n"


def _frame_values(frame: Frame) -> Iterator[tuple[str, object]]:
    yield "ip", frame.pc
    if frame.object:
        yield "obj", frame.object
    if frame.function != UNKNOWN:
        yield "fn", frame.function
    if frame.file is None:
        return
    folder, name = posixpath.split(frame.file)
    if folder and frame.line is not None:  # valgrind never gives one without the other
        yield "dir", folder
    yield "file", name or frame.file
    if frame.line is not None:
        yield "line", frame.line


def _write_signal(exit_: Exit, out: TextIO) -> None:
    if exit_.signal is None:
        return
    out.write(f"<fatal_signal>\n  <tid>1</tid>\n  <signo>{exit_.signal}</signo>\n")
    out.write(leaf("signame", signal_name(exit_), "  "))
    if exit_.address is not UNSET and is_crash(exit_):
        out.write(leaf("siaddr", exit_.address, "  "))
    _write_stack(exit_.stack if exit_.stack is not UNSET else (), out)
    out.write("</fatal_signal>\n\n")


def _write_counts(misuse: Sequence[Entry], out: TextIO) -> None:
    """How often each error happened; memcheck counts no leaks here."""
    out.write("<errorcounts>\n")
    out.writelines(_pair(entry.findings, "unique", hex(unique)) for unique, entry in enumerate(misuse))
    out.write("</errorcounts>\n\n")


def _write_suppressions(report: Report, out: TextIO) -> None:
    out.write("<suppcounts>\n")
    if report.suppressed is not UNSET:
        out.writelines(_pair(used.findings, "name", used.name) for used in report.suppressed)
    out.write("</suppcounts>\n\n")


def _pair(count: int, name: str, value: str) -> str:
    return f"  <pair>\n    <count>{count}</count>\n{leaf(name, value, '    ')}  </pair>\n"
