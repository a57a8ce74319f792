"""Several shared mappings of one file in a process: they show the same memory, so each sees what is stored by another.

A just-in-time compiler writes its code by one view and runs it by another; a ring buffer has its memory twice in a row.
A file that is mapped once lies where its address says. With its second mapping it moves to shared memory (sharing.py).
"""

from typing import TYPE_CHECKING

from emuleak.duplicate import move
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.mappings import FilePages
from emuleak.memory import EXEC, OutOfAddressSpace, Region
from emuleak.sharing import Alias, SharedMemory

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel


def view(kernel: "Kernel", region: Region) -> None:
    """Let a region just mapped show the memory of the regions with the same source. Raises SyscallError ENOMEM."""
    system, memory = kernel.system, kernel.memory
    shared = system.shared = memory.aliases.memory or system.shared or SharedMemory()
    kernel.machine.attach(shared.arena)
    others = [each for each in memory.regions() if each.source is region.source and each.start != region.start]
    try:
        for other in others:
            if memory.aliases.at(other.start) is None:
                move(memory, other, shared)
        _show(kernel, region, others, shared)
        if any(each.prot & EXEC for each in (region, *others)):
            memory.alias_code()
    except OutOfAddressSpace:
        raise SyscallError("ENOMEM") from None


def _show(kernel: "Kernel", region: Region, others: list[Region], shared: SharedMemory) -> None:
    """Give each part of a region the memory of that part of the file, or fresh memory if nobody shows it."""
    aliases, address = kernel.memory.aliases, region.start
    while address < region.end:
        offset = region.offset + address - region.start
        ahead = [each for each in others if each.offset + each.end - each.start > offset]
        there = next((each for each in ahead if each.offset <= offset), None)
        if there is not None:
            known = aliases.at(there.start + offset - there.offset)
            assert known is not None
            place = there.start + offset - there.offset
            end = min(region.end, address + known.end - place)
            aliases.add(shared, Alias(address, end, known.physical + place - known.start, known.key))
        else:
            end = min([region.end, *(address + each.offset - offset for each in ahead)])
            start = shared.allocate(end - address)
            if not start:
                raise OutOfAddressSpace
            aliases.add(shared, Alias(address, end, start, start))
        address = end


def source_of(kernel: "Kernel", identity: tuple[int, int], *, stores: bool) -> FilePages | None:
    """What shows a file as a shared mapping already, and may be stored to if the new one may."""
    for region in kernel.memory.regions():
        source = region.source
        if isinstance(source, FilePages) and source.shared and (source.identity, source.stores) == (identity, stores):
            return source
    return None
