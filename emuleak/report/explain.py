"""One finding told slowly, for somebody who meets its kind for the first time; or the list of those to choose from."""

from collections.abc import Sequence
from typing import TextIO

import msgspec

from emuleak.errors import BadOption
from emuleak.report.document import Report
from emuleak.report.entries import Entry, listing
from emuleak.report.findingtext import BODY, FindingText, heading, merger
from emuleak.report.lessons import LESSONS
from emuleak.report.paper import Paper, clean, paper_for, wrapped
from emuleak.report.source import Sources
from emuleak.report.stacktext import here, own_frame, place
from emuleak.report.story import Step, story
from emuleak.report.verdict import is_leak, leak_kind, misuse_name, sentence, totals

_BULLET = f"{BODY}- "


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Explains a report's findings, which have the numbers of the text report with the same `show_reachable`.

    `colour` None asks the stream, `cwd` None is the working directory; `sources` says which files may be quoted.
    """

    show_reachable: bool = False
    colour: bool | None = None
    cwd: str | None = None
    sources: Sources | None = None

    def write(self, report: Report, wanted: int | None, out: TextIO) -> None:
        """Explain the finding with the number `wanted`; if None the only one, or list all. Raises BadOption."""
        numbered = dict(listing(report.findings, show_reachable=self.show_reachable).numbered())
        paper, cwd = paper_for(out, self.colour), self.cwd or here()
        if wanted is None and len(numbered) == 1:
            wanted = 1
        if wanted is None:
            _write_list(report, numbered, paper, cwd)
            return
        if wanted not in numbered:
            raise BadOption(f"there is no finding {wanted}: {_range(len(numbered))}")
        text = FindingText(paper, report.program, cwd, self.sources or Sources())
        _write_lesson(report, wanted, numbered[wanted], paper, text, cwd)


def _range(count: int) -> str:
    if count == 0:
        return "the report lists none"
    return "the report lists one, 1" if count == 1 else f"the report lists 1 to {count}"


def _write_list(report: Report, numbered: dict[int, Entry], paper: Paper, cwd: str | None) -> None:
    paper.line((clean(sentence(report)), "title"))
    paper.gap()
    for ordinal, entry in numbered.items():
        title, rest, style = heading(entry)
        frame = own_frame(entry.finding.stack)
        where = f"{clean(frame.function)} ({place(frame, cwd)})" if frame else ""
        paper.line((f"[{ordinal:,}] ", "title"), (title, style), ": ".join(("", *filter(None, (rest, where)))))
    paper.gap()
    if numbered:
        paper.line("Give a number as well, and that finding is explained.")
    reachable = totals(report.findings).leaks["still-reachable"].findings
    if not numbered:
        paper.line("There is no finding to explain." + (" --show-reachable adds more." if reachable else ""))


def _write_lesson(report: Report, ordinal: int, entry: Entry, paper: Paper, text: FindingText, cwd: str | None) -> None:
    finding = entry.finding
    title, rest, style = heading(entry)
    paper.line((f"[{ordinal:,}] ", "title"), (title, style), (f": {rest}" if rest else "", "title"))
    _write_prose(merger(entry, cwd), paper)
    kind = leak_kind(finding) if is_leak(finding) else finding.kind
    lesson = LESSONS.get(kind)
    if lesson is None:
        _write_prose(f"This version of emuleak has no lesson on '{misuse_name(kind)}', only what happened.", paper)
    else:
        _write_section("WHAT IT MEANS", paper)
        _write_prose(lesson.meaning, paper)
    _write_section("WHAT HAPPENED HERE", paper)
    _write_steps(story(finding, report.exit), paper, text)
    if lesson is not None:
        _write_section("WHAT TO CHECK", paper)
        _write_bullets(lesson.check, paper)
        _write_section("HOW TO REPAIR IT", paper)
        _write_prose(lesson.repair, paper)
        _write_section("MISTAKES THAT OFTEN LEAD HERE", paper)
        _write_bullets(lesson.mistakes, paper)
    text.write_note()


def _write_section(title: str, paper: Paper) -> None:
    paper.gap()
    paper.line((title, "title"))


def _write_prose(prose: str, paper: Paper) -> None:
    for line in wrapped(prose, BODY, BODY):
        paper.line(line)


def _write_bullets(items: Sequence[str], paper: Paper) -> None:
    for item in items:
        for line in wrapped(item, _BULLET, " " * len(_BULLET)):
            paper.line(line)


def _write_steps(steps: Sequence[Step], paper: Paper, text: FindingText) -> None:
    for number_, step in enumerate(steps, start=1):
        first = f"{BODY}{number_}. "
        for line in wrapped(step.text, first, " " * len(first)):
            paper.line(line)
        if step.stack:
            text.write_stack(step.stack)
