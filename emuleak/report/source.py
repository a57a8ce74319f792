"""Lines of the guest's source, for the report: what cannot be read is simply not shown."""

import os
import stat
from collections.abc import Iterable
from typing import NamedTuple

MAX_FILE_BYTES = 16 << 20
MAX_LINE_CHARS = 400
_MAX_FILES = 8


class SourceLine(NamedTuple):
    """One line of an excerpt; `here` marks the line that was asked for."""

    number: int
    text: str
    here: bool


class Sources:
    """Reads excerpts and remembers the last few files.

    The paths come from the debug information of a program that nobody vouches for: it may name a pipe, a device or
    somebody's private file. Only regular files are opened, and with `roots` only those below one of the directories,
    and there nothing that is hidden. A root may have the file at its whole path, as a bundle has the sources in it.
    """

    def __init__(self, roots: Iterable[str] | None = None) -> None:
        self._roots = None if roots is None else tuple(os.path.realpath(root) for root in roots)
        self._files: dict[str, list[bytes]] = {}
        self._unreadable: set[str] = set()

    def excerpt(self, file: str | None, line: int | None, context: int = 1) -> tuple[SourceLine, ...]:
        """The line with `context` lines around it, tabs expanded and common indentation removed; () if unreadable."""
        if file is None or line is None or line < 1:
            return ()
        lines = self._lines(file)
        if lines is None or line > len(lines):
            return ()
        first = max(1, line - context)
        wanted = [_decode(raw) for raw in lines[first - 1 : line + context]]
        return _trimmed(_dedented(wanted), first, line)

    def _lines(self, file: str) -> list[bytes] | None:
        if file in self._files or file in self._unreadable:
            return self._files.get(file)
        lines = self._read(file)
        if lines is None:
            self._unreadable.add(file)
        else:
            if len(self._files) >= _MAX_FILES:
                self._files.pop(next(iter(self._files)))
            self._files[file] = lines
        return lines

    def _read(self, file: str) -> list[bytes] | None:
        file = self._below_root(file)
        try:
            if not self._allowed(file) or not stat.S_ISREG(os.stat(file).st_mode):
                return None
            with open(file, "rb") as stream:
                data = stream.read(MAX_FILE_BYTES + 1)
        except (OSError, ValueError):  # ValueError: a zero byte in the name
            return None
        if len(data) > MAX_FILE_BYTES or b"\0" in data:
            return None
        return data.removesuffix(b"\n").split(b"\n")

    def _below_root(self, file: str) -> str:
        """The file at its whole path below a root, if there is one."""
        names = [name for name in file.replace(os.sep, "/").split("/") if name]
        if ".." not in names and "\0" not in file:
            for root in self._roots or ():
                inside = os.path.join(root, *names)
                if os.path.isfile(inside):
                    return inside
        return file

    def _allowed(self, file: str) -> bool:
        if self._roots is None:
            return True
        real = os.path.realpath(file)
        below = [os.path.relpath(real, root) for root in self._roots if _is_below(real, root)]
        return any(not name.startswith(".") and f"{os.sep}." not in name for name in below)


def _is_below(path: str, root: str) -> bool:
    return path.startswith(root.rstrip(os.sep) + os.sep)


def _decode(raw: bytes) -> str:
    return raw[:MAX_LINE_CHARS].decode(errors="replace").rstrip().expandtabs(4)


def _dedented(lines: list[str]) -> list[str]:
    margin = min((len(line) - len(line.lstrip()) for line in lines if line), default=0)
    return [line[margin:] for line in lines]


def _trimmed(lines: list[str], first: int, here: int) -> tuple[SourceLine, ...]:
    """Context that is an empty line tells nothing."""
    numbered = [SourceLine(number, text, number == here) for number, text in enumerate(lines, first)]
    return tuple(line for line in numbered if line.here or line.text)
