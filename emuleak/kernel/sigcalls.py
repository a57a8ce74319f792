"""System calls of signal(7): actions, masks, sending, and waiting for a signal."""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from emuleak.kernel.abi import ERRNO, SyscallError
from emuleak.kernel.descriptions import WouldBlock
from emuleak.kernel.signals import (
    DEFAULT,
    IGNORE,
    LAST,
    SI_TKILL,
    SIGINFO_SIZE,
    SS_AUTODISARM,
    UNBLOCKABLE,
    Action,
    AlternateStack,
    Siginfo,
    bit,
    recalculate,
    send,
    set_mask,
)
from emuleak.kernel.table import Int, Pointer, ULong, syscall

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel
    from emuleak.kernel.threads import Thread

_ACTION: Final = struct.Struct("<QQQQ")
_STACK_T: Final = struct.Struct("<QIxxxxQ")
_SET_SIZE: Final = 8  # sizeof(sigset_t) as the kernel knows it
_TIMESPEC: Final = struct.Struct("<qq")
_NS: Final = 1_000_000_000
# What a kernel of 5.11 or later keeps of sa_flags, so that a program can ask which it knows.
_KNOWN_FLAGS: Final = 0xDC00_0807


def _read_set(kernel: "Kernel", address: int, size: int) -> int:
    """A sigset_t. Raises EINVAL for another size than the kernel's."""
    if size != _SET_SIZE:
        raise SyscallError("EINVAL")
    return kernel.memory.word(address)


@syscall(13)
def rt_sigaction(kernel: "Kernel", signum: Int, act: Pointer, oldact: Pointer, sigsetsize: ULong) -> int:
    """sigaction(2)."""
    if sigsetsize != _SET_SIZE:
        raise SyscallError("EINVAL")
    new = Action(*_ACTION.unpack(kernel.memory.read(act, _ACTION.size))) if act else None
    if not 1 <= signum <= LAST or (new and UNBLOCKABLE & bit(signum)):
        raise SyscallError("EINVAL")
    table = kernel.signals
    old = table.action(signum)
    if new is not None:
        table.install(signum, new._replace(flags=new.flags & _KNOWN_FLAGS, mask=new.mask & ~UNBLOCKABLE))
        if new.handler in {DEFAULT, IGNORE} and table.ignores(signum):
            for queue in (table.pending, *(thread.signals.pending for thread in kernel.threads.every())):
                queue.discard(bit(signum))
    if oldact:
        kernel.memory.write(oldact, _ACTION.pack(*old))
    return 0


@syscall(14)
def rt_sigprocmask(kernel: "Kernel", how: Int, newset: Pointer, oldset: Pointer, sigsetsize: ULong) -> int:
    """sigprocmask(2)."""
    if sigsetsize != _SET_SIZE:
        raise SyscallError("EINVAL")
    old = kernel.threads.current.signals.mask
    if newset:
        given = kernel.memory.word(newset)
        if how not in {0, 1, 2}:
            raise SyscallError("EINVAL")
        set_mask(kernel, (old | given, old & ~given, given)[how])
    if oldset:
        kernel.memory.write(oldset, old.to_bytes(8, "little"))
    return 0


@syscall(15)
def rt_sigreturn(kernel: "Kernel") -> int | None:
    """sigreturn(2): done once the CPU stands still."""
    kernel.threads.current.signals.returning = True
    kernel.machine.stop()
    return None


@syscall(131)
def sigaltstack(kernel: "Kernel", ss: Pointer, old_ss: Pointer) -> int:
    """sigaltstack(2)."""
    state, sp = kernel.threads.current.signals, kernel.machine.get("rsp")
    old = state.stack
    if ss:
        base, flags, size = _STACK_T.unpack(kernel.memory.read(ss, _STACK_T.size))
        if old.holds(sp):
            raise SyscallError("EPERM")
        state.stack = AlternateStack.asked(base, flags, size)
    if old_ss:
        flags = old.state(sp) | old.flags & SS_AUTODISARM
        kernel.memory.write(old_ss, _STACK_T.pack(old.base, flags, old.size))
    return 0


@syscall(127)
def rt_sigpending(kernel: "Kernel", sigset: Pointer, size: ULong) -> int:
    """sigpending(2)."""
    if size > _SET_SIZE:
        raise SyscallError("EINVAL")
    state = kernel.threads.current.signals
    waiting = (state.pending.bits | kernel.signals.pending.bits) & state.mask
    kernel.memory.write(sigset, waiting.to_bytes(8, "little")[:size])
    return 0


# ---- sending


def _check(number: int) -> None:
    if not 0 <= number <= LAST:
        raise SyscallError("EINVAL")


def _thread(kernel: "Kernel", tgid: int | None, tid: int) -> "tuple[Kernel, Thread]":
    if tid <= 0 or (tgid is not None and tgid <= 0):
        raise SyscallError("EINVAL")
    for process in kernel.system.alive():
        thread = process.threads.find(tid)
        if thread is not None and tgid in {None, process.identity.pid}:
            return process, thread
    raise SyscallError("ESRCH")


