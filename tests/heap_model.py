"""A model of the heap in plain Python, and the state machine that holds the two against each other.

The model knows only requests and rules: glibc's for what the guest sees (malloc(3), posix_memalign(3)), valgrind's for
what is counted, and the red zones' (redzones.py, the head). Where a block lies it learns from the heap, and checks that
nobody else lies there. Of the bytes around a block it remembers what they were before the guest wrote to them.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from emuleak.allocators import GAP, ExactFit
from emuleak.batch import Batch
from emuleak.events import NO_STACK, OPS, Call, Event, HeapCounts, Log, Op, Record, Stack, record_of, releasers
from emuleak.heap import Heap
from emuleak.memory import HEAP_BASE, HEAP_SIZE, PAGE, READ, WRITE, AddressSpace, Region
from emuleak.redzones import FREED, LARGEST_TOLD, MAGIC, TWICE, usable_size

EINVAL, ENOMEM = 22, 12
LIMIT = 1 << 63  # what is this long or longer no allocator tries
SCRATCH = 0x10_0000  # a page outside the heap: posix_memalign's target, and pointers that are no block's
QUARANTINE_BYTES, QUARANTINE_BLOCKS = 4000, 6
LEAD, TAIL, RED = 16, 24, 0xFD
THREAD = 7
MEMORY = AddressSpace()  # one for all: a heap keeps itself alive in a circle, and with it a TiB of addresses

sizes = st.one_of(st.integers(0, 100), st.integers(0, 5000), st.sampled_from([0, 1, 8, 24, 25, PAGE, 131_048, 131_049]))
refused = st.one_of(st.integers(HEAP_SIZE, LIMIT - 1), st.integers(LIMIT, (1 << 64) - 1))
alignments = st.one_of(st.integers(0, 13).map(lambda exponent: 1 << exponent), st.integers(0, 5000))
powers = st.integers(0, 13).map(lambda exponent: 1 << exponent)
written = st.binary(min_size=1, max_size=30)
MAKERS: tuple[Op, ...] = ("malloc", "operator new", "operator new[]")
RELEASERS = tuple(op for op in OPS if op == "free" or "delete" in op)


def lead(address: int, size: int, maker: Op) -> bytes:
    """What stands before a small block that lives: a red zone and the header, as the stub writes it."""
    family = 3 if maker.endswith("[]") else 2 if "new" in maker else 1
    return bytes([RED]) * 8 + (size * TWICE ^ family << 16 ^ address ^ MAGIC).to_bytes(8, "little")


class Misuse(NamedTuple):
    """What the heap must note: an Event without its clock."""

    problem: str
    op: Op
    old: int
    block: int | None
    stack: Stack
    size: int = 0
    offset: int = 0
    thread: int = THREAD


@dataclass
class Known:
    """What the model knows of a block; `content` holds the bytes that were written, by offset."""

    address: int
    size: int
    stack: Stack
    maker: Op
    lead: int = LEAD
    fence: int = -1  # how much of it the program may use
    content: dict[int, int] = field(default_factory=dict)
    freed: Stack | None = None

    def __post_init__(self) -> None:
        self.fence = self.size if self.fence < 0 else self.fence

    @property
    def asked(self) -> int:
        """What the allocator was asked for: pvalloc rounds up."""
        return (self.size + PAGE - 1) // PAGE * PAGE if self.maker == "pvalloc" else self.size

    @property
    def usable(self) -> int:
        return usable_size(self.asked if self.freed is None else self.size)

    @property
    def watched(self) -> range:
        """The bytes in which a change is noticed, but for those that a live block may change."""
        whole = self.freed is None or self.usable <= 64 << 10
        return range(self.address - LEAD, self.address + (self.usable + TAIL if whole else PAGE))

    @property
    def place(self) -> range:
        return range(self.address - LEAD, self.address + self.usable + TAIL)


@dataclass
class Model:
    """Live blocks and quarantine by address, in the order in which they were made and freed."""

    live: dict[int, Known] = field(default_factory=dict)
    quarantine: dict[int, Known] = field(default_factory=dict)
    reserved: dict[int, int] = field(default_factory=dict)  # address to size: not given out yet
    counts: HeapCounts = field(default_factory=HeapCounts)
    misuses: list[Misuse] = field(default_factory=list)
    before: dict[int, int] = field(default_factory=dict)  # what a byte was before the guest wrote beside its blocks
    spilled: set[int] = field(default_factory=set)  # blocks whose lead was damaged from below, as far as that is told

    def holds(self, wanted: range) -> bool:
        """Whether a live, quarantined or reserved block with its red zones touches these addresses."""
        places = [block.place for block in self.blocks()]
        places += [range(at - LEAD, at + usable_size(size) + TAIL) for at, size in self.reserved.items()]
        return any(wanted.start < place.stop and place.start < wanted.stop for place in places)

    def blocks(self) -> tuple[Known, ...]:
        return (*self.live.values(), *self.quarantine.values())

    def count(self, allocs: int = 0, frees: int = 0, size: int = 0) -> None:
        self.counts.allocs += allocs
        self.counts.frees += frees
        self.counts.bytes_allocated += size

    def born(self, block: Known) -> None:
        counts = self.counts
        self.live[block.address] = block
        counts.in_use_blocks += 1
        counts.in_use_bytes += block.size
        counts.peak_bytes = max(counts.peak_bytes, counts.in_use_bytes)

    def retire(self, block: Known, stack: Stack) -> None:
        """The heap has looked around the block and laid its red zones anew."""
        self.forget(block.place)
        del self.live[block.address]
        self.counts.in_use_blocks -= 1
        self.counts.in_use_bytes -= block.size
        block.freed = stack
        self.quarantine[block.address] = block

    def forget(self, addresses: range) -> None:
        """These bytes are now what they should be."""
        self.before = {at: byte for at, byte in self.before.items() if at not in addresses}
        self.spilled = {at for at in self.spilled if at not in addresses}

    def overfull(self) -> bool:
        size = sum(block.size for block in self.quarantine.values())
        return len(self.quarantine) > QUARANTINE_BLOCKS or size > QUARANTINE_BYTES

    def around(self, address: int) -> int | None:
        """The block into which an address points."""
        for block in self.blocks():
            if block.address <= address < block.address + max(block.size, 1):
                return block.address
        return None


class AgainstModel(RuleBasedStateMachine):
    """Every function of the interface, rightly and wrongly used, and writes in, beside and after blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = MEMORY  # mapping it again makes it zero
        self.memory.map(Region(SCRATCH, SCRATCH + PAGE, READ | WRITE, "anonymous"))
        self.log = Log()
        self.events: list[Event] = []
        self.log.listeners.append(self.events.append)
        self.policy = ExactFit(HEAP_BASE, HEAP_SIZE)
        self.heap = Heap(self.memory, self.policy, self.log)
        self.model = Model()
        self.calls = 0

    # ---- calls

    def call(self, op: Op, first: int = 0, second: int = 0, third: int = 0) -> int:
        stack = self.stack
        self.calls += 1
        return self.heap.handle(Call(op, first, second, third, stack, THREAD))

    @property
    def stack(self) -> Stack:
        """That of the next call: each has its own, so that it is known by it."""
        return self.calls.to_bytes(8, "little")

    def made(self, address: int, size: int, op: Op, alignment: int = 16, content: dict[int, int] | None = None) -> None:
        """Check what the last call gave and take it into the books."""
        stack = (self.calls - 1).to_bytes(8, "little")
        assert address > 0
        assert address % max(alignment, 16) == 0
        block = Known(address, size, stack, op, max(alignment, LEAD), content=content or {})
        block.fence = block.asked
        assert HEAP_BASE <= block.place.start < block.place.stop <= HEAP_BASE + HEAP_SIZE
        assert not self.model.holds(block.place)
        event = self.events[-1]
        assert (event.address, event.size, event.stack, event.thread) == (address, size, stack, THREAD)
        self.model.forget(block.place)
        self.model.born(block)
        self.model.count(allocs=1, size=size)

    def expect(self, problem: str, op: Op, old: int = 0, block: int | None = None, size: int = 0) -> None:
        self.model.misuses.append(Misuse(problem, op, old, block, self.stack, size))

    def retire(self, block: Known, op: Op) -> None:
        """What the next call, which frees a block, must note of it, and of those that it drives out of quarantine."""
        self.report(block, op, self.stack)
        self.model.retire(block, self.stack)
        self.trim()

    def trim(self) -> None:
        """What leaves the quarantine is looked at, the oldest first; then all of it may be given out again."""
        model, gone = self.model, []
        while model.overfull():
            gone.append(model.quarantine.pop(next(iter(model.quarantine))))
            self.report(gone[-1], "free", NO_STACK)
        for block in gone:
            model.forget(block.place)

    def block(self, data: st.DataObject, among: dict[int, Known]) -> Known:
        return among[data.draw(st.sampled_from(sorted(among)))]

    # ---- damage

    def byte(self, address: int) -> int:
        return self.memory.peek(address, 1)[0]

    def changed(self, addresses: range) -> list[int]:
        before = self.model.before
        return [address for address in sorted(before) if address in addresses and self.byte(address) != before[address]]

    def from_below(self, block: Known) -> bool:
        """Whether what lies below was changed as well: then the block below is the one to name."""
        below = block.address - LEAD - 1
        return block.address in self.model.spilled or (below >= HEAP_BASE and self.byte(below) != RED)

    def damage(self, block: Known) -> list[tuple[str, int, int, bool]]:
        """Kind, offset of the first changed byte, bytes from there to the last, whether it is the block below's."""
        watched, found = block.watched, []
        if block.freed is None:
            end = block.address + block.fence
            if behind := self.changed(range(end, watched.stop)):
                found.append(("heap-overflow", behind[0] - end, behind[-1] + 1 - behind[0], False))
            watched = range(watched.start, block.address)
        if around := self.changed(watched):
            kind = "heap-underflow" if block.freed is None else "write-after-free"
            from_below = around[0] == watched.start and self.from_below(block)
            found.append((kind, around[0] - block.address, around[-1] + 1 - around[0], from_below))
        return found

    def report(self, block: Known, op: Op, stack: Stack) -> None:
        for kind, offset, length, from_below in self.damage(block):
            place = block.address - block.lead
            end = place + self.policy.usable_size(place) + GAP
            if RED not in {self.byte(end - 1), self.byte(end)}:
                self.model.spilled.add(end + LEAD)
            if not from_below:
                thread = THREAD if stack != NO_STACK else 0
                self.model.misuses.append(Misuse(kind, op, block.address, block.address, stack, length, offset, thread))

    # ---- what makes blocks

    @rule(size=sizes, op=st.sampled_from(MAKERS))
    def malloc(self, size: int, op: Op) -> None:
        self.made(self.call(op, size), size, op)

    @rule(count=st.integers(0, 80), size=st.integers(0, 80))
    def calloc(self, count: int, size: int) -> None:
        content = dict.fromkeys(range(count * size), 0)
        self.made(self.call("calloc", count, size), count * size, "calloc", content=content)

    @rule(size=refused, op=st.sampled_from([*MAKERS, "calloc", "valloc", "pvalloc", "memalign", "aligned_alloc"]))
    def refuse(self, size: int, op: Op) -> None:
        if size >= LIMIT:
            self.expect("invalid-size", op, size=size)
        arguments = {"calloc": (size, 1), "memalign": (64, size), "aligned_alloc": (64, size)}.get(op, (size,))
        assert self.call(op, *arguments) == -ENOMEM

    @rule(count=st.integers(1 << 32, (1 << 64) - 1), size=st.integers(1 << 32, (1 << 64) - 1))
    def calloc_overflow(self, count: int, size: int) -> None:
        """The product does not fit, though its low 64 bits may."""
        self.expect("invalid-size", "calloc", size=count * size)
        assert self.call("calloc", count, size) == -ENOMEM

    @rule(size=sizes, alignment=alignments, op=st.sampled_from(["memalign", "aligned_alloc"]))
    def memalign(self, size: int, alignment: int, op: Op) -> None:
        rounded = 1
        while rounded < alignment:
            rounded *= 2
        if rounded != alignment:
            self.expect("invalid-alignment", op, size=alignment)
        self.made(self.call(op, alignment, size), size, op, rounded)

    @rule(size=sizes, alignment=powers, op=st.sampled_from(["aligned operator new", "aligned operator new[]"]))
    def aligned_new(self, size: int, alignment: int, op: Op) -> None:
        self.made(self.call(op, size, alignment), size, op, alignment)

    @rule(alignment=st.integers(LIMIT + 1, (1 << 64) - 1))
    def memalign_to_no_power(self, alignment: int) -> None:
        self.expect("invalid-alignment", "memalign", size=alignment)
        assert self.call("memalign", alignment, 1) == -EINVAL

    @rule(size=sizes, alignment=alignments)
    def posix_memalign(self, size: int, alignment: int) -> None:
        self.memory.write(SCRATCH, b"untouchd")
        right = alignment in {1 << n for n in range(3, 64)}
        if not right:
            self.expect("invalid-alignment", "posix_memalign", size=alignment)
        assert self.call("posix_memalign", SCRATCH, alignment, size) == (0 if right else EINVAL)
        if right:
            self.made(self.memory.word(SCRATCH), size, "posix_memalign", alignment)
        else:
            assert self.memory.read(SCRATCH, 8) == b"untouchd"

    @rule(size=refused)
    def posix_memalign_refused(self, size: int) -> None:
        self.memory.write(SCRATCH, b"untouchd")
        if size >= LIMIT:
            self.expect("invalid-size", "posix_memalign", size=size)
        assert self.call("posix_memalign", SCRATCH, 32, size) == ENOMEM
        assert self.memory.read(SCRATCH, 8) == b"untouchd"

    @rule(size=sizes, op=st.sampled_from(["valloc", "pvalloc"]))
    def pages(self, size: int, op: Op) -> None:
        self.made(self.call(op, size), size, op, PAGE)

    # ---- realloc

    @rule(size=sizes, array=st.booleans())
    def realloc_of_null(self, size: int, array: bool) -> None:
        op: Op = "reallocarray" if array else "realloc"
        self.made(self.call(op, 0, 1, size) if array else self.call(op, 0, size), size, "malloc")

    @rule(size=st.integers(LIMIT, (1 << 64) - 1))
    def realloc_of_null_refused(self, size: int) -> None:
        self.expect("invalid-size", "realloc", size=size)
        assert self.call("realloc", 0, size) == -ENOMEM

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), size=sizes, array=st.booleans())
    def realloc(self, data: st.DataObject, size: int, array: bool) -> None:
        old = self.block(data, self.model.live)
        op: Op = "reallocarray" if array else "realloc"
        if size == 0:
            self.expect("realloc-zero", op, old.address, old.address)
        if "new" in old.maker:
            self.expect("mismatched-free", op, old.address, old.address)
        self.retire(old, op)
        answer = self.call(op, old.address, size, 1)
        self.model.count(frees=1)
        if size == 0:
            assert answer == 0
            return
        kept = {n: byte for n, byte in old.content.items() if n < min(size, old.fence)}
        self.made(answer, size, op, content=kept)
        assert self.events[-1].old == old.address

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), size=refused)
    def realloc_refused(self, data: st.DataObject, size: int) -> None:
        """The block stays; valgrind counts the attempt, unless the size is no size at all."""
        old = self.block(data, self.model.live)
        if "new" in old.maker:
            self.expect("mismatched-free", "realloc", old.address, old.address)
        if size < LIMIT:
            self.model.count(allocs=1, frees=1, size=size)
        else:
            self.expect("invalid-size", "realloc", old.address, size=size)
        assert self.call("realloc", old.address, size) == -ENOMEM

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), count=st.integers(1 << 33, 1 << 62), size=st.integers(1 << 33, 1 << 62))
    def reallocarray_overflow(self, data: st.DataObject, count: int, size: int) -> None:
        address = self.block(data, self.model.live).address
        self.expect("invalid-size", "reallocarray", address, size=count * size)
        assert self.call("reallocarray", address, count, size) == -ENOMEM

    # ---- what frees blocks

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), wrong_size=st.sampled_from([0, 0, 1, 16]))
    def free(self, data: st.DataObject, wrong_size: int) -> None:
        """By what goes with the block's maker, most often, and told its size, most often."""
        block = self.block(data, self.model.live)
        op = data.draw(st.one_of(st.sampled_from(releasers(block.maker)), st.sampled_from(RELEASERS)))
        told = block.size + wrong_size if op.startswith("sized") else 0
        if op not in releasers(block.maker) or (told and wrong_size):
            self.expect("mismatched-free", op, block.address, block.address, told)
        self.retire(block, op)
        assert self.call(op, block.address, told) == 0
        event = next(event for event in reversed(self.events) if not event.problem)
        assert (event.op, event.old, event.size) == (op, block.address, block.size)
        self.model.count(frees=1)

    @rule(op=st.sampled_from(RELEASERS))
    def free_null(self, op: Op) -> None:
        before = len(self.events)
        assert self.call(op, 0, 24) == 0
        assert len(self.events) == before

    # ---- calls that were served in the guest, told many at a time

    @rule(size=st.integers(0, 1000), count=st.integers(0, 6))
    def reserve(self, size: int, count: int) -> None:
        usable = usable_size(size)
        addresses = self.heap.reserve(usable, count)
        assert len(addresses) == count
        for address in addresses:
            assert address % 16 == 0
            place = range(address - LEAD, address + usable + TAIL)
            assert not self.model.holds(place)
            assert self.memory.read(place.start, len(place)) == bytes([RED]) * 16 + bytes(usable) + bytes([RED]) * 24
            self.model.forget(place)
            self.model.reserved[address] = size

    @rule(data=st.data(), length=st.integers(1, 12))
    def take(self, data: st.DataObject, length: int) -> None:
        """As if the calls had come one by one, but that the quarantine is trimmed when all are known."""
        told, noted = len(self.events), len(self.log.misuses)
        calls = [call for _ in range(length) if (call := self.served(data)) is not None]
        self.trim()
        self.heap.take(Batch.of(calls))
        assert self.events[told:] == self.log.misuses[noted:]

    def served(self, data: st.DataObject) -> Record | None:
        """One more call in the guest, entered in the model; what the stub does to memory is done here."""
        action, stack = data.draw(st.sampled_from(["make", "free", "free again"])), self.stack
        self.calls += 1
        if action == "make" and self.model.reserved:
            return self.make_served(data, stack)
        if action == "free":
            intact = {a: block for a, block in self.model.live.items() if self.stub_frees(block)}
            return self.free_served(data, self.block(data, intact), stack) if intact else None
        if action == "free again" and self.model.quarantine:
            again = self.block(data, self.model.quarantine).address
            self.model.misuses.append(Misuse("double-free", "free", again, again, stack))
            self.model.count(frees=1)
            return record_of("free", THREAD, 0, again, stack)
        return None

    def make_served(self, data: st.DataObject, stack: Stack) -> Record:
        address = data.draw(st.sampled_from(sorted(self.model.reserved)))
        size, op = self.model.reserved.pop(address), data.draw(st.sampled_from([*MAKERS, "calloc"]))
        self.memory.poke(address - 8, lead(address, size, op)[8:])
        self.memory.poke(address + size, bytes([RED]) * 24)
        for touched in (*range(address - 8, address), *range(address + size, address + size + 24)):
            self.model.before.pop(touched, None)
        self.model.born(Known(address, size, stack, op))
        self.model.count(allocs=1, size=size)
        return record_of(op, THREAD, size, address, stack)

    def free_served(self, data: st.DataObject, block: Known, stack: Stack) -> Record:
        op: Op = data.draw(st.sampled_from(releasers(block.maker)))
        held = self.memory.read(block.address, block.usable)
        self.memory.poke(block.address - 8, FREED)
        self.model.retire(block, stack)
        self.model.count(frees=1)
        return record_of(op, THREAD, block.size, block.address, stack + held)

    def stub_frees(self, block: Known) -> bool:
        if block.size > LARGEST_TOLD or "aligned" in block.maker or self.damage(block):
            return False
        return self.memory.read(block.address - LEAD, LEAD) == lead(block.address, block.size, block.maker)

    # ---- misuse

    @precondition(lambda self: self.model.quarantine)
    @rule(data=st.data(), op=st.sampled_from(RELEASERS))
    def double_free(self, data: st.DataObject, op: Op) -> None:
        block = self.block(data, self.model.quarantine)
        self.expect("double-free", op, block.address, block.address)
        assert self.call(op, block.address) == 0
        self.model.count(frees=1)

    @precondition(lambda self: self.model.quarantine)
    @rule(data=st.data(), size=st.one_of(sizes, refused))
    def realloc_of_freed(self, data: st.DataObject, size: int) -> None:
        block = self.block(data, self.model.quarantine)
        self.expect("invalid-realloc", "realloc", block.address, block.address)
        assert self.call("realloc", block.address, size) == (-ENOMEM if size else 0)
        if size < LIMIT:
            self.model.count(allocs=size > 0, frees=1, size=size)

    @rule(data=st.data(), op=st.sampled_from(["free", "realloc", "malloc_usable_size"]))
    def wild_pointer(self, data: st.DataObject, op: Op) -> None:
        books = {**self.model.live, **self.model.quarantine}
        inside = [at + n for at, block in books.items() for n in (1, block.size - 1, block.size, block.usable)]
        address = data.draw(st.sampled_from([SCRATCH, 1, (1 << 64) - 8, HEAP_BASE + HEAP_SIZE - 16, *inside]))
        assume(address not in books)
        if op == "malloc_usable_size":
            assert self.call(op, address) == 0
            return
        self.expect("invalid-free" if op == "free" else "invalid-realloc", op, address, self.model.around(address))
        assert self.call(op, address, 10) == (0 if op == "free" else -ENOMEM)
        self.model.count(allocs=op == "realloc", frees=1, size=10 if op == "realloc" else 0)

    # ---- what the guest writes, rightly or not

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), byte=st.integers(1, 255))
    def write(self, data: st.DataObject, byte: int) -> None:
        block = self.block(data, self.model.live)
        assume(block.fence)
        start = data.draw(st.one_of(st.integers(0, block.fence - 1), st.just(block.fence - 1)))
        end = min(block.fence, start + data.draw(st.integers(1, 64)))
        self.memory.write(block.address + start, bytes([byte]) * (end - start))
        block.content |= dict.fromkeys(range(start, end), byte)

    @precondition(lambda self: self.model.live)
    @rule(data=st.data())
    def ask_for_usable_size(self, data: st.DataObject) -> None:
        """From then on all of it is the program's, unless something is wrong already."""
        block = self.block(data, self.model.live)
        intact = all(from_below for *_, from_below in self.damage(block))
        assert self.call("malloc_usable_size", block.address) == block.usable
        if intact and block.fence < block.usable:
            block.fence = block.usable
            self.model.forget(block.place)

    def write_wrongly(self, address: int, data: bytes) -> None:
        for at, byte in enumerate(self.memory.read(address, len(data)), address):
            self.model.before.setdefault(at, byte)
        self.memory.write(address, data)

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), content=written, after=st.booleans())
    def write_beside(self, data: st.DataObject, content: bytes, after: bool) -> None:
        """Into the red zone behind a block or before it."""
        block = self.block(data, self.model.live)
        end = block.address + block.fence
        zone = range(end, block.place.stop) if after else range(block.place.start, block.address)
        start = data.draw(st.one_of(st.just(zone.start), st.integers(zone.start, zone.stop - 1)))
        self.write_wrongly(start, content[: zone.stop - start])

    @precondition(lambda self: self.model.quarantine)
    @rule(data=st.data(), content=written)
    def write_after_free(self, data: st.DataObject, content: bytes) -> None:
        block = self.block(data, self.model.quarantine)
        zone = block.watched
        start = data.draw(st.integers(zone.start, zone.stop - 1))
        self.write_wrongly(start, content[: zone.stop - start])

    @precondition(lambda self: self.model.live)
    @rule(data=st.data(), length=st.integers(1, 40), byte=st.integers(0, 255).filter(lambda byte: byte != RED))
    def write_far_beyond_the_end(self, data: st.DataObject, length: int, byte: int) -> None:
        """From the end of a block through its red zone into what follows it, if anything does."""
        block = self.block(data, self.model.live)
        above = self.model.live.get(block.place.stop + LEAD)
        stop = block.place.stop + min(length, LEAD + above.fence if above else LEAD)
        if above is not None and stop > above.address:
            above.content |= dict.fromkeys(range(stop - above.address), byte)
        self.write_wrongly(block.address + block.fence, bytes([byte]) * (stop - block.address - block.fence))
        if above is not None:
            for inside in range(above.address, stop):
                self.model.before.pop(inside, None)

    # ---- what must always hold

    @invariant()
    def the_counts_are_valgrinds(self) -> None:
        assert self.log.counts == self.model.counts

    @invariant()
    def the_ledger_is_the_model(self) -> None:
        found = [(block.address, block.size, block.stack, block.thread, block.freed) for block in self.log.blocks()]
        assert found == [(b.address, b.size, b.stack, THREAD, NO_STACK) for b in self.model.live.values()]
        freed = [(block.address, block.size, block.stack, block.freed) for block in self.heap.quarantine.blocks()]
        assert freed == [(b.address, b.size, b.stack, b.freed) for b in self.model.quarantine.values()]
        assert self.heap.footprint == len(self.model.live) + len(self.model.quarantine)
        self.the_misuses_are_the_models()

    def the_misuses_are_the_models(self) -> None:
        found = [
            Misuse(e.problem, e.op, e.old, e.block and e.block.address, e.stack, e.size, e.offset, e.thread)
            for e in self.log.misuses
        ]
        assert found == self.model.misuses

    @invariant()
    def the_contents_are_kept(self) -> None:
        for block in self.model.live.values():
            found = self.memory.read(block.address, block.fence)
            assert all(found[n] == byte for n, byte in block.content.items())

    @invariant()
    def the_clock_never_goes_back(self) -> None:
        ticks = [event.tick for event in self.events]
        assert ticks == sorted(set(ticks))

    def teardown(self) -> None:
        """At the end everything is looked at once more."""
        for block in self.model.live.values():
            self.report(block, "malloc", NO_STACK)
        for block in self.model.quarantine.values():
            self.report(block, "free", NO_STACK)
        self.heap.check()
        self.the_misuses_are_the_models()
