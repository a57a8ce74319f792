"""Moments of a run that are no calls of the allocator: the program starts, the program ends.

At the end the dead part of the stack is cleared before libc's exit code runs over it. The frames of `exit` lie where
the program's functions had theirs a moment ago, and their unused slots still hold those functions' pointers: the scan
would find a block "reachable" from a variable that no longer exists. Below the stack pointer at a function's entry
nothing is alive (x86-64 psABI, 3.2.2), so no program can tell.
"""

from collections.abc import Callable, Mapping
from typing import Final

from emuleak.deadstack import clear_below
from emuleak.hooks.base import is_c_library
from emuleak.hooks.breakpoints import Breakpoints
from emuleak.loader import Module, Process
from emuleak.machine import Machine
from emuleak.memory import AddressSpace

_ENDINGS: Final = ("exit", "quick_exit", "_exit", "abort")


class Moments:
    """Calls `on_start` when the program itself gets the CPU, and clears the dead stack when it ends.

    `stacks` are those of the program's own that it tells of, start and end: several may share a mapping.
    """

    def __init__(
        self,
        breakpoints: Breakpoints,
        memory: AddressSpace,
        machine: Machine,
        on_start: Callable[[], None],
        stacks: Mapping[int, tuple[int, int]],
    ) -> None:
        self._breakpoints = breakpoints
        self._memory = memory
        self._machine = machine
        self._on_start = on_start
        self._stacks = stacks

    def install(self, process: Process) -> None:
        """Watch for the modules that have these moments."""

        def watch(module: Module) -> None:
            entry = module.image.entry + module.bias
            # A corrupt program's entry point may lie anywhere; from there it does not start.
            if module is process.program and self._memory.region_at(entry) is not None:
                self._breakpoints.once(entry, self._on_start)
            if is_c_library(module):
                for name in _ENDINGS:
                    site = module.address_of(name)
                    if site is not None:
                        self._breakpoints.once(site, self._clear_dead_stack)

        process.listeners.append(watch)

    def copy_for(
        self,
        breakpoints: Breakpoints,
        memory: AddressSpace,
        machine: Machine,
        stacks: Mapping[int, tuple[int, int]],
    ) -> "Moments":
        """The moments of a process that has a copy of this one's memory, and has started."""
        copy = Moments(breakpoints, memory, machine, _nothing, stacks)
        breakpoints.redirect({self._on_start: _nothing, self._clear_dead_stack: copy._clear_dead_stack})
        return copy

    def _clear_dead_stack(self) -> None:
        pointer = self._machine.get("rsp")
        bottom = next((start for start, end in self._stacks.values() if start <= pointer < end), 0)
        clear_below(self._memory, pointer, bottom)


def _nothing() -> None:
    return
