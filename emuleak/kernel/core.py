"""The kernel's state for one process, and its dispatch: what a system call can reach, and how it is reached.

One object owns each part of the state (files, threads, signals, timers, brk); the handlers of a family are plain
functions over them. Whatever the guest hands in, a handler ends in a number for RAX. What processes share is `system`.
"""

import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol

import msgspec

from emuleak.kernel import fxsave
from emuleak.kernel.abi import ERRNO, SyscallError, guest_errno
from emuleak.kernel.clock import CALL_NS
from emuleak.kernel.descriptions import BrokenPipe, WouldBlock
from emuleak.kernel.lives import CLD_CONTINUED, CLD_STOPPED, tell_of_stop
from emuleak.kernel.signals import NUMBERS, Siginfo, SignalTable, name_of, send
from emuleak.kernel.system import DEADLOCK, System
from emuleak.kernel.table import TABLE, handler_of
from emuleak.kernel.threads import Scheduler
from emuleak.kernel.timers import Timers
from emuleak.kernel.vfs import FileSystem
from emuleak.machine import Machine
from emuleak.memory import AddressSpace, Fault, Region, page_ceil

_NUMBERS = 1024  # beyond, a guest could fill the report with notes
if TYPE_CHECKING:
    from emuleak.kernel.tracing import Tracer

_ENOSYS = -ERRNO["ENOSYS"]
_EFAULT = -ERRNO["EFAULT"]
# poll, select, epoll_wait, pselect6, ppoll, epoll_pwait, epoll_pwait2: a handler ends them whatever SA_RESTART says,
# see signal(7).
_NEVER_RESTARTED = frozenset((7, 23, 232, 270, 271, 281, 441))

# A process that makes so many system calls and never waits lets the others run: one that asks over and over whether
# its child has ended would ask for ever.
_SLICE = 500


class MapListener(Protocol):
    """Told of every file the guest maps, which is how a module loaded by ld.so is noticed."""

    def __call__(self, region: Region) -> None:
        """`region` was mapped just now and holds the file's bytes."""


class Ending(msgspec.Struct):
    """How the process ended: by `code`, by `signal` (with the failing `address` where there is one), or `stopped`.

    `stopped` says in words why emuleak ended it: a budget ran out, every thread waits for another.
    """

    code: int | None = None
    signal: int | None = None
    address: int | None = None
    stopped: str = ""

    @property
    def deadlock(self) -> bool:
        """Whether every thread waited for another."""
        return self.stopped.startswith(DEADLOCK)


class Identity(msgspec.Struct):
    """What the process is told of itself. Fixed numbers: a process id of the host's would differ at every run."""

    pid: int = 4711
    ppid: int = 4710
    uid: int = 1000
    gid: int = 1000
    groups: tuple[int, ...] = ()
    pgid: int = 4711
    sid: int = 4710
    name: bytes = b""
    limits: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)


