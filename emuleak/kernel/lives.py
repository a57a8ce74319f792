"""The end of a process, and what its parent is told: SIGCHLD, and a status to wait for. See wait(2), _exit(2)."""

import struct
from typing import TYPE_CHECKING, Final

from emuleak.kernel.signals import IGNORE, NUMBERS, Siginfo, send
from emuleak.kernel.system import INIT

if TYPE_CHECKING:
    from emuleak.kernel.core import Ending, Kernel
    from emuleak.kernel.system import System
    from emuleak.machine import Machine
    from emuleak.memory import AddressSpace

SIGCHLD: Final = NUMBERS["SIGCHLD"]
_SA_NOCLDSTOP, _SA_NOCLDWAIT = 1, 2
CLD_EXITED, CLD_KILLED, CLD_STOPPED, CLD_CONTINUED = 1, 2, 5, 6
_DETAILS: Final = struct.Struct("<iIi4xqq")  # si_pid, si_uid, si_status, si_utime, si_stime


def finish(kernel: "Kernel") -> None:
    """A process that has ended gives everything back but its status; the first one keeps its memory for the report."""
    system, identity = kernel.system, kernel.identity
    kernel.show_registers()
    system.observer.ended(kernel)
    _release_locks(kernel)
    if kernel.files.fifos:
        from emuleak.kernel.fifos import forget  # noqa: PLC0415 - few programs make any

        forget(kernel.files.fifos, (thread.tid for thread in kernel.threads.every()))
    kernel.files.close_all()
    kernel.gone = True
    system.progress += 1
    release_lender(kernel)
    for child in system.children(identity.pid):
        child.identity.ppid = child.files.ppid = INIT
        if child.gone:
            system.remove(child)
    if kernel is not system.first:
        release_memory(system, kernel.memory, kernel.machine)
        kernel.forget_listeners()
    parent = system.table.get(identity.ppid)
    if parent is None or parent.gone or _is_forgotten(parent):
        system.remove(kernel)
    if parent is not None and not parent.gone:
        _tell(kernel, parent)


def _release_locks(kernel: "Kernel") -> None:
    """Let other processes hear that the owner of robust locks has ended."""
    if len(kernel.system.table) > 1:
        from emuleak.kernel.owned import release  # noqa: PLC0415 - a program of one process has nobody to hear it

        for thread in kernel.threads.every():
            release(kernel, thread)


def release_lender(kernel: "Kernel") -> None:
    """Let the parent go on that vfork(2) has suspended."""
    for each in kernel.system.alive():
        if each.borrower is kernel:
            each.borrower = None


def release_memory(system: "System", memory: "AddressSpace", machine: "Machine") -> None:
    """Give the host's memory back, unless another process shows it, too."""
    if any(each.memory is memory for each in (system.first, *system.alive())):
        return
    if system.running.machine is machine:
        system.running = system.first  # whose CPU can be told to stop at any time
    # They refer to each other in circles; the CPU goes before the memory it runs in.
    vars(machine).clear()
    memory.close()


def _is_forgotten(parent: "Kernel") -> bool:
    """Whether a process wants to know nothing of its children."""
    action = parent.signals.action(SIGCHLD)
    return action.handler == IGNORE or bool(action.flags & _SA_NOCLDWAIT)


def _tell(kernel: "Kernel", parent: "Kernel") -> None:
    assert kernel.ending is not None
    code, status = outcome(kernel.ending)
    if kernel.exit_signal:
        send(parent, _siginfo(kernel, kernel.exit_signal, code, status))


def tell_of_stop(kernel: "Kernel", code: int, status: int) -> None:
    """A process was stopped, or goes on: SIGCHLD for its parent, unless that did not want it."""
    kernel.system.progress += 1
    parent = kernel.system.table.get(kernel.identity.ppid)
    if parent is not None and not parent.gone and not parent.signals.action(SIGCHLD).flags & _SA_NOCLDSTOP:
        send(parent, _siginfo(kernel, SIGCHLD, code, status))


def _siginfo(kernel: "Kernel", number: int, code: int, status: int) -> Siginfo:
    return Siginfo(number, code, _DETAILS.pack(kernel.identity.pid, kernel.identity.uid, status, 0, 0))


def outcome(ending: "Ending") -> tuple[int, int]:
    """si_code and si_status of a process that ended; RLIMIT_CORE is 0, so none has dumped core."""
    if ending.signal is not None:
        return CLD_KILLED, ending.signal
    return CLD_EXITED, ending.code or 0
