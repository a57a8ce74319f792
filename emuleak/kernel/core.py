"""The kernel's state and its dispatch: what a system call can reach, and how it is reached.

One object owns each part of the state (files, threads, signals, clock, brk); the handlers of a family are plain
functions over them. Whatever the guest hands in, a handler ends in a number for RAX.
"""

import os
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from emuleak.kernel import fxsave
from emuleak.kernel.abi import ERRNO, SyscallError, guest_errno
from emuleak.kernel.clock import Clock
from emuleak.kernel.descriptions import BrokenPipe, WouldBlock
from emuleak.kernel.memoryfiles import MemoryFile
from emuleak.kernel.signals import NUMBERS, Siginfo, SignalTable, send
from emuleak.kernel.table import TABLE
from emuleak.kernel.threads import Scheduler
from emuleak.kernel.timers import Timers
from emuleak.kernel.vfs import FileSystem
from emuleak.machine import Machine
from emuleak.memory import AddressSpace, Fault, Region, page_ceil

_ENOSYS = -ERRNO["ENOSYS"]
_EFAULT = -ERRNO["EFAULT"]
# poll, select, epoll_wait, pselect6, ppoll, epoll_pwait, epoll_pwait2: a handler ends them whatever SA_RESTART says,
# see signal(7).
_NEVER_RESTARTED = frozenset((7, 23, 232, 270, 271, 281, 441))


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


class Identity(msgspec.Struct):
    """What the process is told of itself. Fixed numbers: a process id of the host's would differ at every run."""

    pid: int = 4711
    ppid: int = 4710
    uid: int = 1000
    gid: int = 1000
    name: bytes = b""
    limits: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)


class Kernel:
    """The Linux that the guest sees."""

    def __init__(
        self, machine: Machine, memory: AddressSpace, files: FileSystem, identity: Identity, clock: Clock
    ) -> None:
        self.machine = machine
        self.memory: AddressSpace = memory
        self.files = files
        self.identity = identity
        self.clock = clock
        self.threads = Scheduler(machine, identity.pid)
        self.signals = SignalTable()
        self.timers = Timers()
        self.brk_start = self.brk = 0
        self.ending: Ending | None = None
        self.incomplete: dict[str, int] = {}
        self._fruitless = 0
        self.on_map: MapListener = lambda _region: None
        self.trace: Callable[[str, tuple[int, ...], int | None], None] | None = None

    def start(self, entry: int, stack_pointer: int, program: str, argv: Sequence[str], program_end: int) -> None:
        """Set the first thread's registers and what /proc/self says; the break starts behind the program."""
        self.machine.set("rip", entry)
        self.machine.set("rsp", stack_pointer)
        fxsave.reset(self.machine)
        self.machine.on_syscall = self.dispatch
        self.brk_start = self.brk = page_ceil(program_end)
        files = self.files
        files.program, files.arguments = os.path.realpath(program), [os.fsencode(argument) for argument in argv]
        files.pid, files.limits = self.identity.pid, self.identity.limits
        files.proc["maps"] = self._maps
        self.identity.name = os.fsencode(os.path.basename(program))[:15]

    def _maps(self) -> bytes:
        """/proc/self/maps, as proc(5) shows it."""
        lines = []
        for region in self.memory.regions():
            if region.kind in {"gate", "heap"}:
                continue
            bits = "".join(letter if region.prot & bit else "-" for letter, bit in zip("rwx", (1, 2, 4), strict=True))
            name = region.path or {"stack": "[stack]", "brk": "[heap]"}.get(region.kind, "")
            sharing = "s" if region.shared else "p"
            head = f"{region.start:x}-{region.end:x} {bits}{sharing} {region.offset:08x} 00:00 0"
            lines.append(f"{head:<72} {name}".rstrip())
        return os.fsencode("\n".join(lines) + "\n")

    def hold_stderr(self) -> Callable[[], bytes]:
        """Keep what is written to descriptor 2 until the returned function is called, which also puts 2 back."""
        try:
            original = self.files.get(2)
        except SyscallError:
            return bytes
        original.references += 1
        held = MemoryFile("/dev/stderr", 1)
        self.files.place(2, held)

        def let_go() -> bytes:
            if 2 in self.files.descriptors() and self.files.get(2) is held:
                self.files.place(2, original)
            original.references -= 1
            return bytes(held.data)

        return let_go

    def dispatch(self, number: int, registers: tuple[int, ...]) -> int | None:
        """Serve one system call; the value for RAX, or None when the calling thread does not go on."""
        handler = TABLE.get(number)
        if handler is None:
            self.note(f"system call {number} is not emulated: the program was told ENOSYS")
            return _ENOSYS
        try:
            result = handler(self, registers)
            self._fruitless = 0
            self.threads.current.retry_until = None
        except WouldBlock as wait:
            result = self._wait(wait, number)
        except BrokenPipe as error:
            send(self, Siginfo.from_sender(self, NUMBERS["SIGPIPE"]), self.threads.current)
            result = -error.number
        except SyscallError as error:
            result = -error.number
        except Fault:
            result = _EFAULT
        except OSError as error:
            result = -guest_errno(error)
        self.timers.expire(self)
        if self.trace is not None:
            self.trace(handler.name, registers, result)
        return result

    def _wait(self, wait: WouldBlock, number: int) -> int | None:
        """Let the others run and make the call again, until its time is up or nobody is left to change anything."""
        thread, threads, clock = self.threads.current, self.threads, self.clock
        if thread.retry_until is None and wait.nanoseconds is not None:
            thread.retry_until = clock.elapsed_ns + wait.nanoseconds
        self._fruitless += 1
        if self._fruitless > 2 * threads.alive:
            # Everyone has tried in vain since anything last happened: only time can help.
            deadlines = [*threads.deadlines(), *self.timers.deadlines()]
            if not deadlines:
                self.end(stopped="deadlock: every thread waits for another")
                return None
            clock.advance_to(min(deadlines))
            self._fruitless = 0
        if thread.retry_until is not None and clock.elapsed_ns >= thread.retry_until:
            thread.retry_until = None
            return wait.expire()
        threads.retry(restarts=number not in _NEVER_RESTARTED)
        return None

    def note(self, what: str) -> None:
        """Remember something that could not be emulated, for the report's `incomplete`."""
        self.incomplete[what] = self.incomplete.get(what, 0) + 1

    def end(
        self, code: int | None = None, signal: int | None = None, address: int | None = None, stopped: str = ""
    ) -> None:
        """End the process; the first ending stays."""
        if self.ending is None:
            self.ending = Ending(code, signal, address, stopped)
        self.machine.stop()
