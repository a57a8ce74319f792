"""When a thread takes its signals: each time it is about to go back to the program, as Linux does on the way out.

Here the CPU stands still, so that its registers may be changed; a handler of a system call must not do that, and only
marks the thread (`notified`, `returning`) and stops the CPU.
"""

import struct
from typing import TYPE_CHECKING, Final

from emuleak.kernel import sigframe
from emuleak.kernel.abi import ERRNO
from emuleak.kernel.signals import (
    DEFAULT,
    IGNORE,
    SA_NODEFER,
    SA_RESETHAND,
    SA_RESTART,
    SI_KERNEL,
    SIGSEGV,
    UNBLOCKABLE,
    Action,
    Default,
    Siginfo,
    bit,
    default_of,
    force,
    recalculate,
    set_mask,
)
from emuleak.memory import Fault

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel

_NS: Final = 1_000_000_000
_M64: Final = (1 << 64) - 1


def deliver(kernel: "Kernel") -> None:
    """Let the running thread return from its handler, take what waits for it, and end or repeat the call it is in.

    Of several signals each gets a frame over the one before, so that the handler of the last runs first.
    """
    thread, table = kernel.threads.current, kernel.signals
    state = thread.signals
    if state.returning:
        _return(kernel)
    if thread.interrupted and state.awaited:
        _end_wait(kernel)
    while state.notified and kernel.ending is None:
        info = state.pending.take(~state.mask) or table.pending.take(~state.mask)
        if info is None:
            state.notified = False
        else:
            _take(kernel, info)
    if kernel.ending is None:
        _go_on(kernel)


def _return(kernel: "Kernel") -> None:
    """rt_sigreturn(2): the state that the handler's frame holds, with what the handler made of it."""
    state = kernel.threads.current.signals
    state.returning = False
    try:
        mask = sigframe.leave(kernel)
    except Fault:
        force(kernel, _no_frame(kernel))
    else:
        set_mask(kernel, mask)


def _end_wait(kernel: "Kernel") -> None:
    """sigtimedwait(2) was woken: the signal it waited for is its result."""
    thread = kernel.threads.current
    state = thread.signals
    info = state.pending.take(state.awaited) or kernel.signals.pending.take(state.awaited)
    if info is None:
        return
    thread.leave_call()
    result = info.number
    try:
        if state.info_at:
            kernel.memory.write(state.info_at, info.packed())
    except Fault:
        result = -ERRNO["EFAULT"]
    kernel.machine.set("rax", result & _M64)
    recalculate(kernel, thread)


def _take(kernel: "Kernel", info: Siginfo) -> None:
    """One signal: its handler, its default action, or nothing."""
    action = kernel.signals.action(info.number)
    if action.handler not in {IGNORE, DEFAULT}:
        _interrupt_call(kernel, restart=bool(action.flags & SA_RESTART))
    if kernel.tracer is not None:
        kernel.tracer.taken(kernel, info)
    if action.handler == IGNORE:
        return
    if action.handler == DEFAULT:
        _default(kernel, info)
        return
    if action.flags & SA_RESETHAND:
        kernel.signals.install(info.number, action._replace(handler=DEFAULT))
    _enter(kernel, action, info)


def _enter(kernel: "Kernel", action: Action, info: Siginfo) -> None:
    state = kernel.threads.current.signals
    try:
        sigframe.enter(kernel, action, info)
    except Fault:
        if info.number == SIGSEGV:
            kernel.end(signal=SIGSEGV, address=info.address)
        else:
            force(kernel, _no_frame(kernel))
        return
    own = 0 if action.flags & SA_NODEFER else bit(info.number)
    state.mask = (state.mask | action.mask | own) & ~UNBLOCKABLE


def _no_frame(kernel: "Kernel") -> Siginfo:
    """The signal for a thread whose stack cannot hold a frame, or holds none."""
    return Siginfo(SIGSEGV, SI_KERNEL, address=kernel.machine.get("rsp"))


def _default(kernel: "Kernel", info: Siginfo) -> None:
    kind = default_of(info.number)
    if kind is Default.STOP:
        kernel.stop(info.number)
    elif kind in {Default.TERMINATE, Default.CORE}:
        kernel.end(signal=info.number, address=info.address)


def _interrupt_call(kernel: "Kernel", *, restart: bool) -> None:
    """A handler is to run: the call in which the thread waited ends with EINTR, or is made again after the handler."""
    thread, machine = kernel.threads.current, kernel.machine
    if not thread.in_call:
        return
    if thread.always_again or (restart and thread.restarts):
        kernel.threads.call_again()
    else:
        result = -ERRNO["EINTR"]
        if thread.remaining_at and thread.deadline is not None:
            left = max(0, thread.deadline - kernel.clock.elapsed_ns)
            try:
                kernel.memory.write(thread.remaining_at, struct.pack("<qq", left // _NS, left % _NS))
            except Fault:
                result = -ERRNO["EFAULT"]
        machine.set("rax", result & _M64)
    thread.leave_call()


def _go_on(kernel: "Kernel") -> None:
    """Nothing is left to take: a call that waits goes on waiting."""
    thread, threads = kernel.threads.current, kernel.threads
    if thread.repeats:
        thread.repeats = False
        threads.call_again()
    elif thread.interrupted and thread.futex:
        # Its futex may have been woken meanwhile; waking for nothing is what every user of futex(2) must expect.
        thread.leave_call()
        kernel.machine.set("rax", 0)
    elif thread.interrupted:
        threads.wait_on()
    elif thread.signals.saved_mask is not None:
        mask, thread.signals.saved_mask = thread.signals.saved_mask, None
        set_mask(kernel, mask)
        if thread.signals.notified:
            deliver(kernel)
