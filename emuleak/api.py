"""emuleak from Python: run a program, look at its report, fail a test over it.

    import emuleak

    report = emuleak.run(["build/parser", "input.txt"])
    report.assert_clean()

The names here are those of the package: `emuleak.run`, `emuleak.RunReport`, `emuleak.LeaksFound`.
"""

import errno
import math
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from io import StringIO
from typing import Final

from msgspec import UNSET
from msgspec.structs import asdict, replace

from emuleak.errors import BadOption, BadProgram, MachineFailure
from emuleak.interrupts import interruptible, put_off
from emuleak.report import json
from emuleak.report.document import Finding, Report
from emuleak.report.source import Sources
from emuleak.report.terminal import Terminal
from emuleak.report.verdict import FAIL_ON_DEFAULT, counts, is_crash, is_leak, leak_kind, parse_fail_on
from emuleak.session import DEFAULT_MAX_MEMORY, Options, Session

StrPath = str | os.PathLike[str]
Kinds = str | Iterable[str]

_CANNOT_RESERVE: Final = (
    "this machine has too little memory or address space (see ulimit -v): emuleak reserves more than 1 TiB of addresses"
)


class LeaksFound(AssertionError):
    """A report is not clean. The message is the report as text; `report` is the report itself."""

    def __init__(self, report: "RunReport", text: str) -> None:
        super().__init__(text)
        self.report = report


