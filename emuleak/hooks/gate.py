"""The gate: where hooked calls arrive, most of them served in the guest, the others by a trap.

A hook jumps (`jmp rel32`) to a copy of the stub (stub.S), of which there is one for every +-2 GiB in which something is
hooked; they share one block of data. The stub serves small blocks from lists that the heap filled in advance, and notes
every call with its stack in a ring; the ring is *drained* when it is full, and before anything else looks at the heap:
a trap, a switch of threads, the end. So the heap hears of every call, in order, only later. A trap costs 1.4 us and
Python's part of a call 2 us more; the stub's part is 0.2 us and a drained record 0.6 (benchmarks/).

Nothing behind the gate trusts the guest: a guest that writes to the stub's data only lies about its own calls.
"""

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from emuleak.errors import MachineFailure
from emuleak.events import OPS, THREAD_SHIFT, Call, Op, Record, Stack, return_addresses
from emuleak.hooks import stub
from emuleak.machine import GENERAL_PROTECTION, PAGE_FAULT, Machine
from emuleak.memory import (
    EXEC,
    GATE_BASE,
    GATE_SIZE,
    PAGE,
    READ,
    WRITE,
    AddressSpace,
    Fault,
    OutOfAddressSpace,
    Region,
)

_REACH: Final = (1 << 31) - (1 << 20)
_MAX_COPIES: Final = 64

# Behind the stub's own tables: the ring, the return addresses of its records, the lists of free blocks.
_RING: Final = stub.DATA + 0x2_0000
_RECORDS: Final = 2048
_STACKS: Final = stub.DATA + 0x4_0000
_STACKS_SIZE: Final = 0x8_0000
_LISTS: Final = stub.DATA + 0x10_0000
_LIST_SIZE: Final = 0x4000  # bytes: 2,047 addresses and the 0 that ends them
_CLASSES: Final = (stub.LARGEST + 23 >> 4) + 1
_FIRST_REFILL: Final = 32
_LAST_REFILL: Final = 1024

_SAVED: Final = struct.Struct("<6Q")
_REST: Final = struct.Struct("<5Q")
_WORD: Final = struct.Struct("<Q")
_RULE: Final = struct.Struct("<QQ")
_FOUR_WORDS: Final = struct.Struct("<4Q")
_END_OF_STACK: Final = (1 << 64) - 1
_NOT_FOR_THE_STUB: Final = 1 << 63
_FROM_RBP: Final = 1 << 62


class Ledger(Protocol):
    """What the gate needs of the heap."""

    def handle(self, _call: Call, /) -> int:
        """Serve a call: the value for RAX, or -errno for a failure (then the guest sees NULL and errno).

        Raises Fault for an address of the guest's that cannot be written.
        """

    def take(self, _calls: Sequence[Record], /) -> None:
        """Take note of calls that the stub has served, in their order."""

    def reserve(self, _size: int, _count: int, /) -> Sequence[int]:
        """Addresses of blocks of `size` bytes for the stub's lists; fewer than asked for when memory runs out."""


class Stacks(Protocol):
    """What the gate needs to know of stacks."""

    def capture(self, _sp: int, _bp: int, _rest: Callable[[], tuple[int, ...]], /) -> Stack:
        """The stack at a function's first instruction, whatever rules it takes."""

    def rule(self, _return_address: int, /) -> tuple[bool, int, int] | None:
        """(CFA is from rbp, its offset, offset of the saved rbp or 0), None if there is no such simple rule."""

    def outermost(self, _return_address: int, /) -> bool:
        """Whether the stack ends with this return address."""


