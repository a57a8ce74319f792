"""Frames that tail calls left out of a stack.

A function that ends in `jmp malloc@plt` has no frame when malloc runs: the stack shows its caller as malloc's. The call
instruction before the return address names the function that was really called; if that one jumps on to where the next
inner frame is, and in one way only, its frame is put back, at the jump. Where there are two ways nothing is guessed.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from emuleak.disasm import direct_jumps
from emuleak.loader import Module, Process

_MAX_FUNCTION: Final = 1 << 16  # bytes; a longer function is not searched
_MAX_CHAIN: Final = 4
_CALL_REL32: Final = 0xE8


class FunctionRanges(Protocol):
    """Which function covers a link-time address."""

    def function_range(self, _address: int, /) -> tuple[str, int, int] | None:
        """Name, start and end; None where no symbol covers the address."""


class TailCalls:
    """Completes stacks. Addresses inside are link-time ones, of one module at a time: a tail call stays in its module
    but for the last jump, which may go through a stub.
    """

    def __init__(self, process: Process, symbols: Callable[[Module], FunctionRanges]) -> None:
        self._process = process
        self._symbols = symbols
        self._files: dict[str, bytes] = {}
        self._jumps: dict[tuple[str, int], tuple[tuple[int, int], ...]] = {}

    def complete(self, stack: Iterable[int], called: frozenset[str]) -> tuple[int, ...]:
        """The addresses of a stack with the jumps put back; `called` are the names of what was called innermost."""
        complete: list[int] = []
        inner: int | None = None
        for address in stack:
            complete.extend(self._between(inner, address, called))
            complete.append(address)
            inner = address
        return tuple(complete)

    def _between(self, inner: int | None, outer: int, called: frozenset[str]) -> Iterator[int]:
        """Guest addresses of the jumps that lead from the call at `outer` to `inner`, innermost first."""
        module = self._process.module_at(outer)
        target = None if module is None else self._call_target(module, outer + 1 - module.bias)
        if module is None or target is None:
            return
        goals = _ways_to(module, called) if inner is None else self._function_of(module, inner)
        if not goals or target in goals:
            return
        paths = list(self._paths(module, target, goals, ()))
        if len(paths) == 1:
            yield from (jump + module.bias for jump in reversed(paths[0]))

    def _function_of(self, module: Module, address: int) -> frozenset[int]:
        """The start of the function at a guest address of the same module."""
        if self._process.module_at(address) is not module:
            return frozenset()
        function = self._symbols(module).function_range(address - module.bias)
        return frozenset() if function is None else frozenset((function[1],))

    def _call_target(self, module: Module, return_address: int) -> int | None:
        """Where the direct call before a return address leads; None for an indirect one."""
        code = self._code(module, return_address - 5, return_address)
        if len(code) != 5 or code[0] != _CALL_REL32:
            return None
        return return_address + int.from_bytes(code[1:], "little", signed=True)

    def _paths(
        self, module: Module, function: int, goals: frozenset[int], so_far: tuple[int, ...]
    ) -> Iterator[tuple[int, ...]]:
        """Every chain of jumps from a function's start to a goal: the addresses of the jumps, outermost first."""
        if len(so_far) == _MAX_CHAIN:
            return
        for jump, target in self._tail_jumps(module, function):
            if target in goals:
                yield (*so_far, jump)
            elif jump not in so_far:
                yield from self._paths(module, target, goals, (*so_far, jump))

    def _tail_jumps(self, module: Module, function: int) -> tuple[tuple[int, int], ...]:
        """The jumps out of the function that starts at `function`."""
        key = (module.path, function)
        if key not in self._jumps:
            self._jumps[key] = tuple(self._find_tail_jumps(module, function))
        return self._jumps[key]

    def _find_tail_jumps(self, module: Module, function: int) -> Iterator[tuple[int, int]]:
        found = self._symbols(module).function_range(function)
        if found is None or found[1] != function or found[2] - function > _MAX_FUNCTION:
            return
        end = found[2]
        for jump, target in direct_jumps(self._code(module, function, end), function):
            if not function <= target < end:
                yield jump, target

    def _code(self, module: Module, start: int, end: int) -> bytes:
        """The file's bytes, since memory holds the gate's jumps."""
        if module.path not in self._files:
            with open(module.path, "rb") as file:
                self._files[module.path] = file.read()
        for segment in module.image.segments:
            if segment.address <= start and end <= segment.address + segment.file_size:
                offset = segment.offset + start - segment.address
                return self._files[module.path][offset : offset + end - start]
        return b""


def _ways_to(module: Module, names: frozenset[str]) -> frozenset[int]:
    """Where a jump to one of the functions goes: their stubs, their slots, themselves."""
    image = module.image
    ways: set[int] = {image.functions[name] for name in names if name in image.functions}
    for table in (image.stubs, image.slots):
        ways.update(address for name in names for address in table.get(name, ()))
    return frozenset(ways)
