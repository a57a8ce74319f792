"""The gate: where hooked calls arrive, most of them served in the guest, the others by a trap.

A hook jumps (`jmp rel32`) to a copy of the stub (stub.S), of which there is one for every +-2 GiB in which something is
hooked; they share one block of data. The stub serves small blocks from lists that the heap filled in advance, and notes
every call with its stack in a ring; the ring is *drained* when it is full, and before anything else looks at the heap:
a trap, a switch of threads, the end. So the heap hears of every call, in order, only later. A trap costs 1.4 us and
Python's part of a call 2 us more; the stub's part is 0.2 us and a drained record 0.2 to 0.6 (benchmarks/).

Nothing behind the gate trusts the guest: a guest that writes to the stub's data only lies about its own calls.
"""

import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Protocol

from emuleak.batch import Batch
from emuleak.errors import MachineFailure
from emuleak.events import (
    FAMILY_BY_CODE,
    OPS,
    RELEASES_BY_CODE,
    THREAD_SHIFT,
    Call,
    Op,
    Stack,
    return_addresses,
)
from emuleak.hooks import stub
from emuleak.hooks.originals import Originals, Site
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
_LONGEST_ERRNO_LOCATION: Final = 64  # bytes; glibc's has 12, through its PLT

_CODE: Final = stub.CODE[: stub.INSPECT]
# Behind the stub's own data: the lists of free blocks.
_LISTS: Final = stub.DATA + 0x10_0000
_LIST_SIZE: Final = 0x4000  # bytes: 2,047 addresses and the 0 that ends them
_CLASSES: Final = (stub.LARGEST + 23 >> 4) + 1
_FIRST_REFILL: Final = 32
_LAST_REFILL: Final = 1024

_SAVED: Final = struct.Struct("<6Q")
_REST: Final = struct.Struct("<5Q")
_WORD: Final = struct.Struct("<Q")
_RULE: Final = struct.Struct("<QQ")
_NO_CODE: Final = 1  # an address at which none lies
# Rules that the stub can follow have offsets within these bounds: what it reads then is part of the stack.
_LARGEST_FROM_RBP: Final = 16
_LARGEST_FROM_RSP: Final = 1 << 24
# An operator new goes through a piece of code of its own that notes which it is: movabs r11, DATA; mov qword ptr
# [r11+SITE], index; jmp entry. They lie behind the stub's code, in its copies.
_NOTE: Final = struct.Struct("<2sQ3sII1si")
_NOTE_SIZE: Final = 32
_FIRST_NOTE: Final = len(_CODE) + _NOTE_SIZE - 1 & -_NOTE_SIZE
_NEWS: Final = frozenset(
    code for code in range(len(OPS)) if FAMILY_BY_CODE[code] != FAMILY_BY_CODE[0] and not RELEASES_BY_CODE[code]
)


