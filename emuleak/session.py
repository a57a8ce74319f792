"""The whole story of a run: load the program, put the gate before its allocator, let it run, ask what is left."""

import gc
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Self

import msgspec
from msgspec import UNSET
from msgspec.structs import replace

from emuleak import kernel, loader
from emuleak.books import Books, Terms
from emuleak.errors import BadProgram
from emuleak.findings.frames import Symbolizer
from emuleak.host import groups, user_and_group
from emuleak.kernel.clock import Clock
from emuleak.kernel.holding import hold
from emuleak.kernel.run import run as run_guest
from emuleak.kernel.scripts import interpreted
from emuleak.kernel.system import Net, System
from emuleak.kernel.vfs import FileSystem
from emuleak.machine import Machine
from emuleak.memory import PAGE, AddressSpace
from emuleak.report.build import build
from emuleak.report.document import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emuleak.descendants import Descendants
    from emuleak.kernel.sandbox import Sandbox
    from emuleak.report.selection import Selection

# What one block costs the host in the ledger and in the scan at the end, in bytes (measured: 620 for small ones): an
# endless leak must end at the memory limit, too.
_LEDGER_BYTES = 620
_WATCH_PERIOD = 0.05
DEFAULT_MAX_MEMORY = 4 << 30
# What a session is made of.
_PARTS = ("books", "heap", "process", "kernel", "files", "machine", "memory")


