"""Where the reachability scan starts: registers, live stacks, data of the modules, whatever else the guest mapped.

Nothing below a thread's stack pointer is alive. Thread-local storage needs no case of its own: ld.so keeps it in memory
that it maps (or, in a static program, on the break), and every thread's stack is a mapping, too.
"""

import struct
from collections.abc import Collection, Iterator, Sequence
from typing import Final, NamedTuple

from emuleak.findings.reachability import JOINED_THREAD, Root
from emuleak.loader import Process
from emuleak.memory import PAGE, READ, WRITE, AddressSpace, Region

_RSP_INDEX: Final = 7
_PIECE: Final = 1 << 20  # so that a program's gigabyte of mappings is not copied as a whole


class LiveThread(NamedTuple):
    """A thread at the end: its registers in DWARF's order, which of them are alive, and words below its stack pointer.

    The latter are a leaf function's, stopped at its work; in a system call there are none.
    """

    registers: tuple[int, ...]
    alive: Collection[int]
    red_zone: Collection[int] = ()


def roots(
    memory: AddressSpace,
    process: Process,
    threads: Sequence[LiveThread],
    joined: Sequence[int],
    stacks: Collection[tuple[int, int]] = (),
) -> Iterator[Root]:
    """All roots. `joined`: where the stack pointers of the threads were that have ended and were joined.

    `stacks` are stacks of the program's own, which may share a mapping: with a thread on one, nothing else there ends.
    """
    pointers = [thread.registers[_RSP_INDEX] for thread in threads]
    pointers = [pointer for pointer in pointers if not any(start <= pointer < end for start, end in stacks)]
    for number, thread in enumerate(threads):
        values = [thread.registers[number] for number in sorted(thread.alive)]
        values += [memory.word(slot) for slot in sorted(thread.red_zone) if memory.region_at(slot) is not None]
        yield Root("registers", "", number, struct.pack(f"<{len(values)}Q", *values))
    for region in memory.regions():
        if region.kind in {"heap", "gate"} or not region.prot & READ or _is_constant(process, region):
            continue
        over = region.kind == "anonymous" and _holds(region, joined) and not _holds(region, pointers)
        for root in _of_region(memory, process, region, pointers):
            # glibc keeps the stack for the next thread, with its own books in it (the TLS vector, held by a pointer
            # into its middle); the program's pointers there are nobody's any more, the thread's result among them.
            yield root._replace(holder=JOINED_THREAD) if over else root


def _holds(region: Region, addresses: Sequence[int]) -> bool:
    return any(region.start <= address < region.end for address in addresses)


def _is_constant(process: Process, region: Region) -> bool:
    """Whether a mapping shows a file that the program never could write: code and constants.

    What is read-only by now may have been written before: RELRO data, a mapping protected after it was filled.
    """
    if region.kind != "file" or region.prot & WRITE:
        return False
    module = process.module_at(region.start)
    if module is None:
        return True
    address = region.start - module.bias
    return not any(
        segment.prot & WRITE and segment.address - PAGE < address < segment.address + segment.memory_size
        for segment in module.image.segments
    )


def _of_region(memory: AddressSpace, process: Process, region: Region, pointers: Sequence[int]) -> Iterator[Root]:
    inside = [pointer for pointer in pointers if region.start <= pointer < region.end]
    start = max(region.start, min(inside) & -8) if inside else region.start
    holder, module = _holder(process, region, bool(inside))
    for low, high in memory.touched(start, region.end):
        for at in range(max(low, start), high, _PIECE):
            yield Root(holder, module, at, bytes(memory.peek(at, min(_PIECE, high - at))))


def _holder(process: Process, region: Region, is_stack: bool) -> tuple[str, str]:
    if is_stack or region.kind == "stack":
        return "stack", ""
    module = process.module_at(region.start)
    if module is not None:
        return "data", module.path
    return "mapping", ""