class Gate:
    """Owner of the stub's copies and data. Session sets `ledger` and `stacks`."""

    ledger: Ledger
    stacks: Stacks

    def __init__(self, machine: Machine, memory: AddressSpace) -> None:
        self._thread = 0
        self._machine = machine
        self._memory = memory
        self._copies: list[int] = []
        self._taught: dict[int, int] = {}
        self._refills = [_FIRST_REFILL] * _CLASSES
        memory.map(Region(GATE_BASE, GATE_BASE + GATE_SIZE, READ | WRITE, "gate"))
        self._data = memory.peek(stub.DATA, GATE_SIZE)
        self._fill_header()
        machine.traps[stub.VECTOR] = self._trap

    # ---- what strategies call

    def divert(self, site: int, op: Op) -> None:
        """Make the code at the guest address `site` (five bytes of it) jump to the gate as a call of `op`."""
        self._memory.poke(site, b"\xe9" + struct.pack("<i", self.entry(site, op) - (site + 5)))

    def entry(self, near: int, op: Op) -> int:
        """The address a pointer (a GOT slot, say) must hold to arrive at the gate as a call of `op`."""
        return self._copy_near(near) + stub.ENTRIES[OPS.index(op)]

    def errno_location(self, address: int) -> None:
        """Tell where the guest's __errno_location is, so that failures can set errno."""
        self._put(stub.ERRNO_LOCATION_AT, address)

    # ---- what the session calls

    def thread_runs(self, thread: int) -> None:
        """Tell which thread, counted from 0, makes the calls from here on."""
        self._thread = thread
        self._put(stub.THREAD_AT, thread << THREAD_SHIFT)

    def trap_always(self) -> None:
        """Let no call pass by Python, so that each is heard of as it happens."""
        self._put(stub.RING_END_AT, _RING)

    def forget_rules(self) -> None:
        """Return addresses may mean something else now: a module came or went."""
        self._taught.clear()
        self._data[stub.RULES_AT : stub.RULES_AT + (stub.RULE_MASK + 2) * 16] = bytes((stub.RULE_MASK + 2) * 16)

    def drain(self) -> None:
        """Tell the ledger of the calls that the stub served since the last time."""
        data = self._data
        used = min(max(self._get(stub.RING_AT) - _RING, 0), _RECORDS * stub.RECORD) // stub.RECORD * stub.RECORD
        if not used:
            return
        records = bytes(data[_RING - stub.DATA : _RING - stub.DATA + used])
        area = bytes(data[_STACKS - stub.DATA : max(self._get(stub.STACKS_AT), _STACKS) - stub.DATA])
        self._put(stub.RING_AT, _RING)
        self._put(stub.STACKS_AT, _STACKS)
        calls = [
            (word, address, area[start - _STACKS : end - _STACKS])
            for word, address, start, end in _FOUR_WORDS.iter_unpack(records)
        ]
        self.ledger.take(calls)

    # ---- the trap

    def _trap(self) -> None:
        self.drain()
        op, rdi, rsi, rdx, rsp, rbp = _SAVED.unpack_from(self._data, stub.SAVED_AT)
        if op >= len(OPS):  # not the stub's doing: the guest executed the interrupt itself
            self._machine.raise_exception(GENERAL_PROTECTION)
            return
        stack = self.stacks.capture(rsp, rbp, self._rest)
        self._prepare(op, rdi, rsi, rsp, stack)
        try:
            result = self.ledger.handle(Call(OPS[op], rdi, rsi, rdx, stack, self._thread))
        except Fault as fault:
            # Where posix_memalign shall store its answer nothing can be stored: the guest's own fault.
            self._machine.raise_exception(PAGE_FAULT, fault.address, "write")
            return
        if result < 0:
            self._put(stub.ERRNO_AT, -result if self._get(stub.ERRNO_LOCATION_AT) else 0)
            result = 0
        self._put(stub.RESULT_AT, result)

    def _rest(self) -> tuple[int, ...]:
        """rbx and r12-r15 at the trap."""
        return _REST.unpack_from(self._data, stub.REST_AT)

    def _prepare(self, op: int, first: int, second: int, sp: int, stack: Stack) -> None:
        """Give the stub what it lacked, so that the next call like this one need not trap."""
        if op > stub.CALLOC or self._get(stub.RING_END_AT) == _RING:
            return
        size = first * second if op == stub.CALLOC else first
        if op != stub.FREE and size > stub.LARGEST:
            return
        for address in return_addresses(stack):
            if address not in self._taught:
                self._teach(address)
        low, high = self._get(stub.STACK_LOW_AT), self._get(stub.STACK_HIGH_AT)
        if not low <= sp < high and (region := self._memory.region_at(sp)) is not None:
            self._put(stub.STACK_LOW_AT, region.start)
            self._put(stub.STACK_HIGH_AT, region.end)
        if op != stub.FREE:
            self._refill(max(size + 23 >> 4, 2))

    def _refill(self, class_: int) -> None:
        """Fill the list of a size class, with more addresses each time, if it is empty."""
        at = stub.LISTS_AT + 8 * class_
        head = self._get(at)
        list_ = _LISTS + class_ * _LIST_SIZE
        if list_ <= head < list_ + _LIST_SIZE and self._get(head - stub.DATA):
            return
        count = self._refills[class_]
        self._refills[class_] = min(2 * count, _LAST_REFILL)
        addresses = self.ledger.reserve(16 * class_ - 8, count)
        struct.pack_into(f"<{len(addresses) + 1}Q", self._data, list_ - stub.DATA, *addresses, 0)
        self._put(at, list_)

    def _teach(self, address: int) -> None:
        """Enter the rule of a return address in the stub's table."""
        rule = self.stacks.rule(address)
        if self.stacks.outermost(address):
            packed = _END_OF_STACK
        elif rule is None or not -0x8000 <= rule[2] < 0x8000:
            packed = _NOT_FOR_THE_STUB
        else:
            from_bp, offset, bp_offset = rule
            packed = (offset & 0xFFFF_FFFF) | (bp_offset & 0xFFFF) << 32 | (_FROM_RBP if from_bp else 0)
        low = address & 0xFFFF_FFFF
        slot = stub.RULES_AT + 16 * ((low ^ low >> 13) & stub.RULE_MASK)
        if self._get(slot) and self._get(slot + 16) == 0:
            slot += 16
        elif self._get(slot):
            self._taught.pop(self._get(slot), None)
        _RULE.pack_into(self._data, slot, address, packed)
        self._taught[address] = packed

    # ---- copies of the stub

    def _copy_near(self, site: int) -> int:
        for copy in self._copies:
            if abs(copy - site) < _REACH:
                return copy
        if len(self._copies) == _MAX_COPIES:
            raise MachineFailure(f"no room for another copy of the stub near {site:#x}")
        copy = self._place(site)
        self._memory.map(Region(copy, copy + PAGE, READ | EXEC, "gate"))
        self._memory.poke(copy, stub.CODE)
        self._copies.append(copy)
        return copy

    def _place(self, site: int) -> int:
        """A free page within the reach of a rel32 jump: below `site`, else as far above as can be.

        Far above, because right behind a program lies its break, which must have room to grow.
        """
        arena = next(arena for arena in self._memory.arenas if arena.base <= site < arena.end)
        bottom = max(site - _REACH & -PAGE, arena.base)
        for top in (site & -PAGE, min(site + _REACH & -PAGE, arena.end)):
            with suppress(OutOfAddressSpace):
                return self._memory.find_hole(PAGE, top, bottom)
        raise MachineFailure(f"no free page for the stub near {site:#x}")

    def _fill_header(self) -> None:
        self._put(stub.RING_AT, _RING)
        self._put(stub.RING_END_AT, _RING + _RECORDS * stub.RECORD)
        self._put(stub.STACKS_AT, _STACKS)
        self._put(stub.STACKS_END_AT, _STACKS + _STACKS_SIZE - 8 * stub.MAX_FRAMES)
        for class_ in range(_CLASSES):
            self._put(stub.LISTS_AT + 8 * class_, _LISTS + class_ * _LIST_SIZE)

    def _get(self, offset: int) -> int:
        return int(_WORD.unpack_from(self._data, offset)[0])

    def _put(self, offset: int, value: int) -> None:
        _WORD.pack_into(self._data, offset, value)
