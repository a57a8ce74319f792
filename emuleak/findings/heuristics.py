"""When a pointer into a block's middle is as good as one to its start: valgrind's --leak-check-heuristics.

stdstring (the copy-on-write std::string before C++11), length64 (a block that starts with its own length, as sqlite's),
newarray (the element count that `new T[n]` keeps before elements with destructors), multipleinheritance (a pointer to
a base class that is not the first). Source: memcheck/mc_leakcheck.c, heuristic_reachedness.
"""

from typing import Final

from emuleak.events import Block
from emuleak.memory import EXEC, READ, AddressSpace

_VTABLE_WORDS: Final = 20
_VTABLE_FUNCTIONS: Final = 2


class Heuristics:
    """The tests for the guest's memory as it is now."""

    def __init__(self, memory: AddressSpace) -> None:
        self._memory = memory

    def counts_as_start(self, block: Block, pointer: int) -> bool:
        """Whether `pointer`, inside `block`, is as good as one to its start."""
        offset = pointer - block.address
        return (
            self._std_string(block, offset) or self._counted(block, offset) or self._multiple_inheritance(block, offset)
        )

    def _word(self, address: int) -> int:
        return int.from_bytes(self._memory.peek(address, 8), "little")

    def _std_string(self, block: Block, offset: int) -> bool:
        if offset != 24 or block.size < 25:
            return False
        length, capacity = self._word(block.address), self._word(block.address + 8)
        return 24 + capacity + 1 == block.size and length <= capacity

    def _counted(self, block: Block, offset: int) -> bool:
        """length64, and newarray with one more case: the pointer that `new T[0]` returns lies behind its block."""
        if offset != 8 or block.size < 8:
            return False
        first = self._word(block.address)
        if block.size == 8:
            return first == 0 and "new[]" in block.maker
        return first > 0 and (block.size - 8) % first == 0

    def _multiple_inheritance(self, block: Block, offset: int) -> bool:
        if offset % 8 or offset + 8 > block.size:
            return False
        return self._is_vtable(self._word(block.address + offset)) and self._is_vtable(self._word(block.address))

    def _is_vtable(self, address: int) -> bool:
        """Whether a readable file mapping holds a table of code addresses there: null or code, two of code."""
        region = self._memory.region_at(address) if address % 8 == 0 else None
        if region is None or region.kind != "file" or not region.prot & READ:
            return False
        functions = 0
        for scan in range(address, min(address + 8 * _VTABLE_WORDS, region.end - 7), 8):
            target = self._word(scan)
            if target and not self._is_code(target):
                return False
            functions += target != 0
            if functions == _VTABLE_FUNCTIONS:
                return True
        return False

    def _is_code(self, address: int) -> bool:
        region = self._memory.region_at(address)
        return region is not None and region.kind == "file" and bool(region.prot & EXEC)
