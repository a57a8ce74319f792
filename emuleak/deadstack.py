"""Clearing what functions left on a stack that have returned: their pointers would keep lost blocks alive."""

from emuleak.memory import AddressSpace, Region


def clear_below(memory: AddressSpace, pointer: int, bottom: int = 0) -> None:
    """Clear a stack below its pointer: nothing is alive there at a function's first instruction.

    The stack begins at `bottom` if it is a part of a region; else it must be a whole one.
    """
    region = memory.region_at(pointer)
    if region is not None and (bottom or _is_stack(memory, region)):
        for low, high in memory.touched(max(region.start, bottom), pointer):
            memory.clear(max(low, bottom), min(high, pointer) - max(low, bottom))


def _is_stack(memory: AddressSpace, region: Region) -> bool:
    """Whether a region is a stack and nothing else: the process's own, or one with a guard page below it.

    A program may well give a thread a stack in its static data or in a block of the heap.
    """
    below = memory.region_at(region.start - 1)
    guarded = below is not None and not below.prot
    return region.kind == "stack" or (region.kind == "anonymous" and guarded)
