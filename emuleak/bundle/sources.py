"""The source files that a program's debug information names."""

import os
from contextlib import closing, suppress
from typing import Final

from emuleak.symbols.dwarf import DAMAGED, DwarfLines
from emuleak.symbols.objectfile import ObjectFile
from emuleak.symbols.separate import find_debug_file

_DEBUG_ROOTS: Final = ("/usr/lib/debug",)
_MOST_FILES: Final = 10_000  # that one unit names


def source_files(program: str, sysroot: str) -> list[str]:
    """Those that are there, in alphabetical order; system headers are left out."""
    found: set[str] = set()
    with closing(ObjectFile.open(program)) as file:
        separate = None if file.has_debug_info else find_debug_file(file, _DEBUG_ROOTS, sysroot)
        with closing(separate or file) as carrier, suppress(*DAMAGED):
            for unit in DwarfLines(carrier).units():
                for index in range(_MOST_FILES):
                    name = unit.file(index)
                    if name is None and index:
                        break
                    if name is not None and not name.startswith(("/usr/", "..")):
                        found.add(name)
    return sorted(name for name in found if os.path.isfile(name))
