"""Breakpoints: a function of ours is called the first time, or each time, that the guest reaches an address."""

from collections.abc import Callable, Mapping
from typing import Final

from emuleak.machine import BREAKPOINT, Machine
from emuleak.memory import AddressSpace

_INT3: Final = b"\xcc"
_NOP: Final = b"\x90"


class Breakpoints:
    """Owner of the INT3 instructions put into the guest; an INT3 of the guest's own stays what it is, a SIGTRAP."""

    def __init__(self, machine: Machine, memory: AddressSpace) -> None:
        self._machine = machine
        self._memory = memory
        self._set: dict[int, tuple[bytes, Callable[[], None]]] = {}
        self._standing: dict[int, Callable[[], None]] = {}
        self.hooks_in_place = False  # whether `always` finds its INT3 there already: in a copy of the memory
        machine.traps[BREAKPOINT] = self._hit

    def copy_for(self, machine: Machine, memory: AddressSpace) -> "Breakpoints":
        """The breakpoints of a process that has a copy of this one's memory: those that are hit once.

        `redirect` must say what they call there. Who set the others sets them anew.
        """
        copy = Breakpoints(machine, memory)
        copy._set = dict(self._set)
        return copy

    def redirect(self, actions: Mapping[Callable[[], None], Callable[[], None]]) -> None:
        """Call another function where one of those was to be called that are hit once."""
        self._set = {site: (original, actions[action]) for site, (original, action) in self._set.items()}

    def once(self, site: int, action: Callable[[], None]) -> None:
        """Call `action` the first time the guest reaches `site`, before it executes the instruction there."""
        if site not in self._set:
            self._set[site] = (bytes(self._memory.peek(site, 1)), action)
            self._memory.poke(site, _INT3)

    def always(self, site: int, action: Callable[[], None], size: int = 1) -> None:
        """Call `action` instead of the instruction of `size` bytes at `site`, each time; the guest goes on behind it.

        The action may write RIP to have it go on elsewhere.
        """
        self._standing[site] = action
        if not self.hooks_in_place:
            self._memory.poke(site, _INT3 + _NOP * (size - 1))

    def _hit(self) -> None:
        site = self._machine.get("rip") - 1
        standing = self._standing.get(site)
        if standing is not None:
            standing()
            return
        known = self._set.pop(site, None)
        if known is None:
            self._machine.raise_exception(BREAKPOINT)
            return
        original, action = known
        self._memory.poke(site, original)
        self._machine.flush_code()
        self._machine.set("rip", site)
        action()