class Options(msgspec.Struct, frozen=True):
    """What a run is given. `program` is a host path, `argv` what the guest sees; times in seconds, sizes in bytes.

    `schedule_seed`: threads are switched by chance, which it decides; 0: in turn.
    `stdin` is the content, or the path of a file; `cwd` the guest's working directory. None: as the emulator's own.
    `own_malloc` says what becomes of a malloc that the program brings along: see hooks/base.py; `net` whom its
    sockets reach. `suppressions` are files; `only_under` directories of sources outside of which findings are only
    counted.
    `trace_children` has the programs checked, too, that processes become by execve(2).
    `on_report` is given the report while the symbols are still at hand. Without `library_stacks` the report may leave
    out the stacks of what libraries keep for themselves: for those who only count it.
    """

    program: str
    argv: Sequence[str]
    environment: Mapping[str, str] = msgspec.field(default_factory=lambda: dict(os.environ))
    stdin: bytes | str | None = None
    capture: bool = False
    hook: str = "auto"
    own_malloc: loader.OwnMalloc = "auto"
    net: Net = "loopback"
    sysroot: str = "/"
    seed: int = 0
    schedule_seed: int = 0
    start_ns: int = 0
    max_seconds: float | None = None
    max_memory: int = DEFAULT_MAX_MEMORY
    cwd: str | None = None
    suppressions: Sequence[str] = ()
    only_under: Sequence[str] = ()
    trace_children: bool = False
    on_report: Callable[[Report, Symbolizer], None] | None = None
    library_stacks: bool = True
    sandbox: "Sandbox | None" = None

    @property
    def source_roots(self) -> tuple[str, ...] | None:
        """Below which directories source may be quoted, None: wherever it is.

        The debug information of a program that nobody vouches for may name any file as its source.
        """
        if self.sandbox is None:
            return None
        if self.sandbox.system is not None:
            return (self.sysroot,)
        return os.path.dirname(os.path.realpath(self.program)), os.getcwd() if self.cwd is None else self.cwd


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
        self.descendants: Descendants | None = None
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
        self.files = _files(options)
        identity = kernel.Identity(*_who()) if options.sandbox is None else kernel.Identity()
        program, argv = interpreted(options.program, options.argv, self.files.host_file, self.files.shown)
        self.process = loader.load(
            self.memory,
            program,
            argv,
            options.environment,
            self.files.host_file,
            (identity.uid, identity.gid),
            options.seed,
            self.files.shown(program),
        )
        if options.sandbox is not None and options.sandbox.system is not None:
            self.process.names = {host: path for path, host in options.sandbox.system.items()}
        self.system = System(Clock(options.start_ns), identity.pid, options.seed, options.schedule_seed)
        self.system.new_id()
        if options.sandbox is None:
            self.system.net, self.system.hostname = options.net, _host_name()
        self.system.page_limit = options.max_memory // PAGE
        self.kernel = kernel.Kernel(self.machine, self.memory, self.files, identity, self.system)
        end = self.process.program.end
        self.kernel.start(self.process.entry, self.process.stack_pointer, program, argv, end)

    def _wire(self) -> None:
        """Tie the rooms together: who is told of what."""
        options = self.options
        self.terms = Terms(
            options.hook, options.own_malloc, options.sysroot, self._selection, self._check_memory, options.source_roots
        )
        self.books = Books.opened(self.kernel, self.process, self._program_starts, "")
        self.log, self.heap = self.books.log, self.books.heap
        self.system.observer = self
        clock = self.system.clock
        self.files.on_limits(
            self.kernel.note, self.stop, self.kernel.identity.limits, lambda: clock.start_ns + clock.elapsed_ns
        )
        self.books.wire(self.terms)

    def run(self) -> Report:
        """Run the guest to its end and report. Raises BadProgram when its libraries cannot be found."""
        self._loading = hold(self.files, 2)
        if self.log.listeners:
            self.books.gate.trap_always()
        self.kernel.threads.begin()
        with self._watched(), _no_cycles():
            run_guest(self.system)
        books = self.books if self.descendants is None else self.descendants.first
        with closing(Symbolizer(books.process, self.options.sysroot)) as symbolizer:
            report = build(
                self.kernel,
                books.process,
                books.log,
                books.unwinder,
                self.options.argv,
                symbolizer,
                books.heap.freed,
                library_stacks=self.options.library_stacks,
            )
            report = self._with_descendants(report)
            if self.options.schedule_seed:
                report = replace(report, schedule_seed=self.options.schedule_seed)
            if self._selection is not None:
                report = self._selection(report, symbolizer.symbol_names)
            report = _as_wanted(books, report)
            if self.options.on_report is not None:
                self.options.on_report(report, symbolizer)
            return report

    # ---- what is told of processes: see kernel.system.Observer

    def forked(self, parent: kernel.Kernel, child: kernel.Kernel) -> None:
        """See Observer."""
        self._followed().forked(parent, child)

    def leaving(self, process: kernel.Kernel) -> None:
        """See Observer."""
        self._followed().leaving(process)

    def executed(self, process: kernel.Kernel, program: loader.Process) -> None:
        """See Observer."""
        self._followed().executed(process, program)

    def ended(self, process: kernel.Kernel) -> None:
        """See Observer."""
        if process is self.kernel:
            self._program_ended()
        elif self.descendants is not None:
            self.descendants.ended(process)

    def _followed(self) -> "Descendants":
        """The books of other processes, which most programs have none of."""
        from emuleak.descendants import Descendants  # noqa: PLC0415

        if self.descendants is None:
            self.descendants = Descendants(
                self.books,
                terms=self.terms,
                programs=self.options.trace_children,
            )
        return self.descendants

    def _with_descendants(self, report: Report) -> Report:
        """The report with the findings of other processes, and of programs that the first one ran before."""
        others = self.descendants.findings if self.descendants is not None else []
        if not others:
            return report
        from emuleak.report.processes import merged  # noqa: PLC0415 - few programs have any

        return msgspec.structs.replace(report, findings=(*report.findings, *merged(report.findings, others)))

    def close(self) -> None:
        """Give all memory and all files back to the host, at once; the session can then do nothing more.

        May be called twice, and after a failure in the middle.
        """
        try:
            if (books := vars(self).pop("descendants", None) or vars(self).pop("books", None)) is not None:
                books.close()
            if (system := vars(self).pop("system", None)) is not None:
                system.close()
            elif "files" in vars(self):
                self.files.close_all()
                vars(self.machine).clear()
                self.memory.close()
        finally:
            # The parts refer to each other in circles. Emptied they refer to nothing, and each is freed as soon as it
            # is let go; the cycle collector would come when it likes.
            for name in _PARTS:
                if (part := vars(self).pop(name, None)) is not None:
                    vars(part).clear()

    def _program_starts(self) -> None:
        """ld.so has done its work: what it wrote was no error that kept the program from starting."""
        if self._loading is not None:
            held, self._loading = self._loading(), None
            self._write_stderr(held)

    def _program_ended(self) -> None:
        """The first process has ended, and its files are open for the last time. Raises BadProgram, see below."""
        books = self.books if self.descendants is None else self.descendants.first
        if not books.over:
            books.conclude()
        if self._loading is not None:
            self._explain_failed_start(self._loading())

    def _explain_failed_start(self, message: bytes) -> None:
        """The program never got the CPU: ld.so said why, and ended with 127, or with 1 where a version is missing."""
        text = message.decode(errors="replace").strip()
        if self.kernel.ending is not None and self.kernel.ending.code and text:
            hint = "; install it, or name its directory in LD_LIBRARY_PATH" if "cannot open shared" in text else ""
            words = "; ".join(text.splitlines()) + hint
            raise BadProgram(words if words.startswith(self.options.argv[0]) else f"{self.options.program}: {words}")
        self._write_stderr(message)

    def _write_stderr(self, data: bytes) -> None:
        self.books.write_stderr(data)

    def stop(self, reason: str) -> None:
        """End the guest, wherever it is; from any thread or from a signal handler. The first reason is reported."""
        self.system.stop(reason)

    def _check_memory(self) -> None:
        pages = sum(len(process.memory.pages) for process in self.system.alive())
        blocks = self.books.heap.footprint if self.descendants is None else self.descendants.blocks()
        if pages * PAGE + blocks * _LEDGER_BYTES > self.options.max_memory:
            self.system.stop(f"the limit of {self.options.max_memory} bytes of memory was reached")

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
            if self.system.stopped:
                # Said again until it is heard: between two threads of the guest the CPU is not running.
                self.system.running.machine.stop()
                self.nudge()


