"""What is kept out of a report: findings that are suppressed, and those that lie elsewhere than the user looks.

Nothing is dropped silently: what was kept out is counted by reason in `Report.suppressed`. It counts towards no verdict
and no exit status; the heap's figures stay what they are.
"""

import os
import posixpath
from collections.abc import Callable, Iterable, Sequence

import msgspec
from msgspec import UNSET

from emuleak.findings.suppression import AnySuppression
from emuleak.findings.suppression_file import read_suppressions
from emuleak.findings.suppression_view import SymbolNames, no_symbols, view
from emuleak.report.document import Finding, Report, Suppressed
from emuleak.report.stacktext import is_system

Selection = Callable[[Report, SymbolNames], Report]
"""Takes a report and gives what is left of it."""


def selection(suppressions: Sequence[str], only_under: Sequence[str]) -> Selection:
    """What these files of suppressions and these directories leave of a report. Raises BadOption for a bad file."""
    known = tuple(one for path in suppressions for one in read_suppressions(path))

    def chosen(report: Report, symbol_names: SymbolNames) -> Report:
        return select(report, known, only_under, symbol_names)

    return chosen


def select(
    report: Report,
    suppressions: Sequence[AnySuppression] = (),
    only_under: Sequence[str] = (),
    symbol_names: SymbolNames = no_symbols,
) -> Report:
    """The report without what is suppressed, then without what has no frame in a source file under `only_under`.

    The first suppression that speaks of a finding takes it. `unused_suppressions` names those that spoke of none, if
    there are suppressions; of kinds that emuleak does not look for, nothing is said.
    """
    left, taken = _suppress(report.findings, suppressions, symbol_names)
    kept_out = [_sum(one.name, taken[index]) for index, one in enumerate(suppressions) if index in taken]
    if only_under:
        left, elsewhere = _divide(left, only_under)
        if elsewhere:
            kept_out.append(_sum(f"not under {', '.join(only_under)}", elsewhere))
    unused = [f"{one.name} ({one.place})" for i, one in enumerate(suppressions) if i not in taken and one.applies]
    return msgspec.structs.replace(
        report,
        findings=tuple(left),
        suppressed=tuple(kept_out) if suppressions or only_under else UNSET,
        unused_suppressions=tuple(unused) if suppressions else UNSET,
    )


def _suppress(
    findings: Iterable[Finding], suppressions: Sequence[AnySuppression], symbol_names: SymbolNames
) -> tuple[list[Finding], dict[int, list[Finding]]]:
    """The findings that are left, and those that were taken, by the number of the suppression."""
    left: list[Finding] = []
    taken: dict[int, list[Finding]] = {}
    if not suppressions:
        return list(findings), taken
    for finding in findings:
        seen = view(finding, symbol_names)
        index = next((index for index, one in enumerate(suppressions) if one.matches(seen)), None)
        (left if index is None else taken.setdefault(index, [])).append(finding)
    return left, taken


def _sum(name: str, findings: Sequence[Finding]) -> Suppressed:
    return Suppressed(
        name=name,
        findings=len(findings),
        bytes=sum(finding.bytes for finding in findings),
        blocks=sum(finding.blocks for finding in findings),
    )


# ---- by place


def _divide(findings: Iterable[Finding], directories: Sequence[str]) -> tuple[list[Finding], list[Finding]]:
    """The findings with a frame under one of the directories, and the others.

    What a library keeps for itself is nowhere else: it is never listed, and stays in its line of the summary.
    """
    roots = {_absolute(directory) for directory in directories}
    roots |= {os.path.realpath(root) for root in roots}
    under: dict[str, bool] = {}
    inside: list[Finding] = []
    outside: list[Finding] = []
    for finding in findings:
        here = finding.owner == "library" or any(_is_under(file, roots, under) for file in _files(finding))
        (inside if here else outside).append(finding)
    return inside, outside


def _files(finding: Finding) -> Iterable[str]:
    """The sources of all its frames; not a system library's relative names, which start where it was built."""
    for stack in (finding.stack, finding.allocated, finding.freed):
        for frame in stack:
            if frame.file is not None and (frame.file.startswith("/") or not is_system(frame)):
                yield frame.file


def _is_under(file: str, roots: Iterable[str], known: dict[str, bool]) -> bool:
    if file not in known:
        path = _absolute(file)
        known[file] = any(_contains(root, name) for root in roots for name in (path, os.path.realpath(path)))
    return known[file]


def _contains(root: str, path: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _absolute(path: str) -> str:
    """A source's name as a path; it need not exist here, and its parts are divided as in the debug information."""
    here = "" if path.startswith("/") else os.getcwd().replace(os.sep, "/")
    return posixpath.normpath(posixpath.join(here, path))
