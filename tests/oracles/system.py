"""Programs of the distribution, run natively, by valgrind and by emuleak in one and the same environment.

A program that copies its environment counts every variable, and valgrind adds some (LD_PRELOAD; Debian's wrapper
adds more). So valgrind itself is asked what its guests see, and emuleak's guest sees variables of equal length.
"""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from oracles import emuleak
from oracles.native import execute
from oracles.peers import need
from oracles.shapes import LEAK_KINDS, Heap, Run, Size
from oracles.valgrind import heap

# Fixed, and without what would make a run differ from the next one: hash seeds, mostly.
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "PERL_HASH_SEED": "0",
    "PERL_PERTURB_KEYS": "0",
    "PYTHONHASHSEED": "0",
}
MEMCHECK = ("--leak-check=full", "--show-leak-kinds=all", "--run-libc-freeres=no", "--run-cxx-freeres=no")
# Else a forked child writes its own summary over that of the program, into the same log.
FIRST_ONLY = "--child-silent-after-fork=yes"
LOST = re.compile(r"(definitely lost|indirectly lost|possibly lost|still reachable): ([\d,]+) bytes in ([\d,]+) blocks")


def launcher() -> str:
    """Valgrind without the wrapper that Debian puts before it."""
    return shutil.which("valgrind.bin") or need("valgrind")


@functools.cache
def environment_under_valgrind() -> Mapping[str, str]:
    """What a guest of valgrind's sees, with nothing to preload in it: ld.so skips the empty names between colons."""
    command = [launcher(), "-q", need("/usr/bin/env"), "-0"]
    said = subprocess.run(command, env=ENVIRONMENT, capture_output=True, check=True).stdout
    seen = dict(os.fsdecode(entry).split("=", 1) for entry in said.split(b"\0") if entry)
    return {name: ":" * len(value) if name == "LD_PRELOAD" else value for name, value in seen.items()}


def natively(command: Sequence[str], stdin: Path | None, cwd: Path) -> Run:
    """How the program ends and what it writes."""
    return execute(command, stdin, cwd=cwd, env=ENVIRONMENT)


def by_valgrind(command: Sequence[str], stdin: Path | None, cwd: Path) -> tuple[Heap, dict[str, Size]]:
    """The heap's totals, and direct bytes and blocks of every leak kind."""
    with tempfile.TemporaryDirectory(prefix="emuleak-valgrind-") as name:
        log = Path(name, "log.txt")
        execute([launcher(), *MEMCHECK, FIRST_ONLY, f"--log-file={log}", *command], stdin, cwd=cwd, env=ENVIRONMENT)
        text = log.read_text(errors="replace")
    lost = {kind: Size(0, 0) for kind in LEAK_KINDS}  # with nothing in use valgrind has no leak summary
    for kind, size, blocks in LOST.findall(text):
        lost[kind.replace(" ", "-")] = Size(int(size.replace(",", "")), int(blocks.replace(",", "")))
    return heap(text), lost


def by_emuleak(command: Sequence[str], stdin: Path | None, cwd: Path) -> emuleak.Verdict:
    """What emuleak says of it."""
    program, *arguments = command
    return emuleak.check(Path(program), arguments, stdin=stdin, cwd=cwd, env=environment_under_valgrind())
