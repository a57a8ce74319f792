"""Machine code that runs on the host: the few callbacks of the CPU that come too often for Python.

All are for x86-64 and the calling convention of its System V ABI. Where the host is another, or does not let memory be
made executable, there is a slower way in Python.
"""

import mmap
import os
import sys

_PAGE = 4096


def executable(code: bytes) -> mmap.mmap | None:
    """At most a page of code in executable memory, if the host has such memory and such a CPU."""
    if sys.platform == "win32" or os.uname().machine not in {"x86_64", "amd64"}:
        return None
    try:
        memory = mmap.mmap(-1, _PAGE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None  # a host that allows no memory to be both
    memory.write(code)
    return memory
