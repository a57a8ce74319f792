"""A second address space like a first one: what fork(2) needs. Only what holds something is copied.

100 MB of touched pages take about 60 ms. To copy on write instead would take the first space's host memory to outlive
it for as long as any child shows a page of it, and most children call execve(2) or end soon.
"""

from typing import Final

from emuleak.arena import Arena
from emuleak.layout import EXEC, PAGE_SHIFT, PERMISSIONS, OutOfAddressSpace, Region
from emuleak.memory import AddressSpace
from emuleak.sharing import Alias, SharedMemory

_CHUNK: Final = 1 << 16
_ZEROS: Final = bytes(_CHUNK)


def has_private_sharing(space: AddressSpace) -> bool:
    """Whether something is mapped as shared that `share` was not called for since."""
    return any(_is_to_be_moved(space, region) for region in space.regions())


def share(space: AddressSpace, memory: SharedMemory) -> None:
    """Move what is mapped as shared to where another address space can show it, too. Raises OutOfAddressSpace."""
    for region in space.regions():
        if _is_to_be_moved(space, region):
            move(space, region, memory)


def move(space: AddressSpace, region: Region, memory: SharedMemory) -> None:
    """Move one region there. Raises OutOfAddressSpace."""
    start = memory.allocate(region.end - region.start)
    if not start:
        raise OutOfAddressSpace
    arena, delta = _arena(space, region.start), start - region.start
    for low, high in list(space.touched(region.start, region.end)):
        memory.window(low + delta, high - low)[:] = arena.view[low - arena.base : high - arena.base]
        arena.zero(low - arena.base, high - low)
        if region.source is not None:
            memory.loaded.update(range(low + delta >> PAGE_SHIFT, high + delta >> PAGE_SHIFT))
        for page in range(low, high, 1 << PAGE_SHIFT):
            entry = space.pages[page >> PAGE_SHIFT] & PERMISSIONS
            space.pages[page >> PAGE_SHIFT] = entry | page ^ page + delta
    space.aliases.add(memory, Alias(region.start, region.end, start, start))
    space.on_change(bool(region.prot & EXEC))
    if region.prot & EXEC:
        space.alias_code()


def _is_to_be_moved(space: AddressSpace, region: Region) -> bool:
    return region.shared and space.aliases.at(region.start) is None


def duplicate(space: AddressSpace) -> AddressSpace:
    """A copy: shared mappings show the same memory if `share` was called, what else is mapped is copied."""
    copy = AddressSpace()
    for region in space.regions():
        copy.map(region)
        if space.aliases.at(region.start) is None:
            _copy_bytes(space, copy, region)
    for alias in space.aliases:
        if space.aliases.memory is not None:
            copy.aliases.add(space.aliases.memory, Alias(alias.start, alias.end, alias.physical, alias.key))
    copy.aliases.executable = space.aliases.executable
    copy.pages.update(space.pages)
    return copy


def _copy_bytes(space: AddressSpace, copy: AddressSpace, region: Region) -> None:
    """What was read from a file, and what the gate writes by itself, never went through the page table."""
    arena, other = _arena(space, region.start), _arena(copy, region.start)
    base, start, end = arena.base, region.start - arena.base, region.end - arena.base
    if region.kind in {"file", "gate"} and region.source is None:
        for low in range(start, end, _CHUNK):
            chunk = bytes(arena.view[low : min(low + _CHUNK, end)])
            if chunk != _ZEROS[: len(chunk)]:
                other.view[low : low + len(chunk)] = chunk
        return
    for low, high in space.touched(region.start, region.end):
        other.view[low - base : high - base] = arena.view[low - base : high - base]


def _arena(space: AddressSpace, address: int) -> Arena:
    return next(arena for arena in space.arenas if arena.base <= address < arena.end)
