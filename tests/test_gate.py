"""The gate on a CPU of its own: what the guest's call arrives as, what it gets back, and what the stub does alone.

The guest is one page: `call site; int3`, where `site` is hooked. There is no libc, and no program.
"""

import gc
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emuleak import ledger, quarantine
from emuleak.allocators import ExactFit
from emuleak.batch import Batch
from emuleak.events import (
    FAMILY_BY_CODE,
    NO_STACK,
    OP_SHIFT,
    OPS,
    SIZE_MASK,
    THREAD_SHIFT,
    Call,
    Log,
    Op,
    Stack,
    block_of,
    releasers,
    return_addresses,
)
from emuleak.heap import Heap
from emuleak.hooks import Gate, stub
from emuleak.machine import BREAKPOINT, GENERAL_PROTECTION, PAGE_FAULT, CpuException, Machine
from emuleak.memory import (
    EXEC,
    GATE_BASE,
    GATE_SIZE,
    HEAP_BASE,
    HEAP_SIZE,
    MMAP_TOP,
    PAGE,
    PROGRAM_BASE,
    READ,
    STACK_TOP,
    WRITE,
    AddressSpace,
    Fault,
    Region,
)
from emuleak.redzones import FREED, LEAD, MAGIC, RED, TAIL, blank, lay, usable_size

CODE = PROGRAM_BASE
SITE = CODE + 0x100
ERRNO_LOCATION, ERRNO = CODE + 0x200, CODE + PAGE
RETURN_ADDRESS = CODE + 5
STACK = struct.pack("<Q", RETURN_ADDRESS)
SP = STACK_TOP - 0x1000
CALLER_SAVED = ("rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11")
CALLEE_SAVED = ("rbx", "rbp", "r12", "r13", "r14", "r15")
INT3 = b"\xcc"
RELEASES: list[Op] = [op for op in OPS if op == "free" or "delete" in op]


def blocks_at(number: int) -> int:
    """Where the first blocks of 24 bytes lie, and what is beside."""
    return HEAP_BASE + LEAD + 32 * number


def maker_for(release: Op) -> Op:
    """What makes the blocks that it releases."""
    return next(op for op in ("malloc", "operator new", "operator new[]") if release in releasers(op))


@dataclass
class Ledger:
    """Writes down what it is told, in order, and gives addresses from a counter."""

    memory: AddressSpace
    told: list[tuple[str, Any]] = field(default_factory=list)
    answer: Callable[[Call], int] = lambda _call: 0x1234
    next: int = HEAP_BASE

    def handle(self, call: Call) -> int:
        self.told.append(("handle", call))
        return self.answer(call)

    def take(self, calls: Batch) -> None:
        self.told.append(("take", calls.calls()))

    def reserve(self, size: int, count: int) -> list[int]:
        self.told.append(("reserve", (size, count)))
        image = blank(size)
        self.memory.poke(self.next, image * count)
        addresses = [self.next + number * len(image) + LEAD for number in range(count)]
        self.next += count * len(image)
        return addresses

    def of(self, kind: str) -> list[Any]:
        return [what for told, what in self.told if told == kind]

    def records(self) -> list[tuple[Op, int, int, int, Stack]]:
        """The records of all that was taken: operation, thread, size, address, stack."""
        return [
            (OPS[word >> OP_SHIFT], word >> THREAD_SHIFT & 0xFFFF, word & SIZE_MASK, address, stack)
            for calls in self.of("take")
            for word, address, stack in calls
        ]


@dataclass
class Stacks:
    """Every stack has one frame."""

    memory: AddressSpace

    def capture(self, sp: int, _bp: int, _rest: Callable[[], tuple[int, ...]]) -> Stack:
        try:
            return self.memory.read(sp, 8)
        except Fault:
            return NO_STACK

    def rule(self, _return_address: int) -> None:
        return None

    def outermost(self, _return_address: int) -> bool:
        return True


