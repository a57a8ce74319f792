"""The floating-point state as FXSAVE stores it (Intel SDM, volume 1, table 10-2): what a signal frame points to.

The x87 registers are stored in the order of the stack, and their tags with one bit each; the CPU's own interface knows
the physical registers and the full tag word of two bits each.
"""

import struct
from typing import Final

from emuleak.machine import Machine

SIZE: Final = 512
_HEAD: Final = struct.Struct("<HHBxHQQII")
_MXCSR_MASK: Final = 0xFFFF
_ST_AT, _XMM_AT = 32, 160
_EMPTY, _VALID = 3, 0
_TOP_SHIFT: Final = 11


def save(machine: Machine) -> bytes:
    """The image of the running thread's state."""
    status, tags = machine.get("fpsw"), machine.get("fptag")
    full = sum(1 << n for n in range(8) if tags >> 2 * n & 3 != _EMPTY)
    head = _HEAD.pack(machine.get("fpcw"), status, full, 0, 0, 0, machine.get("mxcsr"), _MXCSR_MASK)
    top = status >> _TOP_SHIFT & 7
    stack = b"".join(machine.get(f"fp{top + n & 7}").to_bytes(16, "little") for n in range(8))
    vectors = b"".join(machine.get(f"xmm{n}").to_bytes(16, "little") for n in range(16))
    return (head + stack + vectors).ljust(SIZE, b"\0")


def restore(machine: Machine, image: bytes) -> None:
    """Give the running thread the state of an image, which the program may have edited."""
    control, status, full, _opcode, _fip, _fdp, mxcsr, _mask = _HEAD.unpack_from(image)
    top = status >> _TOP_SHIFT & 7
    machine.set("fpcw", control)
    machine.set("fpsw", status)
    for n in range(8):
        machine.set(f"fp{top + n & 7}", _number(image, _ST_AT + 16 * n, 10))
    # After the registers: writing one makes it valid.
    machine.set("fptag", sum((_VALID if full >> n & 1 else _EMPTY) << 2 * n for n in range(8)))
    machine.set("mxcsr", mxcsr & _MXCSR_MASK)
    for n in range(16):
        machine.set(f"xmm{n}", _number(image, _XMM_AT + 16 * n, 16))


def reset(machine: Machine) -> None:
    """The state in which Linux starts a program: FNINIT's, every SSE exception masked."""
    machine.set("fpcw", 0x37F)
    machine.set("fpsw", 0)
    machine.set("fptag", 0xFFFF)
    machine.set("mxcsr", 0x1F80)


def _number(image: bytes, at: int, length: int) -> int:
    return int.from_bytes(image[at : at + length], "little")
