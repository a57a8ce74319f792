"""Run a program on the host's own CPU, in an empty directory, with an environment that is the same every time."""

import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from oracles.shapes import Run

TIMEOUT = 120

# What would change the behaviour of the allocator, the loader or the messages.
UNWANTED = ("MALLOC_", "GLIBC_", "LD_", "LC_", "LANG", "VALGRIND", "PYTHONDEV", "COLUMNS", "LINES")


def environment() -> dict[str, str]:
    """The environment every judge gives to the program."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(UNWANTED)}
    return kept | {"LC_ALL": "C"}


def no_core_dumps() -> None:
    """Crashing is what some programs are for; they need not leave a core behind."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def execute(
    command: Sequence[str | Path],
    stdin: Path | None = None,
    timeout: float = TIMEOUT,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Run:
    """Run a command to its end, with empty stdin and in an empty directory where none are named."""
    no_core_dumps()
    with tempfile.TemporaryDirectory(prefix="emuleak-cwd-") as empty, (stdin or Path(os.devnull)).open("rb") as source:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=source,
            capture_output=True,
            cwd=cwd or empty,
            env=environment() if env is None else env,
            timeout=timeout,
            check=False,
        )
    if done.returncode < 0:
        return Run(done.stdout, done.stderr, None, -done.returncode)
    return Run(done.stdout, done.stderr, done.returncode, None)
