"""Stacks as lines of text: names, places, shortened paths, recursion folded."""

import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

import msgspec

from emuleak.findings.phrases import RUST_SOURCES
from emuleak.report.document import Frame
from emuleak.report.paper import WIDTH, Span, clean
from emuleak.report.verdict import number

MAX_PERIOD = 16
MAX_SHOWN = 32
_HEAD, _TAIL = 20, 10
UNKNOWN = "???"

_SYSTEM_FILES = ("/usr/include/", "/usr/lib/", "../sysdeps/", "../csu/", "./csu/", *RUST_SOURCES)
_SYSTEM_FOLDERS = ("/usr/lib", "/lib")
_SYSTEM_OBJECTS = ("libc.so", "libc-2.", "libstdc++.so", "libgcc_s.so", "libpthread.so", "ld-linux")


T = TypeVar("T")  # a line in whatever form


class Fold(msgspec.Struct, frozen=True):
    """Stands for `times` more rounds of the `period` lines before it."""

    period: int
    times: int


def here() -> str | None:
    """The working directory, None where it no longer exists."""
    try:
        return os.getcwd()
    except OSError:
        return None


def short_path(path: str, cwd: str | None) -> str:
    """The path as somebody in `cwd` would type it, if it is below; cleaned for display."""
    if "/." in path or "//" in path:
        path = posixpath.normpath(path)
    if cwd and path.startswith(cwd.rstrip("/") + "/"):
        path = path[len(cwd.rstrip("/")) + 1 :]
    return clean(path)


def place(frame: Frame, cwd: str | None) -> str:
    """`list.c:15`, or the object of a frame without a file."""
    if frame.file is None:
        return f"in {short_path(frame.object, cwd) or UNKNOWN}"
    file = short_path(frame.file, cwd)
    return file if frame.line is None else f"{file}:{frame.line}"


def is_system(frame: Frame) -> bool:
    """Whether the frame is the C or C++ library's own: its headers are compiled into the program, its code is not."""
    return _is_system(frame.file, frame.object)


@lru_cache(maxsize=1 << 12)  # asked for every frame of every finding, of few files
def _is_system(file: str | None, object_: str) -> bool:
    if file is not None and file.startswith(_SYSTEM_FILES):
        return True
    return object_.startswith(_SYSTEM_FOLDERS) or posixpath.basename(object_).startswith(_SYSTEM_OBJECTS)


def own_frame(stack: Iterable[Frame]) -> Frame | None:
    """The frame to look at: the innermost of the program's own code with a line, else the innermost of its code."""
    first = unlined = None
    for frame in stack:
        first = first or frame
        if is_system(frame):
            continue
        if frame.file is not None:
            return frame
        unlined = unlined or frame
    return unlined or first


def stack_lines(stack: Sequence[Frame], cwd: str | None, indent: str) -> Iterator[tuple[Span, ...]]:
    """The lines of a stack, `at` the innermost, then `by` its callers, down to main as in valgrind."""
    told = [_told(frame, cwd) for frame in above_start(stack)]
    word = "at"
    for item in _bounded(list(fold(told))):
        if isinstance(item, tuple):
            yield from _frame_lines(item, word, indent)
            word = "by"
        else:
            yield (f"{indent}   ", (item, "quiet"))


def above_start(stack: Sequence[Frame]) -> Sequence[Frame]:
    """The stack without what the C library does to call main."""
    end = len(stack)
    while end and (stack[end - 1].function == "_start" or is_system(stack[end - 1])):
        end -= 1
    return stack[:end] if end and stack[end - 1].function == "main" else stack


@lru_cache(maxsize=1 << 14)  # the frames next to main are those of most stacks
def _told(frame: Frame, cwd: str | None) -> tuple[str, str]:
    name = clean(frame.function) if frame.function and frame.function != UNKNOWN else frame.pc
    return name, f"({place(frame, cwd)})" + (" [inlined]" if frame.inlined else "")


def _frame_lines(told: tuple[str, str], word: str, indent: str) -> Iterator[tuple[Span, ...]]:
    name, where = told
    if len(indent) + len(word) + len(name) + len(where) + 2 <= WIDTH:
        yield (f"{indent}{word} ", name, " ", (where, "place"))
    else:
        yield (f"{indent}{word} ", name)
        yield (f"{indent}     ", (where, "place"))


def _bounded(items: list[tuple[str, str] | Fold]) -> Iterator[tuple[str, str] | str]:
    hidden = len(items) - _HEAD - _TAIL if len(items) > MAX_SHOWN else 0
    for index, item in enumerate(items):
        if hidden and index == _HEAD:
            frames = sum(_frames(line) for line in items[_HEAD : _HEAD + hidden])
            yield f"... {number(frames, 'frame')} not shown here; --format json lists them all"
        if hidden and _HEAD <= index < _HEAD + hidden:
            continue
        yield _fold_text(item) if isinstance(item, Fold) else item


def _frames(item: tuple[str, str] | Fold) -> int:
    return item.period * item.times if isinstance(item, Fold) else 1


def _fold_text(item: Fold) -> str:
    frames = "frame" if item.period == 1 else f"{item.period} frames"
    return f"... the same {frames} {number(item.times, 'more time')}"


def fold(lines: Sequence[T]) -> Iterator[T | Fold]:
    """Replace rounds of a recursion by a Fold where that saves at least two lines.

    At each line every period up to MAX_PERIOD is tried and the one that covers most is taken; the shorter wins a tie,
    so that a function calling itself is one frame and not two.
    """
    if len(set(lines)) == len(lines):  # most stacks
        yield from lines
        return
    start = 0
    while start < len(lines):
        period, rounds = max(((p, _rounds(lines, start, p)) for p in range(1, MAX_PERIOD + 1)), key=_saving)
        if _saving((period, rounds)) < 3:
            yield lines[start]
            start += 1
            continue
        yield from lines[start : start + period]
        yield Fold(period, rounds - 1)
        start += period * rounds


def _saving(candidate: tuple[int, int]) -> int:
    period, rounds = candidate
    return period * (rounds - 1)


def _rounds(lines: Sequence[T], start: int, period: int) -> int:
    end = start + period
    while end < len(lines) and lines[end] == lines[end - period]:
        end += 1
    return (end - start) // period
