"""The formats a report can be written in. A new one is a line in WRITERS and a column of golden files.

The names must be known when the command line is read, the writers only when a report is written: a module is imported
when its format is chosen.
"""

import importlib
from collections.abc import Sequence
from typing import Protocol, TextIO, cast

from emuleak.errors import BadOption
from emuleak.report.document import Report
from emuleak.report.source import Sources
from emuleak.report.verdict import FAIL_ON_DEFAULT


class Writer(Protocol):
    """Says a report in one format."""

    def write(self, report: Report, out: TextIO) -> None:
        """Write the whole report; decide nothing."""


WRITERS: dict[str, str] = {
    "text": "emuleak.report.terminal:Terminal",
    "json": "emuleak.report.json",
    "html": "emuleak.report.html:Html",
    "sarif": "emuleak.report.sarif:Sarif",
    "valgrind-xml": "emuleak.report.valgrind_xml:ValgrindXml",
    "junit": "emuleak.report.junit:JUnit",
}
"""Where each writer is: a module with a function `write(report, out)`, or `module:Struct` with a method of that name.

A struct is made with those of the run's choices (the options of `writer`) that it has a field for.
"""


def writer(
    name: str,
    *,
    show_reachable: bool = False,
    fail_on: frozenset[str] = FAIL_ON_DEFAULT,
    source_roots: Sequence[str] | None = None,
) -> Writer:
    """The writer of a format. Raises BadOption for a name that is none.

    `show_reachable` matters to those that leave something out, `fail_on` to those that say which findings count,
    `source_roots` to those that quote source: with it only files below these directories are quoted.
    """
    if name not in WRITERS:
        raise BadOption(f"--format: unknown format {name!r}; choose from {', '.join(WRITERS)}")
    path, _, kind = WRITERS[name].partition(":")
    module = importlib.import_module(path)
    if not kind:
        return cast("Writer", module)
    struct = getattr(module, kind)
    choices: dict[str, object] = {"show_reachable": show_reachable, "fail_on": fail_on}
    if source_roots is not None:
        choices["sources"] = Sources(source_roots)
    return cast("Writer", struct(**{key: choices[key] for key in struct.__struct_fields__ if key in choices}))
