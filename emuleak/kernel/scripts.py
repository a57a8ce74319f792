"""Scripts: files that name in their first line the program that shall run them, see execve(2)."""

import os
from collections.abc import Callable, Sequence
from typing import Final

from emuleak.errors import BadProgram
from emuleak.kernel.abi import SyscallError

MAGIC: Final = b"#!"
HEAD: Final = 256  # bytes of the first line that count, BINPRM_BUF_SIZE
MOST_INTERPRETERS: Final = 4


def first_line(head: bytes) -> list[str]:
    """The interpreter that a script names, and its one argument if there is one. Raises SyscallError ENOEXEC."""
    line, newline, _ = head[2:].partition(b"\n")
    line = line.strip(b" \t")
    name, space, argument = line.replace(b"\t", b" ").partition(b" ")
    if not name or b"\0" in name or (not newline and not space and len(head) == HEAD):
        raise SyscallError("ENOEXEC")
    argument = line[len(name) :].strip(b" \t").split(b"\0")[0]
    return [os.fsdecode(word) for word in (name, argument) if word]


def interpreted(
    path: str, argv: Sequence[str], find: Callable[[str], str], shown: Callable[[str], str]
) -> tuple[str, Sequence[str]]:
    """What runs for the file at the host path `path`: itself, or the interpreter of a script with its arguments.

    `find` turns a guest path into a host path ("" where there is none), `shown` the program's into the guest's.
    Raises BadProgram for a script whose interpreter cannot be run.
    """
    name = shown(path)
    for _ in range(MOST_INTERPRETERS + 1):
        head = _head(path)
        if not head.startswith(MAGIC):
            return path, argv
        try:
            interpreter, *rest = first_line(head)
        except SyscallError:
            raise BadProgram(f"{path}: is a script that names no interpreter in its first line") from None
        host = find(interpreter)
        if not host:
            hint = f"add --file {interpreter}"
            raise BadProgram(f"{path}: is a script for {interpreter}, which the sandbox lacks: {hint}")
        if not os.path.isfile(host):
            raise BadProgram(f"{path}: is a script for {interpreter}, which does not exist: install it")
        argv = (interpreter, *rest, name, *argv[1:])
        path, name = host, interpreter
    raise BadProgram(f"{name}: is a script for a script for a script, too often")


def _head(path: str) -> bytes:
    """The first bytes of a file; none of what is no file: who loads it says why."""
    if not os.path.isfile(path):
        return b""
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""
