"""System calls that make processes: fork(2), vfork(2), and clone(2) where it makes no thread (tasks.py)."""

import struct

from emuleak.duplicate import duplicate, has_private_sharing, share
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.core import Identity, Kernel
from emuleak.kernel.signals import LAST, NUMBERS
from emuleak.kernel.system import MOST_ALIVE, MOST_PROCESSES
from emuleak.kernel.table import syscall
from emuleak.kernel.threads import Thread
from emuleak.machine import Machine
from emuleak.memory import AddressSpace, OutOfAddressSpace
from emuleak.sharing import SharedMemory

_CLONE_VM, _CLONE_FILES, _CLONE_SIGHAND = 0x100, 0x400, 0x800
_CLONE_PIDFD, _CLONE_VFORK, _CLONE_PARENT = 0x1000, 0x4000, 0x8000
_CLONE_SETTLS, _CLONE_PARENT_SETTID = 0x80000, 0x100000
_CLONE_CHILD_CLEARTID, _CLONE_CHILD_SETTID = 0x200000, 0x1000000
_CLONE_CLEAR_SIGHAND = 0x1_0000_0000
_NAMESPACES = 0x7E020000
_EXIT_SIGNAL = 0xFF


@syscall(57)
def fork(kernel: Kernel) -> int:
    """fork(2)."""
    return _process(kernel, NUMBERS["SIGCHLD"], 0, 0, 0, 0)


@syscall(58)
def vfork(kernel: Kernel) -> int:
    """vfork(2)."""
    return _process(kernel, NUMBERS["SIGCHLD"] | _CLONE_VM | _CLONE_VFORK, 0, 0, 0, 0)


def clone_process(kernel: Kernel, flags: int, stack: int, ptid: int, ctid: int, tls: int) -> int:
    """clone(2) of a process that shares all memory or none. Raises SyscallError."""
    if flags & _NAMESPACES:
        raise SyscallError("EPERM")
    if flags & (_CLONE_PIDFD | _CLONE_FILES | _CLONE_SIGHAND):
        kernel.note("clone(2) of a process that shares its files or handlers, or with a pidfd, was refused with EINVAL")
        raise SyscallError("EINVAL")
    return _process(kernel, flags, stack, ptid, ctid, tls)


def _process(kernel: Kernel, flags: int, stack: int, ptid: int, ctid: int, tls: int) -> int:
    """A new process; it gets its registers once the CPU stands still. Returns its pid."""
    _check_room(kernel)
    memory = kernel.memory if flags & _CLONE_VM else _copied(kernel)
    machine = kernel.machine if flags & _CLONE_VM else Machine(memory)
    machine.withheld.update(kernel.machine.withheld)
    if memory.aliases.memory is not None:
        kernel.machine.attach(memory.aliases.memory.arena)
        machine.attach(memory.aliases.memory.arena)
    child = _child(kernel, machine, memory, flags)
    tid = struct.pack("<i", child.identity.pid)
    if flags & _CLONE_PARENT_SETTID:
        kernel.memory.write(ptid, tid)
    if flags & _CLONE_CHILD_SETTID:
        child.memory.write(ctid, tid)
    if flags & _CLONE_CHILD_CLEARTID:
        child.threads.current.clear_tid = ctid
    if flags & _CLONE_VFORK:
        kernel.borrower = child
    kernel.at_rest = lambda: _start(kernel, child, stack, tls if flags & _CLONE_SETTLS else None)
    kernel.machine.stop()
    return child.identity.pid


def _check_room(kernel: Kernel) -> None:
    system = kernel.system
    if len(system.alive()) >= MOST_ALIVE or len(system.table) >= MOST_PROCESSES:
        system.note(f"more than {MOST_ALIVE} processes at a time are not emulated: fork was refused with EAGAIN")
        raise SyscallError("EAGAIN")


def _copied(kernel: Kernel) -> AddressSpace:
    """A copy of the parent's memory. Raises SyscallError ENOMEM where the host has no room for one."""
    kernel.threads.before_switch()
    system = kernel.system
    try:
        if has_private_sharing(kernel.memory):
            system.shared = system.shared or SharedMemory()
            share(kernel.memory, system.shared)
        return duplicate(kernel.memory)
    except (OutOfAddressSpace, OSError):
        system.note("the host had no room for a copy of the program's memory: fork was refused with ENOMEM")
        raise SyscallError("ENOMEM") from None


def _child(parent: Kernel, machine: Machine, memory: AddressSpace, flags: int) -> Kernel:
    """The kernel of a new process, as fork(2) says what it gets from its parent and what not."""
    identity = parent.identity
    mine = Identity(
        pid=parent.system.new_id(),
        ppid=identity.ppid if flags & _CLONE_PARENT else identity.pid,
        uid=identity.uid,
        gid=identity.gid,
        pgid=identity.pgid,
        sid=identity.sid,
        name=identity.name,
        limits=dict(identity.limits),
    )
    child = Kernel(machine, memory, parent.files.fork(mine.pid, mine.ppid), mine, parent.system)
    child.files.limits = mine.limits
    child.show_proc()
    if parent.files.mappings is not None and memory is not parent.memory:
        child.files.mappings = parent.files.mappings.fork(memory, child.note)
    child.signals = parent.signals.fork(reset=bool(flags & _CLONE_CLEAR_SIGHAND))
    child.brk_start, child.brk = parent.brk_start, parent.brk
    child.tracer = parent.tracer
    child.exit_signal = flags & _EXIT_SIGNAL if flags & _EXIT_SIGNAL <= LAST else 0
    child.threads.current.signals = parent.threads.current.signals.fork()
    child.threads.current.robust_list = parent.threads.current.robust_list
    parent.system.observer.forked(parent, child)
    return child


def _start(parent: Kernel, child: Kernel, stack: int, tls: int | None) -> None:
    """Give the child its registers: the parent's, and 0 for the result."""
    before, machine = parent.machine.save(), child.machine
    machine.restore(before)
    if stack:
        machine.set("rsp", stack)
    if tls is not None:
        machine.set("fs_base", tls)
    thread: Thread = child.threads.current
    thread.context, thread.result = machine.save(), 0
    child.threads.begin(thread)
    if machine is parent.machine:
        machine.restore(before)
