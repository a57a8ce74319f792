"""The heap: it serves the guest's calls, keeps the ledger of blocks, and notices what is wrong with a call.

Placement is the policy's part (allocators/); the books are kept here, outside the guest's reach: an overflow in the
guest can corrupt its data, never the ledger. Behaviour towards the guest is glibc's (malloc/malloc.c, 2.36), counting
is valgrind's. A freed block stays in *quarantine* for a while: its address is not given again, so that a second free of
it is recognised for what it is.
"""

import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from emuleak.allocators import ALIGNMENT, Allocator
from emuleak.events import (
    OP_SHIFT,
    SIZE_MASK,
    Block,
    Call,
    Event,
    Log,
    Op,
    Record,
    Stack,
    block_of,
    record_of,
)
from emuleak.memory import HEAP_BASE, HEAP_SIZE, PAGE, READ, WRITE, AddressSpace, Region

_EINVAL: Final = 22
_ENOMEM: Final = 12
_PTRDIFF_MAX: Final = (1 << 63) - 1
_SIZE_MAX: Final = (1 << 64) - 1
_FREE: Final = 1  # the operation's code
_POINTER: Final = struct.Struct("<Q")

# As valgrind's --freelist-vol; the count bounds what the quarantine costs the host (about 300 bytes a block).
QUARANTINE_BYTES: Final = 20_000_000
QUARANTINE_BLOCKS: Final = 200_000
# The heap asks whether it may go on once in so many calls that allocate.
_PRESSURE_PERIOD: Final = 4096
# What the stub in the guest gives out it clears then (hooks/stub.S, LARGEST); the rest is cleared here.
_LARGEST_SERVED: Final = 1000
_MMAP_THRESHOLD: Final = 128 << 10


def usable_size(size: int) -> int:
    """What glibc's malloc_usable_size says of a block of `size` bytes (request2size in malloc.c, 64-bit)."""
    chunk = max(32, (size + 8 + 15) & -16)
    if chunk >= _MMAP_THRESHOLD:
        return ((chunk + 8 + PAGE - 1) & -PAGE) - 16
    return chunk - 8


