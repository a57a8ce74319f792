"""The frame that a signal's handler runs on: what Linux pushes and what rt_sigreturn(2) takes back.

Layout and order are those of arch/x86/kernel/signal.c, include/uapi/asm/sigcontext.h and ucontext.h (Linux 6.1):

    higher   128 bytes of red zone      only if the handler runs on the interrupted stack
             floating-point state       64-byte aligned, FXSAVE's layout: there is no XSAVE state without AVX
             siginfo_t                  128 bytes
             struct ucontext            flags, link, stack_t, registers, signal mask
    rsp ->   address of the restorer    rsp % 16 == 8, as behind a CALL

The unwinder of every libc reads the registers out of the ucontext, and so may the handler, which may also change them.
"""

import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from emuleak.kernel import fxsave
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.signals import (
    SA_ONSTACK,
    SA_RESTORER,
    SIGINFO_SIZE,
    SS_AUTODISARM,
    Action,
    AlternateStack,
    Siginfo,
    ThreadSignals,
)
from emuleak.machine import Machine
from emuleak.memory import Fault

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel

_RED_ZONE: Final = 128
_M64: Final = (1 << 64) - 1
_REGISTERS: Final = (
    *(f"r{n}" for n in range(8, 16)),
    *("rdi", "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp", "rip", "eflags"),
)
_STACK_T: Final = struct.Struct("<QIxxxxQ")
_UCONTEXT_HEAD: Final = struct.Struct("<QQ")
# The registers; cs, gs, fs, ss; err, trapno, oldmask, cr2; fpstate and eight reserved words.
_MCONTEXT: Final = struct.Struct(f"<{len(_REGISTERS)}QHHHH4QQ64x")
_MASK: Final = struct.Struct("<Q")
_STACK_AT: Final = _UCONTEXT_HEAD.size
_MCONTEXT_AT: Final = _STACK_AT + _STACK_T.size
_MASK_AT: Final = _MCONTEXT_AT + _MCONTEXT.size
_UCONTEXT_SIZE: Final = _MASK_AT + _MASK.size
_FRAME_SIZE: Final = 8 + _UCONTEXT_SIZE + SIGINFO_SIZE
_USER_CS, _USER_SS = 0x33, 0x2B
_UC_SIGCONTEXT_SS, _UC_STRICT_RESTORE_SS = 2, 4
# What a handler may change of the flags: RF, AC, OF, DF, TF, SF, ZF, AF, PF, CF; and what is cleared at its entry.
_EFLAGS_OF_USER: Final = 0x0005_0DD5
_INTERRUPT_FLAG: Final = 0x200  # always set for a program; the emulated CPU has none of its own
_EFLAGS_CLEARED: Final = 0x0001_0500  # RF, DF, TF


def enter(kernel: "Kernel", action: Action, info: Siginfo) -> None:
    """Make the running thread's CPU enter the handler. Raises Fault when there is no room for the frame."""
    machine, memory = kernel.machine, kernel.memory
    state = kernel.threads.current.signals
    if not action.flags & SA_RESTORER:
        raise Fault(action.restorer)
    float_at, frame = _places(machine.get("rsp"), action, state.stack)
    memory.write(float_at, fxsave.save(machine))
    context = _ucontext(machine, state, float_at)
    memory.write(frame, _MASK.pack(action.restorer) + context + info.packed())
    state.saved_mask = None
    if state.stack.flags & SS_AUTODISARM:
        state.stack = AlternateStack()
    machine.set("rdi", info.number)
    machine.set("rsi", frame + 8 + _UCONTEXT_SIZE)
    machine.set("rdx", frame + 8)
    machine.set("rax", 0)
    machine.set("rsp", frame)
    machine.set("eflags", machine.get("eflags") & ~_EFLAGS_CLEARED)
    machine.set("rip", action.handler)


def _places(sp: int, action: Action, stack: AlternateStack) -> tuple[int, int]:
    """Where the floating-point state and the frame go. Raises Fault when the alternate stack is too small."""
    sp = sp - _RED_ZONE & _M64
    on_alternate = stack.holds(sp)
    if action.flags & SA_ONSTACK and stack.size and not on_alternate:
        sp, on_alternate = stack.base + stack.size, True
    float_at = (sp - fxsave.SIZE & ~63) & _M64
    frame = (float_at - _FRAME_SIZE & ~15) - 8 & _M64
    if on_alternate and not 0 < frame - stack.base <= stack.size:
        raise Fault(frame)
    return float_at, frame


def _ucontext(machine: Machine, state: ThreadSignals, float_at: int) -> bytes:
    mask = state.mask if state.saved_mask is None else state.saved_mask
    *values, eflags = (machine.get(name) for name in _REGISTERS)
    segments = (_USER_CS, 0, 0, _USER_SS)
    trap = (state.trap.error, state.trap.vector, mask, state.trap.cr2)
    registers = _MCONTEXT.pack(*values, eflags | _INTERRUPT_FLAG, *segments, *trap, float_at)
    stack = _STACK_T.pack(state.stack.base, state.stack.flags, state.stack.size)
    return _UCONTEXT_HEAD.pack(_UC_SIGCONTEXT_SS | _UC_STRICT_RESTORE_SS, 0) + stack + registers + _MASK.pack(mask)


def leave(kernel: "Kernel") -> int:
    """Put back what the frame at the stack pointer says, for rt_sigreturn(2); returns the mask. Raises Fault."""
    machine, memory = kernel.machine, kernel.memory
    sp = machine.get("rsp")
    context = memory.read(sp, _UCONTEXT_SIZE)  # the handler's RET took the restorer off the stack
    *values, _cs, _gs, _fs, _ss, _error, _vector, _old, _cr2, float_at = _MCONTEXT.unpack_from(context, _MCONTEXT_AT)
    image = memory.read(float_at, fxsave.SIZE) if float_at else b""
    state = kernel.threads.current.signals
    base, flags, size = _STACK_T.unpack_from(context, _STACK_AT)
    if not state.stack.holds(values[_REGISTERS.index("rsp")]):
        with suppress(SyscallError):  # the kernel, too, leaves the stack alone where the frame's makes no sense
            state.stack = AlternateStack.asked(base, flags, size)
    _load(machine, dict(zip(_REGISTERS, values, strict=True)), image)
    return int(_MASK.unpack_from(context, _MASK_AT)[0])


def saved_mask(kernel: "Kernel") -> int | None:
    """The mask that rt_sigreturn(2) would put back; None where there is no frame."""
    try:
        raw = kernel.memory.read(kernel.machine.get("rsp") + _MASK_AT, _MASK.size)
    except Fault:
        return None
    return int(_MASK.unpack(raw)[0])


def _load(machine: Machine, registers: dict[str, int], image: bytes) -> None:
    registers["eflags"] = machine.get("eflags") & ~_EFLAGS_OF_USER | registers["eflags"] & _EFLAGS_OF_USER
    for name, value in registers.items():
        machine.set(name, value)
    if image:
        fxsave.restore(machine, image)
    else:
        fxsave.reset(machine)


__all__ = ["enter", "leave", "saved_mask"]
