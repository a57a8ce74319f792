"""CPU exceptions as the program is told of them: the signal, its si_code and si_addr, and the numbers of its frame.

Sources: arch/x86/kernel/traps.c and arch/x86/mm/fault.c of Linux 6.1; sigaction(2), section "The si_code field".
"""

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from emuleak.disasm import memory_accesses
from emuleak.kernel.signals import NUMBERS, SI_KERNEL, Siginfo, Trap
from emuleak.machine import (
    ALIGNMENT,
    BREAKPOINT,
    DEBUG,
    DIVIDE_ERROR,
    GENERAL_PROTECTION,
    INVALID_OPCODE,
    PAGE_FAULT,
    SIMD_ERROR,
    X87_ERROR,
    CpuException,
)
from emuleak.memory import PAGE, PAGE_SHIFT, Fault

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel

# Signal and si_code; every vector that is not here is a protection fault for a program.
_FPE_INTDIV, _ILL_ILLOPN, _BUS_ADRALN, _TRAP_BRKPT, _TRAP_TRACE = 1, 2, 1, 1, 2
_SIMPLE: Final = {
    DIVIDE_ERROR: ("SIGFPE", _FPE_INTDIV),
    INVALID_OPCODE: ("SIGILL", _ILL_ILLOPN),
    BREAKPOINT: ("SIGTRAP", SI_KERNEL),
    ALIGNMENT: ("SIGBUS", _BUS_ADRALN),
    GENERAL_PROTECTION: ("SIGSEGV", SI_KERNEL),
}
_SEGV_MAPERR, _SEGV_ACCERR = 1, 2
_NO_ADDRESS: Final = frozenset((BREAKPOINT, GENERAL_PROTECTION))
_FIRST_INTERRUPT: Final = 32
_TRAP_FLAG: Final = 0x100
_LONGEST_INSTRUCTION: Final = 15
# Bits of the exceptions in the x87 status word and in MXCSR, and the si_code of each, in the kernel's order.
_FLOAT_CODES: Final = ((0x01, 7), (0x04, 3), (0x08, 4), (0x12, 5), (0x20, 6))
# Bits of the page fault's error code.
_PRESENT, _WRITE, _USER, _FETCH = 1, 2, 4, 16


def located(kernel: "Kernel", exception: CpuException) -> CpuException:
    """The exception with the exact address of a page fault: the CPU's interface tells the page only."""
    if exception.vector != PAGE_FAULT:
        return exception
    machine, page = kernel.machine, exception.address & -PAGE
    rip = machine.get("rip")
    if exception.access == "execute":
        accesses = [(rip, _LONGEST_INSTRUCTION)]
    else:
        accesses = memory_accesses(_code(kernel, rip), rip, machine.get)
    for address, size in accesses:
        if address < page + PAGE and address + size > page:
            return replace(exception, address=max(address, page))
    return exception


def _code(kernel: "Kernel", address: int) -> bytes:
    """The bytes of one instruction, fewer where the readable memory ends."""
    for length in (_LONGEST_INSTRUCTION, -address % PAGE):
        with suppress(Fault):
            return bytes(kernel.memory.peek(address, length))
    return b""


def siginfo_of(kernel: "Kernel", exception: CpuException) -> Siginfo:
    """The signal of an exception of the running thread; `address` is where the program failed."""
    vector, rip = exception.vector, kernel.machine.get("rip")
    if vector == PAGE_FAULT and _canonical(exception.address):
        address = exception.address
        return _siginfo("SIGSEGV", _page_fault_code(kernel, address), address, address)
    if vector == DEBUG:
        code = _TRAP_TRACE if kernel.machine.get("eflags") & _TRAP_FLAG else _TRAP_BRKPT
        return _siginfo("SIGTRAP", code, rip, rip)
    if vector in {X87_ERROR, SIMD_ERROR}:
        return _siginfo("SIGFPE", _float_code(kernel, vector), rip, rip)
    name, code = _SIMPLE.get(vector, _SIMPLE[GENERAL_PROTECTION])
    told = 0 if code == SI_KERNEL else rip
    return _siginfo(name, code, told, exception.address if vector == PAGE_FAULT else rip)


def trap_of(kernel: "Kernel", exception: CpuException) -> Trap:
    """What the signal frame says of the exception."""
    vector, address = exception.vector, exception.address
    cr2 = kernel.threads.current.signals.trap.cr2
    if vector == PAGE_FAULT and _canonical(address):
        present = _PRESENT if kernel.memory.pages.get(address >> PAGE_SHIFT, 0) & 7 else 0
        access = {"write": _WRITE, "execute": _FETCH}.get(exception.access, 0)
        return Trap(PAGE_FAULT, present | access | _USER, address)
    if vector >= _FIRST_INTERRUPT:
        return Trap(GENERAL_PROTECTION, vector << 3 | 2, cr2)  # selector of the interrupt table's entry
    return Trap(GENERAL_PROTECTION if vector == PAGE_FAULT else vector, 0, cr2)


def _canonical(address: int) -> bool:
    """Whether the CPU would look for a page at all: bits 47 to 63 are alike."""
    return (address >> 47) in {0, 0x1FFFF}


def _page_fault_code(kernel: "Kernel", address: int) -> int:
    return _SEGV_MAPERR if kernel.memory.region_at(address) is None else _SEGV_ACCERR


def _float_code(kernel: "Kernel", vector: int) -> int:
    machine = kernel.machine
    if vector == X87_ERROR:
        raised = machine.get("fpsw") & ~machine.get("fpcw")
    else:
        raised = machine.get("mxcsr") & ~(machine.get("mxcsr") >> 7)
    return next((code for bits, code in _FLOAT_CODES if raised & bits), 0)


def _siginfo(name: str, code: int, told: int, failed: int) -> Siginfo:
    return Siginfo(NUMBERS[name], code, struct.pack("<Q", told), address=failed)
