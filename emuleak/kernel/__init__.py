"""The Linux the guest sees: an explicit table of system calls, one file a family of the manual.

The families that make processes (forking, executing, waiting, groups) are imported when a program first calls them.
"""

from emuleak.kernel import (
    attributes,
    control,
    copying,
    counters,
    files,
    mman,
    network,
    owned,
    paths,
    polling,
    process,
    refused,
    sigcalls,
    sizes,
    tasks,
    timercalls,
    transfers,
    xattr,
)
from emuleak.kernel.core import Ending, Identity, Kernel
from emuleak.kernel.table import TABLE

FAMILIES = (
    files,
    transfers,
    control,
    sizes,
    copying,
    paths,
    attributes,
    xattr,
    polling,
    counters,
    network,
    mman,
    process,
    refused,
    sigcalls,
    tasks,
    owned,
    timercalls,
)

__all__ = ["FAMILIES", "TABLE", "Ending", "Identity", "Kernel"]