class Guest:
    """A machine, a gate, and a way to call through it."""

    def __init__(self, log: Log | None = None) -> None:
        gc.collect()  # a machine keeps itself alive in a circle, and with it a TiB of addresses
        self.memory = AddressSpace()
        self.machine = Machine(self.memory)
        self.gate = Gate(self.machine, self.memory)
        self.ledger: Any = Ledger(self.memory)
        if log is not None:
            self.ledger = Heap(self.memory, ExactFit(HEAP_BASE, HEAP_SIZE), log)
        self.gate.ledger = self.ledger
        self.gate.stacks = Stacks(self.memory)
        self.memory.map(Region(CODE, CODE + PAGE, READ | EXEC, "file"))
        self.memory.map(Region(ERRNO, ERRNO + PAGE, READ | WRITE, "file"))
        self.memory.map(Region(SP - 0x8000, STACK_TOP, READ | WRITE, "stack"))
        if log is None:
            self.memory.map(Region(HEAP_BASE, HEAP_BASE + (64 << 20), READ | WRITE, "heap"))

    def hook(self, op: Op, caller: int = CODE, site: int = SITE) -> None:
        """Make `caller` call `site`, and divert that."""
        self.memory.poke(caller, b"\xe8" + struct.pack("<i", site - caller - 5) + INT3)
        self.gate.divert(site, op)
        self.machine.flush_code()

    def run(self, first: int = 0, second: int = 0, third: int = 0, caller: int = CODE) -> CpuException | None:
        for register, value in (("rdi", first), ("rsi", second), ("rdx", third), ("rsp", SP), ("rip", caller)):
            self.machine.set(register, value)
        return self.machine.run()

    def call(self, op: Op, first: int = 0, second: int = 0, third: int = 0) -> int:
        """One call of `op` and its result."""
        self.hook(op)
        ended = self.run(first, second, third)
        assert ended == CpuException(BREAKPOINT)
        assert self.machine.get("rsp") == SP
        assert self.machine.get("rip") == RETURN_ADDRESS + 1
        return self.machine.get("rax")

    def drain(self) -> None:
        self.gate.drain()


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_there_is_a_way_in_for_every_operation() -> None:
    assert len(stub.ENTRIES) == len(OPS)
    assert list(stub.ENTRIES) == sorted(set(stub.ENTRIES))
    assert (OPS[stub.MALLOC], OPS[stub.FREE], OPS[stub.CALLOC]) == ("malloc", "free", "calloc")


# ---- the trap


@pytest.mark.parametrize("op", OPS)
def test_a_call_arrives_with_its_arguments(guest: Guest, op: Op) -> None:
    arguments = (0x7000, 0xFFFF_FFFF_FFFF_FFF0, 0xABCD)
    assert guest.call(op, *arguments) == 0x1234
    assert guest.ledger.of("handle") == [Call(op, *arguments, STACK, 0)]


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("size", [8, 100_000])
def test_the_caller_finds_its_registers_again(guest: Guest, op: Op, size: int) -> None:
    """And none of its own in those that a function may use: they would keep lost blocks alive in the scan."""
    for turn in range(3):
        for number, register in enumerate(CALLEE_SAVED):
            guest.machine.set(register, 0x1111 * (number + 1) + turn)
        for register in ("r8", "r9", "r10", "r11", "rcx"):
            guest.machine.set(register, 0xBAD)
        guest.call(op, size, 1, 0xBAD)
        assert [guest.machine.get(name) for name in CALLEE_SAVED] == [0x1111 * (n + 1) + turn for n in range(6)]
        assert [guest.machine.get(name) for name in CALLER_SAVED] == [0] * len(CALLER_SAVED)


