"""Run a program with its own allocator, nothing of it hooked: to watch it, or to hear what its ld.so says."""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from emuleak import loader
from emuleak.host import user_and_group
from emuleak.kernel.clock import Clock
from emuleak.kernel.core import Ending, Identity, Kernel
from emuleak.kernel.run import run
from emuleak.kernel.system import Observer, System
from emuleak.kernel.tracing import Tracer
from emuleak.kernel.vfs import FileSystem
from emuleak.machine import Machine
from emuleak.memory import PAGE, AddressSpace

_PID, _PPID = 4711, 4710
_PERIOD = 0.05  # seconds


class Guest(msgspec.Struct, frozen=True):
    """What is run: `program` is a host path, `argv` what the guest sees; `max_memory` in bytes.

    `stdin` is the content; None: the emulator's own. With `capture` the output is kept (`FileSystem.output`). With
    `system` the program runs in a sandbox that has nothing but these files of the host's, by the guest's paths.
    """

    program: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    sysroot: str = "/"
    start_ns: int = 0
    max_memory: int = 4 << 30
    stdin: bytes | None = None
    capture: bool = False
    system: Mapping[str, str] | None = None


class Watcher(Tracer, Observer, Protocol):
    """Who is told of everything: calls, signals, processes."""


class UnhookedRun:
    """One run. Raises BadProgram when the program cannot be loaded."""

    def __init__(self, guest: Guest, watcher: Watcher | None = None) -> None:
        self.memory = AddressSpace()
        self.machine = Machine(self.memory)
        self.files = _files(guest)
        self.running = False
        # Takes the guest out of a call of the host's that keeps it waiting; set by whoever can.
        self.nudge: Callable[[], None] = lambda: None
        own = user_and_group()
        shown = self.files.shown(guest.program)
        try:
            process = loader.load(
                self.memory, guest.program, guest.argv, guest.environment, self.files.host_file, own, 0, shown
            )
        except BaseException:
            self.files.close_all()
            vars(self.machine).clear()
            self.memory.close()
            raise
        self.system = System(Clock(guest.start_ns), _PID)
        self.system.new_id()
        self.system.page_limit = guest.max_memory // PAGE
        self.kernel = Kernel(self.machine, self.memory, self.files, Identity(_PID, _PPID, *own), self.system)
        self.kernel.start(process.entry, process.stack_pointer, guest.program, guest.argv, process.program.end)
        self.environment_at = process.stack_pointer + 8 * (len(guest.argv) + 2)
        if watcher is not None:
            self.system.observer = self.kernel.tracer = watcher

    def run(self) -> Ending:
        """Run the guest to its end; how the program ended."""
        self.kernel.threads.begin()
        self.running = True
        try:
            run(self.system)
        finally:
            self.running = False
        ending = self.kernel.ending
        assert ending is not None
        return ending

    def stop(self, reason: str) -> None:
        """End the guest, wherever it is; from any thread."""
        self.system.stop(reason)
        threading.Thread(target=self._insist, daemon=True).start()

    def _insist(self) -> None:
        """Between two threads of the guest the CPU is not running: say it until it is heard."""
        while self.running:
            self.system.running.machine.stop()
            self.nudge()
            time.sleep(_PERIOD)

    def close(self) -> None:
        """Give all memory and all files back to the host."""
        self.system.close()


def _files(guest: Guest) -> FileSystem:
    """The guest's files: the host's, or a sandbox."""
    if guest.system is None:
        return FileSystem(sysroot=guest.sysroot, stdin=guest.stdin, capture=guest.capture)
    from emuleak.kernel.sandbox import Sandbox, SandboxFiles  # noqa: PLC0415 - only for a bundle

    return SandboxFiles(
        Sandbox(system=guest.system),
        guest.program,
        guest.start_ns,
        sysroot=guest.sysroot,
        stdin=guest.stdin,
        capture=guest.capture,
        seed=0,
    )
