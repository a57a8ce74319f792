"""The formats a report can be written in. A new one is a line in WRITERS and a column of golden files."""

from typing import Protocol, TextIO

from emuleak.errors import BadOption
from emuleak.report import json
from emuleak.report.document import Report
from emuleak.report.terminal import Terminal


class Writer(Protocol):
    """Says a report in one format."""

    def write(self, report: Report, out: TextIO) -> None:
        """Write the whole report; decide nothing."""


WRITERS: dict[str, Writer] = {
    "text": Terminal(),
    "json": json,
}


def writer(name: str, *, show_reachable: bool = False) -> Writer:
    """The writer of a format; `show_reachable` matters to those that leave something out."""
    if name not in WRITERS:
        raise BadOption(f"--format: unknown format {name!r}; choose from {', '.join(WRITERS)}")
    return Terminal(show_reachable=True) if show_reachable and name == "text" else WRITERS[name]
