"""The guest's address space: arenas of host memory, the regions mapped in them, and their pages.

An *arena* is a range of guest addresses reserved once in the host and handed to the CPU as one block: mapping,
protecting and unmapping afterwards edit only the books kept here, because mapping a block of its own with the
CPU costs 0.3-3.5 ms each. A *region* is what the guest mapped (a `vm_area_struct` in Linux's words). The
*page table* (`pages`) caches the permissions of every page that was touched: the CPU's TLB is filled from it. Pages lie
where their address says, but for those of shared mappings after a fork (sharing.py): their entries say where, too.
"""

import bisect
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from emuleak.arena import Arena
from emuleak.layout import (
    EXEC,
    GATE_BASE,
    GATE_SIZE,
    HEAP_BASE,
    HEAP_SIZE,
    MMAP_TOP,
    PAGE,
    PAGE_SHIFT,
    PERMISSIONS,
    PROGRAM_BASE,
    READ,
    STACK_TOP,
    WRITE,
    Fault,
    OutOfAddressSpace,
    PageSource,
    Region,
    page_ceil,
    page_floor,
)
from emuleak.sharing import Aliases

__all__ = [
    "EXEC", "GATE_BASE", "GATE_SIZE", "HEAP_BASE", "HEAP_SIZE", "MMAP_TOP", "PAGE", "PAGE_SHIFT", "PERMISSIONS",
    "PROGRAM_BASE", "READ", "STACK_TOP", "WRITE", "AddressSpace", "Fault", "OutOfAddressSpace", "PageSource", "Region",
    "page_ceil", "page_floor",
]  # fmt: skip

_GIB = 1 << 30
_CODE, _NO_CODE = True, False
_DISCARD = 1 << 17  # from here on giving pages back is cheaper than writing zeros
_ZEROS = memoryview(bytes(_DISCARD))
_ARENAS = (
    (0x1_0000, 4 * _GIB - 0x1_0000),  # programs linked at a fixed address, their brk, MAP_32BIT
    (PROGRAM_BASE, 16 * _GIB),  # position-independent programs and their brk
    (GATE_BASE, GATE_SIZE + HEAP_SIZE),
    (MMAP_TOP - (1 << 40), 1 << 40),
    (MMAP_TOP, STACK_TOP - MMAP_TOP),
)