@syscall(62)
def kill(kernel: "Kernel", pid: Int, sig: Int) -> int:
    """kill(2): to a process, a group, or all others that there are."""
    _check(sig)
    if pid == -1:
        targets = [each for each in kernel.system.alive() if each is not kernel]
    elif pid > 0:
        targets = [each for each in kernel.system.table.values() if each.identity.pid == pid]
    else:
        group = -pid or kernel.identity.pgid
        targets = [each for each in kernel.system.table.values() if each.identity.pgid == group]
    if not targets and pid != -1:
        raise SyscallError("ESRCH")
    for target in targets:
        if sig and not target.gone:
            send(target, Siginfo.from_sender(kernel, sig))
    return 0


@syscall(200)
def tkill(kernel: "Kernel", tid: Int, sig: Int) -> int:
    """tkill(2)."""
    return _send_to_thread(kernel, *_thread(kernel, None, tid), sig)


@syscall(234)
def tgkill(kernel: "Kernel", tgid: Int, tid: Int, sig: Int) -> int:
    """tgkill(2)."""
    return _send_to_thread(kernel, *_thread(kernel, tgid, tid), sig)


def _send_to_thread(kernel: "Kernel", process: "Kernel", thread: "Thread", number: int) -> int:
    _check(number)
    if number:
        send(process, Siginfo.from_sender(kernel, number, SI_TKILL), thread)
    return 0


def _given(kernel: "Kernel", number: int, address: int) -> Siginfo:
    """A siginfo_t that the program filled; the signal's number comes from the call."""
    raw = kernel.memory.read(address, SIGINFO_SIZE)
    _, errno, code = struct.unpack_from("<iii", raw)
    return Siginfo(number, code, raw[16:], errno)


@syscall(129)
def rt_sigqueueinfo(kernel: "Kernel", tgid: Int, sig: Int, uinfo: Pointer) -> int:
    """rt_sigqueueinfo(2), below sigqueue(3)."""
    info = _given(kernel, sig, uinfo)
    _check(sig)
    target = kernel.system.table.get(tgid)
    if target is None:
        raise SyscallError("ESRCH")
    if target is not kernel and info.code >= 0:
        raise SyscallError("EPERM")
    if sig and not target.gone:
        send(target, info)
    return 0


@syscall(297)
def rt_tgsigqueueinfo(kernel: "Kernel", tgid: Int, tid: Int, sig: Int, uinfo: Pointer) -> int:
    """rt_tgsigqueueinfo(2), below pthread_sigqueue(3)."""
    info = _given(kernel, sig, uinfo)
    process, thread = _thread(kernel, tgid, tid)
    _check(sig)
    if sig:
        send(process, info, thread)
    return 0


# ---- waiting


@syscall(34)
def pause(kernel: "Kernel") -> int | None:
    """pause(2)."""
    kernel.threads.park(None)
    return None


@syscall(130)
def rt_sigsuspend(kernel: "Kernel", mask: Pointer, size: ULong) -> int | None:
    """sigsuspend(2): the mask comes back behind the handler."""
    wanted = _read_set(kernel, mask, size)
    state = kernel.threads.current.signals
    kernel.threads.park(None)
    state.saved_mask = state.mask
    set_mask(kernel, wanted)
    return None


@syscall(128)
def rt_sigtimedwait(kernel: "Kernel", these: Pointer, uinfo: Pointer, timeout: Pointer, size: ULong) -> int | None:
    """sigtimedwait(2)."""
    wanted = _read_set(kernel, these, size) & ~UNBLOCKABLE
    deadline = None
    if timeout:
        seconds, nanoseconds = _TIMESPEC.unpack(kernel.memory.read(timeout, _TIMESPEC.size))
        if seconds < 0 or not 0 <= nanoseconds < _NS:
            raise SyscallError("EINVAL")
        deadline = kernel.clock.elapsed_ns + seconds * _NS + nanoseconds
    thread = kernel.threads.current
    info = thread.signals.pending.take(wanted) or kernel.signals.pending.take(wanted)
    if info is not None:
        recalculate(kernel, thread)
        if uinfo:
            kernel.memory.write(uinfo, info.packed())
        return info.number
    if deadline == kernel.clock.elapsed_ns:
        raise SyscallError("EAGAIN")
    kernel.threads.park(deadline, timeout=-ERRNO["EAGAIN"])
    thread.signals.awaited, thread.signals.info_at = wanted, uinfo
    return None


def under_mask(
    kernel: "Kernel", mask: int, size: int, nanoseconds: int | None, call: Callable[[int | None], int]
) -> int:
    """Make a call of the ppoll(2) kind with another mask (the address of one, or 0) while it waits.

    `call` gets how long it may wait. A signal that the mask lets through ends it: with EINTR, the mask coming back
    behind the handler.
    """
    if not mask:
        return call(nanoseconds)
    wanted = _read_set(kernel, mask, size)
    state = kernel.threads.current.signals

    def put_back() -> None:
        if state.saved_mask is not None:
            mask, state.saved_mask = state.saved_mask, None
            set_mask(kernel, mask)

    if state.saved_mask is None:  # else the call is made again
        state.saved_mask = state.mask
        set_mask(kernel, wanted)
    try:
        count = call(0 if state.notified else nanoseconds)
    except WouldBlock as wait:
        wait.on_timeout = _both(wait.on_timeout, put_back)
        raise
    except BaseException:
        put_back()
        raise
    if not count and state.notified:
        raise SyscallError("EINTR")
    put_back()
    return count


def _both(first: Callable[[], int], second: Callable[[], None]) -> Callable[[], int]:
    def run() -> int:
        try:
            return first()
        finally:
            second()

    return run
