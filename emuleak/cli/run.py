"""`emuleak run`: run a program and report what it lost."""

import os
import shutil
import sys
import time
from collections.abc import Sequence

import click

from emuleak.cli import interruption, streams
from emuleak.cli.quantities import SECONDS, SIZE, STATUS
from emuleak.cli.trace import Trace
from emuleak.errors import BadOption
from emuleak.report import verdict
from emuleak.report.document import Report
from emuleak.report.writers import WRITERS, writer
from emuleak.session import DEFAULT_MAX_MEMORY, Options, Session


@click.command(
    short_help="Run a program and report what it lost.",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option("--stdin", "stdin", metavar="FILE", help="Give the program this file as its standard input.")
@click.option("--format", "formats", multiple=True, type=click.Choice(list(WRITERS)), help="Form of the report: text.")
@click.option("--output", "outputs", multiple=True, metavar="FILE", help="Write the report there, not to stderr.")
@click.option("--hook", default="auto", metavar="STRATEGY", show_default=True, help="How calls are intercepted.")
@click.option(
    "--sysroot", default="/", metavar="DIR", show_default=True, help="Where the program's ld.so and libc are."
)
@click.option("--max-seconds", type=SECONDS, metavar="S", help="Stop the program after S seconds.")
@click.option("--max-memory", type=SIZE, default=str(DEFAULT_MAX_MEMORY), metavar="M", help="Stop it at M bytes (4G).")
@click.option("--error-exitcode", type=STATUS, default=23, show_default=True, metavar="N",
              help="Exit status when findings count.")  # fmt: skip
@click.option("--fail-on", "fail_on", metavar="KINDS", help="Which findings count: definite,possible,misuse.")
@click.option("--show-reachable", is_flag=True, help="List still reachable blocks, too.")
@click.option("--trace", is_flag=True, help="Print every event of the heap as it happens.")
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
    show_reachable: bool,
    trace: bool,
    program: str,
    arguments: Sequence[str],
) -> int:
    """Run PROG with ARGS and report the blocks it lost and the pointers it freed wrongly.

    Options stand before PROG; whatever follows it is the program's. Exit status: 23 when findings count, else the
    program's own (128+n for signal n); 2 when it could not be run; 124 when a limit was reached.
    """
    counting = _counting(fail_on)
    targets = _targets(formats or ("text",), outputs)
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
    )
    with interruption.interruptible() as interruptions:
        session = _session(options, closed or frozenset(), trace=trace)
        interruptions.watch(session)
        report = session.run()
        _write_all(report, targets, show_reachable=show_reachable)
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
    here = os.sep in name or os.path.exists(name)
    return name if here else shutil.which(name) or name


def _counting(fail_on: str | None) -> frozenset[str]:
    if fail_on is None:
        return verdict.FAIL_ON_DEFAULT
    if not fail_on.strip(", "):
        raise BadOption("--fail-on: no kinds given; 'none' lets nothing count")
    return verdict.parse_fail_on(fail_on)


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


# ---- the reports

_Target = tuple[str, str | None]


def _targets(formats: Sequence[str], outputs: Sequence[str]) -> list[_Target]:
    """Which format goes where: formats and outputs in pairs, the rest to stderr. Raises BadOption."""
    if len(outputs) > len(formats):
        raise BadOption(f"--output {outputs[len(formats)]}: there are more outputs than formats; add a --format")
    for target in outputs:
        _check_output(target)
    return [(format_, outputs[index] if index < len(outputs) else None) for index, format_ in enumerate(formats)]


def _check_output(target: str) -> None:
    """Find out before a long run, not after it, that its report cannot be written. Raises BadOption."""
    directory = os.path.dirname(target) or "."
    if os.path.isdir(target) or not target:
        raise BadOption(f"--output {target}: is a directory; give a file")
    if not os.path.isdir(directory):
        raise BadOption(f"--output {target}: there is no directory {directory}")
    if not os.access(target if os.path.exists(target) else directory, os.W_OK):
        raise BadOption(f"--output {target}: permission denied")


def _write_all(report: Report, targets: Sequence[_Target], *, show_reachable: bool) -> None:
    """Write every report that can be written, then raise BadOption for the first that could not."""
    failures = []
    for format_, target in targets:
        try:
            _write(report, format_, target, show_reachable=show_reachable)
        except OSError as error:
            place = "standard error" if target is None else f"--output {target}"
            failures.append(BadOption(f"{place}: the report cannot be written: {error.strerror}"))
    if failures:
        raise failures[0]


def _write(report: Report, format_: str, target: str | None, *, show_reachable: bool) -> None:
    chosen = writer(format_, show_reachable=show_reachable)
    if target is not None:
        with open(target, "w", encoding="utf-8") as out:
            chosen.write(report, out)
        return
    with streams.reader_may_leave():
        chosen.write(report, sys.stderr)
        sys.stderr.flush()
