"""Stacks as the report shows them: addresses to functions, files and lines; inlined functions and tail calls told.

The functions of the C++ runtime through which `new` and `delete` reach malloc and free are not shown: the caller of
`new` is the one who allocated.
"""

import posixpath
from collections.abc import Iterable
from typing import Final

from emuleak.events import Op, Stack, return_addresses
from emuleak.findings.finding import Frame
from emuleak.hooks.base import NAMES
from emuleak.loader import Module, Process
from emuleak.stacks.tailcalls import TailCalls
from emuleak.symbols import Location, ObjectSymbols

_RUNTIME_ENTRIES: Final = ("operator new", "operator delete")
_CXX_LIBRARIES: Final = ("libstdc++.so", "libc++.so", "libc++abi.so")
_NAMES_OF: Final = {op: frozenset(name for name, does in NAMES.items() if does == op) for op in NAMES.values()}


class Symbolizer:
    """Turns stacks into frames; every file is opened once, every address looked up once."""

    def __init__(self, process: Process, sysroot: str = "/") -> None:
        self._process = process
        self._sysroot = sysroot
        self._symbols: dict[str, ObjectSymbols] = {}
        self._frames: dict[int, tuple[Frame, ...]] = {}
        self._tail_calls = TailCalls(process, self.symbols)

    def symbols(self, module: Module) -> ObjectSymbols:
        """The symbols of a module's file."""
        if module.path not in self._symbols:
            self._symbols[module.path] = ObjectSymbols(module.path, sysroot=self._sysroot)
        return self._symbols[module.path]

    def stack(self, addresses: Iterable[int]) -> tuple[Frame, ...]:
        """All frames at the addresses of a stack, innermost first."""
        return self._frames_of(addresses, frozenset())

    def call(self, stack: Stack, op: Op) -> tuple[Frame, ...]:
        """The frames of a call of the allocator, from the caller of `new` or `delete` where it came through those."""
        frames = self._frames_of([address - 1 for address in return_addresses(stack)], _NAMES_OF[op])
        first = 0
        while first < len(frames) - 1 and is_runtime_entry(frames[first]):
            first += 1
        return frames[first:]

    def _frames_of(self, addresses: Iterable[int], called: frozenset[str]) -> tuple[Frame, ...]:
        frames: list[Frame] = []
        for address in self._tail_calls.complete(addresses, called):
            frames.extend(self.frames_at(address))
        return tuple(frames)

    def frames_at(self, address: int) -> tuple[Frame, ...]:
        """The frames at one address: the innermost inlined function first."""
        known = self._frames.get(address)
        if known is None:
            known = self._frames[address] = self._look_up(address)
        return known

    def _look_up(self, address: int) -> tuple[Frame, ...]:
        module = self._process.module_at(address)
        if module is None:
            return (Frame(hex(address), "???", None, None, ""),)
        locations = self.symbols(module).lookup(address - module.bias)
        return tuple(_frame(address, module, location) for location in locations)


def _frame(address: int, module: Module, location: Location) -> Frame:
    return Frame(hex(address), location.function, location.file, location.line, module.path, location.inlined)


def is_runtime_entry(frame: Frame) -> bool:
    """Whether the frame is libstdc++'s or libc++'s `operator new` or `delete`, not one that the program defines."""
    if not frame.function.startswith(_RUNTIME_ENTRIES):
        return False
    return (
        posixpath.basename(frame.object).startswith(_CXX_LIBRARIES) or frame.file is None or "libsupc++" in frame.file
    )
