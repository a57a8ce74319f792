"""Client requests of valgrind: the code that makes one stops the guest, and what it asks becomes a Request.

The code loads RAX with the address of six words, the request's number and five arguments, and RDX with what shall be
answered where nobody listens; then comes a sequence that does nothing (valgrind.h). Its last instruction, which
exchanges RBX with itself, is replaced by a breakpoint. Where such code is, the image knows (elf.py): a program that
makes no requests pays nothing.
"""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from emuleak.hooks.breakpoints import Breakpoints
from emuleak.loader import Module
from emuleak.machine import PAGE_FAULT, Machine
from emuleak.memory import AddressSpace, Fault

_ROTATIONS: Final = 16  # bytes before the exchange
_EXCHANGE: Final = 3
_WORDS: Final = struct.Struct("<6Q")
_MASK: Final = (1 << 64) - 1


class Request(NamedTuple):
    """What the guest asks: the number, five arguments, and what it wants to hear where nobody listens."""

    number: int
    arguments: tuple[int, ...]
    default: int


def trap_requests(
    module: Module,
    breakpoints: Breakpoints,
    machine: Machine,
    memory: AddressSpace,
    serve: Callable[[Request], int | None],
) -> None:
    """Have `serve` answer the requests in a module's code. It returns the answer, or None if it sees to that itself."""

    def stopped() -> None:
        try:
            words, default, *_ = machine.registers()
            number, *arguments = _WORDS.unpack(memory.read(words, _WORDS.size))
            answer = serve(Request(number, tuple(arguments), default))
        except Fault as fault:
            # What valgrind would do then: it reads and writes what it was told to.
            machine.raise_exception(PAGE_FAULT, fault.address, "read")
            return
        if answer is not None and answer != default:
            machine.set("rdx", answer & _MASK)

    for request in module.image.requests:
        breakpoints.always(request + module.bias + _ROTATIONS, stopped, _EXCHANGE)
