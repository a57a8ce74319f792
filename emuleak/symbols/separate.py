"""Find the separate file that holds a stripped program's debug information.

By build-id first (`DIR/.build-id/ab/cdef.debug`), else by .gnu_debuglink next to the program, in its `.debug`
directory and under the debug roots. Either is believed only when the fingerprint or the CRC32 agrees.
Source: GDB manual, "Separate Debug Files".
"""

import os.path
import zlib
from collections.abc import Iterator, Sequence

from emuleak.symbols.objectfile import ObjectFile


def find_debug_file(file: ObjectFile, debug_roots: Sequence[str], sysroot: str) -> ObjectFile | None:
    """Give the debug file of `file`, or None. The sysroot's own debug roots come before the host's."""
    roots = list(dict.fromkeys([*(os.path.join(sysroot, root.lstrip("/")) for root in debug_roots), *debug_roots]))
    build_id = file.build_id
    if len(build_id) > 1:
        name = build_id.hex()
        for root in roots:
            found = ObjectFile.open(os.path.join(root, ".build-id", name[:2], f"{name[2:]}.debug"))
            if found.has_debug_info and found.build_id == build_id:
                return found
            found.close()
    return _by_link(file, roots, sysroot)


def _by_link(file: ObjectFile, roots: Sequence[str], sysroot: str) -> ObjectFile | None:
    link = file.debug_link
    if link is None:
        return None
    name, crc = link
    for candidate in _link_places(os.path.realpath(file.path), name, roots, os.path.realpath(sysroot)):
        found = ObjectFile.open(candidate)
        # A debug file may bear the program's own name: that is not the program linking to itself.
        if found.has_debug_info and zlib.crc32(found.image) == crc:
            return found
        found.close()
    return None


def _link_places(path: str, name: str, roots: Sequence[str], sysroot: str) -> Iterator[str]:
    directory = os.path.dirname(path)
    yield os.path.join(directory, name)
    yield os.path.join(directory, ".debug", name)
    inside = directory
    if sysroot != "/" and directory.startswith(f"{sysroot}/"):
        inside = directory[len(sysroot) :]
    for root in roots:
        yield os.path.join(root, inside.lstrip("/"), name)