def errno_function(guest: Guest) -> None:
    """What glibc's does: the address of the thread's errno, in a function that may use any caller-saved register."""
    scramble = b"".join(bytes.fromhex(code) for code in ("31c9", "31d2", "31f6", "31ff", "4531c0", "4531c9", "4531db"))
    lea = b"\x48\x8d\x05"
    offset = ERRNO - (ERRNO_LOCATION + len(scramble) + len(lea) + 4)
    guest.memory.poke(ERRNO_LOCATION, scramble + lea + struct.pack("<i", offset) + b"\xc3")
    guest.gate.errno_location(ERRNO_LOCATION)


def test_a_failure_is_null_and_errno(guest: Guest) -> None:
    errno_function(guest)
    guest.ledger.answer = lambda _call: -12
    assert guest.call("malloc", 1 << 62) == 0
    assert guest.memory.read(ERRNO, 8) == struct.pack("<II", 12, 0)
    guest.ledger.answer = lambda _call: 0x5678
    assert guest.call("malloc", 5000) == 0x5678
    assert guest.memory.read(ERRNO, 4) == struct.pack("<I", 12), "a success leaves errno alone"


def test_a_failure_without_a_libc_is_null(guest: Guest) -> None:
    guest.ledger.answer = lambda _call: -12
    assert guest.call("malloc", 1 << 62) == 0


def test_a_bad_address_of_the_guests_is_its_page_fault(guest: Guest) -> None:
    def refuse(_call: Call) -> int:
        raise Fault(0x10)

    guest.ledger.answer = refuse
    guest.hook("posix_memalign")
    assert guest.run(0x10, 16, 10) == CpuException(PAGE_FAULT, 0x10, "write")


def test_our_own_failure_is_no_behaviour_of_the_guest(guest: Guest) -> None:
    def fail(_call: Call) -> int:
        raise ValueError("ours")

    guest.ledger.answer = fail
    guest.hook("malloc")
    with pytest.raises(ValueError, match="ours"):
        guest.run(5000)


# ---- what the stub serves alone


def served(guest: Guest, op: Op, *arguments: int) -> int:
    """The result of a call that must not trap."""
    before = len(guest.ledger.of("handle"))
    result = guest.call(op, *arguments)
    assert len(guest.ledger.of("handle")) == before, "it trapped"
    return result


def taught(guest: Guest, size: int = 24) -> None:
    """Let a call trap, after which the stub knows the stack and has a list for the size."""
    guest.call("malloc", size)
    guest.ledger.told.clear()


def test_the_second_small_malloc_does_not_trap(guest: Guest) -> None:
    taught(guest)
    first, second = served(guest, "malloc", 24), served(guest, "malloc", 17)
    guest.drain()
    assert guest.ledger.records() == [("malloc", 0, 24, first, STACK), ("malloc", 0, 17, second, STACK)]
    assert second == first + LEAD + 24 + TAIL


@pytest.mark.parametrize(("op", "arguments", "size"), [
    ("operator new", (100,), 100),
    ("operator new[]", (1000,), 1000),
    ("malloc", (0,), 0),
    ("malloc", (1,), 1),
    ("malloc", (24,), 24),
    ("malloc", (25,), 25),
    ("malloc", (1000,), 1000),
    ("calloc", (10, 100), 1000),
    ("calloc", (0, 1 << 63), 0),
    ("calloc", (1, 1), 1),
])  # fmt: skip
def test_what_is_served(guest: Guest, op: Op, arguments: tuple[int, ...], size: int) -> None:
    taught(guest, size)
    address = served(guest, op, *arguments)
    guest.drain()
    assert guest.ledger.records() == [(op, 0, size, address, STACK)]


