"""`emuleak strace`: run a program and print its system calls."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TextIO

import click
from msgspec.structs import replace

from emuleak.cli import interruption, outfile
from emuleak.cli.quantities import SIZE
from emuleak.cli.run import find_program
from emuleak.cli.sandbox import BUNDLE
from emuleak.errors import BadOption
from emuleak.kernel.clock import SANDBOX_START_NS
from emuleak.kernel.core import Ending
from emuleak.session import DEFAULT_MAX_MEMORY
from emuleak.strace.call import Style
from emuleak.strace.lines import Lines
from emuleak.strace.selection import Selection
from emuleak.strace.summary import Summary
from emuleak.strace.tracer import Tracer
from emuleak.unhooked import Guest, UnhookedRun

_OUT_OF_BUDGET = 124


@click.command(
    short_help="Run a program and print its system calls.",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option("-f", "follow", is_flag=True, help="Tell of its threads and children, too.")
@click.option("-e", "expressions", multiple=True, metavar="EXPR",
              help="trace=LIST of names, /regex, %classes or !LIST; signal=LIST.")  # fmt: skip
@click.option("-o", "output", metavar="FILE", help="Write there, not to stderr.")
@click.option("-s", "longest", type=click.IntRange(0, 1 << 20), default=32, show_default=True, metavar="SIZE",
              help="The most bytes of a string to print.")  # fmt: skip
@click.option("-y", "paths", is_flag=True, help="Print the files of descriptors.")
@click.option("-c", "count", is_flag=True, help="Only count calls and errors.")
@click.option("--sysroot", default="/", metavar="DIR", show_default=True, help="Where its ld.so and libc are.")
@click.option("--max-memory", type=SIZE, default=str(DEFAULT_MAX_MEMORY), metavar="M", help="Stop it at M bytes (4G).")
@click.argument("program", metavar="PROG")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
@click.pass_obj
def strace(
    closed: frozenset[int] | None,
    follow: bool,
    expressions: Sequence[str],
    output: str | None,
    longest: int,
    paths: bool,
    count: bool,
    sysroot: str,
    max_memory: int,
    program: str,
    arguments: Sequence[str],
) -> int:
    """Run PROG with ARGS, print its system calls and signals as strace(1) does, and end with its exit status.

    Its allocator is its own: nothing is checked here, and nothing is in the way of the calls it makes.
    """
    selection = Selection(expressions)
    if not os.path.isdir(sysroot):
        raise BadOption(f"--sysroot {sysroot}: no such directory")
    guest = Guest(find_program(program), (program, *arguments), dict(os.environ), sysroot, time.time_ns(), max_memory)
    if guest.program.endswith(BUNDLE):
        guest = _bundled(guest)
    with _output(output) as out, interruption.interruptible() as interruptions:
        summary = Summary() if count else None
        lines = Lines(out, always_pid=follow and output is not None)
        tracer = Tracer(lines, selection, Style(longest, paths), follow=follow, summary=summary)
        with closing(UnhookedRun(guest, tracer)) as run:
            tracer.start(
                run.kernel, run.files.shown(guest.program), guest.argv, run.environment_at, len(guest.environment)
            )
            for fd in (closed or frozenset()) & set(run.files.descriptors()):
                run.files.close(fd)
            interruptions.watch(run)
            ending = run.run()
            for what in run.system.incomplete:
                click.echo(f"emuleak: not emulated: {what}", err=True)
        if summary is not None:
            summary.write(out)
    return _status(ending)


@contextmanager
def _output(path: str | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stderr
        return
    outfile.check("-o", path)
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as out:
        yield out


def _bundled(guest: Guest) -> Guest:
    """The program in a bundle, with the files that are in it. Raises BadProgram."""
    from emuleak.bundle.unpack import unpacked  # noqa: PLC0415

    content = unpacked(guest.program)
    return replace(
        guest,
        program=content.program,
        argv=(content.manifest.program, *guest.argv[1:]),
        environment=content.manifest.environment,
        sysroot=content.directory,
        start_ns=SANDBOX_START_NS,
        system=content.files,
    )


def _status(ending: Ending) -> int:
    if ending.stopped:
        click.echo(f"emuleak: {ending.stopped}", err=True)
        return interruption.STATUS.get(ending.stopped, _OUT_OF_BUDGET)
    return 128 + ending.signal if ending.signal is not None else ending.code or 0
