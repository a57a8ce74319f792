"""The heap: it serves the guest's calls, keeps the ledger of blocks, and notices what is wrong with a call.

Placement is the policy's part (allocators/); the books are kept here, outside the guest's reach: an overflow in the
guest can corrupt its data, never the ledger. Behaviour towards the guest is glibc's (malloc/malloc.c, 2.36), counting
is valgrind's. A freed block stays in *quarantine* for a while: its address is not given again, so that a second free of
it is recognised for what it is.
"""

import struct
from collections.abc import Callable
from itertools import accumulate, compress
from typing import Final

import msgspec

from emuleak.allocators import Allocator
from emuleak.batch import Batch
from emuleak.events import (
    NO_STACK,
    OP_SHIFT,
    OPS,
    SIZE_MASK,
    Block,
    Call,
    Event,
    FailedRealloc,
    Log,
    Op,
    Record,
    Stack,
    block_around,
    block_of,
    family_of,
    is_mismatch,
    record_of,
)
from emuleak.ledger import Ledger
from emuleak.memory import HEAP_BASE, HEAP_SIZE, PAGE, AddressSpace
from emuleak.placement import Placement
from emuleak.quarantine import Quarantine
from emuleak.redzones import LARGEST_TOLD, Damage

_EINVAL: Final = 22
_ENOMEM: Final = 12
_PTRDIFF_MAX: Final = (1 << 63) - 1
_SIZE_MAX: Final = (1 << 64) - 1
_POINTER: Final = struct.Struct("<Q")

# The heap asks whether it may go on once in so many calls that allocate.
_PRESSURE_PERIOD: Final = 4096
# The heap's size over time is noted after each of the first calls that the stub served, then once in so many.
_FINE_GROWTH: Final = 1024
_GROWTH_STEP: Final = 128


