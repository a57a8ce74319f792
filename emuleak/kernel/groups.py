"""System calls on process groups and sessions: setpgid(2), setsid(2) and their kin. See credentials(7)."""

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.table import Int, syscall


def _process(kernel: Kernel, pid: int) -> Kernel:
    """The process of that id, 0 for the caller. Raises SyscallError ESRCH."""
    found = kernel.system.table.get(pid) if pid else kernel
    if found is None:
        raise SyscallError("ESRCH")
    return found


@syscall(111)
def getpgrp(kernel: Kernel) -> int:
    """getpgrp(2)."""
    return kernel.identity.pgid


@syscall(121)
def getpgid(kernel: Kernel, pid: Int) -> int:
    """getpgid(2)."""
    return _process(kernel, pid).identity.pgid


@syscall(124)
def getsid(kernel: Kernel, pid: Int) -> int:
    """getsid(2)."""
    return _process(kernel, pid).identity.sid


@syscall(109)
def setpgid(kernel: Kernel, pid: Int, pgid: Int) -> int:
    """setpgid(2): of the process itself, or of a child that still runs the same program."""
    if pgid < 0:
        raise SyscallError("EINVAL")
    target = _process(kernel, pid)
    mine, its = kernel.identity, target.identity
    if target is not kernel:
        if its.ppid != mine.pid:
            raise SyscallError("ESRCH")
        if its.sid != mine.sid:
            raise SyscallError("EPERM")
        if target.has_executed:
            raise SyscallError("EACCES")
    if its.sid == its.pid:
        raise SyscallError("EPERM")
    group = pgid or its.pid
    members = [each for each in kernel.system.table.values() if each.identity.pgid == group]
    if group != its.pid and not any(each.identity.sid == mine.sid for each in members):
        raise SyscallError("EPERM")
    its.pgid = group
    return 0


@syscall(112)
def setsid(kernel: Kernel) -> int:
    """setsid(2): a group leader may not."""
    mine = kernel.identity
    if any(each.identity.pgid == mine.pid for each in kernel.system.table.values()):
        raise SyscallError("EPERM")
    mine.sid = mine.pgid = mine.pid
    return mine.pid