class Ledger(Protocol):
    """What the gate needs of the heap."""

    def handle(self, _call: Call, /) -> int:
        """Serve a call: the value for RAX, or -errno for a failure (then the guest sees NULL and errno).

        Raises Fault for an address of the guest's that cannot be written.
        """

    def take(self, _calls: Batch, /) -> None:
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
        self._copies: dict[int, int] = {}  # by address: how many bytes of its page are in use
        self._originals = Originals(machine, memory)
        self._diverted: set[int] = set()
        self._taught: dict[int, int] = {}
        self._refills = [_FIRST_REFILL] * _CLASSES
        self.hooks_in_place = False  # whether what is to be diverted jumps here already: in a copy of the memory
        is_new = memory.region_at(GATE_BASE) is None
        if is_new:
            memory.map(Region(GATE_BASE, GATE_BASE + GATE_SIZE, READ | WRITE, "gate"))
        self._data = memory.peek(stub.DATA, GATE_SIZE)
        if is_new:
            self._fill_header()
        machine.traps[stub.VECTOR] = self._trap

    def copy_for(self, machine: Machine, memory: AddressSpace) -> "Gate":
        """The gate of a process that has a copy of this one's memory: stub, data and hooks are there already.

        To be called when this one was drained, as the thread runs that is the copy's only one.
        """
        copy = Gate(machine, memory)
        copy._copies, copy._taught, copy._refills = dict(self._copies), dict(self._taught), list(self._refills)
        copy._diverted = set(self._diverted)
        copy._originals = self._originals.copy_for(machine, memory, self._thread)
        return copy

    # ---- what strategies call

    def divert(self, site: int, op: Op) -> None:
        """Make the code at the guest address `site` (five bytes of it) jump to the gate as a call of `op`."""
        if self.hooks_in_place:
            return
        self._memory.poke(site, _jump(site, self.entry(site, op)))
        self._diverted.add(site)

    def divert_operator(self, site: int, end: Callable[[], int], op: Op) -> None:
        """As `divert`, for an operator of C++'s, whose code ends at `end()`: a `new` that cannot be met runs that."""
        if self.hooks_in_place:
            return
        if OPS.index(op) not in _NEWS:
            self.divert(site, op)
            return
        copy = self._copy_near(site, _NOTE_SIZE)
        note, entry = copy + self._copies[copy], copy + stub.ENTRIES[OPS.index(op)]
        hook = _jump(site, note)
        index = self._originals.add(Site(site, end, bytes(self._memory.peek(site, len(hook))), hook))
        jump = entry - (note + _NOTE.size)
        self._memory.poke(note, _NOTE.pack(b"\x49\xbb", stub.DATA, b"\x49\xc7\x83", stub.SITE_AT, index, b"\xe9", jump))
        self._copies[copy] += _NOTE_SIZE
        self._memory.poke(site, hook)
        self._diverted.add(site)

    def is_diverted(self, site: int) -> bool:
        """Whether the code at `site` jumps to the gate."""
        return site in self._diverted

    def entry(self, near: int, op: Op) -> int:
        """The address a pointer (a GOT slot, say) must hold to arrive at the gate as a call of `op`."""
        return self._copy_near(near) + stub.ENTRIES[OPS.index(op)]

    def errno_location(self, address: int) -> None:
        """Tell where the guest's __errno_location is, so that failures can set errno."""
        self._put(stub.ERRNO_LOCATION_AT, address)

    # ---- what the session calls

    def holds(self, position: int) -> bool:
        """Whether a thread at this instruction is in the stub, or in the function that it calls.

        It has one block of data, so no other thread must enter it then.
        """
        errno = self._get(stub.ERRNO_LOCATION_AT)
        return position & -PAGE in self._copies or errno <= position < errno + _LONGEST_ERRNO_LOCATION

    def thread_runs(self, thread: int) -> None:
        """Tell which thread, counted from 0, makes the calls from here on."""
        self._thread = thread
        self._put(stub.THREAD_AT, thread << THREAD_SHIFT)

    def trap_always(self) -> None:
        """Let no call pass by Python, so that each is heard of as it happens."""
        self._put(stub.RING_END_AT, stub.RING)

    def forget_rules(self) -> None:
        """Return addresses may mean something else now: a module came or went."""
        self._taught.clear()
        self._data[stub.RULES_AT : stub.RULES_AT + (stub.RULE_MASK + 2) * 16] = bytes((stub.RULE_MASK + 2) * 16)
        for slot in (0, 16):  # where 0 would be looked for, with which some stacks end: an empty place must not match
            _RULE.pack_into(self._data, stub.RULES_AT + slot, _NO_CODE, stub.RULE_NOT_FOR_THE_STUB)

    def drain(self) -> None:
        """Tell the ledger of the calls that the stub served since the last time."""
        self._originals.put_hooks_back()
        data = self._data
        used = min(max(self._get(stub.RING_AT) - stub.RING, 0), stub.RECORDS * stub.RECORD) // stub.RECORD * stub.RECORD
        if not used:
            return
        records = bytes(data[stub.RING - stub.DATA : stub.RING - stub.DATA + used])
        area = bytes(data[stub.STACKS - stub.DATA : max(self._get(stub.STACKS_AT), stub.STACKS) - stub.DATA])
        self._put(stub.RING_AT, stub.RING)
        self._put(stub.STACKS_AT, stub.STACKS)
        self.ledger.take(Batch(records, area, drained=True))

    # ---- the trap

    def _trap(self) -> None:
        self.drain()
        op, rdi, rsi, rdx, rsp, rbp = _SAVED.unpack_from(self._data, stub.SAVED_AT)
        if op >= len(OPS):  # not the stub's doing: the guest executed the interrupt itself
            self._machine.raise_exception(GENERAL_PROTECTION)
            return
        stack = self.stacks.capture(rsp, rbp, self._rest)
        self._prepare(op, rdi, rsi, rsp, stack)
        call = Call(OPS[op], rdi, rsi, rdx, stack, self._thread)
        index = self._get(stub.SITE_AT) if op in _NEWS else 0
        self._put(stub.SITE_AT, 0)
        try:
            result = self._originals.serve(call, rsp, index, self.ledger.handle)
        except Fault as fault:
            # Where posix_memalign shall store its answer nothing can be stored: the guest's own fault.
            self._machine.raise_exception(PAGE_FAULT, fault.address, "write")
            return
        if result is None:
            return  # the CPU is on its way elsewhere
        if result < 0:
            self._put(stub.ERRNO_AT, -result if self._get(stub.ERRNO_LOCATION_AT) else 0)
            result = 0
        self._put(stub.RESULT_AT, result)

    def _rest(self) -> tuple[int, ...]:
        """rbx and r12-r15 at the trap."""
        return _REST.unpack_from(self._data, stub.REST_AT)

    def _prepare(self, op: int, first: int, second: int, sp: int, stack: Stack) -> None:
        """Give the stub what it lacked, so that the next call like this one need not trap."""
        if op not in stub.SERVED or self._get(stub.RING_END_AT) == stub.RING:
            return
        size = first * second if op == stub.CALLOC else first
        if op in stub.ALLOCATES and size > stub.LARGEST:
            return
        for address in return_addresses(stack):
            if address not in self._taught:
                self._teach(address)
        low, high = self._get(stub.STACK_LOW_AT), self._get(stub.STACK_HIGH_AT)
        region = None if low <= sp < high else self._memory.region_at(sp)
        if region is not None and region.end - region.start <= stub.LONGEST_STACK:
            self._put(stub.STACK_LOW_AT, region.start)
            self._put(stub.STACK_HIGH_AT, region.end)
            self._put(stub.STACK_WORDS_AT, (region.end - region.start) >> 3)
        if op in stub.ALLOCATES:
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
        packed = stub.RULE_END if self.stacks.outermost(address) else _packed(self.stacks.rule(address))
        low = address & 0xFFFF_FFFF
        slot = stub.RULES_AT + 16 * ((low ^ low >> 13) & stub.RULE_MASK)
        if self._get(slot) and self._get(slot + 16) == 0:
            slot += 16
        elif self._get(slot):
            self._taught.pop(self._get(slot), None)
        _RULE.pack_into(self._data, slot, address, packed)
        self._taught[address] = packed

    # ---- copies of the stub

    def _copy_near(self, site: int, room: int = 0) -> int:
        """A copy of the stub within reach of `site`, with so many bytes to spare."""
        for copy, used in self._copies.items():
            if abs(copy - site) < _REACH and used + room <= PAGE:
                return copy
        if len(self._copies) == _MAX_COPIES:
            raise MachineFailure(f"no room for another copy of the stub near {site:#x}")
        copy = self._place(site)
        self._memory.map(Region(copy, copy + PAGE, READ | EXEC, "gate"))
        self._memory.poke(copy, _CODE)
        self._copies[copy] = _FIRST_NOTE
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
        self.forget_rules()
        self._put(stub.RING_AT, stub.RING)
        self._put(stub.RING_END_AT, stub.RING + stub.RECORDS * stub.RECORD)
        self._put(stub.STACKS_AT, stub.STACKS)
        self._put(stub.STACKS_END_AT, stub.STACKS + stub.STACKS_SIZE - 8 * stub.MAX_FRAMES - stub.LARGEST)
        for class_ in range(_CLASSES):
            self._put(stub.LISTS_AT + 8 * class_, _LISTS + class_ * _LIST_SIZE)

    def _get(self, offset: int) -> int:
        return int(_WORD.unpack_from(self._data, offset)[0])

    def _put(self, offset: int, value: int) -> None:
        _WORD.pack_into(self._data, offset, value)


def _jump(site: int, target: int) -> bytes:
    """`jmp rel32` at `site` to `target`."""
    return b"\xe9" + struct.pack("<i", target - (site + 5))


def _packed(rule: tuple[bool, int, int] | None) -> int:
    """A rule in the form of the stub's table."""
    if rule is None:
        return stub.RULE_NOT_FOR_THE_STUB
    from_bp, offset, bp_offset = rule
    largest = _LARGEST_FROM_RBP if from_bp else _LARGEST_FROM_RSP
    if not 0 < offset <= largest or offset & 7 or not -min(offset, 1 << 15) <= bp_offset <= 0:
        return stub.RULE_NOT_FOR_THE_STUB
    return (stub.RULE_FROM_RBP | offset << 48 if from_bp else offset) | (bp_offset & 0xFFFF) << 32
