"""`emuleak bundle`: pack a program with all that it needs; and what `emuleak run` does with such a bundle."""

import os
import sys
from collections.abc import Mapping, Sequence

import click
from msgspec.structs import replace

from emuleak.cli import outfile
from emuleak.cli.run import find_program
from emuleak.cli.sandbox import BUNDLE, grants, variables_of
from emuleak.errors import BadOption
from emuleak.host import guest_path
from emuleak.session import Options


@click.command(
    short_help="Pack a program with all that it needs, to be run anywhere.",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": True},
)
@click.option("-o", "--output", metavar="FILE", help="The bundle; its name ends with .emu.  [default: PROG.emu]")
@click.option("--file", "files", multiple=True, metavar="HOST[=GUEST]", help="Pack this file or directory, too.")
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE", help="Set this variable whenever it runs.")
@click.option("--trace", is_flag=True, help="Run PROG with ARGS now, and pack the files that it opens.")
@click.option("--sources", is_flag=True, help="Pack the sources that its debug information names.")
@click.option("--no-debug", is_flag=True, help="Pack no separate debug files.")
@click.option("--sysroot", default="/", metavar="DIR", show_default=True, help="Where its ld.so and libc are.")
@click.argument("program", metavar="PROG")
@click.argument("arguments", metavar="[ARGS]...", nargs=-1, type=click.UNPROCESSED)
def bundle(
    output: str | None,
    files: Sequence[str],
    variables: Sequence[str],
    trace: bool,
    sources: bool,
    no_debug: bool,
    sysroot: str,
    program: str,
    arguments: Sequence[str],
) -> int:
    """Pack PROG with its ld.so, its libraries and their debug files; `emuleak run PROG.emu` needs nothing else.

    It then runs in a sandbox that holds what was packed. The same files make the same bundle, byte for byte.
    """
    from emuleak.bundle.pack import Wanted, pack  # noqa: PLC0415
    from emuleak.bundle.sources import source_files  # noqa: PLC0415

    found = find_program(program)
    target = output or f"{os.path.basename(found)}{BUNDLE}"
    if not target.endswith(BUNDLE):
        raise BadOption(f"--output {target}: the name of a bundle ends with {BUNDLE}")
    outfile.check("--output", target)
    if not os.path.isdir(sysroot):
        raise BadOption(f"--sysroot {sysroot}: no such directory")
    if arguments and not trace:
        raise BadOption("arguments are for --trace, which runs the program to see what it opens")
    named = {_guest(path): os.path.abspath(host) for path, host in grants(files).items()}
    if trace:
        from emuleak.bundle.opened import opened  # noqa: PLC0415

        named |= opened(found, (program, *arguments), dict(os.environ), sysroot)
    wanted = Wanted(
        program=found,
        sysroot=sysroot,
        environment=dict(os.environ),
        kept=_kept(variables),
        files=named,
        sources=source_files(found, sysroot) if sources else (),
        debug=not no_debug,
    )
    packed = pack(wanted, target)
    for name in packed.missing:
        click.echo(f"emuleak: not packed, because it is not there: {name}", err=True)
    size = os.path.getsize(target)
    sys.stdout.write(f"{target}: {len(packed.manifest.files)} files, {size:,} bytes\n")
    return 0


def _guest(path: str) -> str:
    """A relative path is one of the host's: the guest has the file where the host has it."""
    return path if path.startswith("/") else guest_path(os.path.abspath(path))


def _kept(variables: Sequence[str]) -> dict[str, str]:
    """What is set for the program at every run; where libraries were found by it, it must be the same again."""
    kept = {"LD_LIBRARY_PATH": os.environ["LD_LIBRARY_PATH"]} if os.environ.get("LD_LIBRARY_PATH") else {}
    return kept | variables_of(variables)


def applied(run: Options, variables: Mapping[str, str], files: Mapping[str, str]) -> Options:
    """The options of a run whose program is a bundle: it brings its files and a sandbox. Raises BadProgram."""
    from emuleak.bundle.unpack import unpacked  # noqa: PLC0415
    from emuleak.kernel.clock import SANDBOX_START_NS  # noqa: PLC0415
    from emuleak.kernel.sandbox import MAX_SECONDS, Sandbox  # noqa: PLC0415

    content = unpacked(run.program)
    manifest = content.manifest
    return replace(
        run,
        program=content.program,
        argv=(manifest.program, *run.argv[1:]),
        environment={**manifest.environment, **variables},
        sysroot=content.directory,
        start_ns=SANDBOX_START_NS,
        max_seconds=MAX_SECONDS if run.max_seconds is None else run.max_seconds,
        sandbox=Sandbox(files=files, system=content.files),
    )
