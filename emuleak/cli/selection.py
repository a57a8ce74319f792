"""The options that keep findings out of the report, and the one that writes suppressions for what is left."""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click
from msgspec.structs import replace

from emuleak.cli import outfile, streams
from emuleak.errors import BadOption
from emuleak.report.document import Report
from emuleak.report.verdict import counts, is_leak, leak_kind
from emuleak.session import Options

if TYPE_CHECKING:
    from emuleak.findings.frames import Symbolizer
    from emuleak.report.document import Finding

_STANDARD_ERROR = "-"


class Selection:
    """What the options say: the files, the directories, and where the suppressions go that are written."""

    def __init__(self, suppressions: Sequence[str], only_under: Sequence[str], gen_suppressions: str | None) -> None:
        self._suppressions = suppressions
        self._only_under = only_under
        self._target = gen_suppressions
        self._texts: list[str] = []

    def applied(self, run: Options, fail_on: frozenset[str], *, show_reachable: bool) -> Options:
        """The run's options with these. Raises BadOption for a file that cannot be written."""

        def write_suppressions(report: Report, symbolizer: "Symbolizer") -> None:
            from emuleak.report.suppression_text import suppression_texts  # noqa: PLC0415 - few runs need it

            listed = (each for each in report.findings if _is_listed(each, fail_on, show_reachable=show_reachable))
            self._texts = list(suppression_texts(listed, symbolizer.symbol_names))

        if self._target is not None and self._target != _STANDARD_ERROR:
            outfile.check("--gen-suppressions", self._target)
        return replace(
            run,
            suppressions=self._suppressions,
            only_under=self._only_under,
            on_report=None if self._target is None else write_suppressions,
            library_stacks=run.library_stacks or bool(self._suppressions),
        )

    def write(self) -> None:
        """Write the suppressions, after the report. Raises BadOption where the file cannot be written."""
        if self._target is None:
            return
        if self._target == _STANDARD_ERROR:
            with streams.reader_may_leave():
                sys.stderr.write("".join(self._texts))
                sys.stderr.flush()
            return
        try:
            with open(self._target, "w", encoding="utf-8", errors="surrogateescape") as out:
                out.writelines(self._texts)
        except OSError as error:
            raise BadOption(f"--gen-suppressions {self._target}: cannot be written: {error.strerror}") from None


def _is_listed(finding: "Finding", fail_on: frozenset[str], *, show_reachable: bool) -> bool:
    """Whether the report lists the finding, or it counts."""
    if not is_leak(finding) or counts(finding, fail_on):
        return True
    return finding.owner == "program" and (show_reachable or leak_kind(finding) != "still-reachable")


def options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options to a command, which takes them together as `kept_out`."""

    @click.option("--suppressions", multiple=True, metavar="FILE",
                  help="Keep out what this file suppresses (valgrind's syntax or LeakSanitizer's).")  # fmt: skip
    @click.option("--only-under", multiple=True, metavar="DIR",
                  help="Keep out what has no frame in a source file under DIR.")  # fmt: skip
    @click.option("--gen-suppressions", metavar="FILE",
                  help="Write a suppression for each finding there; - is stderr.")  # fmt: skip
    @functools.wraps(command)
    def with_selection(
        *values: Any, suppressions: Sequence[str], only_under: Sequence[str], gen_suppressions: str | None, **rest: Any
    ) -> int:
        return command(*values, kept_out=Selection(suppressions, only_under, gen_suppressions), **rest)

    return with_selection
