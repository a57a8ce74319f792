"""`emuleak doctor`: say before a run what a program needs and what is missing."""

import io
import os
import sys

import click

from emuleak.cli.run import find_program
from emuleak.errors import BadOption


@click.command(short_help="Say what a program needs and what is missing.")
@click.option("--sysroot", default="/", metavar="DIR", show_default=True, help="Where its ld.so and libc are.")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", help="Form of the output.")
@click.argument("program", metavar="PROG")
def doctor(sysroot: str, format_: str, program: str) -> int:
    """Examine PROG without running it: its ld.so is asked for its libraries, its files are read.

    Exit status: 0 when nothing is missing, 1 when something is, 2 when PROG is no program that could run.
    """
    from emuleak.doctor import text  # noqa: PLC0415 - brings the disassembler's users along
    from emuleak.doctor.checkup import examine  # noqa: PLC0415

    if not os.path.isdir(sysroot):
        raise BadOption(f"--sysroot {sysroot}: no such directory")
    checkup = examine(find_program(program), sysroot, dict(os.environ))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    if format_ == "json":
        import msgspec  # noqa: PLC0415

        sys.stdout.write(msgspec.json.format(msgspec.json.encode(checkup), indent=2).decode() + "\n")
    else:
        text.write(checkup, sys.stdout)
    return 1 if checkup.missing else 0