class Kernel:
    """The Linux that one process sees.

    `ending` is set where it is to end, `gone` once it has. `stopped_by` is the signal that stopped it, or 0, and
    `news` what its parent may still wait for of that. `borrower` is the child that vfork(2) lets go first.
    """

    def __init__(
        self, machine: Machine, memory: AddressSpace, files: FileSystem, identity: Identity, system: System
    ) -> None:
        self.machine = machine
        self.memory: AddressSpace = memory
        self.files = files
        self.identity = identity
        self.system = system
        self.clock = system.clock
        self.threads = Scheduler(machine, identity.pid, system.new_id, system.chance)
        self.signals = SignalTable()
        self.timers = Timers()
        self.brk_start = self.brk = 0
        self.ending: Ending | None = None
        self.gone = self.has_executed = False
        self.stopped_by = 0
        self.news: Literal["", "stopped", "continued"] = ""
        self._slice, self._is_over = _SLICE, False  # of its turn: how many system calls are left, whether it is over
        self.exit_signal = NUMBERS["SIGCHLD"]
        self.borrower: Kernel | None = None
        self.at_rest: Callable[[], None] | None = None
        self.incomplete = system.incomplete
        self.on_map: MapListener = lambda _region: None
        self.was_code: Callable[[int, int, str], int] = _nobody_knows
        self.tracer: Tracer | None = None
        system.add(self)

    def start(self, entry: int, stack_pointer: int, program: str, argv: Sequence[str], program_end: int) -> None:
        """Set the first thread's registers and what /proc/self says; the break starts behind the program."""
        self.machine.set("rip", entry)
        self.machine.set("rsp", stack_pointer)
        fxsave.reset(self.machine)
        self.machine.on_syscall = self.server
        self.brk_start = self.brk = page_ceil(program_end)
        files = self.files
        files.program = files.shown(os.path.realpath(program))
        files.arguments = [os.fsencode(argument) for argument in argv]
        files.pid, files.limits = self.identity.pid, self.identity.limits
        self.show_proc()
        self.identity.name = os.fsencode(os.path.basename(program))[:15]

    def _maps(self) -> bytes:
        """/proc/self/maps, as proc(5) shows it."""
        lines = []
        for region in self.memory.regions():
            if region.kind in {"gate", "heap"}:
                continue
            bits = "".join(letter if region.prot & bit else "-" for letter, bit in zip("rwx", (1, 2, 4), strict=True))
            name = self.files.shown(region.path) or {"stack": "[stack]", "brk": "[heap]"}.get(region.kind, "")
            sharing = "s" if region.shared else "p"
            head = f"{region.start:08x}-{region.end:08x} {bits}{sharing} {region.offset:08x} 00:00 0"
            lines.append(f"{head:<72} {name}".rstrip())
        return os.fsencode("\n".join(lines) + "\n")

    def show_proc(self) -> None:
        """Let /proc/self/maps tell of this process."""
        self.files.proc["maps"] = self._maps

    def _parent(self) -> "Kernel | None":
        return self.system.table.get(self.identity.ppid)

    def stop(self, number: int) -> None:
        """SIGSTOP and its kin: stand still until SIGCONT comes; who has nobody to send that goes on."""
        if self._parent() is None:
            self.note(f"{name_of(number)} would have stopped the program; it went on")
            return
        self.stopped_by, self.news = number, "stopped"
        tell_of_stop(self, CLD_STOPPED, number)

    def go_on(self) -> None:
        """SIGCONT."""
        if self.stopped_by:
            self.stopped_by, self.news = 0, "continued"
            tell_of_stop(self, CLD_CONTINUED, NUMBERS["SIGCONT"])

    def forget_listeners(self) -> None:
        """Let go of all who were told of this process: they refer back to it."""
        self.on_map, self.was_code = lambda _region: None, _nobody_knows
        self.threads.before_switch, self.threads.after_switch = lambda: None, lambda _number: None
        self.files.proc.clear()

    # ---- turns

    @property
    def alone(self) -> bool:
        """Whether nobody but the running thread could change anything."""
        return self.threads.alive == 1 and len(self.system.table) == 1

    def may_run(self) -> bool:
        """Whether the process has a use for the CPU now."""
        if self.ending is not None:
            return True
        waits = self.stopped_by or self.borrower is not None
        return not waits and self.threads.ready(self.system.progress, self.clock.elapsed_ns)

    def others_may_run(self) -> bool:
        """Whether a thread other than the running one could use the CPU now, or another process."""
        ready = self.threads.ready(self.system.progress, self.clock.elapsed_ns)
        return ready or self.system.others_may_run(self)

    def _mind_others(self) -> None:
        """Let the slices of a process end while another could run, or waits for a time."""
        system, preemption = self.system, self.threads.preemption
        if not preemption.begun and len(system.table) > 1 and (system.others_may_run(self) or system.times(but=self)):
            preemption.begin()

    def resume(self) -> None:
        """Put the process on its CPU, which it may share with another."""
        self.machine.on_syscall = self.server
        self._slice, self._is_over = _SLICE, False
        others = sum(len(each.memory.pages) for each in self.system.alive() if each.memory is not self.memory)
        self.machine.page_limit = max(self.system.page_limit - others, 1)
        if self.memory.aliases.executable:
            self.machine.flush_code()  # another process may have written over it
        self.threads.resume(self.system.progress, self.clock.elapsed_ns)
        self._mind_others()

    def gives_way(self) -> bool:
        """Whether the process must leave the CPU."""
        waits = self.stopped_by or self.borrower is not None or self.threads.switch_wanted
        return bool(waits or self._is_over or self.system.stopped) or self.ending is not None

    def settle(self) -> None:
        """Do what had to wait until the CPU stood still."""
        self.threads.settle()
        if self.at_rest is not None:
            act, self.at_rest = self.at_rest, None
            if self.ending is None:
                act()

    def leave(self) -> None:
        """Keep the registers of the thread that gave way, or that goes on when the process does."""
        if not self.threads.switch_wanted:
            self.threads.pause(last=self._is_over)
        self.threads.leave()

    # ---- system calls

    @property
    def server(self) -> Callable[[int, tuple[int, ...]], int | None]:
        """Who serves the system calls: `dispatch`, or the tracer by it. A call costs nothing more without one."""
        return self.dispatch if self.tracer is None else partial(self.tracer.dispatch, self)

    def dispatch(self, number: int, registers: tuple[int, ...]) -> int | None:
        """Serve one system call; the value for RAX, or None when the calling thread does not go on."""
        handler = TABLE.get(number) or handler_of(number)
        if handler is None:
            which = str(number) if number < _NUMBERS else "of a number that Linux has never used"
            self.note(f"system call {which} is not emulated: the program was told ENOSYS")
            return _ENOSYS
        try:
            result = handler(self, registers)
        except WouldBlock as wait:
            return self._wait(wait, number)
        except BrokenPipe as error:
            send(self, Siginfo.from_sender(self, NUMBERS["SIGPIPE"]), self.threads.current)
            result = -error.number
        except SyscallError as error:
            result = -error.number
        except Fault:
            result = _EFAULT
        except OSError as error:
            result = -guest_errno(error)
        self.system.progress += 1
        self.clock.run(CALL_NS)
        self._slice -= 1
        if self._slice < 0 and self.system.others_may_run(self):
            self._is_over = True
            self.machine.stop()
        self.threads.current.retry_until = None
        self.timers.expire(self)
        self._mind_others()
        return self._switched(result)

    def _switched(self, result: int | None) -> int | None:
        """A call's result; None where another thread runs first, by chance: the caller gets it when its turn comes."""
        if result is None or not self.threads.preemption.switches_after_call() or not self.others_may_run():
            return result
        self.threads.give_way(result)
        return None

    def _wait(self, wait: WouldBlock, number: int) -> int | None:
        """Let the others run and make the call again when something has happened, or its time is up."""
        thread, clock = self.threads.current, self.clock
        if thread.retry_until is None and wait.nanoseconds is not None:
            thread.retry_until = clock.elapsed_ns + wait.nanoseconds
        if thread.retry_until is not None and clock.elapsed_ns >= thread.retry_until:
            thread.retry_until = None
            return wait.expire()
        thread.seen, thread.hosts = self.system.progress, wait.hosts
        self.threads.retry(restarts=number not in _NEVER_RESTARTED)
        return None

    def note(self, what: str) -> None:
        """Remember something that could not be emulated, for the report's `incomplete`."""
        self.system.note(what)

    def end(
        self, code: int | None = None, signal: int | None = None, address: int | None = None, stopped: str = ""
    ) -> None:
        """End the process; the first ending stays."""
        if self.ending is None:
            self.ending = Ending(code, signal, address, stopped)
        self.machine.stop()

    def show_registers(self) -> None:
        """Put the registers of the thread that ran last on the CPU, for those who look at what has ended."""
        if self is not self.system.running:
            self.threads.show()

    def cut_short(self, reason: str) -> None:
        """End the process as one that emuleak stopped, whether or not it had ended by itself meanwhile."""
        self.ending = Ending(stopped=reason)
        self.machine.stop()


def _nobody_knows(_start: int, _end: int, _path: str) -> int:
    """Where `Process.was_code` is asked while nobody keeps books on modules."""
    return 0
