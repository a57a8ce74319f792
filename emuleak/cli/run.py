"""`emuleak run`: run a program and report what it lost."""

import os
import sys
import time
from collections.abc import Callable, Sequence

import click

from emuleak.cli import config, interruption, reports, sandbox, selection
from emuleak.cli.quantities import SECONDS, SIZE, STATUS
from emuleak.cli.trace import Trace
from emuleak.errors import BadOption
from emuleak.report import verdict
from emuleak.report.document import Report
from emuleak.report.writers import WRITERS
from emuleak.session import DEFAULT_MAX_MEMORY, Options, Session


@click.command(
    cls=reports.InOrder,
    short_help="Run a program and report what it lost.",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option("--stdin", "stdin", metavar="FILE", help="Give the program this file as its standard input.")
@click.option("--format", "formats", multiple=True, type=click.Choice(list(WRITERS)), metavar="FORM",
              help=f"Form of the report: {', '.join(WRITERS)}.")  # fmt: skip
@click.option("--output", "outputs", multiple=True, metavar="FILE", help="Write that report there, not to stderr.")
@click.option("--hook", default="auto", metavar="STRATEGY", show_default=True, help="How calls are intercepted.")
@click.option(
    "--sysroot", default="/", metavar="DIR", show_default=True, help="Where the program's ld.so and libc are."
)
@click.option("--max-seconds", type=SECONDS, metavar="S", help="Stop the program after S seconds.")
@click.option("--max-memory", type=SIZE, default=str(DEFAULT_MAX_MEMORY), metavar="M", help="Stop it at M bytes (4G).")
@click.option("--error-exitcode", type=STATUS, default=23, show_default=True, metavar="N",
              help="Exit status when findings count.")  # fmt: skip
@click.option("--fail-on", "fail_on", metavar="KINDS", help="Which findings count: definite,possible,misuse.")
@click.option("--baseline", metavar="FILE", help="Only what this older report (JSON) does not know counts.")
@click.option("--show-reachable/--no-show-reachable", help="List still reachable blocks, too.")
@sandbox.options
@selection.options
@click.option("--trace-children", is_flag=True, help="Check the programs, too, that the program runs.")
@click.option("--trace", is_flag=True, help="Print every event of the heap as it happens.")
@config.options
@click.argument("program", metavar="PROG")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def run(
    closed: frozenset[int] | None,
    stdin: str | None,
    formats: Sequence[str],
    outputs: Sequence[str],
    hook: str,
    sysroot: str,
    max_seconds: float | None,
    max_memory: int,
    error_exitcode: int,
    fail_on: str | None,
    baseline: str | None,
    show_reachable: bool,
    walls: sandbox.Walls,
    kept_out: selection.Selection,
    trace_children: bool,
    trace: bool,
    program: str,
    arguments: Sequence[str],
) -> int:
    """Run PROG with ARGS and report the blocks it lost and the pointers it freed wrongly.

    Options stand before PROG; whatever follows it is the program's. Exit status: 23 when findings count, else the
    program's own (128+n for signal n); 2 when it could not be run; 124 when a limit was reached.
    """
    counting = _counting(fail_on, baseline)
    compared = _comparison(baseline)
    targets = reports.targets(formats, outputs)
    _check_files(stdin, sysroot)
    options = Options(
        program=find_program(program),
        argv=(program, *arguments),
        stdin=stdin,
        hook=hook,
        sysroot=sysroot,
        max_seconds=max_seconds,
        max_memory=max_memory,
        start_ns=time.time_ns(),
        trace_children=trace_children,
        library_stacks=baseline is not None or reports.show_libraries(targets),
    )
    options = walls.applied(options)
    options = kept_out.applied(options, counting, show_reachable=show_reachable)
    with interruption.interruptible() as interruptions:
        session = _session(options, closed or frozenset(), trace=trace)
        interruptions.watch(session)
        report = compared(session.run())
        reports.write_all(
            report,
            targets,
            show_reachable=show_reachable,
            fail_on=counting,
            source_roots=options.source_roots,
        )
        kept_out.write()
        walls.finish(session)
    if isinstance(report.exit.stopped, str) and report.exit.stopped in interruption.STATUS:
        return interruption.STATUS[report.exit.stopped]
    return verdict.exit_status(report, fail_on=counting, error_exitcode=error_exitcode)


def _session(options: Options, closed: frozenset[int], *, trace: bool) -> Session:
    """A session in which the descriptors that were `closed` for us are closed for the guest, too."""
    session = Session(options)
    for fd in closed & set(session.files.descriptors()):
        if fd or options.stdin is None:
            session.files.close(fd)
    if trace:
        session.log.listeners.append(Trace(session.process, sys.stderr, options.sysroot))
    return session


def find_program(name: str) -> str:
    """The file a shell would run for `name`, or one of that name here."""
    if os.sep in name or os.path.exists(name):
        return name
    import shutil  # noqa: PLC0415 - 3 ms

    return shutil.which(name) or name


def _counting(fail_on: str | None, baseline: str | None) -> frozenset[str]:
    if baseline is not None:
        from emuleak.cli.baseline import counting  # noqa: PLC0415 - most runs have none

        return counting(fail_on)
    if fail_on is None:
        return verdict.FAIL_ON_DEFAULT
    if not fail_on.strip(", "):
        raise BadOption("--fail-on: no kinds given; 'none' lets nothing count")
    return verdict.parse_fail_on(fail_on)


def _comparison(baseline: str | None) -> Callable[[Report], Report]:
    """What marks the findings that the baseline knows; nothing does where there is none. Raises BadOption."""
    if baseline is None:
        return lambda report: report
    from emuleak.cli.baseline import comparison  # noqa: PLC0415

    return comparison(baseline)


def _check_files(stdin: str | None, sysroot: str) -> None:
    if stdin is not None:
        if os.path.isdir(stdin):
            raise BadOption(f"--stdin {stdin}: is a directory; give a file")
        if not os.path.exists(stdin):
            raise BadOption(f"--stdin {stdin}: no such file")
        if not os.access(stdin, os.R_OK):
            raise BadOption(f"--stdin {stdin}: permission denied")
    if not os.path.isdir(sysroot):
        raise BadOption(f"--sysroot {sysroot}: no such directory")
