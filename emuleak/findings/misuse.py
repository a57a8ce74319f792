"""Misuses of free and realloc: the heap's events, merged by where they happened, and what the pointer pointed to."""

from collections.abc import Iterable
from typing import Final

from msgspec import UNSET, UnsetType

from emuleak.events import NO_STACK, Block, Event
from emuleak.findings.finding import Finding
from emuleak.findings.frames import Symbolizer
from emuleak.findings.misusewords import DAMAGE, WORDS, is_wrong_size, plain
from emuleak.loader import Process
from emuleak.memory import EXEC, STACK_TOP, WRITE, AddressSpace

_COUNT_SIZE: Final = 8
_WITHOUT_POINTER: Final = frozenset({"invalid-size", "invalid-alignment"})
_STACK_BOTTOM: Final = STACK_TOP - (8 << 20)


class Misuses:
    """The detector, with what it needs to name an address."""

    def __init__(
        self, memory: AddressSpace, process: Process, symbolizer: Symbolizer, *, threads: bool = False
    ) -> None:
        """`threads`: say which thread it was."""
        self._threads = threads
        self._memory = memory
        self._process = process
        self._symbolizer = symbolizer

    def findings(self, events: Iterable[Event]) -> list[Finding]:
        """One finding for each kind and set of stacks, in the order of the first occurrence."""
        merged: dict[tuple[object, ...], list[Event]] = {}
        for event in events:
            block = event.block
            key = (event.problem, event.op, event.stack, block and block.stack, block and block.freed)
            merged.setdefault(key, []).append(event)
        return [self._finding(events) for events in merged.values()]

    def _finding(self, events: list[Event]) -> Finding:
        first = events[0]
        block, call = first.block, self._symbolizer.call
        damage = first.problem in DAMAGE
        one_thread = self._threads and len({event.thread for event in events}) == 1
        return Finding(
            kind=first.problem,
            access="write" if damage else UNSET,
            size=_size(first),
            address=_address(first),
            offset=first.offset if damage else UNSET,
            maker=block.maker if block else UNSET,
            releaser=first.op if first.problem == "mismatched-free" else UNSET,
            thread=first.thread if one_thread and first.stack != NO_STACK else UNSET,
            bytes=sum({event.block.address: event.block.size for event in events if event.block is not None}.values()),
            blocks=len({event.old for event in events}),
            why=self._why(first) + (f" It happened {len(events):,} times." if len(events) > 1 else ""),
            stack=call(first.stack, first.op),
            allocated=call(block.stack, block.maker) if block else (),
            freed=self._symbolizer.release(block.freed) if block and block.freed != NO_STACK else (),
        )

    def _why(self, event: Event) -> str:
        words = WORDS.get(event.problem)
        if words is not None:
            return words(event)
        block, verb = event.block, "resized" if event.op in {"realloc", "reallocarray"} else "freed"
        if block is None:
            return f"The pointer given to {plain(event.op)} is no block of the heap: {self._place(event.old)}."
        if event.old == block.address:
            return f"The block had been freed already when it was {verb} here."
        inside = f"{_inside(event.old, block)}.{_array_hint(event, block)}"
        return f"The pointer given to {plain(event.op)} points into a block, not to its start: {inside}"

    def _place(self, address: int) -> str:
        """What lies at an address outside the heap's blocks."""
        region = self._memory.region_at(address)
        if region is None:
            return "no memory is mapped at its address"
        if region.kind == "heap":
            return "it lies in the heap, but in no block that is known (any more)"
        if region.kind == "stack" or _STACK_BOTTOM <= address < STACK_TOP:
            return "it points into the stack, to a local variable or to memory of alloca"
        module = self._process.module_at(address)
        if module is None:
            return "it points to memory that the program mapped itself"
        if region.prot & EXEC:
            return f"it points to code, to the function {self._symbolizer.frames_at(address)[-1].function}"
        if not region.prot & WRITE:
            return f"it points to constant data of {module.name}, a string literal perhaps"
        symbol = self._symbolizer.symbols(module).data_symbol(address - module.bias)
        if symbol is None:
            return f"it points to a static variable of {module.name}"
        name, offset = symbol
        return f"it points to the static variable {name}" + (f", {offset} bytes behind its start" if offset else "")


def _address(event: Event) -> str | UnsetType:
    """The pointer that the program gave; of a damaged block the first byte that was changed."""
    if event.problem in _WITHOUT_POINTER:
        return hex(event.old) if event.old else UNSET
    if event.problem not in DAMAGE or event.block is None:
        return hex(event.old)
    start = event.block.address + (event.block.size if event.problem == "heap-overflow" else 0)
    return hex(start + event.offset)


def _size(event: Event) -> int | UnsetType:
    """What was asked for or told, or how many bytes the damage spans."""
    if event.problem == "mismatched-free" and not is_wrong_size(event):
        return UNSET
    return event.size if event.size or event.problem in _WITHOUT_POINTER else UNSET


def _array_hint(event: Event, block: Block) -> str:
    """`new T[n]` returns what lies behind the count of its elements, where these have destructors."""
    if event.old - block.address != _COUNT_SIZE or "new[]" not in block.maker or "[]" in event.op:
        return ""
    return " Before the elements new[] keeps their number, which only delete[] expects there."


def _inside(address: int, block: Block) -> str:
    state = "that had been freed" if block.freed != NO_STACK else "that is in use"
    offset = address - block.address
    return f"{offset:,} {'byte' if offset == 1 else 'bytes'} into a block of {block.size:,} bytes {state}"
