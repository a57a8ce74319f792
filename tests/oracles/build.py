"""Compile a program of the corpus in one of the named variants; binaries are cached by all that shaped them."""

import contextlib
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from oracles.peers import absent, cache_directory, need, version


@dataclass(frozen=True)
class Variant:
    """One way to build: the compilers for C and C++, the flags, and the tags by which comments refer to it."""

    name: str
    flags: tuple[str, ...]
    tags: frozenset[str] = frozenset()
    compilers: tuple[str, str] = ("gcc", "g++")

    def answers_to(self, tag: str) -> bool:
        """Whether a comment's tag, or !tag, means this variant."""
        named = tag.removeprefix("!")
        return (named == self.name or named in self.tags) is not tag.startswith("!")


def _variant(name: str, *flags: str, tags: str = "", clang: bool = False) -> Variant:
    compilers = ("clang", "clang++") if clang else ("gcc", "g++")
    return Variant(name, flags, frozenset(tags.split()), compilers)


VARIANTS = {
    variant.name: variant
    for variant in (
        _variant("O0", "-O0"),
        _variant("O2", "-O2", tags="optimised"),
        _variant("no-pie", "-O0", "-no-pie"),
        _variant("static", "-O0", "-static", tags="linked-statically"),
        _variant("static-pie", "-O0", "-static-pie", tags="linked-statically"),
        _variant("no-plt", "-O0", "-fno-plt"),
        _variant("clang-O0", "-O0", tags="clang", clang=True),
        _variant("clang-O1", "-O1", tags="clang optimised", clang=True),
        _variant("cet", "-O0", "-fcf-protection=full"),
        _variant("now", "-O0", "-Wl,-z,now"),
        _variant("dwarf4", "-O0", "-gdwarf-4"),
        _variant("dwarf5", "-O0", "-gdwarf-5"),
    )
}

BASE_FLAGS = ("-g", "-w", "-fno-diagnostics-color")


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock beside `path`, so that of several workers only one does the work."""
    import fcntl

    with path.with_name(path.name + ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def write_atomically(path: Path, content: bytes) -> None:
    """Make the file appear whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(content)
    Path(name).replace(path)


def build(source: Path, variant: Variant, flags: tuple[str, ...] = ()) -> Path:
    """The binary of `source` in `variant`, compiled unless the cache has it; `flags` are the program's own."""
    compiler = variant.compilers[source.suffix == ".cpp"]
    # -gdwarf-N of a variant comes after -g, and what the program asks for comes last, as libraries must.
    words = (*BASE_FLAGS, *variant.flags, "-o", "@", source.name, *flags)
    parts = (source.read_bytes(), "\0".join(words).encode(), version(compiler).encode())
    key = hashlib.sha256(b"\0".join(parts)).hexdigest()[:20]
    target = cache_directory() / "bin" / key / source.stem
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target):
        if not target.exists():
            _compile(need(compiler), words, target, source.parent)
    return target


def _compile(compiler: str, words: tuple[str, ...], target: Path, directory: Path) -> None:
    unfinished = target.with_suffix(".unfinished")
    command = [compiler, *(str(unfinished) if word == "@" else word for word in words)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        absent(f"cannot build: {' '.join(command)}\n{done.stderr}")
    unfinished.replace(target)