@pytest.mark.parametrize(("op", "arguments"), [
    ("malloc", (1001,)),
    ("malloc", ((1 << 64) - 1,)),
    ("malloc", ((1 << 32) + 8,)),
    ("calloc", (1001, 1)),
    ("calloc", (1 << 32, 1 << 32)),
    ("calloc", ((1 << 63) + 1, 2)),
    ("realloc", (HEAP_BASE, 8)),
    ("operator new", (1001,)),
    ("operator new[]", ((1 << 64) - 1,)),
    ("aligned operator new", (8, 64)),
    ("aligned operator delete", (HEAP_BASE + 16, 64)),
    ("sized aligned operator delete[]", (HEAP_BASE + 16, 8, 64)),
])  # fmt: skip
def test_what_traps_every_time(guest: Guest, op: Op, arguments: tuple[int, ...]) -> None:
    taught(guest, 8)
    for turn in range(1, 4):
        guest.call(op, *arguments)
        calls = guest.ledger.of("handle")
        assert len(calls) == turn
        assert (calls[-1].op, calls[-1].first) == (op, arguments[0])
    assert not guest.ledger.records()


@pytest.mark.parametrize("op", [op for code, op in enumerate(OPS) if code in stub.ALLOCATES])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 24, 25, 33, 40, 41, 999, 1000])
def test_what_it_serves_is_zero_between_a_header_and_red_zones(guest: Guest, op: Op, size: int) -> None:
    taught(guest, size)
    address = served(guest, op, size, *([1] if op == "calloc" else []))
    usable = usable_size(size)
    header = (size << 48 ^ FAMILY_BY_CODE[OPS.index(op)] << 16 ^ size ^ address ^ MAGIC).to_bytes(8, "little")
    found = guest.memory.read(address - LEAD, LEAD + usable + TAIL)
    assert found == RED * 8 + header + bytes(size) + RED * (usable + TAIL - size)
    guest.ledger.memory.poke(address - LEAD, bytes(LEAD))
    lay(guest.memory, address, size, usable, FAMILY_BY_CODE[OPS.index(op)])
    assert guest.memory.read(address - LEAD, LEAD + usable + TAIL) == found, "the heap lays the same"


def test_free_of_null_is_no_event(guest: Guest) -> None:
    taught(guest)
    for op in RELEASES:
        if OPS.index(op) in stub.SERVED:
            assert served(guest, op, 0, 24) == 0
    guest.drain()
    assert not guest.ledger.records()


@pytest.mark.parametrize("pointer", [
    HEAP_BASE, HEAP_BASE + 8, HEAP_BASE + 16, 0, 1, 16, CODE, SP, HEAP_BASE - 16, HEAP_BASE + (1 << 35), (1 << 64) - 16,
])  # fmt: skip
def test_what_is_no_small_block_that_lives_is_left_to_the_ledger(guest: Guest, pointer: int) -> None:
    taught(guest)
    pointer = pointer or served(guest, "malloc", 24) + 16
    assert guest.call("free", pointer) == 0x1234
    assert [call.first for call in guest.ledger.of("handle")] == [pointer]


@pytest.mark.parametrize("op", [op for code, op in enumerate(OPS) if code in stub.SERVED - stub.ALLOCATES])
@pytest.mark.parametrize("size", [0, 1, 7, 24, 25, 40, 41, 56, 100, 999, 1000])
def test_a_release_tells_what_the_block_held_behind_the_stack(guest: Guest, op: Op, size: int) -> None:
    taught(guest, size)
    address = served(guest, maker_for(op), size)
    content = bytes(number % 251 for number in range(size))
    guest.memory.poke(address, content)
    before = guest.memory.read(address - LEAD, LEAD + usable_size(size) + TAIL)
    assert served(guest, op, address, size) == 0
    guest.drain()
    held = content + RED * (usable_size(size) - size)
    assert guest.ledger.records()[1:] == [(op, 0, size, address, STACK + held)]
    after = guest.memory.read(address - LEAD, LEAD + usable_size(size) + TAIL)
    assert after == before[:8] + FREED + before[16:], "the block itself is left as it was"


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 15, 16, 23, 24, 25, 40, 41, 500, 999, 1000])
def test_a_damaged_block_is_left_to_the_ledger(guest: Guest, size: int) -> None:
    """Whichever byte was changed, in whatever way; and it is left as it is."""
    taught(guest, size)
    address = served(guest, "malloc", size)
    guest.hook("free")
    around = [*range(address - LEAD, address), *range(address + size, address + usable_size(size) + TAIL)]
    for turn, changed in enumerate(around, 1):
        was = guest.memory.read(changed, 1)
        guest.memory.poke(changed, bytes([was[0] ^ (1 << turn % 8)]))
        before = guest.memory.read(address - LEAD, LEAD + usable_size(size) + TAIL)
        guest.run(address)
        assert len(guest.ledger.of("handle")) == turn, f"a change at {changed - address} was not noticed"
        assert guest.memory.read(address - LEAD, len(before)) == before
        guest.memory.poke(changed, was)
    guest.run(address)
    assert len(guest.ledger.of("handle")) == len(around), "intact it is served"


