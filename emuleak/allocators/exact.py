"""The default policy: fresh addresses in order of allocation; a freed block serves the next request of its capacity.

Blocks are never split or merged: what one capacity leaves no other can use. The price in addresses is small against the
range of 64 GiB, since a large block's memory goes back to the host when it is freed. A capacity with its gap is a
multiple of 16 bytes; those of large blocks are fewer (at most an eighth of the block is given away), so that a buffer
that grows and grows by realloc finds the places of its forerunners.
"""

from bisect import bisect_right
from collections.abc import Iterable

from emuleak.allocators.base import ALIGNMENT, GAP, Allocator

_LARGE = 1 << 16
_STEPS = 3  # a large capacity has only this many bits below its leading one


def _capacity(size: int) -> int:
    """Bytes from the start of a block of `size` bytes to the gap behind it."""
    total = max(size + GAP, 2 * ALIGNMENT)
    step = ALIGNMENT if size <= _LARGE else 1 << (total.bit_length() - 1 - _STEPS)
    return ((total + step - 1) & -step) - GAP


class ExactFit(Allocator):
    """Owner of the range `[base, base + size)`."""

    def __init__(self, base: int, size: int) -> None:
        self._top = base
        self._end = base + size
        self._placed: dict[int, tuple[int, int]] = {}  # address to (capacity, alignment)
        # What `reserve` took is entered there when one of it is asked for: starts of the addresses, and the addresses.
        self._starts: list[int] = []
        self._reserved: list[tuple[range, tuple[int, int]]] = []
        self._bins: dict[tuple[int, int], list[int]] = {}

    def copy(self) -> "ExactFit":
        """Another policy in the same state."""
        copy = ExactFit(self._top, self._end - self._top)
        copy._placed = dict(self._placed)
        copy._starts, copy._reserved = list(self._starts), list(self._reserved)
        copy._bins = {wanted: list(addresses) for wanted, addresses in self._bins.items()}
        return copy

    @property
    def top(self) -> int:
        """One past the highest address ever used."""
        return self._top

    def malloc(self, size: int) -> int:
        """See Allocator."""
        return self._place((_capacity(size), ALIGNMENT))

    def reserve(self, size: int, count: int) -> list[int]:
        """See Allocator: the same addresses as that many calls of malloc, at a tenth of the price."""
        wanted = (_capacity(size), ALIGNMENT)
        bin_ = self._bins.get(wanted, [])
        reused = bin_[-count:][::-1] if count else []
        del bin_[len(bin_) - len(reused) :]
        step = wanted[0] + GAP
        start = (self._top + ALIGNMENT - 1) & -ALIGNMENT
        fresh = max(min(count - len(reused), (self._end - start) // step), 0)
        if fresh:
            self._top = start + fresh * step
            self._starts.append(start)
            self._reserved.append((range(start, self._top, step), wanted))
        self._placed.update(dict.fromkeys(reused, wanted))
        return [*reused, *range(start, start + fresh * step, step)]

    def memalign(self, alignment: int, size: int) -> int:
        """See Allocator."""
        return self._place((_capacity(size), max(alignment, ALIGNMENT)))

    def free(self, address: int) -> None:
        """See Allocator."""
        wanted = self._wanted(address)
        del self._placed[address]
        self._bins.setdefault(wanted, []).append(address)

    def free_all(self, addresses: Iterable[int]) -> None:
        """See Allocator."""
        placed, bins = self._placed, self._bins
        for address in addresses:
            if address not in placed:
                self._spell_out(address)
            if (wanted := placed.pop(address, None)) is not None:
                if wanted not in bins:
                    bins[wanted] = []
                bins[wanted].append(address)

    def usable_size(self, address: int) -> int:
        """See Allocator."""
        return self._wanted(address)[0]

    def _wanted(self, address: int) -> tuple[int, int]:
        if address not in self._placed:
            self._spell_out(address)
        return self._placed[address]

    def _spell_out(self, address: int) -> None:
        """Enter what was reserved together with an address."""
        index = bisect_right(self._starts, address) - 1
        if index >= 0 and address in self._reserved[index][0]:
            addresses, wanted = self._reserved.pop(index)
            del self._starts[index]
            self._placed.update(dict.fromkeys(addresses, wanted))

    def _place(self, wanted: tuple[int, int]) -> int:
        bin_ = self._bins.get(wanted)
        if bin_:
            address = bin_.pop()
        else:
            capacity, alignment = wanted
            address = (self._top + alignment - 1) & -alignment
            if address + capacity + GAP > self._end:
                return 0
            self._top = address + capacity + GAP
        self._placed[address] = wanted
        return address
