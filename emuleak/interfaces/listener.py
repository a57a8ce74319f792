"""One for each run in which a module speaks to valgrind or LeakSanitizer: it hooks modules, and sees to the report."""

from typing import Final

from emuleak.custom_blocks import CustomBlocks
from emuleak.hooks.functions import Functions
from emuleak.hooks.requests import trap_requests
from emuleak.interfaces.guest import Guest
from emuleak.interfaces.guestcalls import GuestCalls
from emuleak.interfaces.leakcheck import LeakChecks
from emuleak.interfaces.lsan import LeakSanitizer
from emuleak.interfaces.valgrind import ClientRequests
from emuleak.loader import Module
from emuleak.report.document import Report

# What only a sanitizer's own runtime defines: a program that has one keeps it.
_RUNTIMES: Final = ("__lsan_init", "__asan_init", "__hwasan_init")


class Listener:
    """Hears what the program says to the tools."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        custom = CustomBlocks(guest.heap.log)
        checks, calls = LeakChecks(guest), GuestCalls(guest)
        self._requests = ClientRequests(guest, custom, checks, calls)
        self._lsan = LeakSanitizer(guest, checks, calls)
        self._functions: Functions | None = None
        guest.heap.on_stranger = custom.freed_by_malloc
        guest.memory.on_unmap = custom.unmapped

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
