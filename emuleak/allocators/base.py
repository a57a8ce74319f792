"""The protocol of a placement policy: where a block goes. It never judges: that is the ledger's part."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Protocol, Self

# Bytes that stay free behind every block: a pointer one past the end of a block must not be one to the next block.
# Eight, where glibc has the next chunk's size: so a program's blocks are as close together as natively.
GAP = 8
ALIGNMENT = 16


class Allocator(Protocol):
    """Places blocks in the heap's range of addresses. Sizes in bytes; every address is 16-byte aligned."""

    def malloc(self, size: int) -> int:
        """The address of a new block of at least `size` bytes, 0 when the range is exhausted."""

    def memalign(self, alignment: int, size: int) -> int:
        """As malloc, at a multiple of `alignment` (a power of two)."""

    def reserve(self, size: int, count: int) -> list[int]:
        """Addresses of up to `count` blocks, as that many calls of malloc would give."""
        addresses: list[int] = []
        while len(addresses) < count and (address := self.malloc(size)):
            addresses.append(address)
        return addresses

    def free(self, address: int) -> None:
        """Take back a block that malloc or memalign gave; its address may be given again."""

    def free_all(self, addresses: Iterable[int]) -> None:
        """As that many calls of free, in this order; an address that is none of a block is passed over."""
        for address in addresses:
            with suppress(KeyError):
                self.free(address)

    def usable_size(self, address: int) -> int:
        """How many bytes the block at `address` may use."""

    def copy(self) -> Self:
        """Another policy in the same state: for a process that forks."""
