"""The processes that a program makes: each forked one is checked like its parent, a new program only where it is asked.

So does valgrind: it follows a fork by its nature, and execve(2) with --trace-children.
"""

from contextlib import closing
from typing import TYPE_CHECKING

from emuleak.books import Books, Terms
from emuleak.events import Declared
from emuleak.findings.finding import Finding, Frame
from emuleak.findings.frames import Symbolizer
from emuleak.kernel.signals import SIGILL
from emuleak.stacks.unwinder import Unwinder, dwarf_numbered

if TYPE_CHECKING:
    from emuleak.kernel import Kernel
    from emuleak.loader import Process


class Descendants:
    """Owner of all processes' books; see `kernel.system.Observer`. `findings` are those of processes that ended."""

    def __init__(
        self,
        first: Books,
        *,
        terms: Terms,
        programs: bool,
    ) -> None:
        self._first = first
        self._books = {first.kernel.identity.pid: first}
        self._terms = terms
        self._programs = programs
        self.findings: list[Finding] = []

    @property
    def first(self) -> Books:
        """The first process's: of the last program that it ran and that was checked."""
        return self._first

    def blocks(self) -> int:
        """How many blocks all books hold, live and quarantined."""
        return sum(books.heap.footprint for books in self._books.values())

    def close(self) -> None:
        """Let go of everything."""
        for books in {id(each): each for each in (*self._books.values(), self._first)}.values():
            books.close()
        self._books.clear()

    def forked(self, parent: "Kernel", child: "Kernel") -> None:
        """See Observer."""
        books = self._books.get(parent.identity.pid) or self._borrowed(parent)
        if books is None:
            child.machine.on_page_limit = self._terms.on_pressure
            return
        if child.memory is parent.memory:
            books.follow(child)
            child.on_map, child.was_code = books.process.file_mapped, books.process.was_code
            return
        mine = books.fork(child, f"{child.identity.pid}, forked by {parent.identity.pid}")
        self._books[child.identity.pid] = mine
        mine.wire(self._terms, parent=books)

    def leaving(self, kernel: "Kernel") -> None:
        """See Observer: whatever was allocated goes with the memory, so only misuse is told."""
        from emuleak.report.processes import misuses_of  # noqa: PLC0415

        books = self._books.pop(kernel.identity.pid, None)
        if books is None:
            return
        books.gate.drain()
        books.over = True
        if books.log.misuses:
            with closing(Symbolizer(books.process, self._terms.sysroot)) as symbolizer:
                self._tell(books, misuses_of(kernel, books.process, books.log, symbolizer))
        if books is not self._first:
            books.close()

    def executed(self, kernel: "Kernel", process: "Process") -> None:
        """See Observer."""
        pid, path = kernel.identity.pid, process.program.path
        is_first = kernel is kernel.system.first
        if self._programs:
            books = Books.opened(kernel, process, _nothing, f"{pid}, running {path}")
            self._books[pid] = books
            books.wire(self._terms)
            if is_first:
                self._first = books
            return
        kernel.machine.on_page_limit = self._terms.on_pressure
        if is_first:
            kernel.note(f"the program became {path} by execve(2), which was not checked: --trace-children does")
            self._abandon(kernel, process)

    def _abandon(self, kernel: "Kernel", process: "Process") -> None:
        """The first process runs a program that is not checked: its figures stay, and nothing is live any more."""
        books = self._first
        books.log.live.clear()
        books.log.misuses.clear()
        books.log.declared, books.listener = Declared(), None
        process.add_initial()
        process.is_checked = False
        books.process, books.unwinder = process, Unwinder(kernel.memory, process)

    def ended(self, kernel: "Kernel") -> None:
        """See Observer."""
        books = self._books.get(kernel.identity.pid)
        if kernel.ending is not None and kernel.ending.signal == SIGILL:
            self._tell_of_lacking(kernel, books)
        if books is None:
            return
        del self._books[kernel.identity.pid]
        self._conclude(books)
        books.close()

    def _tell_of_lacking(self, kernel: "Kernel", books: Books | None) -> None:
        """Say of which instruction a process died, where it is one that the CPU should have."""
        from emuleak.report.lacking import lacking  # noqa: PLC0415 - see above

        stack: tuple[Frame, ...] = ()
        if books is not None:
            with closing(Symbolizer(books.process, self._terms.sysroot)) as symbolizer:
                walked = books.unwinder.walk(dwarf_numbered(kernel.machine.registers()), exact=True)
                stack = symbolizer.stack(walked)
        if line := lacking(kernel, stack):
            kernel.note(f"in process {kernel.identity.pid}, running {kernel.files.program}: {line}")

    def _conclude(self, books: Books) -> None:
        from emuleak.report.processes import findings_of, is_worth_a_look  # noqa: PLC0415

        books.conclude()
        if is_worth_a_look(books.log, books.inherited):
            with closing(Symbolizer(books.process, self._terms.sysroot)) as symbolizer:
                found = findings_of(
                    books.kernel,
                    books.process,
                    books.log,
                    books.unwinder,
                    symbolizer,
                    books.heap.freed,
                    books.inherited,
                )
                self._tell(books, found if books.listener is None else books.listener.kept(found))

    def _tell(self, books: Books, found: list[Finding]) -> None:
        from emuleak.report.processes import marked  # noqa: PLC0415

        self.findings += [marked(each, books.origin) if books.origin else each for each in found]

    def _borrowed(self, kernel: "Kernel") -> Books | None:
        """The books of whose memory a process borrows."""
        return next((books for books in self._books.values() if books.kernel.memory is kernel.memory), None)


def _nothing() -> None:
    return
