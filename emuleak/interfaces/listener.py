"""One for each run in which a module speaks to valgrind or LeakSanitizer: it hooks modules, and sees to the report."""

from collections.abc import Iterable
from typing import Final

from emuleak.custom_blocks import CustomBlocks
from emuleak.hooks.functions import Functions
from emuleak.hooks.requests import trap_requests
from emuleak.interfaces.guest import Guest
from emuleak.interfaces.guestcalls import GuestCalls
from emuleak.interfaces.leakcheck import LeakChecks, report_of
from emuleak.interfaces.lsan import LeakSanitizer
from emuleak.interfaces.valgrind import ClientRequests
from emuleak.loader import Module
from emuleak.report.document import Finding, Report

# What only a sanitizer's own runtime defines: a program that has one keeps it.
_RUNTIMES: Final = ("__lsan_init", "__asan_init", "__hwasan_init")


class Listener:
    """Hears what the program says to the tools."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._custom = CustomBlocks(guest.heap.log)
        self._checks, self._calls = LeakChecks(guest), GuestCalls(guest)
        self._requests = ClientRequests(guest, self._custom, self._checks, self._calls)
        self._lsan = LeakSanitizer(guest, self._checks, self._calls)
        self._functions: Functions | None = None
        self._be_told()

    def _be_told(self) -> None:
        self._guest.heap.on_stranger = self._custom.freed_by_malloc
        self._guest.memory.on_unmap = self._custom.unmapped

    def copy_for(self, guest: Guest) -> "Listener":
        """That of a process which the running thread forks: it has a copy of the memory, with all hooks in place."""
        copy, breakpoints, thread = Listener(guest), guest.breakpoints, self._guest.thread
        breakpoints.hooks_in_place = True
        copy._custom = custom = self._custom.copy_for(guest.heap.log)
        copy._checks, copy._calls = checks, calls = self._checks.copy_for(guest), self._calls.copy_for(guest, thread)
        copy._requests = self._requests.copy_for(guest, custom, checks, calls, thread)
        copy._lsan = lsan = self._lsan.copy_for(guest, checks, calls, thread)
        copy._be_told()
        if self._functions is not None:
            copy._functions = Functions(
                breakpoints, guest.machine, guest.memory, lsan.functions(), self._functions.page
            )
        for module in guest.process.modules:
            if module.image.speaks_to_tools:
                copy.add(module)
        breakpoints.hooks_in_place = False
        return copy

    def add(self, module: Module) -> None:
        """A module was mapped that speaks to a tool."""
        guest = self._guest
        trap_requests(module, guest.breakpoints, guest.machine, guest.memory, self._requests.serve)
        if any(name in module.image.functions for name in _RUNTIMES):
            return
        if self._functions is None:
            self._functions = Functions(guest.breakpoints, guest.machine, guest.memory, self._lsan.functions())
        self._functions.provide(module)

    def applied(self, report: Report) -> Report:
        """The report of the run as the program wants it."""
        return self._lsan.applied(report)

    def kept(self, findings: Iterable[Finding]) -> list[Finding]:
        """Of the findings of a process that is told of in another's report those that the program wants to hear of."""
        report = self.applied(report_of(self._guest, findings))
        for what in report.incomplete:
            self._guest.kernel.note(what)
        return list(report.findings)
