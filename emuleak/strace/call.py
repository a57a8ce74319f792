"""One system call while it is told, and what an argument's printer is given."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel

_FAILED: Final = -4095
_M32: Final = 0xFFFF_FFFF


class Style(msgspec.Struct, frozen=True):
    """How values are shown: the most bytes of a string (-s), and whether descriptors come with their files (-y)."""

    longest: int = 32
    paths: bool = False


class Call(msgspec.Struct):
    """A call that was made. `result` is RAX as a signed number, None until it is known."""

    kernel: "Kernel"
    number: int
    name: str
    registers: tuple[int, ...]
    style: Style
    result: int | None = None
    # What had to be kept from the time of the call: the files of its descriptors, and ints at addresses it may change.
    kept: dict[int, str] = msgspec.field(default_factory=dict)
    before: dict[int, int] = msgspec.field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether the result is an error."""
        return self.result is not None and _FAILED <= self.result < 0

    def int(self, index: int) -> int:
        """An argument as an int."""
        return signed(self.registers[index])


Printer = Callable[[Call, int], str]


class After(NamedTuple):
    """Marks an argument that the call itself fills in: it is printed when the call is over."""

    printer: Printer


def signed(value: int) -> int:
    """The low 32 bits as an int."""
    value &= _M32
    return value - (1 << 32) if value >> 31 else value


def signed_long(value: int) -> int:
    """64 bits as a long."""
    return value - (1 << 64) if value >> 63 else value
