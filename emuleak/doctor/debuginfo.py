"""Where the lines of a report will come from: DWARF in the file or in a separate one, and its versions."""

import os
import struct
from contextlib import closing
from typing import Final

from emuleak.doctor.document import DebugInfo
from emuleak.symbols.objectfile import ObjectFile
from emuleak.symbols.separate import find_debug_file

_DEBUG_ROOTS: Final = ("/usr/lib/debug",)
_MOST_UNITS: Final = 10_000
_LONG_FORM: Final = 0xFFFF_FFFF


def debug_info(path: str, sysroot: str) -> DebugInfo:
    """Of one file, with the separate file that belongs to it."""
    name = os.path.basename(path)
    with closing(ObjectFile.open(path)) as file:
        if file.has_debug_info:
            return DebugInfo(name, versions(file), path)
        found = find_debug_file(file, _DEBUG_ROOTS, sysroot)
        if found is None:
            return DebugInfo(name)
        with closing(found):
            how = "build-id" if f".build-id{os.sep}" in found.path else "debug link"
            return DebugInfo(name, versions(found), found.path, how)


def versions(file: ObjectFile) -> tuple[int, ...]:
    """The DWARF versions of its compilation units (DWARF 5, section 7.5.1)."""
    data = file.contents(".debug_info")
    found: set[int] = set()
    at = 0
    for _ in range(_MOST_UNITS):
        if at + 14 > len(data):
            break
        (length,) = struct.unpack_from("<I", data, at)
        head = 4
        if length == _LONG_FORM:
            (length,) = struct.unpack_from("<Q", data, at + 4)
            head = 12
        found.add(struct.unpack_from("<H", data, at + head)[0])
        at += head + length
    return tuple(sorted(found))
