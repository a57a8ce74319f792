"""What the text report is written on: lines of styled words, plain or in colour.

Names and source lines come from a program that may be hostile: whatever a terminal would obey instead of show is
written as an escape.
"""

import os
import textwrap
from functools import lru_cache
from typing import Protocol, TextIO

from emuleak.report.verdict import SENTENCE_WIDTH

WIDTH = SENTENCE_WIDTH
STYLES = {
    "bad": "bold red",
    "good": "bold green",
    "warn": "bold yellow",
    "title": "bold",
    "place": "cyan",
    "quiet": "dim",
}

Span = str | tuple[str, str]
"""A piece of a line: text, or text and the name of its style."""


class Paper(Protocol):
    """Takes the report line by line."""

    def line(self, *spans: Span) -> None:
        """Write one line."""

    def gap(self) -> None:
        """Leave one empty line before the next, however often it is asked for."""


class PlainPaper:
    """Text for files, pipes and whoever set NO_COLOR."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._gap = ""

    def gap(self) -> None:
        """Leave one empty line before the next."""
        self._gap = "\n"

    def line(self, *spans: Span) -> None:
        """Write one line without its styles."""
        text = "".join([span if isinstance(span, str) else span[0] for span in spans]).rstrip() + "\n"
        text, self._gap = self._gap + text, ""
        try:
            self._out.write(text)
        except UnicodeEncodeError:
            self._out.write(text.encode("ascii", "backslashreplace").decode("ascii"))


class ColourPaper:
    """Text for a terminal."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console  # noqa: PLC0415 - costs as much to import as all of the plain path
        from rich.text import Text  # noqa: PLC0415

        self._text = Text
        self._console = Console(file=out, force_terminal=True, highlight=False, soft_wrap=True)
        self._gap: list[Span] = []

    def gap(self) -> None:
        """Leave one empty line before the next."""
        self._gap = ["\n"]

    def line(self, *spans: Span) -> None:
        """Write one line; the terminal wraps it if it must."""
        styled = [span if isinstance(span, str) else (span[0], STYLES[span[1]]) for span in (*self._gap, *spans)]
        self._gap.clear()
        self._console.print(self._text.assemble(*styled))


def paper_for(out: TextIO, colour: bool | None) -> Paper:
    """Colour for a terminal unless NO_COLOR is set or the terminal is dumb; `colour` decides otherwise."""
    if colour is None:
        colour = out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return ColourPaper(out) if colour else PlainPaper(out)


def clean(text: str) -> str:
    """The text with control characters, lone surrogates and direction marks made visible."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte of a name that is not UTF-8
        return f"\\x{ord(char) & 0xFF:02x}"
    return char.encode("unicode_escape").decode("ascii")


def clipped(text: str, width: int) -> str:
    """The text cut to `width` columns, visibly."""
    return text if len(text) <= width else text[: width - 3] + "..."


@lru_cache(maxsize=1 << 10)  # thousands of findings have the same few reasons
def wrapped(text: str, first: str = "", rest: str = "") -> tuple[str, ...]:
    """Prose in lines of WIDTH columns after the indents; a name is never broken."""
    lines = textwrap.wrap(
        clean(text), WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    )
    return tuple(lines)
