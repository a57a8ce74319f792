"""`emuleak explain`: tell one finding of a report slowly."""

import sys

import click

from emuleak.cli import streams
from emuleak.report.explain import Explanation
from emuleak.report.json import read


@click.command(short_help="Explain a finding, step by step.")
@click.option("--show-reachable", is_flag=True, help="Number still reachable blocks, too, as run does with it.")
@click.argument("report", metavar="REPORT.json")
@click.argument("number", metavar="[N]", required=False, type=click.IntRange(min=1))
def explain(report: str, number: int | None, *, show_reachable: bool) -> int:
    """Explain finding N of a report that `emuleak run --format json` wrote, or list what there is to explain.

    The numbers are those of the text report. What the kind of finding means, what happened in the order of time, what
    to check, how to repair it. Exit status: 0, or 2 when the file is no report or has no such finding.
    """
    with streams.reader_may_leave():
        Explanation(show_reachable=show_reachable).write(read(report), number, sys.stdout)
        sys.stdout.flush()
    return 0
