"""The words that reasons are made of: functions, places, blocks and numbers as text."""

import posixpath
from collections.abc import Sequence
from typing import Final

from emuleak.findings.finding import Frame
from emuleak.findings.owner import is_library

# Where rustc says that the sources of its library are: those of rust-lang.org, Debian, and rustup's rust-src.
RUST_SOURCES: Final = ("/rustc/", "/usr/src/rustc-", "/usr/lib/rustlib/")


def called(function: str) -> str:
    """A function's name as one that is called; C++ names have their parameters already."""
    return function if function.endswith((")", "]", ">")) or " " in function else f"{function}()"


def sited(file: str | None, line: int | None) -> str:
    """` (list.c:12)`, or nothing where the place is not known."""
    return f" ({posixpath.basename(file)}:{line})" if file and line else ""


def origin(frames: Sequence[Frame]) -> str:
    """Where a block was allocated: ` from node_new (list.c:10)`, the innermost function that is not the library's.

    Templates of the C++ library, and all of Rust's, are part of the program that uses them, but no reader thinks of
    them as its own.
    """
    own = [frame for frame in frames if not is_library(frame.object)]
    frame = next((frame for frame in own if not _is_header(frame)), own[0] if own else None)
    return "" if frame is None else f" from {called(frame.function)}{sited(frame.file, frame.line)}"


def _is_header(frame: Frame) -> bool:
    """Whether a function stands in a header of the C++ library, or in a source of Rust's library."""
    return frame.file is not None and ("/include/c++/" in frame.file or frame.file.startswith(RUST_SOURCES))


def at(frames: Sequence[Frame]) -> str:
    """Where something was done: ` in list_free() (list.c:20)`."""
    return origin(frames).replace(" from ", " in ", 1)


def counted(number: int, noun: str) -> str:
    """`1 byte`, `1,240 bytes`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def block(size: int, frames: Sequence[Frame]) -> str:
    """`block of 24 bytes from node_new (list.c:10)`."""
    return f"block of {counted(size, 'byte')}{origin(frames)}"
