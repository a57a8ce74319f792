"""The command's own standard streams, any of which its user may have closed or filled."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

_MODES: Final = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)


def plug() -> frozenset[int]:
    """Which of the descriptors 0, 1, 2 are closed; the null device takes their place, so that no other file does."""
    closed = set()
    for fd, mode in enumerate(_MODES):
        try:
            os.fstat(fd)
        except OSError:
            closed.add(fd)
            null = os.open(os.devnull, mode)
            if null != fd:
                os.dup2(null, fd)
                os.close(null)
    # Python leaves None where it found a stream closed, and print() then takes stdout for stderr.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open to the end
    return frozenset(closed)


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Let what is written go nowhere once nobody reads it (`emuleak run prog 2>&1 | head -1`)."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EPIPE:
            raise
        silence()


def silence() -> None:
    """Point what cannot be flushed to the null device: Python flushes once more when it ends, and would complain."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            with suppress(OSError, ValueError):
                os.dup2(null, stream.fileno())
            os.close(null)
