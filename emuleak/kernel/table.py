"""The table of system calls: `@syscall(nr)` on a function whose signature is the prototype in the man page.

    @syscall(3)
    def close(kernel: Kernel, fd: Int) -> int: ...

The annotations say how a register becomes an argument: a register has 64 bits, a prototype says `int` or `char *`.
A handler returns the value for RAX, or None when the thread does not go on from here (it was parked or has ended);
it raises SyscallError, OSError or Fault for a failure.
"""

import os
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Final, NewType, Protocol, TypeVar

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel

Int = NewType("Int", int)  # int: the low 32 bits, signed
UInt = NewType("UInt", int)  # unsigned int
Long = NewType("Long", int)  # long, ssize_t, off_t
ULong = NewType("ULong", int)  # unsigned long, size_t
Pointer = NewType("Pointer", int)  # an address of the guest's, 0 for NULL
Path = NewType("Path", str)  # const char *path, already read; EFAULT when it cannot be


class Handler(Protocol):
    """A handler as dispatch calls it: with the six raw argument registers."""

    name: str

    def __call__(self, kernel: "Kernel", registers: tuple[int, ...]) -> int | None:
        """Serve the call; the value for RAX, or None when the thread does not go on from here."""


_F = TypeVar("_F", bound=Callable[..., int | None])
_Converter = Callable[["Kernel", int], object]


def _int(_kernel: "Kernel", value: int) -> int:
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def _long(_kernel: "Kernel", value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


_CONVERTERS: dict[object, _Converter] = {
    Int: _int,
    UInt: lambda _kernel, value: value & 0xFFFF_FFFF,
    Long: _long,
    ULong: lambda _kernel, value: value,
    Pointer: lambda _kernel, value: value,
    Path: lambda kernel, value: os.fsdecode(kernel.memory.cstring(value)),
}


class _Entry:
    """One row of the table: the handler and how its registers are read."""

    __slots__ = ("_converters", "_function", "name")

    def __init__(self, function: Callable[..., int | None]) -> None:
        kinds = [kind for name, kind in function.__annotations__.items() if name not in {"kernel", "_kernel", "return"}]
        self.name = function.__name__.removesuffix("_")
        self._function = function
        self._converters = tuple(_CONVERTERS[kind] for kind in kinds)

    def __call__(self, kernel: "Kernel", registers: tuple[int, ...]) -> int | None:
        arguments = [convert(kernel, value) for convert, value in zip(self._converters, registers, strict=False)]
        return self._function(kernel, *arguments)


TABLE: dict[int, Handler] = {}


def syscall(number: int) -> Callable[[_F], _F]:
    """Register a handler under its number in arch/x86/entry/syscalls/syscall_64.tbl."""

    def register(function: _F) -> _F:
        if number in TABLE:
            raise ValueError(f"system call {number} has two handlers: {TABLE[number].name}, {function.__name__}")
        TABLE[number] = _Entry(function)
        return function

    return register


# Families of which most programs make no call: the module that registers each number is imported at the first.
_ON_DEMAND: Final = {
    "executing": (59, 322),
    "forking": (57, 58),
    "socketoptions": (54, 55),
    "groups": (109, 111, 112, 121, 124),
    "waiting": (61, 247),
}
_FAMILY_OF: Final = {number: family for family, numbers in _ON_DEMAND.items() for number in numbers}


def handler_of(number: int) -> Handler | None:
    """The handler of a system call; None where there is none."""
    handler = TABLE.get(number)
    if handler is None and (family := _FAMILY_OF.get(number)) is not None:
        import_module(f"emuleak.kernel.{family}")
        handler = TABLE[number]
    return handler


def load_all() -> None:
    """Import every family, so that the table is whole: for those who ask what there is."""
    for family in _ON_DEMAND:
        import_module(f"emuleak.kernel.{family}")