class AddressSpace:
    """Owner of the regions and of the page table.

    `on_change` is told when cached translations went stale, `on_unmap` of every range that is no longer what it was.
    """

    def __init__(self) -> None:
        self.arenas = tuple(Arena(base, size) for base, size in _ARENAS)
        self._bases = [arena.base for arena in self.arenas]
        self._starts: list[int] = []
        self._regions: list[Region] = []
        self.pages: dict[int, int] = {}
        self.on_change: Callable[[bool], None] = lambda _code: None
        self.on_unmap: Callable[[int, int], None] = lambda _start, _end: None
        # Nothing outside [low, high) has a source: nearly every run has none, and need not look.
        self._sourced = (1 << 64, 0)
        self.aliases = Aliases()

    def close(self) -> None:
        """Give the host's memory back; the CPU that ran in it must be gone."""
        self.aliases.remove(0, 1 << 64)
        for arena in self.arenas:
            arena.close()

    # ---- books

    def regions(self) -> Iterator[Region]:
        """All regions by ascending address."""
        return iter(tuple(self._regions))

    def region_at(self, address: int) -> Region | None:
        """The region that holds `address`."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index >= 0 and address < self._regions[index].end:
            return self._regions[index]
        return None

    def overlapping(self, start: int, end: int) -> list[Region]:
        """The regions that share at least one byte with `[start, end)`."""
        first = bisect.bisect_right(self._starts, start) - 1
        if first < 0 or self._regions[first].end <= start:
            first += 1
        last = bisect.bisect_left(self._starts, end)
        return self._regions[first:last]

    def can_hold(self, start: int, length: int) -> bool:
        """Whether `[start, start + length)` lies inside one arena, so that it can be mapped at all."""
        arena = self._arena(start)
        return arena is not None and start + length <= arena.end

    def map(self, region: Region) -> None:
        """Map `region` (page-aligned, inside one arena), replacing what was there; its bytes read as zero."""
        self.unmap(region.start, region.end - region.start)
        index = bisect.bisect_left(self._starts, region.start)
        self._starts.insert(index, region.start)
        self._regions.insert(index, region)
        if region.source is not None:
            low, high = self._sourced
            self._sourced = (min(low, region.start), max(high, region.end))

    def unmap(self, start: int, length: int) -> bool:
        """Remove every mapping in `[start, start + length)`; tell whether there was any."""
        end = start + length
        gone = self._carve(start, end)
        if not gone:
            return False
        code = any(region.prot & EXEC for region in gone)
        touched = self._drop_pages(start, end)
        self.aliases.remove(start, end)
        for region in gone:
            low, high = max(start, region.start), min(end, region.end)
            arena = self._arena(low)
            assert arena is not None
            arena.zero(low - arena.base, high - low)
        self.on_unmap(start, end)
        if touched:
            self.on_change(code)
        return True

    def protect(self, start: int, length: int, prot: int) -> bool:
        """Give `[start, start + length)` new permissions; False when part of it is not mapped."""
        end = start + length
        pieces = self.overlapping(start, end)
        if not _covers(pieces, start, end):
            return False
        code = any(region.prot & EXEC for region in pieces)
        self._carve(start, end)
        for piece in pieces:
            low, high = max(start, piece.start), min(end, piece.end)
            index = bisect.bisect_left(self._starts, low)
            self._starts.insert(index, low)
            offset = piece.offset + low - piece.start
            self._regions.insert(index, replace(piece, start=low, end=high, prot=prot, offset=offset))
        touched = False
        if prot & EXEC and self.aliases.at(start) is not None:
            self.alias_code()
        if self.aliases.executable and prot & WRITE and self.aliases.at(start) is not None:
            prot |= EXEC
        for page in self._cached(start, end):
            self.pages[page] = _granted(prot) | self.pages[page] & ~PERMISSIONS
            touched = True
        if touched:
            self.on_change(code)
        return True

    def find_hole(self, length: int, top: int = MMAP_TOP, bottom: int = MMAP_TOP - (1 << 40)) -> int:
        """The highest free range of `length` bytes in `[bottom, top)`, as mmap(2) chooses it.

        Raises OutOfAddressSpace when there is none.
        """
        index = bisect.bisect_left(self._starts, top)
        ceiling = top
        while ceiling - length >= bottom:
            index -= 1
            if index < 0 or self._regions[index].end <= ceiling - length:
                return ceiling - length
            ceiling = min(ceiling, self._regions[index].start)
        raise OutOfAddressSpace

    # ---- bytes

    def check(self, address: int, length: int, prot: int) -> int:
        """Raise Fault unless all of `[address, address + length)` is mapped with every bit of `prot`.

        EXEC where some of it may hold code, else 0.
        """
        end, code = address + length, 0
        while address < end:
            region = self.region_at(address)
            if region is None or _granted(region.prot) & prot != prot:
                raise Fault(address)
            code |= region.prot & EXEC
            address = region.end
        return code

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes as the guest would read them. Raises Fault."""
        if length <= 0:
            return b""
        self.check(address, length, READ)
        return bytes(self.peek(address, length))

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data` as the guest's kernel would. Raises Fault, and then nothing was stored."""
        length = len(data)
        if length == 0:
            return
        if self.check(address, length, WRITE):
            self.on_change(_CODE)
        self.poke(address, data)

    def poke(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Store `data` whatever the permissions: for loaders and for the gate's own pages. Raises Fault."""
        window = self._window(address, len(data))
        for page in range(address >> PAGE_SHIFT, (address + len(data) - 1 >> PAGE_SHIFT) + 1):
            if page not in self.pages:
                self._touch(page)
        window[:] = data

    def writable(self, address: int, length: int) -> memoryview:
        """A window through which the host may fill guest memory in place (readinto). Raises Fault."""
        if length and self.check(address, length, WRITE):
            self.on_change(_CODE)
        for page in range(address >> PAGE_SHIFT, page_ceil(address + length) >> PAGE_SHIFT):
            if page not in self.pages and not self._touch(page) and length:
                raise Fault(address)
        return self._window(address, length)

    def peek(self, address: int, length: int) -> memoryview:
        """A window on guest memory without a check of permissions, for tools that look. Raises Fault."""
        low, high = self._sourced
        if low < address + length and address < high:
            self._load(address, address + length)
        return self._window(address, length)

    def word(self, address: int) -> int:
        """The 64-bit word at `address`. Raises Fault."""
        return int.from_bytes(self.read(address, 8), "little")

    def cstring(self, address: int, limit: int = 1 << 20) -> bytes:
        """The bytes up to the first NUL. Raises Fault when a page without permission comes first."""
        out = bytearray()
        while len(out) < limit:
            step = PAGE - (address & (PAGE - 1))
            chunk = self.read(address, step)
            end = chunk.find(b"\0")
            if end >= 0:
                return bytes(out + chunk[:end])
            out += chunk
            address += step
        raise Fault(address)

    def touched(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Runs `[low, high)` of pages in `[start, end)` that were touched: the others hold zeros, or a file's bytes."""
        low = high = -1
        for page in sorted(self._cached(start, end)):
            if page != high:
                if high > low:
                    yield low << PAGE_SHIFT, high << PAGE_SHIFT
                low = page
            high = page + 1
        if high > low:
            yield low << PAGE_SHIFT, high << PAGE_SHIFT

    def clear(self, start: int, length: int) -> None:
        """Make mapped bytes read as zero; whole pages of a large range are given back to the host."""
        arena = self._arena(start)
        if arena is None:
            raise Fault(start)
        if length >= _DISCARD:
            low, high = page_ceil(start), page_floor(start + length)
            arena.zero(low - arena.base, high - low)
            if self._drop_pages(low, high):
                self.on_change(_NO_CODE)
            self.clear(start, low - start)
            self.clear(high, start + length - high)
            return
        offset = start - arena.base
        arena.view[offset : offset + length] = _ZEROS[:length]

    def copy(self, source: int, target: int, length: int) -> None:
        """Copy mapped bytes, not onto themselves; pages of a large range that were never touched stay so."""
        if length < _DISCARD:
            self.poke(target, self.peek(source, length))
            return
        self.clear(target, length)
        for low, high in list(self.touched(source, source + length)):
            start, end = max(low, source), min(high, source + length)
            self.poke(target + start - source, self.peek(start, end - start))

    # ---- pages

    def alias_code(self) -> None:
        """Some aliased memory holds code: stores by whatever view must be seen to change it.

        The CPU looks for translated code only where it may execute what is stored, so all writable aliases get that.
        """
        self.aliases.executable = True
        for alias in self.aliases:
            for page in self._cached(alias.start, alias.end):
                if self.pages[page] & WRITE:
                    self.pages[page] |= EXEC
        self.on_change(_CODE)

    def fill(self, page: int) -> int:
        """Permissions of a page met for the first time (0: none); remembers that it was touched."""
        return self._touch(page)

    def _touch(self, page: int) -> int:
        region = self.region_at(page << PAGE_SHIFT)
        if region is None:
            return 0
        entry = _granted(region.prot)
        if self.aliases:
            entry |= self.aliases.bits(page)
            if entry & WRITE and self.aliases.executable:
                entry |= EXEC
        if region.source is not None and not self._is_loaded(page):
            start = page << PAGE_SHIFT
            if not region.source.load(region.offset + start - region.start, self._window(start, PAGE)):
                return 0
        self.pages[page] = entry
        return entry

    def _is_loaded(self, page: int) -> bool:
        """Whether another process has loaded a page of a file that is shared with it; from now on one has."""
        shared, physical = self.aliases.memory, self.aliases.physical(page << PAGE_SHIFT)
        if shared is None or physical is None:
            return False
        known = physical >> PAGE_SHIFT in shared.loaded
        shared.loaded.add(physical >> PAGE_SHIFT)
        return known

    def _load(self, start: int, end: int) -> None:
        """Load the pages of `[start, end)` that have a source and were never touched. Raises Fault."""
        for region in self.overlapping(start, end):
            if region.source is None:
                continue
            low, high = max(start, region.start), min(end, region.end)
            for page in range(low >> PAGE_SHIFT, page_ceil(high) >> PAGE_SHIFT):
                if page not in self.pages and not self._touch(page) and region.prot:
                    raise Fault(page << PAGE_SHIFT)

    def _window(self, address: int, length: int) -> memoryview:
        if self.aliases and (alias := self.aliases.at(address)) is not None:
            if address + length > alias.end or self.aliases.memory is None:
                raise Fault(alias.end)
            return self.aliases.memory.window(address + alias.physical - alias.start, length)
        arena = self._arena(address)
        if arena is None or address + length > arena.end:
            raise Fault(address)
        offset = address - arena.base
        return arena.view[offset : offset + length]

    def _arena(self, address: int) -> Arena | None:
        index = bisect.bisect_right(self._bases, address) - 1
        if index < 0 or address >= self.arenas[index].end:
            return None
        return self.arenas[index]

    def _carve(self, start: int, end: int) -> list[Region]:
        """Cut `[start, end)` out of the regions; returns those that lost something."""
        hit = self.overlapping(start, end)
        if not hit:
            return hit
        first = bisect.bisect_left(self._starts, hit[0].start)
        rest = []
        if hit[0].start < start:
            rest.append(replace(hit[0], end=start))
        if hit[-1].end > end:
            last = hit[-1]
            rest.append(replace(last, start=end, offset=last.offset + end - last.start))
        self._regions[first : first + len(hit)] = rest
        self._starts[first : first + len(hit)] = [region.start for region in rest]
        return hit

    def _cached(self, start: int, end: int) -> list[int]:
        """The touched pages of a range, by whichever is shorter: the range or the table."""
        low, high = start >> PAGE_SHIFT, page_ceil(end) >> PAGE_SHIFT
        if high - low < len(self.pages):
            return [page for page in range(low, high) if page in self.pages]
        return [page for page in self.pages if low <= page < high]

    def _drop_pages(self, start: int, end: int) -> bool:
        pages = self._cached(start, end)
        for page in pages:
            del self.pages[page]
        return bool(pages)


def _granted(prot: int) -> int:
    """What the CPU allows on a page mapped with `prot`: x86 has none that can be written or run but not read."""
    return prot | READ if prot else 0


def _covers(pieces: list[Region], start: int, end: int) -> bool:
    """Whether the regions, in order, leave no hole in `[start, end)`."""
    for piece in pieces:
        if piece.start > start:
            return False
        start = piece.end
    return start >= end
