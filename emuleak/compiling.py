"""Compilers for x86-64 Linux: the host's own where it is such a host, else Zig's, which comes as a Python package."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Final

from emuleak.errors import BadOption

TARGET: Final = "x86_64-linux-gnu"
_CXX: Final = (".cpp", ".cc", ".cxx", ".c++", ".C")
_OWN: Final = {False: ("cc", "gcc", "clang"), True: ("c++", "g++", "clang++")}
_MACHINES: Final = frozenset(("x86_64", "amd64"))
# By default Zig has undefined behaviour end the program by an illegal instruction: it would be another program.
_AS_OTHERS: Final = ("-fno-sanitize=undefined",)
_INSTALL: Final = "install a compiler, or Zig's: pip install ziglang"


def command(arguments: Sequence[str], target: str | None) -> list[str]:
    """The command that compiles these arguments, with -g. Raises BadOption where there is no compiler for it.

    With a `target` (`x86_64-linux-gnu.2.31`: for that glibc) it is Zig's, without one the host's own goes first.
    """
    cxx = any(argument.endswith(_CXX) for argument in arguments)
    own = None if target is not None else own_compiler(cxx=cxx)
    if own is not None:
        return [own, "-g", *arguments]
    wanted = target or TARGET
    if wanted.split("-")[0] not in _MACHINES or "linux" not in wanted:
        raise BadOption(f"--target {wanted}: only programs for x86_64 Linux run; the usual one is {TARGET}")
    if find_spec("ziglang") is None:
        why = "only Zig's compiler knows targets" if target else "there is no compiler for x86-64 Linux here"
        raise BadOption(f"{why}: {_INSTALL}")
    word = "c++" if cxx else "cc"
    return [sys.executable, "-m", "ziglang", word, "-target", wanted, "-g", *_AS_OTHERS, *arguments]


def own_compiler(*, cxx: bool) -> str | None:
    """The host's own compiler, if what it makes are programs for x86-64 Linux."""
    if sys.platform != "linux" or platform.machine().lower() not in _MACHINES:
        return None
    chosen = os.environ.get("CXX" if cxx else "CC", "").strip()
    names = (chosen, *_OWN[cxx]) if chosen and " " not in chosen else _OWN[cxx]
    return next((path for name in names if (path := shutil.which(name))), None)


def compile_(arguments: Sequence[str], target: str | None) -> int:
    """Run the compiler; its exit status. Raises BadOption."""
    words = command(arguments, target)
    try:
        return subprocess.run(words, check=False).returncode
    except OSError as error:
        raise BadOption(f"{words[0]}: {(error.strerror or str(error)).lower()}; {_INSTALL}") from None
