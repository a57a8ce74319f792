"""The books of the program's own allocators: blocks that it declared by client requests, alone or in pools.

The rules are memcheck's (mc_malloc_wrappers.c): what is counted, what is wrong with a request, what becomes of a pool's
blocks. A declared block lies wherever the program has it: in a block of malloc's, in static data, in a mapping.
"""

from bisect import bisect_left, insort
from typing import Final

from emuleak.events import SIZE_MASK, Block, Call, Declared, Event, Log, Op, Pool, Record, Stack, block_of, record_of
from emuleak.memory import HEAP_BASE, HEAP_SIZE

# Of released blocks so many are remembered, to tell a second release from a wrong address.
_REMEMBERED: Final = 100_000
_HEAP_END: Final = HEAP_BASE + HEAP_SIZE


class CustomBlocks:
    """Owner of `log.declared`. `stack` and `thread` are those of the request that is served."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._declared: Declared = log.declared
        self._released: dict[int, Block] = {}
        self.unknown_pools: list[int] = []

    def copy_for(self, log: Log) -> "CustomBlocks":
        """The books of a forked process, whose log knows what is declared."""
        copy = CustomBlocks(log)
        copy._released = dict(self._released)
        return copy

    # ---- blocks on their own

    def allocated(self, address: int, size: int, redzone: int, stack: Stack, thread: int) -> None:
        """MALLOCLIKE_BLOCK: a block of `size` bytes (below 1 TiB) is in use from now on."""
        counts = self._log.counts
        old = self._declared.blocks.pop(address, None)
        if old is None:
            counts.in_use_blocks += 1
        self._declared.blocks[address] = self._counted(address, size, stack, thread)
        counts.in_use_bytes += size - (old[0] & SIZE_MASK if old else 0)
        counts.peak_bytes = max(counts.peak_bytes, counts.in_use_bytes)
        self._fenced(address, size, redzone)

    def resized(self, address: int, old: int, new: int, redzone: int, stack: Stack, thread: int) -> None:
        """RESIZEINPLACE_BLOCK: a block of `old` bytes has `new` from now on."""
        record = self._declared.blocks.get(address)
        if record is None or record[0] & SIZE_MASK != old or not new:
            self._misused("realloc", "invalid-realloc", address, stack, thread, self._near(address))
            return
        self._declared.blocks[address] = (record[0] & ~SIZE_MASK | new, address, record[2])
        self._log.counts.in_use_bytes += new - old
        self._log.counts.peak_bytes = max(self._log.counts.peak_bytes, self._log.counts.in_use_bytes)
        if new < old:
            self.close(address + new, old - new + redzone)
        else:
            self._fenced(address, new, redzone)

    def freed(self, address: int, redzone: int, stack: Stack, thread: int) -> None:
        """FREELIKE_BLOCK. A block of malloc's is for the caller to release; of NULL there is nothing to do."""
        if not address:
            return
        self._log.counts.frees += 1
        record = self._declared.blocks.get(address)
        if record is None:
            problem = "double-free" if address in self._released else "invalid-free"
            self._misused("free", problem, address, stack, thread, self._near(address))
            return
        self._retire(record, stack)
        self.close(address - redzone, (record[0] & SIZE_MASK) + 2 * redzone)

    def freed_by_malloc(self, op: Op, address: int, call: Call | Block) -> bool:
        """free(3), delete or realloc was given what is no block of malloc's: tell whether it is a declared one.

        By the first two it is gone, as for valgrind.
        """
        record = self._declared.blocks.get(address)
        if record is None:
            return False
        self._misused(op, "mismatched-free", address, call.stack, call.thread, block_of(record))
        if "realloc" not in op:
            self._retire(record, call.stack)
            self.close(address, record[0] & SIZE_MASK)
        return True

    def mismatched(self, record: Record, stack: Stack, thread: int) -> None:
        """FREELIKE_BLOCK was given a block of malloc's."""
        self._misused("free", "mismatched-free", record[1], stack, thread, block_of(record))

    def _retire(self, record: Record, stack: Stack) -> None:
        del self._declared.blocks[record[1]]
        counts = self._log.counts
        counts.in_use_blocks -= 1
        counts.in_use_bytes -= record[0] & SIZE_MASK
        self._remember(record, stack)

    # ---- pools

    def create_pool(self, pool: int, redzone: int, *, meta: bool, auto_free: bool) -> None:
        """CREATE_MEMPOOL, CREATE_MEMPOOL_EXT; a pool of that name is forgotten."""
        self._declared.pools[pool] = Pool(redzone, meta, auto_free)

    def destroy_pool(self, pool: int) -> None:
        """DESTROY_MEMPOOL: its blocks are gone, too."""
        if (found := self._pool(pool)) is not None:
            del self._declared.pools[pool]
            for word, address, _ in found.blocks.values():
                self.close(address - found.redzone, (word & SIZE_MASK) + 2 * found.redzone)

    def pool_exists(self, pool: int) -> bool:
        """MEMPOOL_EXISTS."""
        return pool in self._declared.pools

    def pool_allocated(self, pool: int, address: int, size: int, stack: Stack, thread: int) -> None:
        """MEMPOOL_ALLOC. It counts as an allocation, but a pool's blocks are not among those in use (as valgrind's)."""
        if (found := self._pool(pool)) is not None:
            found.blocks[address] = self._counted(address, size, stack, thread)
            self._fenced(address, size, found.redzone)

    def pool_freed(self, pool: int, address: int, stack: Stack, thread: int) -> None:
        """MEMPOOL_FREE; with a block of an AUTO_FREE pool go those that were cut from it."""
        if (found := self._pool(pool)) is None:
            return
        record = found.blocks.get(address)
        if record is None:
            problem = "double-free" if address in self._released else "invalid-free"
            self._misused("free", problem, address, stack, thread, self._near(address))
            return
        if found.auto_free:
            end = address + (record[0] & SIZE_MASK)
            for inner in list(self._declared.blocks.values()):
                if address <= inner[1] and inner[1] + (inner[0] & SIZE_MASK) <= end:
                    self._retire(inner, stack)
        self._drop(found, record, stack)

    def trim_pool(self, pool: int, address: int, size: int, stack: Stack) -> None:
        """MEMPOOL_TRIM: only what lies in `[address, address + size)` stays."""
        if (found := self._pool(pool)) is None:
            return
        end = address + size
        for record in list(found.blocks.values()):
            word, start, made = record
            stop = start + (word & SIZE_MASK)
            low, high = max(start, address), min(stop, end)
            if low >= high:
                self._drop(found, record, stack)
            elif (low, high) != (start, stop):
                del found.blocks[start]
                found.blocks[low] = (word & ~SIZE_MASK | high - low, low, made)
                self.close(start, low - start)
                self.close(high, stop - high)

    def move_pool(self, old: int, new: int) -> None:
        """MOVE_MEMPOOL: it has another name."""
        if (found := self._pool(old)) is not None:
            del self._declared.pools[old]
            self._declared.pools[new] = found

    def change_pool(self, pool: int, old: int, new: int, size: int, stack: Stack, thread: int) -> None:
        """MEMPOOL_CHANGE: a block lies elsewhere, or has another size."""
        if (found := self._pool(pool)) is None:
            return
        record = found.blocks.pop(old, None)
        if record is None:
            self._misused("realloc", "invalid-realloc", old, stack, thread, self._near(old))
        else:
            found.blocks[new] = (record[0] & ~SIZE_MASK | size & SIZE_MASK, new, record[2])

    def _pool(self, pool: int) -> Pool | None:
        found = self._declared.pools.get(pool)
        if found is None:
            self.unknown_pools.append(pool)
        return found

    def _drop(self, pool: Pool, record: Record, stack: Stack) -> None:
        word, address, _ = record
        del pool.blocks[address]
        self._remember(record, stack)
        self.close(address - pool.redzone, (word & SIZE_MASK) + 2 * pool.redzone)

    # ---- what both have in common

    def _counted(self, address: int, size: int, stack: Stack, thread: int) -> Record:
        counts = self._log.counts
        counts.allocs += 1
        counts.bytes_allocated += size
        self._released.pop(address, None)
        return record_of("malloc", thread, size, address, stack)

    def _remember(self, record: Record, stack: Stack) -> None:
        self._released[record[1]] = block_of(record, stack)
        if len(self._released) > _REMEMBERED:
            del self._released[next(iter(self._released))]

    def _near(self, address: int) -> Block | None:
        return self._released.get(address)

    def _misused(self, op: Op, problem: str, address: int, stack: Stack, thread: int, block: Block | None) -> None:
        log = self._log
        tick = log.counts.allocs + log.counts.frees
        event = Event(tick, op, 0, 0, address, stack, thread, problem, block)
        log.misuses.append(event)
        for listener in log.listeners:
            listener(event)

    # ---- where nothing is stored

    def _fenced(self, address: int, size: int, redzone: int) -> None:
        self.open(address, size)
        if redzone:
            self.close(address - redzone, redzone)
            self.close(address + size, redzone)

    def close(self, address: int, size: int) -> None:
        """Nothing that lies in the range is stored there any more: no pointer in it counts."""
        if size > 0:
            ranges = self._ranges(address)
            _cut(ranges, address, address + size)
            insort(ranges, (address, address + size))

    def open(self, address: int, size: int) -> None:
        """The range is in use again."""
        if size > 0 and self._declared.closed:
            _cut(self._ranges(address), address, address + size)

    def unmapped(self, start: int, end: int) -> None:
        """What is mapped there next has nothing to do with what was."""
        if 0 in self._declared.closed:
            _cut(self._declared.closed[0][1], start, end)

    def _ranges(self, address: int) -> list[tuple[int, int]]:
        """The closed ranges of the block of malloc's that holds the address, or of all that lies elsewhere."""
        record = self._outer(address) if HEAP_BASE <= address < _HEAP_END else None
        key = record[1] if record is not None else 0
        known = self._declared.closed.get(key)
        if known is None or known[0] is not record:
            known = self._declared.closed[key] = (record, [])
        return known[1]

    def _outer(self, address: int) -> Record | None:
        """The live block of malloc's around an address. Pools lie in few blocks, which are asked first."""
        live = self._log.live
        for record, _ in self._declared.closed.values():
            if record is not None and _holds(record, address) and live.get(record[1]) is record:
                return record
        return next((record for record in reversed(live.values()) if _holds(record, address)), None)


def _holds(record: Record, address: int) -> bool:
    return 0 <= address - record[1] < max(record[0] & SIZE_MASK, 1)


def _cut(ranges: list[tuple[int, int]], start: int, end: int) -> None:
    """Take `[start, end)` out of ranges that are in order and apart from each other."""
    first = bisect_left(ranges, (start,))
    if first and ranges[first - 1][1] > start:
        first -= 1
    last = bisect_left(ranges, (end,), first)
    rest = []
    for low, high in ranges[first:last]:
        rest += [(low, min(high, start))] if low < start else []
        rest += [(max(low, end), high)] if high > end else []
    ranges[first:last] = rest
