"""`--config` and `--no-config`: where a project's defaults are found. Reading them is left to configfile.py.

The first of `emuleak.toml` and a `pyproject.toml` with a table `[tool.emuleak]` wins, from the working directory
upward, as far as the root of the repository or of the file system.
"""

import os
from collections.abc import Callable
from typing import Any, Final

import click

from emuleak.errors import BadOption

OWN: Final = "emuleak.toml"
SHARED: Final = "pyproject.toml"
_TABLE: Final = b"[tool.emuleak"
_SEEN: Final = "emuleak.config"  # which of the two options stood on the command line


def options(command: Callable[..., int]) -> Callable[..., int]:
    """Add both options to a command: they set the defaults of its others, and the command never sees them."""
    from_file = click.option(
        "--config", metavar="FILE", is_eager=True, expose_value=False, callback=_load, help="Read the defaults there."
    )
    without = click.option(
        "--no-config", is_flag=True, is_eager=True, expose_value=False, callback=_forbid,
        help="Read no emuleak.toml and no pyproject.toml.",
    )  # fmt: skip
    return from_file(without(command))


def _forbid(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        _note(ctx, "--no-config")


def _load(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    """Set the defaults. Raises BadOption for a file that cannot be used.

    An option that is not given is processed after those that are: by then --no-config has been seen.
    """
    if value is not None:
        _note(ctx, "--config")
        _set_defaults(ctx, value)
    elif _SEEN not in ctx.meta and not ctx.resilient_parsing:
        _search(ctx)


def _note(ctx: click.Context, option: str) -> None:
    other = ctx.meta.setdefault(_SEEN, option)
    if other != option:
        raise BadOption("--config and --no-config exclude each other")


def _set_defaults(ctx: click.Context, path: str) -> None:
    from emuleak.cli.configfile import read  # noqa: PLC0415 - only where there is a file

    defaults = read(path, ctx.command)
    if defaults is None:
        raise BadOption(f"--config {path}: there is no table [tool.emuleak] in it")
    ctx.default_map = defaults


def _search(ctx: click.Context) -> None:
    try:
        directory = os.getcwd()
    except OSError:
        return  # the working directory is gone
    while True:
        defaults = _defaults_in(directory, ctx.command)
        if defaults is not None:
            ctx.default_map = defaults
            return
        parent = os.path.dirname(directory)
        if parent == directory or os.path.exists(os.path.join(directory, ".git")):
            return
        directory = parent


def _defaults_in(directory: str, command: click.Command) -> dict[str, Any] | None:
    """The defaults that a directory has for everything below it, None where it has none."""
    own, shared = os.path.join(directory, OWN), os.path.join(directory, SHARED)
    if os.path.isfile(own):
        path = own
    elif os.path.isfile(shared) and _mentions_us(shared):
        path = shared
    else:
        return None
    from emuleak.cli.configfile import read  # noqa: PLC0415

    return read(os.path.relpath(path), command)


def _mentions_us(path: str) -> bool:
    """A search for the table's name: parsing every pyproject.toml would cost more than all the rest."""
    try:
        with open(path, "rb") as file:
            return _TABLE in file.read()
    except OSError as error:
        raise BadOption(f"{path}: cannot be read: {error.strerror}; --no-config does without") from None
