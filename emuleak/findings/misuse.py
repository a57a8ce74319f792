"""Misuses of free and realloc: the heap's events, merged by where they happened, and what the pointer pointed to."""

from collections.abc import Iterable
from typing import Final

from emuleak.events import NO_STACK, Block, Event
from emuleak.findings.finding import Finding
from emuleak.findings.frames import Symbolizer
from emuleak.loader import Process
from emuleak.memory import STACK_TOP, WRITE, AddressSpace

_STACK_BOTTOM: Final = STACK_TOP - (8 << 20)


class Misuses:
    """The detector, with what it needs to name an address."""

    def __init__(self, memory: AddressSpace, process: Process, symbolizer: Symbolizer) -> None:
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
        return Finding(
            kind=first.problem,
            address=hex(first.old),
            bytes=sum(event.block.size for event in events if event.block is not None),
            blocks=len(events),
            why=self._why(first),
            stack=call(first.stack, first.op),
            allocated=call(block.stack, block.maker) if block else (),
            freed=call(block.freed, "free") if block and block.freed != NO_STACK else (),
        )

    def _why(self, event: Event) -> str:
        block, verb = event.block, "freed" if event.op == "free" else "resized"
        if block is None:
            return f"The pointer given to {event.op} is no block of the heap: {self._place(event.old)}."
        if event.old == block.address:
            return f"The block had been freed already when it was {verb} here."
        return f"The pointer given to {event.op} points into a block, not to its start: {_inside(event.old, block)}."

    def _place(self, address: int) -> str:
        """What lies at an address outside the heap's blocks."""
        region = self._memory.region_at(address)
        if region is None:
            return "no memory is mapped at its address"
        if region.kind == "heap":
            return "it lies in the heap, but in no block that is known (any more)"
        if region.kind == "stack" or _STACK_BOTTOM <= address < STACK_TOP:
            return "it points to a variable on the stack"
        module = self._process.module_at(address)
        if module is None:
            return "it points to memory that the program mapped itself"
        if not region.prot & WRITE:
            return f"it points to constant data of {module.name}, a string literal perhaps"
        symbol = self._symbolizer.symbols(module).data_symbol(address - module.bias)
        if symbol is None:
            return f"it points to a static variable of {module.name}"
        name, offset = symbol
        return f"it points to the static variable {name}" + (f", {offset} bytes behind its start" if offset else "")


def _inside(address: int, block: Block) -> str:
    state = "that had been freed" if block.freed != NO_STACK else "that is in use"
    return f"{address - block.address} bytes into a block of {block.size} bytes {state}"