def test_a_second_free_is_left_to_the_ledger(guest: Guest) -> None:
    taught(guest)
    address = served(guest, "malloc", 24)
    served(guest, "free", address)
    guest.call("free", address)
    assert [call.first for call in guest.ledger.of("handle")] == [address]


def test_the_ledger_hears_of_everything_in_its_order(guest: Guest) -> None:
    taught(guest)
    address = served(guest, "malloc", 24)
    served(guest, "free", address)
    guest.call("realloc", address, 10)
    kinds = [kind for kind, _ in guest.ledger.told]
    assert kinds == ["take", "handle"]
    assert [record[0] for record in guest.ledger.records()] == ["malloc", "free"]


def test_a_ring_that_is_full_is_drained_and_nothing_is_lost(guest: Guest) -> None:
    taught(guest)
    guest.hook("free")
    pointers = [HEAP_BASE + (1 << 20) + 64 * number for number in range(5000)]
    for pointer in pointers:
        lay(guest.memory, pointer, 24, 24, 1)
        guest.run(pointer)
    guest.drain()
    heard = [
        address
        for kind, what in guest.ledger.told
        for address in ([record[1] for record in what] if kind == "take" else [what.first] if kind == "handle" else [])
    ]
    assert heard == pointers
    assert 1 <= len(guest.ledger.of("handle")) <= 5


def test_an_empty_list_is_filled_with_more_each_time(guest: Guest) -> None:
    guest.hook("malloc")
    results = []
    for _ in range(4000):
        guest.run(24)
        results.append(guest.machine.get("rax"))
    asked = [count for size, count in guest.ledger.of("reserve")]
    assert asked == sorted(asked)
    assert asked[0] < asked[-1] == max(asked)
    assert {size for size, _ in guest.ledger.of("reserve")} == {usable_size(24)}
    given = [address for address in results if address != 0x1234]
    assert len(given) == len(set(given)) == 4000 - len(guest.ledger.of("handle"))


def test_when_memory_runs_out_the_ledger_is_asked_every_time(guest: Guest) -> None:
    guest.ledger.reserve = lambda _size, _count: []  # type: ignore[method-assign]
    guest.ledger.answer = lambda _call: -12
    for turn in range(1, 5):
        assert guest.call("malloc", 24) == 0
        assert len(guest.ledger.of("handle")) == turn


def test_with_a_listener_every_call_traps(guest: Guest) -> None:
    guest.gate.trap_always()
    for turn in range(1, 4):
        guest.call("malloc", 24)
        guest.call("free", HEAP_BASE)
        assert len(guest.ledger.of("handle")) == 2 * turn
    guest.drain()
    assert not guest.ledger.records()


def test_a_record_names_its_thread(guest: Guest) -> None:
    taught(guest)
    guest.gate.thread_runs(513)
    address = served(guest, "malloc", 24)
    guest.call("malloc", 5000)
    assert guest.ledger.records() == [("malloc", 513, 24, address, STACK)]
    assert guest.ledger.of("handle")[0].thread == 513


