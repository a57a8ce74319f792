"""Which report goes where: `--format` and `--output`, read in the order in which they were given."""

import os
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

import click

from emuleak.cli import outfile, streams
from emuleak.errors import BadOption
from emuleak.report.document import Report
from emuleak.report.writers import Writer, writer

Target = tuple[str, str | None]
"""A format and the file that it is written to; None is standard error."""

_ORDER: Final = "emuleak.order"


class InOrder(click.Command):
    """A command that notes the order of its options, which click itself forgets: it hands over a tuple for each."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse twice: once for the order, once for all the rest. It costs a tenth of a millisecond."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        ctx.meta[_ORDER] = [parameter.name for parameter in order]
        return super().parse_args(ctx, args)


def targets(formats: Sequence[str], outputs: Sequence[str]) -> list[Target]:
    """What is written where. Raises BadOption before the run for what could not be written after it.

    An --output belongs to the --format before it, or to the first where none is before it. Formats that a configuration
    file names take the outputs one after the other.
    """
    order = click.get_current_context().meta.get(_ORDER, ())
    found = paired(formats, outputs, order) if "formats" in order else _zipped(formats or ("text",), outputs)
    for _, output in found:
        if output is not None:
            outfile.check("--output", output)
    _check_distinct(found)
    return found


def paired(formats: Sequence[str], outputs: Sequence[str], order: Sequence[str]) -> list[Target]:
    """Formats and outputs as the command line has them: `order` names the parameters as they were given."""
    formats_left, outputs_left = iter(formats), iter(outputs)
    found: list[Target] = []
    waiting: str | None = None
    for name in order:
        if name == "formats":
            found.append((next(formats_left), waiting))
            waiting = None
        elif name == "outputs":
            output = next(outputs_left)
            taken = waiting if not found else found[-1][1]
            if taken is not None:
                raise BadOption(f"--output {output}: {taken} is the --output of the same --format; add a --format")
            if found:
                found[-1] = (found[-1][0], output)
            else:
                waiting = output
    return found


def _zipped(formats: Sequence[str], outputs: Sequence[str]) -> list[Target]:
    if len(outputs) > len(formats):
        raise BadOption(f"--output {outputs[len(formats)]}: there are more outputs than formats; add a --format")
    return list(zip_longest(formats, outputs))


def _check_distinct(found: Sequence[Target]) -> None:
    """Two reports in one place would be a riddle, on standard error as in a file. Raises BadOption."""
    places: dict[str | None, str] = {}
    for format_, output in found:
        place = output if output is None else os.path.realpath(output)
        if place is None and place in places:
            raise BadOption(f"--format {format_}: the report as {places[place]} goes to stderr; give one an --output")
        if place is not None and place in places and not _is_device(place):
            raise BadOption(f"--output {output}: the report as {places[place]} goes there; give each its own file")
        places[place] = format_


def _is_device(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)


def show_libraries(found: Sequence[Target]) -> bool:
    """Whether any of the reports shows what libraries keep for themselves; the text only counts it."""
    return any(format_ != "text" for format_, _ in found)


def write_all(
    report: Report,
    found: Sequence[Target],
    *,
    show_reachable: bool,
    fail_on: frozenset[str],
    source_roots: Sequence[str] | None = None,
) -> None:
    """Write every report that can be written, then raise BadOption for the first that could not.

    Only source below `source_roots` is quoted; None: wherever it is.
    """
    failures = []
    for format_, output in found:
        try:
            chosen = writer(format_, show_reachable=show_reachable, fail_on=fail_on, source_roots=source_roots)
            _write(report, chosen, output)
        except OSError as error:
            place = "standard error" if output is None else f"--output {output}"
            failures.append(BadOption(f"{place}: the report cannot be written: {error.strerror}"))
    if failures:
        raise failures[0]


def _write(report: Report, chosen: Writer, output: str | None) -> None:
    if output is not None:
        with open(output, "w", encoding="utf-8") as out:
            chosen.write(report, out)
        return
    with streams.reader_may_leave():
        chosen.write(report, sys.stderr)
        sys.stderr.flush()
