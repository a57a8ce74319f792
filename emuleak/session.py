"""The whole story of a run: load the program, put the gate before its allocator, let it run, ask what is left."""

import gc
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Self

import msgspec

from emuleak import hooks, kernel, loader
from emuleak.allocators import ExactFit
from emuleak.errors import BadProgram
from emuleak.events import Log
from emuleak.findings.frames import Symbolizer
from emuleak.heap import Heap
from emuleak.kernel.clock import Clock
from emuleak.kernel.run import run as run_guest
from emuleak.kernel.vfs import FileSystem
from emuleak.machine import Machine
from emuleak.memory import HEAP_BASE, HEAP_SIZE, PAGE, AddressSpace
from emuleak.report.build import build
from emuleak.report.document import Report
from emuleak.stacks.unwinder import Unwinder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emuleak.interfaces.listener import Listener
    from emuleak.loader import Module
    from emuleak.report.selection import Selection

# What one block costs the host in the ledger and in the scan at the end, in bytes (measured: 620 for small ones): an
# endless leak must end at the memory limit, too.
_LEDGER_BYTES = 620
_WATCH_PERIOD = 0.05
DEFAULT_MAX_MEMORY = 4 << 30
# What a session is made of, but for the memory that comes last.
_PARTS = ("_listener", "_breakpoints", "process", "kernel", "heap", "gate", "unwinder", "files", "machine")


class Options(msgspec.Struct, frozen=True):
    """What a run is given. `program` is a host path, `argv` what the guest sees; times in seconds, sizes in bytes.

    `stdin` is the content, or the path of a file; `cwd` the guest's working directory. None: as the emulator's own.
    `suppressions` are files; `only_under` directories of sources outside of which findings are only counted.
    `on_report` is given the report while the symbols are still at hand. Without `library_stacks` the report may leave
    out the stacks of what libraries keep for themselves: for those who only count it.
    """

    program: str
    argv: Sequence[str]
    environment: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(os.environ))
    stdin: bytes | str | None = None
    capture: bool = False
    hook: str = "auto"
    sysroot: str = "/"
    seed: int = 0
    start_ns: int = 0
    max_seconds: float | None = None
    max_memory: int = DEFAULT_MAX_MEMORY
    cwd: str | None = None
    suppressions: Sequence[str] = ()
    only_under: Sequence[str] = ()
    on_report: Callable[[Report, Symbolizer], None] | None = None
    library_stacks: bool = True