class Heap:
    """Owner of the ledger. `handle` takes a Call and returns an address (or value), 0, or -errno."""

    def __init__(self, memory: AddressSpace, policy: Allocator, log: Log) -> None:
        self.log = log
        self.on_pressure: Callable[[], None] = lambda: None
        self._memory = memory
        self._policy = policy
        self._live = log.live
        self._counts = log.counts
        self._quarantine: deque[int] = deque()  # addresses, the oldest first
        self._quarantined: dict[int, tuple[Record, Stack]] = {}
        self._quarantine_bytes = 0
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
        }
        memory.map(Region(HEAP_BASE, HEAP_BASE + HEAP_SIZE, READ | WRITE, "heap"))

    @property
    def footprint(self) -> int:
        """How many blocks the books hold, live and quarantined."""
        return len(self._live) + len(self._quarantine)

    def handle(self, call: Call) -> int:
        """Serve one call of the guest. Raises Fault where posix_memalign cannot store its answer."""
        return self._handlers[call.op](call)

    # ---- calls that the gate's stub has served

    def reserve(self, size: int, count: int) -> list[int]:
        """Addresses of up to `count` blocks of `size` bytes, to be given out later."""
        return self._policy.reserve(size, count)

    def take(self, calls: Sequence[Record]) -> None:
        """Enter calls that were served already, each as the record of its block; a free's has the freeing stack.

        The loop runs once for every small malloc, calloc and free of the guest (benchmarks/malloc.py), so it keeps the
        counts in local variables and puts them back before anything else looks.
        """
        live, quarantine, quarantined = self._live, self._quarantine, self._quarantined
        counts = self._counts
        allocs, total, in_use, peak = 0, 0, counts.in_use_bytes, counts.peak_bytes
        for call in calls:
            word, address, stack = call
            if word >> OP_SHIFT != _FREE:
                live[address] = call
                size = word & SIZE_MASK
                allocs += 1
                total += size
                in_use += size
                if in_use > peak:
                    peak = in_use
                continue
            record = live.pop(address, None)
            if record is None:
                self._misused("free", address, block_of(call))
                continue
            quarantined[address] = record, stack
            quarantine.append(address)
            in_use -= record[0] & SIZE_MASK
        self._quarantine_bytes += counts.in_use_bytes + total - in_use
        counts.allocs += allocs
        counts.frees += len(calls) - allocs
        counts.bytes_allocated += total
        counts.in_use_bytes, counts.peak_bytes, counts.in_use_blocks = in_use, peak, len(live)
        self._tick += len(calls)
        self._trim()
        self.on_pressure()

    # ---- the interface of malloc(3), posix_memalign(3), malloc_usable_size(3)

    def _malloc(self, call: Call) -> int:
        size = call.first
        address = self._place(size)
        if not address:
            return -_ENOMEM
        self._born(call, address, size)
        return address

    def _calloc(self, call: Call) -> int:
        size = call.first * call.second
        address = self._place(size)
        if not address:
            return -_ENOMEM
        # A large block was cleared when it was freed, but a stale pointer or an overflow may have written there since.
        self._memory.clear(address, usable_size(size))
        self._born(call, address, size)
        return address

    def _realloc(self, call: Call, size: int) -> int:
        old = call.first
        if old == 0:
            return self._malloc(Call(call.op, size, 0, 0, call.stack, call.thread))
        if size == 0:
            return self._free(call)
        possible = size <= _PTRDIFF_MAX
        if possible:  # valgrind counts what fails, but not what it does not even try
            counts = self._counts
            counts.allocs += 1
            counts.frees += 1
            counts.bytes_allocated += size
        record = self._live.get(old)
        if record is None:
            self._misused(call.op, old, call)
            return -_ENOMEM
        address = self._place(size)
        if not address:
            return -_ENOMEM
        # Always to a new address, as valgrind does: a program that keeps the old pointer is wrong and shall notice.
        self._memory.copy(old, address, min(record[0] & SIZE_MASK, size))
        self._retire(record, call.stack)
        self._record(call, address, size, old)
        return address

    def _reallocarray(self, call: Call) -> int:
        size = call.second * call.third
        if size > _SIZE_MAX:
            return -_ENOMEM
        return self._realloc(call, size)

    def _free(self, call: Call) -> int:
        address = call.first
        if not address:
            return 0
        self._counts.frees += 1
        record = self._live.get(address)
        if record is None:
            self._misused(call.op, address, call)
            return 0
        self._tick += 1
        self._retire(record, call.stack)
        if self.log.listeners:
            self._tell(Event(self._tick, call.op, 0, record[0] & SIZE_MASK, address, call.stack, call.thread))
        return 0

    def _memalign(self, call: Call, alignment: int, size: int) -> int:
        if alignment > _PTRDIFF_MAX + 1:
            return -_EINVAL
        # glibc rounds an alignment that is no power of two up to the next one.
        alignment = 1 << max(alignment - 1, 0).bit_length()
        address = self._place(size, alignment)
        if not address:
            return -_ENOMEM
        self._born(call, address, size)
        return address

    def _posix_memalign(self, call: Call) -> int:
        target, alignment, size = call.first, call.second, call.third
        if alignment % 8 or alignment == 0 or alignment & (alignment - 1):
            return _EINVAL
        address = self._memalign(call, alignment, size)
        if address < 0:
            return -address
        self._memory.write(target, _POINTER.pack(address))
        return 0

    def _pvalloc(self, call: Call) -> int:
        size = call.first
        if size > _PTRDIFF_MAX - PAGE:
            return -_ENOMEM
        address = self._policy.memalign(PAGE, usable_size((size + PAGE - 1) & -PAGE))
        if not address:
            return -_ENOMEM
        self._born(call, address, size)
        return address

    def _malloc_usable_size(self, call: Call) -> int:
        record = self._live.get(call.first)
        if record is None:
            return 0
        block = block_of(record)
        return usable_size((block.size + PAGE - 1) & -PAGE if block.maker == "pvalloc" else block.size)

    # ---- the books

    def _place(self, size: int, alignment: int = ALIGNMENT) -> int:
        """The address of a new block, 0 where there is no room.

        It holds nothing of an earlier block: the stale pointers would keep lost blocks alive in the scan.
        """
        if size > _PTRDIFF_MAX - alignment:
            return 0
        address = self._policy.memalign(alignment, usable_size(size))
        if address and (usable := self._policy.usable_size(address)) <= _LARGEST_SERVED:
            self._memory.clear(address, usable)
        return address

    def _born(self, call: Call, address: int, size: int) -> None:
        counts = self._counts
        counts.allocs += 1
        counts.bytes_allocated += size
        self._record(call, address, size, 0)

    def _record(self, call: Call, address: int, size: int, old: int) -> None:
        self._tick += 1
        self._live[address] = record_of(call.op, call.thread, size, address, call.stack)
        counts = self._counts
        counts.in_use_blocks += 1
        counts.in_use_bytes += size
        if counts.in_use_bytes > counts.peak_bytes:
            counts.peak_bytes = counts.in_use_bytes
        if self.log.listeners:
            self._tell(Event(self._tick, call.op, address, size, old, call.stack, call.thread))
        self._until_pressure -= 1
        if not self._until_pressure:
            self._until_pressure = _PRESSURE_PERIOD
            self.on_pressure()

    def _retire(self, record: Record, stack: Stack) -> None:
        """Take a block out of the ledger into quarantine, and let the oldest out of that when it is full."""
        word, address, _ = record
        size = word & SIZE_MASK
        del self._live[address]
        self._counts.in_use_blocks -= 1
        self._counts.in_use_bytes -= size
        self._quarantined[address] = record, stack
        self._quarantine.append(address)
        self._quarantine_bytes += size
        self._trim()

    def _trim(self) -> None:
        """Let the oldest out of quarantine until it is within its bounds."""
        while self._quarantine_bytes > QUARANTINE_BYTES or len(self._quarantine) > QUARANTINE_BLOCKS:
            address = self._quarantine.popleft()
            (word, _, _), _ = self._quarantined.pop(address)
            self._quarantine_bytes -= word & SIZE_MASK
            try:
                usable = self._policy.usable_size(address)
            except KeyError:
                continue  # a block that only a guest which wrote to the gate's data spoke of
            if usable > _LARGEST_SERVED:  # smaller ones are cleared when they are given out (_place, hooks/stub.S)
                self._memory.clear(address, usable)
            self._policy.free(address)

    # ---- misuse

    def _misused(self, op: Op, address: int, call: Call | Block) -> None:
        """Note a free or realloc of something that is no live block; the guest goes on."""
        self._tick += 1
        known = self._quarantined.get(address)
        block = block_of(*known) if known is not None else self._around(address)
        problem = "invalid-realloc" if op != "free" else "double-free" if known is not None else "invalid-free"
        event = Event(self._tick, op, 0, 0, address, call.stack, call.thread, problem, block)
        self.log.misuses.append(event)
        if self.log.listeners:
            self._tell(event)

    def _around(self, address: int) -> Block | None:
        """The block, live or quarantined, that `address` points into."""
        if not HEAP_BASE <= address < HEAP_BASE + HEAP_SIZE:
            return None
        quarantined = (block_of(*known) for known in self._quarantined.values())
        for block in (*self.log.blocks(), *quarantined):
            if block.address <= address < block.address + max(block.size, 1):
                return block
        return None

    def _tell(self, event: Event) -> None:
        for listener in self.log.listeners:
            listener(event)
