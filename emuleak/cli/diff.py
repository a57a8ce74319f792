"""`emuleak diff`: compare two reports."""

import io
import sys

import click

from emuleak.cli import streams
from emuleak.cli.baseline import counting
from emuleak.cli.quantities import STATUS
from emuleak.report.difference import compare, failing, write_json
from emuleak.report.differencetext import DifferenceText
from emuleak.report.json import read


@click.command(short_help="Compare two reports: what is new, grown, gone.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the output.")
@click.option("--error-exitcode", type=STATUS, default=23, show_default=True, metavar="N",
              help="Exit status when something new or grown counts.")  # fmt: skip
@click.option("--fail-on", "fail_on", metavar="KINDS", help="Which findings count: definite,possible,misuse.")
@click.argument("old", metavar="OLD.json")
@click.argument("new", metavar="NEW.json")
def diff(format_: str, error_exitcode: int, fail_on: str | None, old: str, new: str) -> int:
    """Compare two reports that `emuleak run --format json` wrote: what is new, grown, changed, shrunk, gone.

    Findings are known again by the functions on their stacks, not by lines and addresses. Exit status: 23 when
    something new or grown counts, else 0; 2 when a file is no report.
    """
    kinds = counting(fail_on)
    difference = compare(read(old), read(new))
    with streams.reader_may_leave():
        if format_ == "json":
            if isinstance(sys.stdout, io.TextIOWrapper):
                sys.stdout.reconfigure(encoding="utf-8")
            write_json(difference, kinds, sys.stdout)
        else:
            DifferenceText(old=old, new=new, fail_on=kinds).write(difference, sys.stdout)
        sys.stdout.flush()
    return error_exitcode if any(failing(difference, kinds)) else 0
