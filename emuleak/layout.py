"""Where things lie in the guest's address space, and what a mapping is: the words in which memory.py is told."""

from typing import Protocol

import msgspec

PAGE = 4096
PAGE_SHIFT = 12
READ, WRITE, EXEC = 1, 2, 4  # PROT_* of mmap(2), which are the CPU's own bits too
PERMISSIONS = READ | WRITE | EXEC

# Where the kernel puts things on x86-64 with address randomisation off (arch/x86/mm/mmap.c, fs/binfmt_elf.c).
PROGRAM_BASE = 0x5555_5555_4000
MMAP_TOP = 0x7FFF_F7FF_F000
STACK_TOP = 0x7FFF_FFFF_F000
# Ours: served blocks live where no integer of an ordinary program looks like an address of theirs, behind the data of
# the gate (hooks/stub.S).
GATE_BASE = 0x6000_0000_0000
GATE_SIZE = 4 << 20
HEAP_BASE = GATE_BASE + GATE_SIZE
HEAP_SIZE = (1 << 36) - GATE_SIZE


class Fault(Exception):
    """An address the guest handed to the kernel is not mapped, or not for this access: EFAULT."""

    def __init__(self, address: int) -> None:
        super().__init__(f"bad address {address:#x}")
        self.address = address


class OutOfAddressSpace(Exception):
    """No hole of the wanted length is left between the regions: ENOMEM."""


class PageSource(Protocol):
    """Where the bytes of a region come from that is filled page by page as it is used."""

    def load(self, offset: int, window: memoryview, /) -> bool:
        """Fill a page that shows the source from `offset`; False when there is no such page."""


class Region(msgspec.Struct, frozen=True):
    """One mapped range `[start, end)` with one set of permissions.

    `kind` is "file", "anonymous", "stack", "brk", "heap" or "gate"; `path` and `offset` say what a file region shows.
    A page of a region with a `source` is loaded when it is first touched; the bytes of the others are in place.
    """

    start: int
    end: int
    prot: int
    kind: str
    path: str = ""
    offset: int = 0
    shared: bool = False
    source: PageSource | None = None


def page_floor(address: int) -> int:
    """Round down to a page boundary."""
    return address & ~(PAGE - 1)


def page_ceil(address: int) -> int:
    """Round up to a page boundary."""
    return (address + PAGE - 1) & ~(PAGE - 1)