def test_forgotten_rules_are_asked_for_again(guest: Guest) -> None:
    taught(guest)
    served(guest, "malloc", 24)
    guest.gate.forget_rules()
    guest.call("malloc", 24)
    assert len(guest.ledger.of("handle")) == 1
    served(guest, "malloc", 24)


# ---- the stub walks the stack by the rules it was told


@dataclass
class Scripted:
    """Stacks of functions whose rules are given; a walk in Python."""

    memory: AddressSpace
    rules: dict[int, tuple[bool, int, int] | None]
    bottom: int

    def rule(self, return_address: int) -> tuple[bool, int, int] | None:
        return self.rules.get(return_address)

    def outermost(self, return_address: int) -> bool:
        return return_address == self.bottom

    def capture(self, sp: int, bp: int, _rest: Callable[[], tuple[int, ...]]) -> Stack:
        walked, cfa = [], sp + 8
        while (address := self.memory.word(cfa - 8)) and not walked.append(address) and address != self.bottom:
            rule = self.rules[address]
            if rule is None:
                break
            from_bp, offset, saved = rule
            cfa = (bp if from_bp else cfa) + offset
            bp = self.memory.word(cfa + saved) if saved else bp
        return struct.pack(f"<{len(walked)}Q", *walked)


def lay_frames(
    guest: Guest,
    frames: list[tuple[bool, int, int]],
    returns: list[int],
    cfas: list[int],
    rules: dict[int, tuple[bool, int, int] | None],
) -> int:
    """Put frames on the stack, and the rules that describe them into `rules`; the innermost one's rbp."""
    bp = 0x1111
    for number, (from_bp, words, wanted) in reversed(list(enumerate(frames))):
        cfa = cfas[number + 1]
        # A function with a frame pointer saved its caller's below its return address, others where they like.
        saved = -16 if from_bp else wanted if -wanted <= 8 * words - 8 else 0
        if saved:
            guest.memory.poke(cfa + saved, struct.pack("<Q", bp))
            bp = cfa - 16 if from_bp else 0xBAD
        rules[returns[number]] = (from_bp, 16 if from_bp else 8 * words, saved)
        guest.memory.poke(cfa - 8, struct.pack("<Q", returns[number + 1]))
    return bp