class Session:
    """One run of one program. `listeners` of the log must be added before `run`.

    Who makes many closes each, or uses it in a `with` statement: it holds more than 1 TiB of the host's addresses.

    `running` while the guest has the CPU; `nudge` is called, from another thread, to get it out of a call of the host's
    that keeps it waiting after it was told to stop.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.running = False
        self.nudge: Callable[[], None] = lambda: None
        self._loading: Callable[[], bytes] | None = None
        self._selection = _selection(options)
        self._listener: Listener | None = None
        try:
            self._load(options)
            self._wire()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self, options: Options) -> None:
        """Make the machine and put the program into it."""
        self.memory = AddressSpace()
        self.machine = Machine(self.memory)
        self.files = FileSystem(
            sysroot=options.sysroot,
            stdin=options.stdin,
            capture=options.capture,
            seed=options.seed,
            cwd=options.cwd,
        )
        identity = kernel.Identity(*_who())
        self.process = loader.load(
            self.memory,
            options.program,
            options.argv,
            options.environment,
            self.files.host_path,
            (identity.uid, identity.gid),
            options.seed,
        )
        self.kernel = kernel.Kernel(self.machine, self.memory, self.files, identity, Clock(options.start_ns))
        program = self.process.program
        self.kernel.start(self.process.entry, self.process.stack_pointer, options.program, options.argv, program.end)
        self.log = Log()
        self.heap = Heap(self.memory, ExactFit(HEAP_BASE, HEAP_SIZE), self.log)
        self.gate = hooks.Gate(self.machine, self.memory)

    def _wire(self) -> None:
        """Tie the rooms together: who is told of what."""
        unwinder = self.unwinder = Unwinder(self.memory, self.process)
        self.gate.stacks, self.gate.ledger = unwinder, self.heap
        self.heap.is_excused = hooks.Unseen(self.process, self.gate).explains
        self.process.listeners.append(lambda _module: self.gate.forget_rules())
        self.kernel.threads.before_switch = self.gate.drain
        first = self.kernel.threads.current.tid
        self.kernel.threads.after_switch = lambda tid: self.gate.thread_runs(tid - first)
        self.kernel.on_map = self.process.file_mapped
        self.heap.on_pressure = self.machine.on_page_limit = self._check_memory
        self.machine.page_limit = self.options.max_memory // PAGE
        hooks.strategy(self.options.hook).install(self.process, self.gate)
        self._breakpoints = hooks.Breakpoints(self.machine, self.memory)
        stacks = self.log.declared.stacks
        moments = hooks.Moments(self._breakpoints, self.memory, self.machine, self._program_starts, stacks)
        moments.install(self.process)
        self.process.listeners.append(self._listen)
        self.process.add_initial()

    def run(self) -> Report:
        """Run the guest to its end and report. Raises BadProgram when its libraries cannot be found."""
        self._loading = self.kernel.hold_stderr()
        if self.log.listeners:
            self.gate.trap_always()
        with self._watched(), _no_cycles():
            run_guest(self.kernel)
        self.gate.drain()
        self.heap.check()
        if self._loading is not None:
            self._explain_failed_start(self._loading())
        self.files.close_all()
        with closing(Symbolizer(self.process, self.options.sysroot)) as symbolizer:
            report = build(
                self.kernel,
                self.process,
                self.log,
                self.unwinder,
                self.options.argv,
                symbolizer,
                self.heap.freed,
                library_stacks=self.options.library_stacks,
            )
            if self._selection is not None:
                report = self._selection(report, symbolizer.symbol_names)
            if self._listener is not None:
                report = self._listener.applied(report)
            if self.options.on_report is not None:
                self.options.on_report(report, symbolizer)
            return report

    def close(self) -> None:
        """Give all memory and all files back to the host, at once; the session can then do nothing more.

        May be called twice, and after a failure in the middle.
        """
        try:
            if "files" in vars(self):
                self.files.close_all()
        finally:
            # The parts refer to each other in circles. Emptied they refer to nothing, and each is freed as soon as it
            # is let go; the cycle collector would come when it likes. The CPU goes before the memory it runs in.
            for name in _PARTS:
                if (part := vars(self).pop(name, None)) is not None:
                    vars(part).clear()
            if (memory := vars(self).pop("memory", None)) is not None:
                memory.close()
                vars(memory).clear()

    def _listen(self, module: "Module") -> None:
        """A module that speaks to valgrind or LeakSanitizer shall be heard."""
        if not module.image.speaks_to_tools:
            return
        if self._listener is None:
            from emuleak.interfaces.guest import Guest  # noqa: PLC0415 - most programs speak to neither
            from emuleak.interfaces.listener import Listener  # noqa: PLC0415

            self._listener = Listener(Guest(
                self.machine, self.memory, self.process, self.kernel, self.heap, self.gate, self._breakpoints,
                self.unwinder, self.options.argv, self.options.sysroot, self._write_stderr, self._selection,
            ))  # fmt: skip
        self._listener.add(module)

    def _program_starts(self) -> None:
        """ld.so has done its work: what it wrote was no error that kept the program from starting."""
        if self._loading is not None:
            held, self._loading = self._loading(), None
            self._write_stderr(held)

    def _explain_failed_start(self, message: bytes) -> None:
        """The program never got the CPU: ld.so said why, and ended with 127, or with 1 where a version is missing."""
        text = message.decode(errors="replace").strip()
        if self.kernel.ending is not None and self.kernel.ending.code and text:
            hint = "; install it, or name its directory in LD_LIBRARY_PATH" if "cannot open shared" in text else ""
            words = "; ".join(text.splitlines()) + hint
            raise BadProgram(words if words.startswith(self.options.argv[0]) else f"{self.options.program}: {words}")
        self._write_stderr(message)

    def _write_stderr(self, data: bytes) -> None:
        if data and 2 in self.files.descriptors():
            self.files.get(2).write(data, None)

    def stop(self, reason: str) -> None:
        """End the guest, wherever it is; from any thread or from a signal handler. The first reason is reported."""
        self.kernel.end(stopped=reason)

    def _check_memory(self) -> None:
        used = len(self.memory.pages) * PAGE + self.heap.footprint * _LEDGER_BYTES
        if used > self.options.max_memory:
            self.kernel.end(stopped=f"the limit of {self.options.max_memory} bytes of memory was reached")

    @contextmanager
    def _watched(self) -> "Iterator[None]":
        """While the guest runs: stop it when its seconds are over, and see to it that a stop is obeyed."""
        over = threading.Event()
        watch = threading.Thread(target=self._watch, args=(over,), daemon=True)
        watch.start()
        self.running = True
        try:
            yield
        finally:
            self.running = False
            over.set()
            watch.join()

    def _watch(self, over: threading.Event) -> None:
        limit = self.options.max_seconds
        end = None if limit is None else time.monotonic() + limit
        while not over.wait(_WATCH_PERIOD):
            if end is not None and time.monotonic() >= end:
                self.stop(f"the limit of {limit:g} seconds was reached")
            if self.kernel.ending is not None:
                # Said again until it is heard: between two threads of the guest the CPU is not running.
                self.machine.stop()
                self.nudge()


def _selection(options: Options) -> "Selection | None":
    """What keeps findings out of the report. Raises BadOption for a file of suppressions that cannot be used."""
    if not options.suppressions and not options.only_under:
        return None
    from emuleak.report.selection import selection  # noqa: PLC0415 - most runs have no use for it

    return selection(options.suppressions, options.only_under)


@contextmanager
def _no_cycles() -> "Iterator[None]":
    """Keep the cycle collector still: the books hold millions of objects in no cycle, and it would walk them all."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _who() -> tuple[int, int, int, int]:
    """pid, ppid, uid, gid: the ids are the host's, since files belong to them."""
    own = (os.getuid(), os.getgid()) if hasattr(os, "getuid") else (1000, 1000)
    return (4711, 4710, *own)
