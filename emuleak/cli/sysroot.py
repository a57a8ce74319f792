"""`emuleak sysroot`: make a sysroot of Debian packages, list those that were made."""

import os
import sys
from collections.abc import Sequence

import click

from emuleak.errors import BadOption
from emuleak.host import data_directory


@click.group(short_help="Make sysroots of Debian packages.", invoke_without_command=True)
@click.pass_context
def sysroot(ctx: click.Context) -> None:
    """Make a directory with the ld.so, libc and libraries of Debian or Ubuntu, for `emuleak run --sysroot`."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@sysroot.command(short_help="Unpack packages into a sysroot.")
@click.option("--to", "directory", metavar="DIR", help="The sysroot.  [default: one of the user's own]")
@click.argument("packages", metavar="PACKAGE.deb...", nargs=-1, required=True)
def add(directory: str | None, packages: Sequence[str]) -> int:
    """Unpack packages (libc6_*.deb, libstdc++6_*.deb, libc6-dbg_*.deb ...) into a sysroot, which is made.

    `apt-get download libc6` fetches one. Nothing is written outside of the directory, whatever is in the packages.
    """
    from emuleak.sysroot.install import install  # noqa: PLC0415

    target = directory or default_directory()
    try:
        added = install(packages, target)
    except OSError as error:
        raise BadOption(f"{error.filename or target}: cannot be written: {error.strerror}") from None
    for package in added:
        sys.stdout.write(f"{package.name} {package.version}\n")
    sys.stdout.write(f"added to {target}; emuleak run --sysroot {target} PROG\n")
    return 0


@sysroot.command("list", short_help="Say what is in a sysroot.")
@click.argument("directory", metavar="[DIR]", required=False)
def list_(directory: str | None) -> int:
    """List the packages in a sysroot, by default in the user's own. Exit status 1 when there is none."""
    from emuleak.sysroot.install import read_record  # noqa: PLC0415

    target = directory or default_directory()
    record = read_record(target)
    if record is None:
        sys.stdout.write(f"{target}: no sysroot; emuleak sysroot add makes one\n")
        return 1
    sys.stdout.write(f"{target}\n")
    for _, package in sorted(record.packages.items()):
        sys.stdout.write(f"  {package.name} {package.version}\n")
    return 0


def default_directory() -> str:
    """The user's own sysroot: EMULEAK_SYSROOT, or where the host keeps a user's data. Raises BadOption."""
    if own := os.environ.get("EMULEAK_SYSROOT"):
        return own
    base = data_directory()
    if base is None:
        raise BadOption("there is no home directory for a sysroot; name one with --to")
    return os.path.join(base, "emuleak", "sysroot")
