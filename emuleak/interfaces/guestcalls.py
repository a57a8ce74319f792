"""Calls of the guest's own functions: in the midst of the run, on its own stack, and after its end."""

import threading
from collections.abc import Sequence
from typing import Final

from emuleak.interfaces.guest import Guest
from emuleak.machine import DWARF_REGISTERS, GENERAL_PROTECTION, PAGE_FAULT
from emuleak.memory import EXEC, PAGE, READ, WRITE, Region

_ARGUMENTS: Final = ("rdi", "rsi", "rdx", "rcx")
_SAVED: Final = (*DWARF_REGISTERS[:-1], "eflags", "mxcsr", *(f"xmm{number}" for number in range(16)))
_RED_ZONE: Final = 128
_STACK_SIZE: Final = 1 << 18
_LIMIT: Final = 10.0  # seconds for a call after the end
_ENOSYS: Final = 38


class GuestCalls:
    """Owner of the place to which such calls return."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._pending: dict[int, list[tuple[dict[str, int], str]]] = {}
        self._page = 0

    def copy_for(self, guest: Guest, thread: int) -> "GuestCalls":
        """Those of a process that `thread` forked, as its thread 0."""
        copy = GuestCalls(guest)
        copy._page = self._page
        if self._page:
            guest.breakpoints.always(self._page, copy._returned)
        if thread in self._pending:
            copy._pending[0] = list(self._pending[thread])
        return copy

    def begin(self, function: int, arguments: Sequence[int], answer: str) -> None:
        """Have the running thread call a function before it goes on; the register `answer` gets the result.

        To be called from a trap. The thread's registers are afterwards what they were.
        """
        machine, memory = self._guest.machine, self._guest.memory
        saved = {name: machine.get(name) for name in (*_SAVED, "rip")}
        sp = (saved["rsp"] - _RED_ZONE & -16) - 8
        if memory.region_at(sp) is None:
            machine.raise_exception(PAGE_FAULT, sp, "write")
            return
        memory.poke(sp, self._return_place().to_bytes(8, "little"))
        self._pending.setdefault(self._guest.thread, []).append((saved, answer))
        for name, value in zip(_ARGUMENTS, arguments, strict=False):
            machine.set(name, value)
        machine.set("rax", 0)
        machine.set("rsp", sp)
        machine.set("rip", function)

    def after_end(self, function: int) -> int | None:
        """Call a function without arguments when the guest has ended; None if it does not return.

        It has a stack of its own, and the kernel is gone: every system call fails with ENOSYS.
        """
        machine, memory = self._guest.machine, self._guest.memory
        saved, serve = machine.save(), machine.on_syscall
        low = memory.find_hole(_STACK_SIZE)
        memory.map(Region(low, low + _STACK_SIZE, READ | WRITE, "gate"))
        sp = low + _STACK_SIZE - 24
        results: list[int] = []
        place = self._return_place()

        def finished() -> None:
            results.append(machine.get("rax"))
            machine.stop()

        self._guest.breakpoints.always(place, finished)
        memory.poke(sp, place.to_bytes(8, "little"))
        machine.on_syscall = lambda _number, _arguments: -_ENOSYS
        machine.set("rsp", sp)
        machine.set("rip", function)
        limit = threading.Timer(_LIMIT, machine.stop)
        limit.start()
        try:
            machine.run()
        finally:
            limit.cancel()
            machine.on_syscall = serve
            machine.restore(saved)
        return results[0] if results else None

    def _return_place(self) -> int:
        if not self._page:
            memory = self._guest.memory
            self._page = memory.find_hole(PAGE)
            memory.map(Region(self._page, self._page + PAGE, READ | EXEC, "gate"))
            self._guest.breakpoints.always(self._page, self._returned)
        return self._page

    def _returned(self) -> None:
        machine, pending = self._guest.machine, self._pending.get(self._guest.thread)
        if not pending:  # the guest came here by itself
            machine.raise_exception(GENERAL_PROTECTION)
            return
        saved, answer = pending.pop()
        result = machine.get("rax")
        for name in _SAVED:
            machine.set(name, saved[name])
        machine.set("rip", saved["rip"])
        machine.set(answer, result)
