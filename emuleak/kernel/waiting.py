"""System calls by which a process waits for its children: wait4(2), waitid(2)."""

import struct
from collections.abc import Callable

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import WouldBlock
from emuleak.kernel.lives import CLD_CONTINUED, CLD_EXITED, CLD_KILLED, CLD_STOPPED, SIGCHLD, outcome
from emuleak.kernel.table import Int, Pointer, syscall

_WNOHANG, _WSTOPPED, _WEXITED, _WCONTINUED = 1, 2, 4, 8
_WNOWAIT, _LINUX_ONLY = 0x1000000, 0xE0000000  # __WNOTHREAD, __WALL, __WCLONE: threads are no processes here
_P_ALL, _P_PID, _P_PGID = 0, 1, 2
_SIGINFO = struct.Struct("<iii4xiIi")
_RUSAGE_SIZE = 144

_Change = tuple[Kernel, int, int]  # the child, si_code and si_status


def _change(child: Kernel, options: int) -> tuple[int, int] | None:
    """What there is to tell of a child."""
    if child.gone and options & _WEXITED and child.ending is not None:
        return outcome(child.ending)
    if child.news == "stopped" and options & _WSTOPPED:
        return CLD_STOPPED, child.stopped_by
    if child.news == "continued" and options & _WCONTINUED:
        return CLD_CONTINUED, 18
    return None


def _wait(kernel: Kernel, is_meant: Callable[[Kernel], bool], options: int) -> _Change | None:
    """The first child of which there is something to tell. Raises SyscallError ECHILD, WouldBlock."""
    children = [child for child in kernel.system.children(kernel.identity.pid) if is_meant(child)]
    if not children:
        raise SyscallError("ECHILD")
    for child in children:
        change = _change(child, options)
        if change is None:
            continue
        if not options & _WNOWAIT:
            child.news = ""
            if child.gone:
                kernel.system.remove(child)
        return child, *change
    if not options & _WNOHANG:
        raise WouldBlock
    return None


def _meant(kernel: Kernel, pid: int) -> Callable[[Kernel], bool]:
    """Which children the first argument of waitpid(2) means."""
    if pid == -1:
        return lambda _child: True
    if pid > 0:
        return lambda child: child.identity.pid == pid
    group = -pid or kernel.identity.pgid
    return lambda child: child.identity.pgid == group


def _status(code: int, status: int) -> int:
    """The status word of wait(2)."""
    words = {CLD_EXITED: status << 8, CLD_KILLED: status, CLD_STOPPED: status << 8 | 0x7F}
    return words.get(code, 0xFFFF)


@syscall(61)
def wait4(kernel: Kernel, pid: Int, wstatus: Pointer, options: Int, rusage: Pointer) -> int:
    """wait4(2); the resources that the child used are told as none."""
    if options & 0xFFFF_FFFF & ~(_WNOHANG | _WSTOPPED | _WCONTINUED | _LINUX_ONLY):
        raise SyscallError("EINVAL")
    if pid == -(1 << 31):
        raise SyscallError("ESRCH")
    change = _wait(kernel, _meant(kernel, pid), options & 0xFFFF_FFFF | _WEXITED)
    if change is None:
        return 0
    child, code, status = change
    if wstatus:
        kernel.memory.write(wstatus, struct.pack("<I", _status(code, status)))
    if rusage:
        kernel.memory.write(rusage, bytes(_RUSAGE_SIZE))
    return child.identity.pid


@syscall(247)
def waitid(kernel: Kernel, idtype: Int, number: Int, infop: Pointer, options: Int, rusage: Pointer) -> int:
    """waitid(2)."""
    kinds = _WSTOPPED | _WEXITED | _WCONTINUED
    if options & 0xFFFF_FFFF & ~(_WNOHANG | kinds | _WNOWAIT | _LINUX_ONLY) or not options & kinds:
        raise SyscallError("EINVAL")
    if idtype not in {_P_ALL, _P_PID, _P_PGID} or (idtype == _P_PID and number <= 0) or number < 0:
        raise SyscallError("EINVAL")
    pid = {_P_ALL: -1, _P_PID: number, _P_PGID: -number}[idtype]
    change = _wait(kernel, _meant(kernel, pid), options & 0xFFFF_FFFF)
    if infop:
        packed = bytes(_SIGINFO.size)
        if change is not None:
            child, code, status = change
            packed = _SIGINFO.pack(SIGCHLD, 0, code, child.identity.pid, child.identity.uid, status)
        kernel.memory.write(infop, packed)
    if rusage:
        kernel.memory.write(rusage, bytes(_RUSAGE_SIZE))
    return 0
