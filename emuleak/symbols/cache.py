"""Keep what is expensive to compute from a file: libc's line index takes 0.15 s to build and 2 ms to load.

The key is the file's place, size and times, never its build-id: a program could claim libc's build-id and so slip
its own line numbers into the reports of others. Whatever goes wrong here only costs time.
"""

import hashlib
import os
from contextlib import suppress


def directory() -> str | None:
    """Give the directory that holds the files; None if the user has no home. `$XDG_CACHE_HOME` moves it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, ".cache")
    return os.path.join(base, "emuleak")


def key(path: str, kind: str) -> str | None:
    """Give a name for what `kind` says was computed from the file at `path`; None if there is no such file."""
    try:
        real = os.path.realpath(path)
        state = os.stat(real)
    except (OSError, ValueError):
        return None
    text = "\0".join([kind, real, *map(str, (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns))])
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def load(name: str) -> bytes | None:
    """Give the stored bytes, or None."""
    place = directory()
    try:
        if place is None:
            return None
        with open(os.path.join(place, name), "rb") as file:
            return file.read()
    except OSError:
        return None


def store(name: str, content: bytes) -> None:
    """Store the bytes in one step, so that a reader sees all of them or none."""
    place = directory()
    if place is None:
        return
    with suppress(OSError):
        os.makedirs(place, exist_ok=True)
        temporary = os.path.join(place, f"{name}.{os.getpid()}")
        try:
            with open(temporary, "wb") as file:
                file.write(content)
            os.replace(temporary, os.path.join(place, name))
        except OSError:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
