"""Why a use of the heap was wrong, in the words of the report: for the kinds that the event alone explains."""

from collections.abc import Callable
from typing import Final

from emuleak.events import FAMILY_BY_CODE, NO_STACK, OPS, Block, Event, Op, releasers

DAMAGE: Final = frozenset({"heap-overflow", "heap-underflow", "write-after-free"})
"""Kinds found by what was changed around or in a block, some time after it happened."""


def _overflow(event: Event) -> str:
    block = _block(event)
    near = "directly behind it" if event.offset == 0 else f"{_bytes(event.offset)} behind it"
    end = f"The program wrote beyond the end of this block of {_bytes(block.size)}"
    return f"{end}: {_changed(event, near)}. {_noticed(event)}"


def _underflow(event: Event) -> str:
    near = f"{_bytes(-event.offset)} before it"
    start = f"The program wrote before the start of this block of {_bytes(_block(event).size)}"
    return f"{start}: {_changed(event, near)}. {_noticed(event)}"


def _write_after_free(event: Event) -> str:
    block = _block(event)
    if event.offset < 0:
        where = f"{_bytes(-event.offset)} before its start"
    else:
        where = f"{_bytes(event.offset)} behind its {'start' if event.offset < block.size else 'start, beyond its end'}"
    if event.offset == 0:
        where = "at its start"
    return (
        f"The block of {_bytes(block.size)} was written to after it had been freed: the first change is {where}. "
        "Which line wrote there is not known, only that it ran after the free."
    )


def _changed(event: Event, near: str) -> str:
    if event.size == 1:
        return f"the byte {near} was changed"
    return f"bytes were changed from the one {near} on, the last {_bytes(event.size - 1)} further"


def _noticed(event: Event) -> str:
    if event.stack == NO_STACK:
        when = "at the end of the run"
    else:
        when = "when it was " + ("resized here" if event.op in {"realloc", "reallocarray"} else "freed here")
    return f"That was noticed {when}; which line wrote there, and when, is not known."


def _mismatched(event: Event) -> str:
    block = _block(event)
    by, right = plain(event.op), _right(block.maker)
    if is_wrong_size(event):
        return (
            f"The block has {_bytes(block.size)}, but {by} was told that it has {event.size:,}. That is so where an "
            "object is deleted as one of another type, for example through a base class without a virtual destructor."
        )
    if FAMILY_BY_CODE[OPS.index(block.maker)] == FAMILY_BY_CODE[OPS.index(event.op)]:
        return "The block was made by an allocator of the program's own and released to malloc's, or the reverse."
    return f"The block was made by {plain(block.maker)}: {right} must release it, not {by}."


def is_wrong_size(event: Event) -> bool:
    """Whether a mismatch is one of size alone: the right function was told a wrong one."""
    return event.size > 0 and FAMILY_BY_CODE[OPS.index(_block(event).maker)] == FAMILY_BY_CODE[OPS.index(event.op)]


def _right(maker: Op) -> str:
    first = releasers(maker)[0]
    return "free" if first == "free" else plain(first)


def plain(op: Op) -> str:
    """A function as a programmer names it: `operator delete[]` however many arguments it takes."""
    name = op.replace("sized ", "")
    aligned = name.removeprefix("aligned ")
    return name if aligned == name else f"{aligned} (with an alignment)"


def _invalid_size(event: Event) -> str:
    size = event.size
    if "alloc" in event.op and size >> 64:
        product = f"The two numbers given to {event.op} have the product {size:,}"
        return f"{product}, which no size_t can hold. No block was made."
    what = f"{event.op} was asked for {_bytes(size)}"
    return f"{what}, which as a signed number is {size - (1 << 64):,}: a size was computed wrongly. No block was made."


def _invalid_alignment(event: Event) -> str:
    what = f"{event.op} was asked for an alignment of {_bytes(event.size)}, which is no power of two"
    if event.op in {"memalign", "aligned_alloc"}:
        return f"{what}: this C library takes the next one, others refuse it."
    return f"{what} that it takes. No block was made."


def _realloc_zero(event: Event) -> str:
    return (
        f"{event.op} to 0 bytes frees the block in this C library; C23 leaves it undefined, other libraries return a "
        "block. Say free(p) where that is meant."
    )


def _block(event: Event) -> Block:
    assert event.block is not None, "the heap tells the block of every such event"
    return event.block


def _bytes(count: int) -> str:
    return f"{count:,} byte" if count == 1 else f"{count:,} bytes"


WORDS: Final[dict[str, Callable[[Event], str]]] = {
    "heap-overflow": _overflow,
    "heap-underflow": _underflow,
    "write-after-free": _write_after_free,
    "mismatched-free": _mismatched,
    "invalid-size": _invalid_size,
    "invalid-alignment": _invalid_alignment,
    "realloc-zero": _realloc_zero,
}
