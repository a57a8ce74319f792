"""What is kept of one process that is checked: its heap, the gate before it, the log; and who is told of what."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Self

import msgspec

from emuleak import hooks
from emuleak.allocators import ExactFit
from emuleak.events import Log, Record
from emuleak.heap import Heap
from emuleak.kernel import Kernel
from emuleak.loader import Module, Process
from emuleak.memory import HEAP_BASE, HEAP_SIZE
from emuleak.stacks.unwinder import Unwinder

if TYPE_CHECKING:
    from emuleak.interfaces.guest import Guest
    from emuleak.interfaces.listener import Listener
    from emuleak.report.selection import Selection


class Terms(msgspec.Struct, frozen=True):
    """How processes are checked: by what hooks, with libraries of which root, and what the user keeps out of reports.

    `on_pressure` is called when memory may be running out. Where `source_roots` are given, only source below them is
    quoted.
    """

    strategy: str
    sysroot: str
    selection: "Selection | None"
    on_pressure: Callable[[], None]
    source_roots: Sequence[str] | None = None


class Books:
    """One checked process. `inherited` is what was in use when it was forked, `origin` how it came to be.

    `over` once the process has ended or runs another program: what is left of it in memory was seen then. `listener`
    hears what the program says to valgrind or LeakSanitizer, if it says anything.
    """

    terms: Terms
    inherited: dict[int, Record]  # by identity

    def __init__(
        self,
        kernel: Kernel,
        process: Process,
        parts: tuple[Log, Heap, hooks.Gate, Unwinder, hooks.Breakpoints, hooks.Moments],
        origin: str,
    ) -> None:
        self.kernel, self.process, self.origin = kernel, process, origin
        self.log, self.heap, self.gate, self.unwinder, self._breakpoints, self._moments = parts
        self.listener: Listener | None = None
        self.inherited = {}
        self.over = False

    @classmethod
    def opened(cls, kernel: Kernel, process: Process, on_start: Callable[[], None], origin: str) -> Self:
        """The books of a program that has not run yet."""
        memory, machine, log = kernel.memory, kernel.machine, Log()
        heap, breakpoints = Heap(memory, ExactFit(HEAP_BASE, HEAP_SIZE), log), hooks.Breakpoints(machine, memory)
        gate, unwinder = hooks.Gate(machine, memory), Unwinder(memory, process)
        moments = hooks.Moments(breakpoints, memory, machine, on_start, log.declared.stacks)
        return cls(kernel, process, (log, heap, gate, unwinder, breakpoints, moments), origin)

    def fork(self, kernel: Kernel, origin: str) -> "Books":
        """The books of a process that has a copy of this one's memory."""
        from emuleak.report.processes import in_use  # noqa: PLC0415 - most programs make no process

        memory, machine, process, log = kernel.memory, kernel.machine, self.process.copy(), self.log.fork()
        heap, unwinder = self.heap.copy_for(memory, log), self.unwinder.copy_for(memory, process)
        gate, breakpoints = self.gate.copy_for(machine, memory), self._breakpoints.copy_for(machine, memory)
        moments = self._moments.copy_for(breakpoints, memory, machine, log.declared.stacks)
        child = Books(kernel, process, (log, heap, gate, unwinder, breakpoints, moments), origin)
        child.inherited = {id(record): record for record in in_use(log)}
        return child

    def wire(self, terms: Terms, *, parent: "Books | None" = None) -> None:
        """Tie the rooms together: who is told of what. A forked process has the hooks of its `parent`."""
        gate, process = self.gate, self.process
        self.terms = terms
        gate.stacks, gate.ledger = self.unwinder, self.heap
        self.heap.is_excused = hooks.Unseen(process, gate).explains
        process.listeners.append(lambda _module: gate.forget_rules())
        self.heap.on_pressure = self.kernel.machine.on_page_limit = terms.on_pressure
        self.kernel.on_map = process.file_mapped
        self.follow(self.kernel)
        gate.hooks_in_place = parent is not None
        hooks.strategy(terms.strategy).install(process, gate)
        gate.hooks_in_place = False
        self._moments.install(process)
        process.listeners.append(self._listen)
        if parent is None:
            process.add_initial()
        elif parent.listener is not None:
            self.listener = parent.listener.copy_for(self._guest())

    def follow(self, kernel: Kernel) -> None:
        """Be told when this process's threads, or those of a child that borrows its memory, take turns."""
        kernel.threads.before_switch = self.gate.drain
        kernel.threads.after_switch = self.gate.thread_runs

    def write_stderr(self, data: bytes) -> None:
        """Write where the process's own messages go, as long as it has such a place."""
        if data and (stream := self.kernel.files.messages()) is not None:
            stream.write(data, None)

    def _listen(self, module: Module) -> None:
        """A module that speaks to valgrind or LeakSanitizer shall be heard."""
        if not module.image.speaks_to_tools:
            return
        if self.listener is None:
            from emuleak.interfaces.listener import Listener  # noqa: PLC0415 - most programs speak to neither

            self.listener = Listener(self._guest())
        self.listener.add(module)

    def _guest(self) -> "Guest":
        from emuleak.interfaces.guest import Guest  # noqa: PLC0415 - see above

        kernel, terms = self.kernel, self.terms
        argv = [os.fsdecode(argument) for argument in kernel.files.arguments]
        return Guest(
            kernel.machine, kernel.memory, self.process, kernel, self.heap, self.gate, self._breakpoints,
            self.unwinder, argv, terms.sysroot, self.write_stderr, terms.selection, terms.source_roots,
        )  # fmt: skip

    def close(self) -> None:
        """Let go of everything: the parts refer to each other in circles."""
        self.inherited.clear()
        for part in (self.process, self.heap, self.gate, self.unwinder, self._moments, self._breakpoints):
            vars(part).clear()
        if self.listener is not None:
            vars(self.listener).clear()