def _selection(options: Options) -> "Selection | None":
    """What keeps findings out of the report. Raises BadOption for a file of suppressions that cannot be used."""
    if not options.suppressions and not options.only_under:
        return None
    from emuleak.report.selection import selection  # noqa: PLC0415 - most runs have no use for it

    return selection(options.suppressions, options.only_under)


def _as_wanted(books: Books, report: Report) -> Report:
    """The report as the program itself wants it, which has no say in the findings of others."""
    if books.listener is None:
        return report
    own = tuple(finding for finding in report.findings if finding.process is UNSET)
    others = tuple(finding for finding in report.findings if finding.process is not UNSET)
    report = books.listener.applied(msgspec.structs.replace(report, findings=own))
    return msgspec.structs.replace(report, findings=(*report.findings, *others))


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


def _files(options: Options) -> FileSystem:
    """The guest's files. Raises BadOption for one that cannot be given to it."""
    if options.sandbox is None:
        return FileSystem(
            sysroot=options.sysroot,
            stdin=options.stdin,
            capture=options.capture,
            seed=options.seed,
            cwd=options.cwd,
        )
    from emuleak.kernel.sandbox import SandboxFiles  # noqa: PLC0415 - only where it is asked for

    return SandboxFiles(
        options.sandbox,
        options.program,
        options.start_ns,
        sysroot=options.sysroot,
        stdin=options.stdin,
        capture=options.capture,
        seed=options.seed,
    )


def _who() -> tuple[int, int, int, int, tuple[int, ...]]:
    """pid, ppid, uid, gid, groups: the ids are the host's, since files belong to them."""
    return (4711, 4710, *user_and_group(), groups())


def _host_name() -> bytes:
    """What the host is called, as gethostname(2) tells."""
    if hasattr(os, "uname"):
        return os.fsencode(os.uname().nodename)
    return os.environ.get("COMPUTERNAME", "emuleak").encode()