class RunReport(Report, frozen=True, kw_only=True):
    """The report of one run, and what the program wrote (nothing where its output was not captured).

    `written` are the files that it wrote in the sandbox, by their paths there; of a large one the first
    64 MiB. Only source below one of `source_roots` is quoted by `text`; None: wherever it is. These are no part of the
    document: `to_json` leaves them out.
    """

    stdout: bytes = b""
    stderr: bytes = b""
    written: Mapping[str, bytes] = {}
    source_roots: tuple[str, ...] | None = None

    @property
    def leaks(self) -> tuple[Finding, ...]:
        """What the program lost: definitely, indirectly or possibly. `findings` also has what is still reachable."""
        mine = (finding for finding in self.findings if is_leak(finding) and finding.owner == "program")
        return tuple(finding for finding in mine if leak_kind(finding) != "still-reachable")

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Every misuse of the heap: double frees, invalid frees and the like."""
        return tuple(finding for finding in self.findings if not is_leak(finding))

    def counting(self, fail_on: Kinds | None = None, allow: Iterable[str] = ()) -> tuple[Finding, ...]:
        """The findings that count.

        `fail_on` names their kinds as `--fail-on` does; None: definitely and possibly lost blocks and every misuse.
        `allow` has names of functions, with `*` and `?` as in file names: what has one of them in its stack does not
        count. Raises BadOption.
        """
        kinds, patterns = _kinds(fail_on), _patterns(allow)
        return tuple(each for each in self.findings if counts(each, kinds) and not _is_allowed(each, patterns))

    def is_clean(self, fail_on: Kinds | None = None, allow: Iterable[str] = ()) -> bool:
        """Whether nothing counts and the run came to an end of its own: no crash, no limit that was reached."""
        whole = self.exit.stopped is UNSET and not is_crash(self.exit)
        return whole and not self.counting(fail_on, allow)

    def assert_clean(self, fail_on: Kinds | None = None, allow: Iterable[str] = ()) -> None:
        """Raise LeaksFound, which is an AssertionError, unless `is_clean`. Raises BadOption."""
        __tracebackhide__ = True  # pytest then shows the line of the test, not this one
        if not self.is_clean(fail_on, allow):
            raise LeaksFound(self, self.text(fail_on=fail_on))

    def text(self, *, fail_on: Kinds | None = None, show_reachable: bool = False) -> str:
        """The report as `emuleak run` prints it, without colours; blocks still reachable are listed if they count."""
        kinds, out = _kinds(fail_on), StringIO()
        listed = show_reachable or "still-reachable" in kinds
        sources = None if self.source_roots is None else Sources(self.source_roots)
        Terminal(show_reachable=listed, fail_on=kinds, colour=False, sources=sources).write(self, out)
        return out.getvalue()

    def to_json(self) -> str:
        """The document `emuleak-report/1` that `emuleak run --format json` writes."""
        out = StringIO()
        json.write(self, out)
        return out.getvalue()


def run(
    args: Sequence[StrPath],
    *,
    stdin: bytes | os.PathLike[str] | None = b"",
    env: Mapping[str, str] | None = None,
    cwd: StrPath | None = None,
    max_seconds: float | None = None,
    max_memory: int = DEFAULT_MAX_MEMORY,
    suppressions: Iterable[StrPath] = (),
    hook: str = "auto",
    sysroot: StrPath = "/",
    capture: bool = True,
    sandbox: bool = False,
    files: Mapping[str, bytes | os.PathLike[str]] | None = None,
) -> RunReport:
    """Run the program `args[0]` with the arguments that follow, and report what it lost and misused of the heap.

    `stdin` is what the program reads: bytes, a path of a file, or None for this process's own standard input. `env`
    replaces the environment, `cwd` is where the program runs; as for `subprocess.run`, a relative `args[0]` with a
    slash starts from there, one without is looked for there and then in PATH. `suppressions` are files of valgrind's
    or LeakSanitizer's. Without `capture` the program writes to this process's standard output and standard error.

    With `sandbox` the program cannot touch this machine's files: see "The sandbox" in docs/security.md. `files` maps
    names of its own to contents, or to files and directories of this machine; the report's `written` has what it wrote.
    It gets no environment but `env`, and 60 seconds unless `max_seconds` says otherwise; `cwd` only finds the program.

    A program that runs for more than `max_seconds` or uses more than `max_memory` bytes is stopped, and the report says
    so. Bugs of the program never raise. Raises BadProgram where it cannot be run, BadOption for an argument of no use,
    MachineFailure where emulation itself fails; all are EmuleakErrors. Ctrl-C raises KeyboardInterrupt.

    Several threads may run programs at the same time; the emulation alone goes on in parallel.
    """
    words = _arguments(args)
    _check_sandbox(sandbox, files)
    variables = _environment(os.environ if env is None else env)
    directory = None if cwd is None else _directory("cwd", cwd)
    options = Options(
        program=_find(words[0], variables, directory),
        argv=words,
        environment=variables,
        stdin=_input(stdin),
        capture=capture,
        hook=hook,
        sysroot=_directory("sysroot", sysroot),
        start_ns=time.time_ns(),
        max_seconds=_seconds(max_seconds),
        max_memory=_memory(max_memory),
        cwd=directory,
        suppressions=_paths("suppressions", suppressions),
    )
    if sandbox:
        options = _walled(options, {} if env is None else variables, files or {})
    with _session(options) as session:
        with interruptible(session):
            report = session.run()
        stdout, stderr = (session.files.output(fd) if capture else b"" for fd in (1, 2))
        written = _written(session) if sandbox else {}
    return RunReport(**asdict(report), stdout=stdout, stderr=stderr, written=written, source_roots=options.source_roots)


def _check_sandbox(sandbox: bool, files: object) -> None:
    if files is not None and not sandbox:
        raise BadOption("files: only a program in the sandbox has files of its own; add sandbox=True")


def _walled(options: Options, variables: Mapping[str, str], files: Mapping[str, bytes | os.PathLike[str]]) -> Options:
    """The same run in the sandbox. Raises BadOption."""
    from emuleak.kernel.clock import SANDBOX_START_NS  # noqa: PLC0415 - only where it is asked for
    from emuleak.kernel.layout import guest_arguments  # noqa: PLC0415
    from emuleak.kernel.sandbox import MAX_SECONDS, Sandbox  # noqa: PLC0415

    given = {os.fsdecode(name): item if isinstance(item, bytes) else os.fspath(item) for name, item in files.items()}
    for name, item in given.items():
        if isinstance(item, str) and not os.path.exists(item):
            raise BadOption(f"files {name}: there is no {item}")
    return replace(
        options,
        argv=guest_arguments(options.program, options.argv),
        environment=variables,
        stdin=b"" if options.stdin is None else options.stdin,
        start_ns=SANDBOX_START_NS,
        max_seconds=MAX_SECONDS if options.max_seconds is None else options.max_seconds,
        sandbox=Sandbox(files=given),
    )


def _written(session: Session) -> dict[str, bytes]:
    from emuleak.kernel.written import written  # noqa: PLC0415

    return {each.path: each.read() for each in written(session.files) if each.kind == "file"}


def _session(options: Options) -> Session:
    try:
        return _loaded(options)
    except BadOption as error:
        raise _by_its_name_here(error) from None
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise MachineFailure(_CANNOT_RESERVE) from None
        if isinstance(options.stdin, str) and error.filename == options.stdin:
            raise BadOption(f"stdin {options.stdin}: cannot be read: {error.strerror}") from None
        raise


def _loaded(options: Options) -> Session:
    session: Session | None = None
    try:
        with put_off():
            session = Session(options)
    except KeyboardInterrupt:
        if session is not None:
            session.close()
        raise
    return session


# ---- what counts


def _kinds(fail_on: Kinds | None) -> frozenset[str]:
    if fail_on is None:
        return FAIL_ON_DEFAULT
    try:
        return parse_fail_on(fail_on if isinstance(fail_on, str) else ",".join(fail_on))
    except BadOption as error:
        raise _by_its_name_here(error) from None


def _by_its_name_here(error: BadOption) -> BadOption:
    """`fail_on: ...` for `--fail-on: ...`."""
    option, colon, rest = str(error).partition(":")
    if not option.startswith("--"):
        return error
    name, *value = option.removeprefix("--").split(" ", 1)
    return BadOption(" ".join([name.replace("-", "_"), *value]) + colon + rest)


def _patterns(allow: Iterable[str]) -> tuple[str, ...]:
    if isinstance(allow, str):
        raise TypeError("allow is a list of names, not a string")
    return tuple(allow)


def _is_allowed(finding: Finding, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(frame.function, pattern) for frame in finding.stack for pattern in patterns)


# ---- what was given


def _arguments(args: Sequence[StrPath]) -> list[str]:
    if isinstance(args, str | bytes | os.PathLike):
        raise TypeError("args is a list: the program, and each of its arguments")
    words = [os.fsdecode(word) for word in args]
    if not words or not words[0]:
        raise BadOption("args names no program")
    if any("\0" in word for word in words):
        raise BadOption("args: an argument cannot hold a NUL character")
    return words


def _paths(name: str, paths: Iterable[StrPath]) -> tuple[str, ...]:
    if isinstance(paths, str | bytes | os.PathLike):
        raise TypeError(f"{name} is a list of paths, not one path")
    return tuple(os.fspath(path) for path in paths)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    variables = {os.fsdecode(name): os.fsdecode(value) for name, value in env.items()}
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise BadOption(f"env: {name!r} cannot be a variable")
    return variables


def _input(stdin: bytes | os.PathLike[str] | None) -> bytes | str | None:
    if isinstance(stdin, str):
        raise TypeError("stdin is bytes to read, or a pathlib.Path of a file, not a string")
    if isinstance(stdin, os.PathLike) and os.path.isdir(stdin):
        raise BadOption(f"stdin {os.fspath(stdin)}: is a directory; give a file")
    return os.fspath(stdin) if isinstance(stdin, os.PathLike) else None if stdin is None else bytes(stdin)


def _directory(name: str, path: StrPath) -> str:
    if not os.path.isdir(path):
        raise BadOption(f"{name} {os.fspath(path)}: no such directory")
    return os.fspath(path)


def _seconds(seconds: float | None) -> float | None:
    if seconds is not None and not (seconds > 0 and math.isfinite(seconds)):
        raise BadOption(f"max_seconds is {seconds!r}: it must be more than 0, or None for no limit")
    return seconds


def _memory(size: int) -> int:
    if size <= 0:
        raise BadOption(f"max_memory is {size!r}: it must be more than 0 bytes")
    return size


def _find(name: str, env: Mapping[str, str], cwd: str | None) -> str:
    """The host's path of the program. Raises BadProgram."""
    here = name if cwd is None else os.path.join(os.path.abspath(cwd), name.removeprefix(os.curdir + os.sep))
    if os.path.dirname(name) or os.path.exists(here):
        return here
    found = shutil.which(name, path=env.get("PATH", os.defpath))
    if found is None:
        raise BadProgram(f"{name}: no such program, neither here nor in PATH")
    return found
