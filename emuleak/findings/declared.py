"""The scan where the program has declared something of its memory: its own blocks, pools, stacks, ignored blocks.

As memcheck does it (mc_leakcheck.c, find_active_chunks): a block of malloc's in which declared blocks lie is the
program's store of memory and no block itself; it is neither searched nor reported. Blocks outside the heap lie where
the roots are, so what they point to is reachable; and a pointer to one looks like any other number, so there is a
second search of bytes for them, on the upper bytes that each has in common with its neighbourhood.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from emuleak.events import SIZE_MASK, Block, Log, Record, block_of
from emuleak.findings.heuristics import Heuristics
from emuleak.findings.reachability import Root, Scan, Verdict, pointers
from emuleak.memory import HEAP_BASE, HEAP_SIZE, AddressSpace

_NEIGHBOURHOOD: Final = 24  # bits of an address that differ within one
_MARK_AT: Final = _NEIGHBOURHOOD // 8
_HEAP_END: Final = HEAP_BASE + HEAP_SIZE
_LIMIT: Final = 1 << 47  # guest addresses are below
_MOST_NEIGHBOURHOODS: Final = 1 << 16
_SPARSE: Final = 1 << 20


def marked(
    memory: AddressSpace, log: Log, roots: Iterable[Root], stack_pointers: Sequence[int]
) -> tuple[Scan, list[Verdict]]:
    """The scan of what is active, with its verdicts."""
    closed = _Closed(log, stack_pointers)

    def read(block: Block) -> bytes:
        return closed.contents(memory, block.address + 7 & -8, block.address + block.size & -8)

    ignored = ignored_records(log)
    skipped = {id(record) for record, _ in ignored}
    blocks = [block_of(record) for record in active(log) if id(record) not in skipped]
    scan = Scan(blocks, read, Heuristics(memory).counts_as_start, _search(blocks))
    more = [
        *(Root("mapping", "", record[1] + 7 & -8, read(block_of(record))) for record, _ in ignored),
        *(Root("mapping", "", start, closed.contents(memory, start, end)) for start, end in log.declared.regions),
    ]
    masked = (
        root if root.holder == "registers" else root._replace(data=closed.masked(root.address, root.data))
        for root in roots
    )
    return scan, scan.run((*more, *masked))


def ignored_records(log: Log) -> list[tuple[Record, str]]:
    """The blocks still in use that are not to be looked for, each with who said so."""
    known = log.declared.ignored
    return [
        (record, why)
        for address, (record, why) in known.items()
        if log.live.get(address) is record or log.declared.blocks.get(address) is record
    ]


# ---- which blocks there are


def active(log: Log) -> list[Record]:
    """The blocks to look for: the program's own, and those of malloc's in which none of these lie."""
    declared = log.declared
    own = list(declared.blocks.values())
    own += [record for pool in declared.pools.values() if not pool.meta for record in pool.blocks.values()]
    starts = {record[1] for record in own}
    # A block out of which others are cut, the first at its very start: the two would be the same to the scan.
    metas = [record for pool in declared.pools.values() if pool.meta for record in pool.blocks.values()]
    own += [record for record in metas if record[1] not in starts]
    holding = _holding(log.live, own)
    return [*(record for record in log.live.values() if record[1] not in holding), *own]


def _holding(live: dict[int, Record], own: Iterable[Record]) -> set[int]:
    """The addresses of malloc's blocks in which one of the program's own starts or ends."""
    starts = sorted(live)
    found = set()
    for word, address, _ in own:
        for place in (address, address + max((word & SIZE_MASK) - 1, 0)):
            index = bisect_right(starts, place) - 1
            if index >= 0 and place < starts[index] + max(live[starts[index]][0] & SIZE_MASK, 1):
                found.add(starts[index])
    return found


# ---- what lies in memory


class _Closed:
    """The ranges in which no pointer counts: what the program closed, and the dead part of its own stacks."""

    def __init__(self, log: Log, stack_pointers: Sequence[int]) -> None:
        declared = log.declared
        ranges = [
            piece
            for record, pieces in declared.closed.values()
            if record is None or log.live.get(record[1]) is record
            for piece in pieces
        ]
        for start, end in declared.stacks.values():
            ranges += [(start, pointer & -8) for pointer in stack_pointers if start <= pointer < end]
        self._ranges = sorted(ranges)

    def contents(self, memory: AddressSpace, start: int, end: int) -> bytes:
        """What a range holds; nothing of one that cannot be. Of a large one without the pages never touched."""
        if not 0 <= start < end <= _LIMIT:
            return b""
        pieces, at = [], start
        for low, high in memory.touched(start, end):
            low, high = max(low, start), min(high, end)  # noqa: PLW2901
            if end - start < _SPARSE:
                pieces.append(bytes(low - at))
            pieces.append(self.masked(low, bytes(memory.peek(low, high - low))))
            at = high
        return b"".join(pieces)

    def masked(self, address: int, data: bytes) -> bytes:
        """The bytes with zeros for what is closed."""
        end = address + len(data)
        first = bisect_left(self._ranges, (address,))
        if first and self._ranges[first - 1][1] > address:
            first -= 1
        last = bisect_left(self._ranges, (end,))
        if first >= last:
            return data
        copy = bytearray(data)
        for low, high in self._ranges[first:last]:
            low, high = max(low, address), min(high, end)  # noqa: PLW2901
            copy[low - address : high - address] = bytes(max(high - low, 0))
        return bytes(copy)


# ---- the second search


def _search(blocks: Iterable[Block]) -> Callable[[bytes], Iterable[int]]:
    """What finds pointers to these blocks: the usual search where all lie in the heap."""
    outside = [block for block in blocks if not HEAP_BASE <= block.address < _HEAP_END]
    wanted: set[int] = set()
    for block in outside:
        first, last = block.address >> _NEIGHBOURHOOD, block.address + block.size >> _NEIGHBOURHOOD
        wanted.update(range(first, min(last, first + _MOST_NEIGHBOURHOODS) + 1))
    if not wanted:
        return pointers
    marks = sorted(number.to_bytes(8 - _MARK_AT, "little") for number in wanted if number < 1 << 64 - _NEIGHBOURHOOD)

    def search(data: bytes) -> Iterator[int]:
        yield from pointers(data)
        for mark in marks:
            at = data.find(mark, _MARK_AT)
            while at >= 0:
                if at & 7 == _MARK_AT:
                    yield int.from_bytes(data[at - _MARK_AT : at - _MARK_AT + 8], "little")
                at = data.find(mark, at + 1)

    return search
