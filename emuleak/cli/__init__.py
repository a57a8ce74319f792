"""The command line: one file a verb, imported when it is called."""

import atexit
import errno
import gc
import os
import sys
from importlib import import_module
from typing import Final, NoReturn

import click

from emuleak._version import __version__
from emuleak.cli import streams
from emuleak.errors import BadOption, EmuleakError

# verb -> the module that implements it, which has a click command of the same name
VERBS: Final = {
    "run": "emuleak.cli.run",
    "diff": "emuleak.cli.diff",
    "explain": "emuleak.cli.explain",
    "strace": "emuleak.cli.strace",
    "doctor": "emuleak.cli.doctor",
    "bundle": "emuleak.cli.bundle",
    "sysroot": "emuleak.cli.sysroot",
    "cc": "emuleak.cli.cc",
}

_FAILED: Final = 2
# What only a write can fail with; everything that is written elsewhere than to stdout has its own message.
_UNWRITABLE: Final = frozenset({errno.ENOSPC, errno.EFBIG, errno.EIO})
_INTERRUPTED: Final = 130


class _Verbs(click.Group):
    """Imports a verb's module only when it is the one called: `run` must not pay for the others."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = getattr(import_module(VERBS[cmd_name]), cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb. Raises BadOption that says how to run what looks like a program."""
        word = args[0]
        if word not in VERBS and not word.startswith("-"):
            import shutil  # noqa: PLC0415 - 3 ms

            is_program = os.path.isfile(word) or shutil.which(word)
            hint = f"to run that program: emuleak run {word}" if is_program else "see emuleak --help"
            raise BadOption(f"there is no command '{word}', only {', '.join(VERBS)}; {hint}")
        return super().resolve_command(ctx, args)


@click.group(
    cls=_Verbs,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Start with: emuleak run PROG",
)
@click.version_option(__version__, prog_name="emuleak")
@click.pass_context
def emuleak(ctx: click.Context) -> None:
    """Find leaks and misuse of the heap in unmodified x86-64 Linux programs."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> NoReturn:
    """Do what sys.argv says. Never lets a traceback reach the user: a failure is one line and exit status 2."""
    sys.exit(_status())


def script() -> NoReturn:
    """The console script: as `main`, in a process that is ours alone.

    It ends with the command, so nothing in it is worth collecting, and to take it apart object by object (20 ms) is
    work for nothing. Whoever runs the script inside of another program, as coverage and profilers do, gets `main`.
    """
    if sys._getframe(1).f_back is not None or sys.flags.inspect:  # noqa: SLF001 - who calls is not said elsewhere
        main()
    gc.disable()
    status = _status()
    atexit._run_exitfuncs()  # noqa: SLF001 - what others registered; it is there for this
    streams.silence()
    os._exit(status)


def _status() -> int:
    """Do what sys.argv says, to the last byte written; the exit status."""
    closed = streams.plug()
    status = _FAILED
    try:
        with streams.reader_may_leave():
            status = _command(closed)
            sys.stdout.flush()
    except OSError as error:
        _complain(f"cannot write to standard output: {error.strerror}")
        status = _FAILED
    finally:
        streams.silence()
    return status


def _command(closed: frozenset[int]) -> int:
    """Do what the command line says; the exit status."""
    try:
        status = emuleak(standalone_mode=False, prog_name="emuleak", obj=closed)
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - the last resort: whatever it is, the user gets one line
        _complain(_explain(error))
        return error.exit_status if isinstance(error, EmuleakError) else _FAILED
    return status if isinstance(status, int) else 0


def _explain(error: Exception) -> str:
    """What went wrong, for the user; of a defect of emuleak's own what its makers need to know."""
    if isinstance(error, EmuleakError):
        return str(error)
    if isinstance(error, click.UsageError):
        verb = error.ctx.command_path if error.ctx is not None else "emuleak"
        return f"{error.format_message().rstrip('.')}; see {verb} --help"
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return (
            "this machine has too little memory or address space (see ulimit -v): emuleak reserves more than 1 TiB of "
            "addresses, of which it uses what --max-memory allows"
        )
    if isinstance(error, OSError) and error.errno in _UNWRITABLE:
        return f"the output cannot be written: {error.strerror}"
    import traceback  # noqa: PLC0415 - 3 ms that only a defect need cost

    if os.environ.get("EMULEAK_DEBUG") == "1":
        traceback.print_exception(error)
    place = traceback.extract_tb(error.__traceback__)[-1]
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return (
        f"{what} ({os.path.basename(place.filename)}:{place.lineno}): this is a defect of emuleak {__version__}; "
        "please report it with this line and the program; EMULEAK_DEBUG=1 shows more"
    )


def _complain(message: str) -> None:
    """One line on stderr, in which a hostile file's name can do nothing to the terminal."""
    line = "".join(map(_visible, " ".join(message.split())))
    try:
        print(f"emuleak: error: {line}", file=sys.stderr, flush=True)  # noqa: T201
    except OSError:
        streams.silence()


def _visible(character: str) -> str:
    """The character, or its escape where a terminal would obey it or could not show it (a byte that is no UTF-8)."""
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else character.encode("unicode_escape").decode()
