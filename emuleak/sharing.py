"""Memory that several address spaces show: what a process mapped as shared before it forked.

It lies in an arena of its own, which every machine maps at the same *physical* addresses. An address space says for
each page of a shared mapping where it lies there (an *alias*), and the CPU's TLB is filled accordingly: so a store by
one process is seen by the next, without a trick of the host's.
"""

from collections.abc import Iterator

from emuleak.arena import Arena

_BASE = 0x5000_0000_0000  # where no arena of an address space lies
_SIZE = 1 << 37
_PAGE_SHIFT = 12


class SharedMemory:
    """Owner of the shared arena: ranges are handed out one behind the other, and given back when nobody shows them."""

    def __init__(self) -> None:
        self.arena = Arena(_BASE, _SIZE)
        self.loaded: set[int] = set()  # pages that were filled from a file, by number
        self._top = _BASE
        self._uses: dict[int, int] = {}  # by a range's start: how many aliases show it
        self._sizes: dict[int, int] = {}

    def allocate(self, size: int) -> int:
        """The address of `size` fresh bytes, whole pages; 0 when there is no room left."""
        if self._top + size > self.arena.end:
            return 0
        start, self._top = self._top, self._top + size
        self._sizes[start] = size
        return start

    def hold(self, start: int) -> None:
        """One more alias shows this range."""
        self._uses[start] = self._uses.get(start, 0) + 1

    def release(self, start: int) -> None:
        """One less does; the host's memory goes back with the last."""
        self._uses[start] -= 1
        if not self._uses[start]:
            del self._uses[start]
            size = self._sizes.pop(start)
            self.arena.zero(start - _BASE, size)
            self.loaded.difference_update(range(start >> _PAGE_SHIFT, start + size >> _PAGE_SHIFT))

    def window(self, address: int, length: int) -> memoryview:
        """A window on the bytes at a physical address."""
        return self.arena.view[address - _BASE : address - _BASE + length]

    def close(self) -> None:
        """Give the host's memory back; every machine that maps it must be gone."""
        self.arena.close()


class Alias:
    """A range `[start, end)` of an address space, shown from `physical` on; `key` is the range it is a part of."""

    __slots__ = ("end", "key", "physical", "start")

    def __init__(self, start: int, end: int, physical: int, key: int) -> None:
        self.start, self.end, self.physical, self.key = start, end, physical, key


class Aliases:
    """The aliases of one address space."""

    def __init__(self) -> None:
        self.memory: SharedMemory | None = None
        self.executable = False  # whether some of it holds code, or did
        self._all: list[Alias] = []

    def __bool__(self) -> bool:
        return bool(self._all)

    def __iter__(self) -> Iterator[Alias]:
        return iter(tuple(self._all))

    def add(self, memory: SharedMemory, alias: Alias) -> None:
        """Show a range from there."""
        self.memory = memory
        memory.hold(alias.key)
        self._all.append(alias)

    def at(self, address: int) -> Alias | None:
        """The alias that an address lies in."""
        return next((alias for alias in self._all if alias.start <= address < alias.end), None)

    def physical(self, address: int) -> int | None:
        """Where the byte at `address` lies in shared memory; None for one that does not."""
        alias = self.at(address)
        return None if alias is None else alias.physical + address - alias.start

    def bits(self, page: int) -> int:
        """What an entry of the page table has besides its permissions: the bits in which both addresses differ."""
        physical = self.physical(page << _PAGE_SHIFT)
        return 0 if physical is None else physical ^ page << _PAGE_SHIFT

    def remove(self, start: int, end: int) -> None:
        """Show nothing in `[start, end)` any more."""
        for alias in [each for each in self._all if each.start < end and start < each.end]:
            assert self.memory is not None
            self._all.remove(alias)
            if alias.start < start:
                self.add(self.memory, Alias(alias.start, start, alias.physical, alias.key))
            if end < alias.end:
                self.add(self.memory, Alias(end, alias.end, alias.physical + end - alias.start, alias.key))
            self.memory.release(alias.key)
