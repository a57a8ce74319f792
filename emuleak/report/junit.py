"""The report as JUnit XML, which CI servers show as tests: one suite a program, one failed test a finding that counts.

The program that lost and misused nothing that counts has one test, and it passes. A program that crashed or was stopped
has a test with an error besides. What does not count is no test: it would be one that nobody can make fail.
"""

import io
from collections.abc import Iterator
from typing import TextIO

import msgspec
from msgspec import UNSET

from emuleak.report.document import Frame, Report
from emuleak.report.entries import Entry, leak_entries, misuse_entries
from emuleak.report.findingtext import FindingText, heading
from emuleak.report.paper import PlainPaper, clean
from emuleak.report.source import Sources
from emuleak.report.stacktext import UNKNOWN, here, own_frame, short_path
from emuleak.report.summary import ending_text, write_ending
from emuleak.report.verdict import FAIL_ON_DEFAULT, counting, is_crash, is_leak, leak_kind, misuse_name, signal_name
from emuleak.report.xmltext import escaped, escaped_lines

CLEAN = "no leaks and misuse"


class _Test(msgspec.Struct, frozen=True):
    """A testcase that did not pass: `outcome` is `failure` or `error`, `sort` its type, `site` the frame to look at."""

    outcome: str
    sort: str
    name: str
    message: str
    body: str
    site: Frame | None


class JUnit(msgspec.Struct, frozen=True, kw_only=True):
    """The writer `junit`.

    `fail_on` says which findings count. Paths below `cwd` (None: the working directory) are shortened.
    """

    fail_on: frozenset[str] = FAIL_ON_DEFAULT
    cwd: str | None = None
    sources: Sources | None = None

    def write(self, report: Report, out: TextIO) -> None:
        """Write the document; only one test at a time exists as text."""
        cwd = self.cwd or here()
        entries = self._entries(report)
        errors = int(report.exit.stopped is not UNSET or report.exit.signal is not None)
        name = f'name="{escaped(report.program)}"'
        counts = f'tests="{max(len(entries), 1) + errors}" failures="{len(entries)}" errors="{errors}" skipped="0"'
        out.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites {counts}>\n  <testsuite {name} {counts}>\n')
        _write_properties(report, out)
        if not entries:
            out.write(f'    <testcase classname="{_suite(report)}" name="{CLEAN}"/>\n')
        names = _Names()
        for test in self._tests(report, entries, cwd):
            _write_test(test, _suite(report), names, cwd, out)
        out.write("  </testsuite>\n</testsuites>\n")

    def _entries(self, report: Report) -> list[Entry]:
        """What counts, in the order of the text report; the same mistake from the same stacks is one test."""
        counted = list(counting(report, self.fail_on))
        misuse = misuse_entries(finding for finding in counted if not is_leak(finding))
        leaks = filter(is_leak, counted)
        return misuse + leak_entries(leaks, group_above=len(counted))

    def _tests(self, report: Report, entries: list[Entry], cwd: str | None) -> Iterator[_Test]:
        sources = self.sources or Sources()
        for ordinal, entry in enumerate(entries, 1):
            yield _finding_test(ordinal, entry, report, cwd, sources)
        if report.exit.stopped is not UNSET or report.exit.signal is not None:
            yield _ending_test(report, cwd, sources)


class _Names:
    """Makes the names of tests differ: CI servers take two of the same name for one."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], int] = {}

    def unique(self, classname: str, name: str) -> str:
        """The name, with a number from the second time on."""
        seen = self._seen[classname, name] = self._seen.get((classname, name), 0) + 1
        return name if seen == 1 else f"{name} #{seen}"


def _suite(report: Report) -> str:
    return escaped(report.program.rpartition("/")[2] or report.program)


def _finding_test(ordinal: int, entry: Entry, report: Report, cwd: str | None, sources: Sources) -> _Test:
    finding = entry.finding
    title, rest, _ = heading(entry)
    body = io.StringIO()
    FindingText(PlainPaper(body), report.program, cwd, sources).write(ordinal, entry)
    site = own_frame(finding.stack)
    leak = is_leak(finding)
    words = leak_kind(finding).replace("-", " ") if leak else misuse_name(finding.kind)
    return _Test(
        outcome="failure",
        sort=leak_kind(finding) if leak else finding.kind,
        name=f"{words}{_in_function(site)}",
        message=f"{title}: {rest}" if rest else title,
        body=body.getvalue(),
        site=site,
    )


def _ending_test(report: Report, cwd: str | None, sources: Sources) -> _Test:
    exit_ = report.exit
    body = io.StringIO()
    paper = PlainPaper(body)
    write_ending(report, paper, FindingText(paper, report.program, cwd, sources))
    site = None if exit_.stack is UNSET else own_frame(exit_.stack)
    if exit_.stopped is not UNSET:
        sort, name = "stopped", "stopped early"
    else:
        sort, signal = signal_name(exit_), signal_name(exit_)
        name = f"crash with {signal}{_in_function(site)}" if is_crash(exit_) else f"ended by {signal}"
    return _Test("error", sort, name, ending_text(exit_), body.getvalue(), site)


def _in_function(site: Frame | None) -> str:
    return f" in {clean(site.function)}" if site is not None and site.function != UNKNOWN else ""


def _write_properties(report: Report, out: TextIO) -> None:
    if not report.incomplete:
        return
    out.write("    <properties>\n")
    out.writelines(f'      <property name="incomplete" value="{escaped(text)}"/>\n' for text in report.incomplete)
    out.write("    </properties>\n")


def _write_test(test: _Test, suite: str, names: _Names, cwd: str | None, out: TextIO) -> None:
    classname, place = suite, ""
    if test.site is not None:
        path = short_path(test.site.file or test.site.object, cwd)
        classname = escaped(path) or suite
        if test.site.file is not None:
            place = f' file="{classname}"' + (f' line="{test.site.line}"' if test.site.line is not None else "")
    name = names.unique(classname, escaped(test.name))
    out.write(f'    <testcase classname="{classname}" name="{name}"{place}>\n')
    out.write(f'      <{test.outcome} type="{escaped(test.sort)}" message="{escaped(test.message)}">')
    out.write(f"{escaped_lines(test.body.strip(chr(10)))}</{test.outcome}>\n    </testcase>\n")