class Heap:
    """Owner of the ledger. `handle` takes a Call and returns an address (or value), 0, or -errno."""

    def __init__(self, memory: AddressSpace, policy: Allocator, log: Log) -> None:
        self.log = log
        self.on_pressure: Callable[[], None] = lambda: None
        self.is_excused: Callable[[Event], bool] = lambda _event: False
        self.on_stranger: Callable[[Op, int, Call | Block], bool] = lambda *_: False
        self._memory = memory
        self._placement = Placement(memory, policy)
        self._counts = log.counts
        self.quarantine = Quarantine(memory)
        self._ledger = Ledger(log, self.quarantine, self._stranger)
        self._released = False  # whether any block was let out of quarantine
        self._tick = 0
        self._until_pressure = _PRESSURE_PERIOD
        self._handlers: dict[Op, Callable[[Call], int]] = {
            "malloc": self._malloc,
            "calloc": self._calloc,
            "realloc": lambda call: self._realloc(call, call.second),
            "reallocarray": self._reallocarray,
            "free": self._free,
            "memalign": lambda call: self._memalign(call, call.first, call.second),
            "aligned_alloc": lambda call: self._memalign(call, call.first, call.second),
            "posix_memalign": self._posix_memalign,
            "valloc": lambda call: self._memalign(call, PAGE, call.first),
            "pvalloc": self._pvalloc,
            "malloc_usable_size": self._malloc_usable_size,
            "operator new": self._malloc,
            "operator new[]": self._malloc,
            "aligned operator new": lambda call: self._memalign(call, call.second, call.first),
            "aligned operator new[]": lambda call: self._memalign(call, call.second, call.first),
            "operator delete": self._free,
            "operator delete[]": self._free,
            "sized operator delete": lambda call: self._free(call, call.second),
            "sized operator delete[]": lambda call: self._free(call, call.second),
            "aligned operator delete": self._free,
            "aligned operator delete[]": self._free,
            "sized aligned operator delete": lambda call: self._free(call, call.second),
            "sized aligned operator delete[]": lambda call: self._free(call, call.second),
        }

    def copy_for(self, memory: AddressSpace, log: Log) -> "Heap":
        """The heap of a process that has a copy of this one's memory; `log` has the same blocks live."""
        copy = Heap(memory, self._placement.policy, log)
        self._ledger.settle()
        copy._placement, quarantine = self._placement.copy_for(memory), self.quarantine.copy_for(memory)
        copy.quarantine, copy._ledger = quarantine, Ledger(log, quarantine, copy._stranger)
        copy._released, copy._tick, copy._until_pressure = self._released, self._tick, self._until_pressure
        return copy

    @property
    def footprint(self) -> int:
        """How many blocks the books hold, live, declared and quarantined."""
        return self._counts.in_use_blocks + len(self.quarantine) + self._ledger.released

    def freed(self) -> list[Block]:
        """The freed blocks in the order of their frees; none once the address of any may have been given out again."""
        self._ledger.settle()
        return [] if self._released else list(self.quarantine.blocks())

    def handle(self, call: Call) -> int:
        """Serve one call of the guest. Raises Fault where posix_memalign cannot store its answer."""
        return self._handlers[call.op](call)

    # ---- calls that the gate's stub has served

    def reserve(self, size: int, count: int) -> list[int]:
        """Addresses of up to `count` blocks of `size` bytes, to be given out later."""
        return self._placement.reserve(size, count)

    def take(self, batch: Batch) -> None:
        """Take note of calls that were served already, each release after a look at header and red zones."""
        growth, releases = batch.growth(), batch.releases()
        self._measure(growth, releases)
        self._ledger.add(batch, releases.count(1), -sum(compress(growth, releases)))
        if self.log.listeners:
            self._ledger.settle()
        self._trim()
        self.on_pressure()

    def _measure(self, growth: list[int], releases: bytes) -> None:
        """What calls did to the heap's figures: each made it grow by so many bytes, and some released a block."""
        counts, tick = self._counts, self._tick
        step = 1 if tick < _FINE_GROWTH else _GROWTH_STEP
        sizes = list(accumulate(growth, initial=counts.in_use_bytes))
        counts.bytes_allocated += sum(growth) - sum(compress(growth, releases))
        for first in range(0, len(growth), step):
            last = min(first + step, len(growth))
            peak, freed = counts.peak_bytes, releases.count(1, first, last)
            highest, counts.in_use_bytes = max(sizes[first + 1 : last + 1]), sizes[last]
            counts.peak_bytes = max(peak, highest)
            counts.allocs += last - first - freed
            counts.frees += freed
            counts.in_use_blocks += last - first - 2 * freed
            self._tick = tick + last
            self._grow(peak)

    def check(self, are_intact: Callable[[Batch], bool] | None = None) -> None:
        """At the end: what was changed around live blocks, and in those that were freed; see Quarantine.damaged."""
        for record in self._placement.suspicious(self._ledger.live.values()):
            for found in self._placement.damage(record):
                self._damaged(found, block_of(record), NO_STACK, "malloc")
        for block, found in self.quarantine.damaged(None, are_intact):
            self._damaged(found, block, NO_STACK, "free")

    # ---- the interface of malloc(3), posix_memalign(3), malloc_usable_size(3)

    def _malloc(self, call: Call) -> int:
        size = call.first
        address = self._placement.place(size, family_of(call.op)) if size <= _PTRDIFF_MAX else self._absurd(call, size)
        if not address:
            return -_ENOMEM
        self._born(call, address, size)
        return address

    def _calloc(self, call: Call) -> int:
        size = call.first * call.second
        address = self._placement.place(size, family_of(call.op)) if size <= _PTRDIFF_MAX else self._absurd(call, size)
        if not address:
            return -_ENOMEM
        # A large block was cleared when it was freed, but a stale pointer or an overflow may have written there since.
        self._memory.clear(address, size)
        self._born(call, address, size)
        return address

    def _realloc(self, call: Call, size: int) -> int:
        old = call.first
        if old == 0:
            made: Op = "malloc" if size <= _PTRDIFF_MAX else call.op  # as valgrind has it
            return self._malloc(Call(made, size, 0, 0, call.stack, call.thread))
        if size == 0:
            if (freed := self._ledger.live.get(old)) is not None:
                self._noted(call, "realloc-zero", block_of(freed), old)
            return self._free(call)
        possible = size <= _PTRDIFF_MAX
        if possible:  # valgrind counts what fails, but not what it does not even try
            counts = self._counts
            counts.allocs += 1
            counts.frees += 1
            counts.bytes_allocated += size
        record = self._ledger.live.get(old)
        if record is None:
            self._misused(call.op, old, call)
            return -_ENOMEM
        if is_mismatch(record, call.op, 0):
            self._noted(call, "mismatched-free", block_of(record), old)
        address = self._placement.place(size, family_of(call.op)) if possible else self._absurd(call, size, old)
        if not address:
            self.log.failed_reallocs[old] = FailedRealloc(record, size, call.stack)
            return -_ENOMEM
        # Always to a new address, as valgrind does: a program that keeps the old pointer is wrong and shall notice.
        self._memory.copy(old, address, min(self._placement.fence(record), size))
        self._retire(record, call)
        self._record(call, address, size, old)
        return address

    def _reallocarray(self, call: Call) -> int:
        size = call.second * call.third
        if size > _SIZE_MAX:
            self._absurd(call, size, call.first)
            return -_ENOMEM
        return self._realloc(call, size)

    def _free(self, call: Call, size: int = 0) -> int:
        """`size`: what a sized operator delete says of its block, 0 for the others."""
        address = call.first
        if not address:
            return 0
        self._counts.frees += 1
        if self._ledger.waits and self._free_waiting(call, size):
            return 0
        record = self._ledger.live.get(address)
        if record is None:
            self._misused(call.op, address, call)
            return 0
        if is_mismatch(record, call.op, size):
            self._noted(call, "mismatched-free", block_of(record), address, size)
        self._retire(record, call)
        self._tick += 1
        self._grow(self._counts.peak_bytes)
        if self.log.listeners:
            self._tell(Event(self._tick, call.op, 0, record[0] & SIZE_MASK, address, call.stack, call.thread))
        return 0

    def _free_waiting(self, call: Call, told: int) -> bool:
        """Free a block as the stub would, which only trapped because its ring was full: the ledger need not settle."""
        address, family = call.first, family_of(call.op)
        size = self._placement.as_the_stub(address, family)
        if size is None or told not in {0, size}:
            return False
        held = self._placement.free_as_the_stub(address, size)
        self._counts.in_use_blocks -= 1
        self._counts.in_use_bytes -= size
        self._ledger.add(Batch.of([record_of(call.op, call.thread, size, address, call.stack + held)]), 1, size)
        self._trim()
        self._tick += 1
        self._grow(self._counts.peak_bytes)
        return True

    def _memalign(self, call: Call, alignment: int, size: int) -> int:
        if alignment & (alignment - 1) or not alignment:
            self._noted(call, "invalid-alignment", None, 0, alignment)
        if alignment > _PTRDIFF_MAX + 1:
            return -_EINVAL
        # glibc rounds an alignment that is no power of two up to the next one.
        alignment = 1 << max(alignment - 1, 0).bit_length()
        possible, family = size <= _PTRDIFF_MAX, family_of(call.op)
        address = self._placement.place(size, family, alignment) if possible else self._absurd(call, size)
        if not address:
            return -_ENOMEM
        self._born(call, address, size)
        return address

    def _posix_memalign(self, call: Call) -> int:
        target, alignment, size = call.first, call.second, call.third
        if alignment % 8 or alignment == 0 or alignment & (alignment - 1):
            self._noted(call, "invalid-alignment", None, 0, alignment)
            return _EINVAL
        address = self._memalign(call, alignment, size)
        if address < 0:
            return -address
        self._memory.write(target, _POINTER.pack(address))
        return 0

    def _pvalloc(self, call: Call) -> int:
        size = call.first
        if size > _PTRDIFF_MAX:
            self._absurd(call, size)
        address = self._placement.place((size + PAGE - 1) & -PAGE, family_of(call.op), PAGE)
        if not address:
            return -_ENOMEM
        self._born(call, address, size)
        return address

    def _malloc_usable_size(self, call: Call) -> int:
        record = self._ledger.live.get(call.first)
        return 0 if record is None else self._placement.stretch(record)

    # ---- the books

    def _grow(self, earlier_peak: int) -> None:
        """Note how large the heap is now, and how large it was meanwhile if it was never larger."""
        counts, growth = self._counts, self.log.growth
        if counts.peak_bytes > max(earlier_peak, counts.in_use_bytes):
            growth.add(self._tick, counts.peak_bytes, counts.in_use_blocks)
        growth.add(self._tick, counts.in_use_bytes, counts.in_use_blocks)

    def _born(self, call: Call, address: int, size: int) -> None:
        counts = self._counts
        counts.allocs += 1
        counts.bytes_allocated += size
        self._record(call, address, size, 0)

    def _record(self, call: Call, address: int, size: int, old: int) -> None:
        self._tick += 1
        self._ledger.born(record_of(call.op, call.thread, size, address, call.stack))
        counts = self._counts
        counts.in_use_blocks += 1
        counts.in_use_bytes += size
        if counts.in_use_bytes > counts.peak_bytes:
            counts.peak_bytes = counts.in_use_bytes
        self._grow(counts.peak_bytes)
        if self.log.listeners:
            self._tell(Event(self._tick, call.op, address, size, old, call.stack, call.thread))
        self._until_pressure -= 1
        if not self._until_pressure:
            self._until_pressure = _PRESSURE_PERIOD
            self.on_pressure()

    def _retire(self, record: Record, call: Call) -> None:
        """Take a block out of the ledger into quarantine, and let the oldest out of that when it is full."""
        word, address, _ = record
        for found in self._placement.damage(record):
            self._damaged(found, block_of(record), call.stack, call.op, call.thread)
        del self._ledger.live[address]
        self._counts.in_use_blocks -= 1
        self._counts.in_use_bytes -= word & SIZE_MASK
        self._placement.freed(record)
        self.quarantine.add(record, call.stack)
        self._trim()

    def _trim(self) -> None:
        """Let the oldest out of quarantine until it is within its bounds."""
        if self._ledger.is_full:
            self._ledger.settle()
        gone = self.quarantine.overflowing()
        self._released |= bool(gone)
        for block, found in self.quarantine.damaged(gone):
            self._damaged(found, block, NO_STACK, "free")
        for shelf in gone:
            self._placement.release(shelf.addresses(), shelf.larger_than(LARGEST_TOLD))

    # ---- misuse

    def _misused(self, op: Op, address: int, call: Call | Block) -> None:
        """Note a free or realloc of something that is no live block; the guest goes on."""
        if self.on_stranger(op, address, call):
            return
        block = self.quarantine.get(address)
        realloc = op in {"realloc", "reallocarray"}
        problem = "invalid-realloc" if realloc else "invalid-free" if block is None else "double-free"
        self._note(Event(0, op, 0, 0, address, call.stack, call.thread, problem, block or self._around(address)))

    def _stranger(self, call: Record) -> None:
        """The stub told of a release of no live block, as a guest can make it do that writes to the gate's data."""
        self._counts.in_use_bytes += call[0] & SIZE_MASK
        self._counts.in_use_blocks += 1
        self._misused(OPS[call[0] >> OP_SHIFT], call[1], block_of(call))

    def _absurd(self, call: Call, size: int, old: int = 0) -> int:
        """Note a request that no machine can meet: a negative number, or a product that overflows. No block: 0."""
        self._noted(call, "invalid-size", None, old, size)
        return 0

    def _noted(self, call: Call, problem: str, block: Block | None, old: int = 0, size: int = 0) -> None:
        self._note(Event(0, call.op, 0, size, old, call.stack, call.thread, problem, block))

    def _damaged(self, found: Damage, block: Block, stack: Stack, op: Op, thread: int = 0) -> None:
        self._placement.reported(block.address)
        if self._placement.is_of_below(block.address, found):
            return
        kind, offset, length, _ = found
        self._note(Event(0, op, 0, length, block.address, stack, thread, kind, block, offset))

    def _note(self, event: Event) -> None:
        """Keep a misuse."""
        if self.is_excused(event):
            return
        self._tick += 1
        event = msgspec.structs.replace(event, tick=self._tick)
        self.log.misuses.append(event)
        if self.log.listeners:
            self._tell(event)

    def _around(self, address: int) -> Block | None:
        """The block, live or quarantined, that `address` points into."""
        if not HEAP_BASE <= address < HEAP_BASE + HEAP_SIZE:
            return None
        return block_around(address, (*self.log.blocks(), *self.quarantine.blocks()))

    def _tell(self, event: Event) -> None:
        for listener in self.log.listeners:
            listener(event)
