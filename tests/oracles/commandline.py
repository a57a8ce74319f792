"""Run the command `emuleak` as a user does, and compile the small programs that try its patience."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oracles.build import locked
from oracles.native import environment, no_core_dumps
from oracles.peers import absent, cache_directory, need

EMULEAK = (sys.executable, "-m", "emuleak")


@dataclass(frozen=True)
class Done:
    """How a command ended and what it wrote."""

    status: int
    out: str
    err: str


def run(*words: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None, verb: str = "run") -> Done:
    """`emuleak run WORDS...` without input; `env` is added to the environment."""
    done = subprocess.run(
        [*EMULEAK, *filter(None, [verb]), *map(str, words)],
        stdin=subprocess.DEVNULL, capture_output=True, env=environment() | dict(env or {}), cwd=cwd, timeout=60,
        check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def shell(script: str, *words: str | Path) -> Done:
    """A bash script in which "$@" is `emuleak run WORDS...`; its status is the first that failed in a pipeline."""
    no_core_dumps()
    command = [need("bash"), "-o", "pipefail", "-c", script, "bash", *EMULEAK, "run", *map(str, words)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=environment(), timeout=60, check=False
    )
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def compiled(source: str, *flags: str, suffix: str = ".c", name: str = "prog") -> Path:
    """The program (or library, by its flags) of a C or assembler text, built once."""
    compiler = need("gcc")
    key = hashlib.sha256("\0".join((source, suffix, *flags)).encode()).hexdigest()[:20]
    target = cache_directory() / "small" / key / name
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        if not target.exists():
            text = target.with_name(f"source{suffix}")
            text.write_text(source, encoding="utf-8")
            build(compiler, ("-w", "-o", str(target) + ".new", str(text), *flags))
            os.replace(str(target) + ".new", target)
    return target


def build(compiler: str, words: Sequence[str]) -> None:
    """Run the compiler; without success the test cannot be had."""
    done = subprocess.run([compiler, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        absent(f"cannot build: {' '.join(words)}\n{done.stderr}")
