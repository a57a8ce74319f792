"""An `operator new` that cannot be met: there the library's own code must run.

It calls the new-handler for as long as that frees anything, throws `std::bad_alloc` in the end, or returns a null
pointer where that was asked for; all of it with the frames that the C++ unwinder needs. So the hook is taken off the
operator's first instruction, the CPU sent there again with the registers of the call, and the hook put back at the next
trap. That comes soon: the library's code asks malloc, which is hooked, too. Since the heap has said no already, that
first question is answered without asking again. What is asked after a new-handler was called is asked for the
operator, and the block that comes of it is the operator's: made by `new`, at the line that said so.
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from emuleak.events import Call, Stack, return_addresses
from emuleak.machine import Machine
from emuleak.memory import AddressSpace

_ENOMEM: Final = 12
_MOST_INNER: Final = 3  # frames of the library's operators between the caller of one and malloc
_POINTER: Final = struct.Struct("<Q")


class Site(NamedTuple):
    """An operator of the library's: its first instruction, one past its last, what was there before the hook."""

    start: int
    end: Callable[[], int]
    code: bytes
    hook: bytes


class _Pending:
    """A call of an operator that was refused and whose original code runs."""

    def __init__(self, call: Call, sp: int) -> None:
        self.call, self.sp = call, sp
        self.sites: set[int] = set()
        self.told = False  # whether malloc has told it that there is no memory

    def as_of_first(self) -> "_Pending":
        """The same call in a forked process, where the thread that made it is the first."""
        copy = _Pending(msgspec.structs.replace(self.call, thread=0), self.sp)
        copy.sites, copy.told = set(self.sites), self.told
        return copy


class Originals:
    """Owner of the operators' sites. An index of 0 is no site's."""

    def __init__(self, machine: Machine, memory: AddressSpace) -> None:
        self._machine = machine
        self._memory = memory
        self._sites: list[Site] = []
        self._pending: list[_Pending] = []  # the innermost last
        self._bare: list[Site] = []  # those without their hook at the moment

    def copy_for(self, machine: Machine, memory: AddressSpace, thread: int) -> "Originals":
        """Those of a process that has a copy of this one's memory, all hooks in place: `thread` is its thread 0."""
        copy = Originals(machine, memory)
        copy._sites = list(self._sites)
        copy._pending = [each.as_of_first() for each in self._pending if each.call.thread == thread]
        return copy

    def add(self, site: Site) -> int:
        """The index of a new site."""
        self._sites.append(site)
        return len(self._sites)

    def put_hooks_back(self) -> None:
        """Called when the CPU has left the first instructions of every original."""
        for site in self._bare:
            self._memory.poke(site.start, site.hook)
        if self._bare:
            self._bare.clear()
            self._machine.flush_code()

    def serve(self, call: Call, sp: int, index: int, ledger: Callable[[Call], int]) -> int | None:
        """What the ledger says to a call; None when the CPU stands at an original instead.

        `index` is the operator's site where the call came from one, `sp` the stack pointer at its first instruction.
        """
        if index > len(self._sites):  # a guest that wrote to the gate's data
            index = 0
        if not index and not self._pending:
            return ledger(call)
        pending = self._behind(call, sp, index)
        if index:
            return self._operator(call, sp, index, ledger, pending)
        return ledger(call) if pending is None else self._inner(call, pending, ledger)

    def _operator(
        self, call: Call, sp: int, index: int, ledger: Callable[[Call], int], pending: _Pending | None
    ) -> int | None:
        if pending is None:
            result = ledger(call)
            if result >= 0:
                return result
            pending = _Pending(call, sp)
            self._pending.append(pending)
        pending.sites.add(index)
        self._run(self._sites[index - 1], call)
        return None

    def _inner(self, call: Call, pending: _Pending, ledger: Callable[[Call], int]) -> int:
        """What malloc says to an original."""
        by_pointer = call.op == "posix_memalign"
        if not pending.told:
            pending.told = True
            return _ENOMEM if by_pointer else -_ENOMEM
        result = ledger(pending.call)
        if result >= 0:
            self._pending.remove(pending)
        if not by_pointer:
            return result
        if result >= 0:
            self._memory.write(call.first, _POINTER.pack(result))
        return max(-result, 0)

    def _run(self, site: Site, call: Call) -> None:
        """Send the CPU to the original with the registers of the call."""
        self._memory.poke(site.start, site.code)
        self._bare.append(site)
        self._machine.flush_code()
        for register, value in (("rdi", call.first), ("rsi", call.second), ("rdx", call.third), ("rip", site.start)):
            self._machine.set(register, value)

    # ---- whose code is running

    def _behind(self, call: Call, sp: int, index: int) -> _Pending | None:
        """The refused operator from whose original a call comes, if from any; forgets those that have ended.

        One has ended when its own thread calls from where its caller is, or further out: it threw, or returned NULL.
        """
        found: _Pending | None = None
        for pending in reversed(self._pending):
            if pending.call.thread != call.thread:
                continue
            if found is None and index not in pending.sites and self._comes_from(call.stack, pending):
                found = pending
            elif sp >= pending.sp:
                self._pending.remove(pending)
        return found

    def _comes_from(self, stack: Stack, pending: _Pending) -> bool:
        """Whether nothing but operators of the library's lie between the caller of the operator and this call.

        The outer end of a stack that is longer than any stack is kept may be missing.
        """
        for inner in range(_MOST_INNER + 1):
            outer = stack[8 * inner :]
            if outer and pending.call.stack.startswith(outer):
                return all(self._in_operator(address) for address in return_addresses(stack[: 8 * inner]))
        return False

    def _in_operator(self, return_address: int) -> bool:
        return any(site.start < return_address <= site.end() for site in self._sites)
