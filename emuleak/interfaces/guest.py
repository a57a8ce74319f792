"""What the interfaces need of a session: its parts, and who made the call that is being served."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emuleak.events import Stack
from emuleak.findings.frames import Symbolizer
from emuleak.heap import Heap
from emuleak.hooks import Breakpoints, Gate
from emuleak.kernel.core import Kernel
from emuleak.loader import Process
from emuleak.machine import DWARF_REGISTERS, Machine
from emuleak.memory import AddressSpace
from emuleak.report.selection import Selection
from emuleak.stacks.unwinder import Unwinder

_RBP, _RSP, _RIP = (DWARF_REGISTERS.index(name) for name in ("rbp", "rsp", "rip"))
_SAVED = tuple(DWARF_REGISTERS.index(name) for name in ("rbx", "r12", "r13", "r14", "r15"))


@dataclass(frozen=True)
class Guest:
    """The parts of a session. `write_stderr` writes where the guest's own messages go.

    `selection` is what the user keeps out of reports; only source below `source_roots` is quoted, if that is given.
    """

    machine: Machine
    memory: AddressSpace
    process: Process
    kernel: Kernel
    heap: Heap
    gate: Gate
    breakpoints: Breakpoints
    unwinder: Unwinder
    argv: Sequence[str]
    sysroot: str
    write_stderr: Callable[[bytes], None]
    selection: Selection | None
    source_roots: Sequence[str] | None

    @property
    def thread(self) -> int:
        """The number of the running thread, from 0."""
        return self.kernel.threads.current.number

    def symbolizer(self) -> Symbolizer:
        """A new one, which the caller closes."""
        return Symbolizer(self.process, self.sysroot)

    def caller(self) -> Stack:
        """The stack of a stop at a function's first instruction: its caller comes first."""
        registers = self.machine.registers()
        return self.unwinder.capture(registers[_RSP], registers[_RBP], lambda: _rest(registers))

    def stack(self) -> Stack:
        """The stack of a stop in the midst of a function, as if that were a call: the function comes first."""
        memory, registers = self.memory, self.machine.registers()
        sp, pc = registers[_RSP], registers[_RIP].to_bytes(8, "little")
        if memory.region_at(sp - 8) is None:
            return pc
        # The word below the stack pointer may be one of the function's: it is put back.
        word = memory.peek(sp - 8, 8)
        below = bytes(word)
        word[:] = pc
        try:
            return self.unwinder.capture(sp - 8, registers[_RBP], lambda: _rest(registers))
        finally:
            word[:] = below


def _rest(registers: Sequence[int]) -> tuple[int, ...]:
    return tuple(registers[number] for number in _SAVED)
