"""What stands around every block: a header that the stub can check, and red zones that tell of a write beside it.

    address - 16   red zone
    address - 8    header: size, address and family (events.py) of a small block that lives, else a word that none has
    address        the block, `fence` bytes: what the program asked for
    address+fence  red zone, to 24 bytes behind the usable size

The usable size is what glibc's malloc_usable_size would say: a program that asks for it may use it all, then the fence
moves there. The stub checks a small block whenever it is freed (hooks/stub.S); here the rest is checked: blocks that
are resized, large ones, and at the end all.

The byte before a block's place is red, too: it ends the red zone of the block below, or `mark` made it so. So a change
that goes on from below a place is known for what it is: the block below was left at its end, and is the one to name.
"""

from typing import Final, NamedTuple

from emuleak.memory import HEAP_BASE, PAGE, AddressSpace, Fault

LEAD: Final = 16
TAIL: Final = 24
RED: Final = b"\xfd"
# A header tells its size twice: changed in one place, it is none.
TWICE: Final = 1 << 48 | 1
FAMILY_SHIFT: Final = 16
MAGIC: Final = 0x5EA1_B10C_5EA1_B10C
FREED: Final = b"\xdd" * 8
# The largest block whose size a header tells; for the others it holds a size that is none.
LARGEST_TOLD: Final = 1000
_UNTOLD: Final = 0xFFFF
_MMAP_THRESHOLD: Final = 128 << 10


class Damage(NamedTuple):
    """Bytes that somebody changed: `kind` of finding, offset of the first of them (see Event), how far they reach.

    `from_below`: the change goes on from below the block's place, so that it is no finding of this block.
    """

    kind: str
    offset: int
    length: int
    from_below: bool = False


def usable_size(size: int) -> int:
    """What glibc's malloc_usable_size says of a block of `size` bytes (request2size in malloc.c, 64-bit)."""
    chunk = max(32, (size + 8 + 15) & -16)
    if chunk >= _MMAP_THRESHOLD:
        return ((chunk + 8 + PAGE - 1) & -PAGE) - 16
    return chunk - 8


USABLE: Final = tuple(usable_size(size) for size in range(LARGEST_TOLD + 1))
"""The same of small blocks, for loops."""


def blank(usable: int) -> bytes:
    """A block that nobody has yet, with all that stands around it."""
    return RED * LEAD + bytes(usable) + RED * TAIL


def lay(memory: AddressSpace, address: int, fence: int, usable: int, family: int) -> None:
    """Put header and red zones around a block; `family`: whose functions the stub may free it for, 0: nobody's."""
    memory.poke(address - LEAD, _lead(address, fence, family))
    memory.poke(address + fence, RED * (usable - fence + TAIL))


def mark(memory: AddressSpace, end: int) -> None:
    """Make the bytes before a place red where no block's red zone ends."""
    memory.poke(end - LEAD, RED * LEAD)


def lay_freed(memory: AddressSpace, address: int, usable: int) -> None:
    """The same for a block that was freed."""
    memory.poke(address - LEAD, RED * 8 + FREED)
    memory.poke(address + usable, RED * TAIL)


def damage(memory: AddressSpace, address: int, fence: int, usable: int, family: int) -> list[Damage]:
    """What was changed around a live block; `family` as it was laid."""
    found = []
    after = bytes(memory.peek(address + fence, usable - fence + TAIL))
    if after != RED * len(after):
        first, last = _changed(after, RED * len(after))
        found.append(Damage("heap-overflow", first, last + 1 - first))
    before, expected = bytes(memory.peek(address - LEAD, LEAD)), _lead(address, fence, family)
    if before != expected:
        first, last = _changed(before, expected)
        from_below = first == 0 and _changed_below(memory, address)
        found.append(Damage("heap-underflow", first - LEAD, last + 1 - first, from_below))
    return found


def damage_freed(memory: AddressSpace, address: int, kept: bytes, usable: int) -> Damage | None:
    """What was changed in or around a freed block since `kept` was taken from its start."""
    expected = RED * 8 + FREED + kept
    if len(kept) == usable:
        expected += RED * TAIL
    try:
        found = bytes(memory.peek(address - LEAD, len(expected)))
        if found == expected:
            return None
        first, last = _changed(found, expected)
        from_below = first == 0 and _changed_below(memory, address)
    except Fault:
        return None  # a block that only a guest which wrote to the gate's data spoke of
    return Damage("write-after-free", first - LEAD, last + 1 - first, from_below)


def _changed_below(memory: AddressSpace, address: int) -> bool:
    """Whether the byte before a block's place is no longer red."""
    below = address - LEAD - 1
    return below >= HEAP_BASE and bytes(memory.peek(below, 1)) != RED


def header(address: int, size: int, family: int) -> int:
    """The word before a small block that lives and that the stub may free."""
    return size * TWICE ^ family << FAMILY_SHIFT ^ address ^ MAGIC


def _lead(address: int, fence: int, family: int) -> bytes:
    told = family and fence <= LARGEST_TOLD
    word = header(address, fence, family) if told else header(address, _UNTOLD, 0)
    return RED * 8 + word.to_bytes(8, "little")


def _changed(found: bytes, expected: bytes) -> tuple[int, int]:
    """The first and the last position at which two different byte strings of one length differ."""
    positions = [at for at, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other]
    return positions[0], positions[-1]
