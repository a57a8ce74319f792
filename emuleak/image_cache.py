"""What was learned of files, kept between runs: importing the ELF parser alone costs more than a whole small run.

An entry belongs to one state of one file (place, size, times, inode) and carries a checksum of itself. Whatever goes
wrong here - no home, a full disk, a damaged entry, another run writing the same - costs time and nothing else.
Paths are strings, because pathlib costs 7 ms.
"""

import contextlib
import os
import sys
import zlib
from typing import Final

_CHECKSUM_SIZE: Final = 8


def cache_directory() -> str | None:
    """Where entries are kept: EMULEAK_CACHE, else the user's cache directory; None for a user without a home."""
    if own := os.environ.get("EMULEAK_CACHE"):
        return own
    base = {"win32": "LOCALAPPDATA"}.get(sys.platform, "XDG_CACHE_HOME")
    if os.path.isabs(given := os.environ.get(base, "")):
        return os.path.join(given, "emuleak")
    home = os.path.expanduser("~")
    if not os.path.isabs(home):
        return None
    return os.path.join(home, "Library/Caches" if sys.platform == "darwin" else ".cache", "emuleak")


def entry_for(path: str, status: os.stat_result, version: int) -> str | None:
    """The entry of the file at `path` in this state, as layout `version` writes it; None where none can be kept."""
    directory = cache_directory()
    if directory is None:
        return None
    times = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    state = "\0".join((str(version), os.path.realpath(path), path, *map(str, times)))
    return os.path.join(directory, "images", _checksum(os.fsencode(state)).hex())


def load(entry: str) -> bytes | None:
    """The content of an entry; None where there is none or it is not what was stored."""
    try:
        with open(entry, "rb") as file:
            raw = file.read()
    except OSError:
        return None
    content = raw[_CHECKSUM_SIZE:]
    return content if raw[:_CHECKSUM_SIZE] == _checksum(content) else None


def store(entry: str, content: bytes) -> None:
    """Write an entry through a name of this writer's own, so that nobody ever reads half of one."""
    import tempfile  # noqa: PLC0415 - only for a file not met before

    with contextlib.suppress(OSError):
        directory, name = os.path.split(entry)
        os.makedirs(directory, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=directory, prefix=f"{name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_checksum(content) + content)
            os.replace(temporary, entry)
        except OSError:
            os.unlink(temporary)
            raise


def _checksum(content: bytes) -> bytes:
    """Against damage, not against forgery: who may write here may as well replace emuleak. (hashlib costs 4 ms.)"""
    return zlib.crc32(content).to_bytes(4, "big") + zlib.adler32(content).to_bytes(4, "big")
