"""Does a file that defines malloc hand the calls on to another malloc, or is it an allocator by itself?

Whoever wraps malloc gets the other one from the dynamic linker: as `__libc_malloc`, or by a name given to dlsym(3),
whose address is then an argument: `lea rsi, [rip + name]`, or `mov esi, name` at a fixed address, a few instructions
before the call. An allocator may hold these names, too (jemalloc does, for its statistics), but not there.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

LOOK_UPS: Final = ("dlsym", "dlvsym")
_NAMES: Final = re.compile(rb"\0(?:malloc|calloc|realloc|free)(?=\0)")
# lea r64, [rip + disp32]; mov r32, imm32
_TAKEN: Final = re.compile(
    rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d](?P<near>.{4})|[\xb8-\xbf](?P<far>.{4})", re.DOTALL
)
_BEFORE_CALL: Final = 48  # bytes between taking the name and the call

Part = tuple[int, int, int]
"""(address, offset in the file, bytes) of a segment."""


def looks_malloc_up(
    data: bytes, code: Sequence[Part], all_: Sequence[Part], places: Mapping[str, Sequence[int]]
) -> bool:
    """Whether the file's code gives the name of one of malloc's functions to dlsym.

    `places` are the PLT stubs and the GOT slots by which the file calls the functions of LOOK_UPS.
    """
    calls = {place for name in LOOK_UPS for place in places.get(name, ())}
    if not calls:
        return False
    names = {address + match.start() + 1 - offset for address, offset, size in all_
             for match in _NAMES.finditer(data, offset, offset + size)}  # fmt: skip
    return any(
        target in calls
        for part in code
        for end in _takes(data, part, names)
        for target in _calls(data, part, end)
    )  # fmt: skip


def _takes(data: bytes, part: Part, names: set[int]) -> Iterator[int]:
    """Where in the file an instruction ends that takes the address of one of the names."""
    address, offset, size = part
    at = offset
    while (match := _TAKEN.search(data, at, offset + size)) is not None:
        near = match["near"]
        value = int.from_bytes(near or match["far"], "little", signed=near is not None)
        if near is not None:
            value += address + match.end() - offset
        if value in names:
            yield match.end()
        at = match.start() + 1


def _calls(data: bytes, part: Part, start: int) -> Iterator[int]:
    """What is called or jumped to right behind `start`: the function, or the slot that holds its address."""
    address, offset, size = part
    for at in range(start, min(start + _BEFORE_CALL, offset + size - 6)):
        for opcode in (b"\xe8", b"\xe9", b"\xff\x15", b"\xff\x25"):
            if data.startswith(opcode, at):
                end = at + len(opcode) + 4
                yield address + end - offset + int.from_bytes(data[end - 4 : end], "little", signed=True)