FRAMES = st.lists(
    st.tuples(st.booleans(), st.integers(2, 40), st.sampled_from([0, -16, -24, -32])), min_size=0, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(frames=FRAMES, ends=st.booleans())
def test_the_stub_walks_as_python_does(frames: list[tuple[bool, int, int]], ends: bool) -> None:
    """Frames with and without rbp, one above the other; the stack ends with a rule or a return address of 0."""
    guest = Guest()
    returns = [RETURN_ADDRESS, *(CODE + 0x300 + 16 * number for number in range(len(frames)))]
    rules: dict[int, tuple[bool, int, int] | None] = {returns[-1]: (False, 16, 0)}
    cfas = [SP - 0x6000]
    for _, words, _ in frames:
        cfas.append(cfas[-1] + 8 * words)
    bp = lay_frames(guest, frames, returns, cfas, rules)
    guest.gate.stacks = Scripted(guest.memory, rules, returns[-1] if ends else 0)
    guest.hook("malloc")
    for _ in range(2):
        for register, value in (("rdi", 24), ("rsp", cfas[0]), ("rbp", bp), ("rip", CODE)):
            guest.machine.set(register, value)
        assert guest.machine.run() == CpuException(BREAKPOINT)
    guest.drain()
    (trapped,) = guest.ledger.of("handle")
    assert list(return_addresses(trapped.stack)) == returns
    assert [stack for *_, stack in guest.ledger.records()] == [trapped.stack]


def test_draining_an_empty_ring_tells_nobody(guest: Guest) -> None:
    guest.drain()
    guest.drain()
    assert not guest.ledger.told


# ---- where the copies of the stub lie


def test_far_sites_have_copies_of_their_own_and_share_the_lists(guest: Guest) -> None:
    far = MMAP_TOP - 0x10_0000
    guest.memory.map(Region(far, far + PAGE, READ | EXEC, "file"))
    taught(guest)
    near = served(guest, "malloc", 24)
    guest.hook("malloc", caller=far, site=far + 0x100)
    for _ in range(2):  # its return address is new
        assert guest.run(24, caller=far) == CpuException(BREAKPOINT)
    assert guest.machine.get("rax") == near + LEAD + 24 + TAIL
    copies = [region for region in guest.memory.regions() if region.kind == "gate" and region.prot & EXEC]
    assert len(copies) == 2
    assert all(abs(copy.start - site) < 1 << 31 for copy, site in zip(copies, (SITE, far), strict=True))


def test_a_pointer_can_lead_to_the_gate_as_well(guest: Guest) -> None:
    entry = guest.gate.entry(CODE, "malloc")
    guest.memory.poke(CODE, b"\xff\xd0" + INT3)  # call rax
    guest.machine.set("rax", entry)
    assert guest.run(5000) == CpuException(BREAKPOINT)
    assert guest.ledger.of("handle")[0].first == 5000


# ---- a guest that does as it likes


def test_the_interrupt_with_no_operation_is_a_protection_fault(guest: Guest) -> None:
    guest.memory.poke(GATE_BASE + stub.SAVED_AT, struct.pack("<Q", len(OPS)))
    guest.memory.poke(CODE, b"\xcd" + bytes([stub.VECTOR]) + INT3)
    assert guest.run() == CpuException(GENERAL_PROTECTION)
    assert not guest.ledger.told


WORDS = st.one_of(
    st.sampled_from([0, 1, 8, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, GATE_BASE, GATE_BASE + GATE_SIZE - 8]),
    st.integers(GATE_BASE - 64, GATE_BASE + GATE_SIZE + 64),
    st.integers(0, (1 << 64) - 1),
)
HEADERS = st.builds(
    lambda size, block: size << 48 ^ 1 << 16 ^ size ^ block ^ MAGIC,
    st.integers(0, 1100),
    st.integers(0, 200).map(blocks_at),
)
IN_THE_GATE = st.one_of(
    st.integers(0, 0x200), st.integers(0, 0x1400), st.integers(0x2_0000, 0x2_0200), st.integers(0x4_0000, 0x4_0200)
).map(lambda offset: GATE_BASE + offset)
IN_THE_HEAP = st.one_of(st.integers(0, 600), st.integers(0, 20).map(lambda number: 64 * number + 8)).map(
    lambda offset: HEAP_BASE + offset
)


@settings(max_examples=300, deadline=None)
@given(
    script=st.lists(
        st.one_of(
            st.tuples(st.just("write"), st.one_of(IN_THE_GATE, IN_THE_HEAP), st.one_of(WORDS, HEADERS)),
            st.tuples(
                st.sampled_from([*RELEASES, "malloc", "calloc", "realloc", "malloc_usable_size", "operator new[]"]),
                st.one_of(st.sampled_from([0, 24, 5000, 1 << 62]), st.integers(0, 200).map(blocks_at), IN_THE_HEAP),
                st.sampled_from([0, 1, 24, 40]),
            ),
        ),
        min_size=1,
        max_size=20,
    ),
    bound=st.sampled_from([0, 3, 1000]),
    few=st.sampled_from([0, 1000]),
)
def test_whatever_it_writes_to_our_data_is_its_own_affair(
    script: list[tuple[str, int, int]], bound: int, few: int
) -> None:
    """To the gate's, to headers, red zones, freed blocks. It may crash or lie about its calls; nothing of ours may
    fail, and every record can be read.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quarantine, "QUARANTINE_BLOCKS", bound)
        patch.setattr(ledger, "_FEW", few)
        log = Log()
        guest = Guest(log)
        for _ in range(6):
            guest.hook("malloc")
            guest.run(24)
        for what, first, second in script:
            if what == "write":
                guest.memory.poke(first, struct.pack("<Q", second))
            else:
                guest.hook(what)
                guest.run(first, second)
        guest.memory.poke(CODE, b"\xcd" + bytes([stub.VECTOR]) + INT3)
        guest.machine.flush_code()
        guest.run()
        guest.drain()
        guest.ledger.check()
    blocks = [*log.blocks(), *guest.ledger.quarantine.blocks(), *(event.block for event in log.misuses if event.block)]
    for stack in (*(block.stack for block in blocks), *(block.freed for block in blocks)):
        return_addresses(stack)
    for event in log.misuses:
        return_addresses(event.stack)


# ---- the stub and Python's part serve alike

MAKERS: tuple[Op, ...] = ("malloc", "calloc", "operator new", "operator new[]")


@settings(max_examples=60, deadline=None)
@given(
    script=st.lists(
        st.tuples(
            st.sampled_from([
                *MAKERS, *RELEASES, "free again", "realloc", "usable size", "overflow", "underflow", "stale write",
            ]),
            st.one_of(st.integers(0, 1100), st.sampled_from([0, 24, 999, 1000, 1001])),
            st.integers(0, 1 << 16),
        ),
        min_size=1,
        max_size=60,
    )
)  # fmt: skip
def test_the_stub_and_the_trap_keep_the_same_books(script: list[tuple[str, int, int]]) -> None:
    """But for addresses, which the lists hand out in another order."""
    books = []
    for always in (False, True):
        log = Log()
        guest = Guest(log)
        if always:
            guest.gate.trap_always()
        Script(guest).play(script)
        guest.drain()
        guest.ledger.check()
        blocks = [(block.size, block.maker, block.stack) for block in log.blocks()]
        freed = [(record[0], record[2], rest) for record, rest in guest.ledger.quarantine]
        misuses = [
            (event.op, event.problem, event.stack, event.offset, event.size, event.block and event.block.size)
            for event in log.misuses
        ]
        books.append((log.counts, blocks, freed, misuses))
        assert all(block_of(record).address == address for address, record in log.live.items())
        assert all(block_of(record, rest).address for record, rest in guest.ledger.quarantine)
    assert books[0] == books[1]


class Script:
    """Carries out what to do, with a size, and a number by which a block and a place in it are chosen."""

    def __init__(self, guest: Guest) -> None:
        self.guest = guest
        self.live: list[tuple[int, int]] = []
        self.freed: list[tuple[int, int]] = []

    def play(self, script: list[tuple[str, int, int]]) -> None:
        for what, size, choice in script:
            if what in MAKERS:
                arguments = (1, size) if what == "calloc" else (size,)
                self.live.append((self.guest.call(what, *arguments), size))
            elif what in {"free again", "stale write"}:
                if self.freed:
                    self.with_freed(what, *self.freed[choice % len(self.freed)], choice)
            elif self.live:
                self.with_live(what, choice % len(self.live), size, choice)

    def with_freed(self, what: str, address: int, size: int, choice: int) -> None:
        if what == "free again":
            self.guest.call("free", address)
        else:
            length = 1 + choice % 3
            self.guest.memory.poke(address + choice % (usable_size(size) + TAIL - length), b"stale"[:length])

    def with_live(self, what: str, number: int, size: int, choice: int) -> None:
        address, had = self.live[number]
        if what == "overflow":
            length = usable_size(had) + TAIL - had
            self.guest.memory.poke(address + had + choice % length, b"!")
        elif what == "underflow":  # not of the first byte of the lead: what lies below differs
            self.guest.memory.poke(address - 1 - choice % (LEAD - 1), b"!")
        elif what == "usable size":
            assert self.guest.call("malloc_usable_size", address) == usable_size(had)
        else:
            del self.live[number]
            self.freed.append((address, had))
            new = self.guest.call(what, address, size if what == "realloc" else had)
            if new:
                self.live.append((new, size))
