"""A slice of the CPU's time: the CPU stops by itself after an exact number of basic blocks, or of instructions.

Time measured on the host would end a slice elsewhere in every run. Unicorn's own `count=` is exact, but it calls a
function before each instruction and makes the guest 4 to 7 times slower. Called once a block, and written in machine
code, such a function costs 3 ns: a tight loop takes 1.5 times its time, most programs less than 1.2 (measured with
Unicorn 2.1.4). Where the host's memory cannot be made executable, or its CPU has other instructions, `count=` it is.

Two threads that race meet between any two instructions, also within a block: who looks for that counts those.
"""

import ctypes
from typing import Final

from emuleak import engine
from emuleak.engine import Engine
from emuleak.hostcode import executable

# void block(uc_engine *uc, uint64_t address, uint32_t size, struct counter *c) { if (!--c->left) c->stop(uc); }
#   dec qword ptr [rcx]; jz 1f; ret; 1: jmp qword ptr [rcx + 8]
_CODE: Final = bytes.fromhex("48ff09 7401 c3 ff6108")
# Of the programs measured a block had 4 to 7 instructions.
_INSTRUCTIONS_OF_A_BLOCK: Final = 5


class _Counter(ctypes.Structure):
    _fields_ = (("left", ctypes.c_int64), ("stop", ctypes.c_void_p))


class BlockCounter:
    """Counts down what was granted, for one CPU; made only while the CPU stands still or in one of its callbacks.

    Code that was translated before is not counted: who makes one has it forgotten. `native` False is for hosts that
    cannot do otherwise.
    """

    def __init__(self, cpu: Engine, *, single: bool = False, native: bool = True) -> None:
        self._instructions = 1 if single else _INSTRUCTIONS_OF_A_BLOCK
        self._counter = _Counter(0, ctypes.cast(engine.library.uc_emu_stop, ctypes.c_void_p).value)
        self._code = executable(_CODE) if native else None
        if self._code is not None:
            at = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
            kind = engine.HOOK_CODE if single else engine.HOOK_BLOCK
            cpu.hook(kind, ctypes.c_void_p(at), data=ctypes.addressof(self._counter))

    @property
    def instructions(self) -> int:
        """How many instructions the CPU must be told to stop after; 0 where it stops by itself."""
        return 0 if self._code is not None else self._counter.left * self._instructions

    @property
    def over(self) -> bool:
        """Whether nothing is left of what was granted."""
        return bool(self._counter.left <= 0)

    def grant(self, number: int) -> None:
        """Let the CPU run for so many blocks, or instructions, more; at least 1."""
        self._counter.left = number

    def used_up(self) -> None:
        """The CPU stopped after all instructions that it was told."""
        self._counter.left = 0
