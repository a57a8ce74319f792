"""Stacks as the report shows them: addresses to functions, files and lines; inlined functions and tail calls told.

The functions of the C++ runtime through which `new` and `delete` reach malloc and free are not shown: the caller of
`new` is the one who allocated.
"""

import posixpath
from collections.abc import Iterable
from typing import Final

from emuleak.entrypoints import NAMES_OF
from emuleak.events import OPS, RELEASES_BY_CODE, Op, Stack, return_addresses
from emuleak.findings.finding import Frame
from emuleak.findings.owner import is_for_itself, is_library
from emuleak.loader import Module, Process
from emuleak.stacks.tailcalls import TailCalls
from emuleak.symbols import Location, ObjectSymbols

_RUNTIME_ENTRIES: Final = ("operator new", "operator delete")
_RELEASING: Final = frozenset(
    name for op in OPS if RELEASES_BY_CODE[OPS.index(op)] or op.startswith("realloc") for name in NAMES_OF[op]
)
_CXX_LIBRARIES: Final = ("libstdc++.so", "libc++.so", "libc++abi.so")


class Symbolizer:
    """Turns stacks into frames; every file is opened once, every address looked up once."""

    def __init__(self, process: Process, sysroot: str = "/") -> None:
        self._process = process
        self._sysroot = sysroot
        self._symbols: dict[str, ObjectSymbols] = {}
        self._frames: dict[int, tuple[Frame, ...]] = {}
        self._tail_calls = TailCalls(process, self.symbols)

    def close(self) -> None:
        """Close the files and forget them."""
        for symbols in self._symbols.values():
            symbols.close()
        vars(self).clear()  # the tail calls ask here for symbols: a circle

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
        return self._callers(stack, NAMES_OF[op])

    def release(self, stack: Stack) -> tuple[Frame, ...]:
        """As `call`, of the call by which a block went, whatever it was."""
        return self._callers(stack, _RELEASING)

    def _callers(self, stack: Stack, called: frozenset[str]) -> tuple[Frame, ...]:
        frames = self._frames_of([address - 1 for address in return_addresses(stack)], called)
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

    def is_allocated_by_library(self, stack: Stack) -> bool:
        """Whether a library's own function is the caller, by its exported name: true for most, and known at once."""
        for address in return_addresses(stack)[:1]:
            module = self._process.module_at(address - 1)
            if module is not None and is_library(module.path):
                return is_for_itself(self.symbols(module).exported_name(address - 1 - module.bias), module.path)
        return False

    def symbol_names(self, frame: Frame) -> tuple[str, ...]:
        """All names, mangled, that the symbol table has for the function at a frame; empty where it has none."""
        address = int(frame.pc, 16)
        module = self._process.module_at(address)
        return () if module is None else self.symbols(module).symbol_names(address - module.bias)

    def _look_up(self, address: int) -> tuple[Frame, ...]:
        module = self._process.module_at(address)
        if module is None:
            return (Frame(hex(address), "???", None, None, ""),)
        locations = self.symbols(module).lookup(address - module.bias)
        name = self._process.names.get(module.path, module.path)
        return tuple(_frame(address, name, location) for location in locations)


def _frame(address: int, name: str, location: Location) -> Frame:
    return Frame(hex(address), location.function, location.file, location.line, name, location.inlined)


def is_runtime_entry(frame: Frame) -> bool:
    """Whether the frame is libstdc++'s or libc++'s `operator new` or `delete`, not one that the program defines."""
    if not frame.function.startswith(_RUNTIME_ENTRIES):
        return False
    return (
        posixpath.basename(frame.object).startswith(_CXX_LIBRARIES) or frame.file is None or "libsupc++" in frame.file
    )
