"""What statx(2) tells beyond stat(2) - time of birth, attributes, mount - where the host is a Linux that tells it."""

import ctypes
import os
import sys
from functools import cache
from typing import Any

_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = -100, 0x100, 0x1000
_BTIME, _MNT_ID = 0x800, 0x1000
_SIZE = 256
# Of struct statx in include/uapi/linux/stat.h: attributes, their mask, birth, mount.
_FIELDS = (slice(8, 16), slice(56, 64), slice(80, 96), slice(144, 152))


def complete(packed: bytes, place: object, mask: int, *, follow: bool) -> bytes:
    """The struct with the host's further fields for a path or a descriptor; as it is where there are none."""
    call = _statx()
    if call is None or not isinstance(place, str | int):
        return packed
    buffer = ctypes.create_string_buffer(_SIZE)
    flags = 0 if follow else _AT_SYMLINK_NOFOLLOW
    if isinstance(place, int):
        failed = call(place, b"", flags | _AT_EMPTY_PATH, mask, buffer)
    else:
        failed = call(_AT_FDCWD, os.fsencode(place), flags, mask, buffer)
    if failed:
        return packed
    out = bytearray(packed)
    for field in _FIELDS:
        out[field] = buffer.raw[field]
    told = int.from_bytes(buffer.raw[:4], "little") & (_BTIME | _MNT_ID)
    out[:4] = (int.from_bytes(packed[:4], "little") & ~(_BTIME | _MNT_ID) | told).to_bytes(4, "little")
    return bytes(out)


@cache
def _statx() -> Any:
    """The function of the host's libc; None where there is none."""
    if sys.platform != "linux":
        return None
    return getattr(ctypes.CDLL(None), "statx", None)
