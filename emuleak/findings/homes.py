"""Where a block's address was put first: the variable to which the caller of malloc assigned the result.

Code that was not optimised stores the result right behind the call, `mov [rbp-8], rax` for a local variable and
`mov [rip+...], rax` for a global one. The instruction and the debug information together are a fact, not a guess:
whoever allocated on this way put the address there. Anything else behind the call says nothing.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from emuleak.events import Op, Stack, return_addresses
from emuleak.findings.frames import Symbolizer, is_runtime_entry
from emuleak.findings.holders import Holders
from emuleak.findings.owner import is_library
from emuleak.findings.phrases import sited
from emuleak.loader import Module, Process
from emuleak.memory import READ, AddressSpace
from emuleak.stacks.unwinder import Unwinder

# Library functions whose result is the block that malloc gave them.
_PASSING_ON: Final = frozenset(("strdup", "__strdup", "strndup", "__strndup"))
_LONGEST: Final = 8
# Opcode bytes of `mov [base + displacement], rax`, and the size of the displacement.
_STORES: Final = (
    (b"\x48\x89\x45", "rbp", 1),
    (b"\x48\x89\x85", "rbp", 4),
    (b"\x48\x89\x44\x24", "rsp", 1),
    (b"\x48\x89\x84\x24", "rsp", 4),
    (b"\x48\x89\x05", "rip", 4),
)
_SIGNED: Final = {1: struct.Struct("<b"), 4: struct.Struct("<i")}


class Home(NamedTuple):
    """A variable that was given the block's address: `function` did it, at `address` in code.

    `static` is where the variable lies, None for a local.
    """

    name: str
    function: str
    address: int
    static: int | None


class Homes:
    """Reads the instructions behind calls of the allocator."""

    def __init__(
        self, memory: AddressSpace, process: Process, symbolizer: Symbolizer, unwinder: Unwinder, holders: Holders
    ) -> None:
        self._memory = memory
        self._process = process
        self._symbolizer = symbolizer
        self._unwinder = unwinder
        self._holders = holders

    def first(self, stack: Stack, maker: Op) -> Home | None:
        """Where the result of the call with this stack was put; None where the code does not tell."""
        if maker == "posix_memalign":
            return None  # it stores the address itself and returns an error number
        address = next(self._returns_to(stack), None)
        module = None if address is None else self._process.module_at(address)
        if address is None or module is None or is_library(module.path):
            return None
        store = _store(self._code(address))
        return None if store is None else self._home(module, address, *store)

    def _returns_to(self, stack: Stack) -> Iterator[int]:
        """Return addresses from the first to which the allocator's result comes, be it passed on."""
        for address in return_addresses(stack):
            frame = self._symbolizer.frames_at(address - 1)[-1]
            if not is_runtime_entry(frame) and frame.function not in _PASSING_ON:
                yield address

    def _code(self, address: int) -> bytes:
        region = self._memory.region_at(address)
        if region is None or not region.prot & READ:
            return b""
        return bytes(self._memory.peek(address, min(_LONGEST, region.end - address)))

    def _home(self, module: Module, address: int, base: str, displacement: int, length: int) -> Home | None:
        function = self._symbolizer.frames_at(address - 1)[-1].function
        if base == "rip":
            target = address + length + displacement
            if self._process.module_at(target) is not module or self._memory.region_at(target) is None:
                return None
            holder = self._holders.static(target)
            return None if holder is None else Home(holder.text, function, address - 1, target)
        name = self._local(module, address, base, displacement)
        return None if name is None else Home(name, function, address - 1, None)

    def _local(self, module: Module, address: int, base: str, displacement: int) -> str | None:
        rule = self._unwinder.rule(address)
        variables = self._symbolizer.symbols(module).variables
        if rule is None or variables is None or rule[0] != (base == "rbp"):
            return None
        from_rbp, offset, _ = rule
        # The CFA is `offset` above the register that the instruction counts from.
        found = variables.local(address - 1 - module.bias, displacement - offset, -offset if from_rbp else None)
        if found is None:
            return None
        return f"its local `{found.name}{found.part.path}`{sited(found.file, found.line)}"


def _store(code: bytes) -> tuple[str, int, int] | None:
    """(base register, displacement, length) of the instruction, if it stores RAX in memory."""
    if code.startswith(b"\x48\x89\x04\x24"):
        return "rsp", 0, 4
    for opcode, base, size in _STORES:
        if code.startswith(opcode) and len(code) >= len(opcode) + size:
            return base, _SIGNED[size].unpack_from(code, len(opcode))[0], len(opcode) + size
    return None
