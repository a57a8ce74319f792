"""`--sandbox` and what belongs to it: what the guest is given, and what becomes of what it writes."""

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import click
from msgspec.structs import replace

from emuleak.cli import streams
from emuleak.errors import BadOption
from emuleak.session import Options, Session

if TYPE_CHECKING:
    from emuleak.kernel.written import Written

BUNDLE: Final = ".emu"  # what `emuleak bundle` makes


class Walls:
    """What the options say."""

    def __init__(
        self,
        *,
        sandbox: bool,
        files: Sequence[str],
        variables: Sequence[str],
        keep_files: str | None,
        show_files: bool,
    ) -> None:
        self._on = sandbox
        self._files = files
        self._variables = variables
        self._target = keep_files
        self._shows = show_files
        self._off = ""  # what is wrong unless the program brings a sandbox of its own
        given = {"--file": files, "--keep-files": keep_files, "--show-files": show_files}
        for option, value in given.items():
            if value and not sandbox:
                self._off = f"{option}: only a program in the sandbox has files of its own; add --sandbox"

    def applied(self, run: Options) -> Options:
        """The run's options with these. Raises BadOption."""
        variables = variables_of(self._variables)
        if run.program.endswith(BUNDLE):
            from emuleak.cli.bundle import applied  # noqa: PLC0415 - only for a bundle

            self._on = True
            if self._target is not None:
                _check_target(self._target)
            return applied(run, variables, grants(self._files))
        if self._off:
            raise BadOption(self._off)
        if not self._on:
            return replace(run, environment={**run.environment, **variables}) if variables else run
        if run.net == "host":
            raise BadOption("--net host: a program in the sandbox reaches no network; leave one of the two out")
        from emuleak.kernel.clock import SANDBOX_START_NS  # noqa: PLC0415 - only the sandbox needs all this
        from emuleak.kernel.layout import guest_arguments  # noqa: PLC0415
        from emuleak.kernel.sandbox import MAX_SECONDS, Sandbox  # noqa: PLC0415

        if self._target is not None:
            _check_target(self._target)
        return replace(
            run,
            argv=guest_arguments(run.program, run.argv),
            environment=variables,
            start_ns=SANDBOX_START_NS,
            max_seconds=MAX_SECONDS if run.max_seconds is None else run.max_seconds,
            sandbox=Sandbox(files=grants(self._files)),
        )

    def finish(self, session: Session) -> None:
        """After the report: list and keep what the guest wrote. Raises BadOption when it cannot be kept."""
        if not self._on or not (self._shows or self._target):
            return
        from emuleak.kernel.written import keep, written  # noqa: PLC0415

        files = written(session.files)
        if self._shows:
            with streams.reader_may_leave():
                sys.stderr.write(_listing(files))
                sys.stderr.flush()
        if self._target is not None:
            try:
                keep(files, self._target)
            except OSError as error:
                raise BadOption(f"--keep-files {self._target}: cannot be written: {error.strerror}") from None


def _listing(files: Sequence["Written"]) -> str:
    """What the guest wrote, one line a file; whatever it called them, a line stays a line."""
    if not files:
        return "The program wrote no files.\n"
    rows = [f"  {'removed' if each.kind == 'removed' else each.size:>12}  {_visible(each)}" for each in files]
    return "Files the program wrote:\n" + "\n".join(rows) + "\n"


def _visible(file: "Written") -> str:
    name = file.path + ("/" if file.kind == "directory" else "")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in name)
    return shown if file.kind in {"file", "directory", "removed"} else f"{shown} ({file.kind})"


def variables_of(given: Sequence[str]) -> dict[str, str]:
    """The variables of `--env NAME=VALUE`. Raises BadOption."""
    variables = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise BadOption(f"--env {each}: give NAME=VALUE")
        variables[name] = value
    return variables


def grants(given: Sequence[str]) -> Mapping[str, str]:
    """The guest's path of each file to its path on the host. Raises BadOption."""
    grants = {}
    for each in given:
        host, equals, guest = each.rpartition("=")
        if not equals or (not host and os.path.exists(each)):
            host, guest = each, each
        if not os.path.exists(host):
            raise BadOption(f"--file {each}: there is no {host or 'file without a name'}")
        if not (os.path.isfile(host) or os.path.isdir(host)):
            raise BadOption(f"--file {each}: is neither a file nor a directory")
        grants[guest] = host
    return grants


def _check_target(directory: str) -> None:
    try:
        if os.listdir(directory):
            raise BadOption(f"--keep-files {directory}: is not empty; name a new directory")
    except FileNotFoundError:
        try:
            os.makedirs(directory)
        except OSError as error:
            raise BadOption(f"--keep-files {directory}: cannot be made: {error.strerror}") from None
    except OSError as error:
        raise BadOption(f"--keep-files {directory}: cannot be written: {error.strerror}") from None


def options(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options to a command, which takes them together as `walls`."""

    @click.option(
        "--sandbox", is_flag=True, help="Keep the program from the host's files; what it writes is forgotten."
    )
    @click.option("--file", "files", multiple=True, metavar="HOST[=GUEST]",
                  help="Let the sandbox see this file or directory.")  # fmt: skip
    @click.option("--env", "variables", multiple=True, metavar="NAME=VALUE",
                  help="Set this variable; the sandbox has no others.")  # fmt: skip
    @click.option("--keep-files", metavar="DIR", help="Keep there what was written in the sandbox.")
    @click.option("--show-files", is_flag=True, help="List what was written in the sandbox.")
    @functools.wraps(command)
    def with_walls(
        *values: Any,
        sandbox: bool,
        files: Sequence[str],
        variables: Sequence[str],
        keep_files: str | None,
        show_files: bool,
        **rest: Any,
    ) -> int:
        walls = Walls(sandbox=sandbox, files=files, variables=variables, keep_files=keep_files, show_files=show_files)
        return command(*values, walls=walls, **rest)

    return with_walls
