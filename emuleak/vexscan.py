"""Noticing the AVX instructions that Unicorn 2.1.4 executes as something else.

It refuses those of 256 bits and FMA, but takes the VEX prefix of most others for nothing: `vaddsd xmm0, xmm1, xmm2`
runs as `addsd xmm0, xmm2`. A program built with -mavx would compute nonsense and nobody would know. So each block of
code is looked through when it was translated, before it runs for the first time, by machine code (vexscan.S) in some
30 ns. On hosts that cannot run that, blocks with a byte that may be such a prefix are disassembled.

BMI1 and BMI2 have the prefix, too, and are executed as they should be.
"""

import ctypes
import re
import struct
from collections.abc import Callable
from typing import Final

from emuleak import engine
from emuleak.engine import Engine
from emuleak.hostcode import executable
from emuleak.memory import AddressSpace, Fault

_CODE: Final = bytes.fromhex(
    "4c8b06440fb74e0a488d510848837a08000f84c50000004c89c0482b02483b420872064883c218ebe3480342104901c14c39"
    "c80f83a200000031ff0fb61048ffc00fb6b4110001000040f6c620742080fa66750383cf0180fa67750383cf0481e2f80000"
    "0083fa4875d183cf02ebcc4084f6796d80fa0f751b0fb61048ffc00fb6b411000200004084f6795548ffc083e67feb4dbe01"
    "00000080fac475380fb610440fb650024883c00383e21f83fa02750f4181eaf20000004183fa057622eb1b83fa037516be03"
    "0000004181faf0000000740deb0680fac57401c34c89c7ff2140f6c60174440fb61048ffc04189d241c1ea064183fa037431"
    "4189d34183e3074183fb04750b440fb61848ffc04183e3074183fa0174104183fa0274064183fb0575074883c00348ffc083"
    "e61e0f84fcfeffff83fe04726a746583fe08721a743183fe0c723d83fe107451f6c2300f85dbfeffff83fe0c7449f7c70200"
    "00007508f7c70100000075364883c004e9bdfefffff7c70200000074df4883c008e9acfeffff4883c004f7c7040000000f85"
    "9cfeffff4883c004e993feffff48ffc048ffc048ffc0e985feffff"
)  # fmt: skip
_PREFIX: Final = re.compile(rb"[\xc4\xc5]..", re.DOTALL)
_FOUND = ctypes.CFUNCTYPE(None, ctypes.c_uint64)
_TRANSLATED = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
_BLOCK: Final = struct.Struct("<QHH")  # struct uc_tb: address, instructions, bytes
_ARENA: Final = struct.Struct("<QQQ")
_FOUND_AT, _ARENAS_AT, _TABLES_AT, _SIZE = 0, 8, 256, 768

# What an opcode's entry says: a ModRM byte follows; then the immediate's kind, doubled.
_MODRM, _LEGACY_OR_REX, _SPECIAL = 1, 0x20, 0x80
_IMM8, _IMM16, _IMM32, _IMM64, _OFFSET, _TEST8, _TEST32, _ENTER = range(2, 18, 2)


def _table(*groups: tuple[int, tuple[int | range, ...]]) -> bytes:
    table = bytearray(256)
    for entry, opcodes in groups:
        for each in opcodes:
            for opcode in each if isinstance(each, range) else (each,):
                table[opcode] |= entry
    return bytes(table)


# Intel SDM volume 2, appendix A. Those behind 0F 38 have a ModRM byte, those behind 0F 3A an immediate byte, too.
_ONE: Final = _table(
    (_MODRM, tuple(range(row, row + 4) for row in range(0, 0x40, 8))),
    (_MODRM, (0x63, 0x69, 0x6B, range(0x80, 0x90), 0xC0, 0xC1, 0xC6, 0xC7, range(0xD0, 0xD4), range(0xD8, 0xE0))),
    (_MODRM, (0xF6, 0xF7, 0xFE, 0xFF)),
    (_IMM8, tuple(range(4, 0x40, 8))),
    (_IMM8, (0x6A, 0x6B, range(0x70, 0x80), 0x80, 0x82, 0x83, 0xA8, range(0xB0, 0xB8), 0xC0, 0xC1, 0xC6, 0xCD)),
    (_IMM8, (0xD4, 0xD5, range(0xE0, 0xE8), 0xEB)),
    (_IMM16, (0xC2, 0xCA)),
    (_IMM32, tuple(range(5, 0x40, 8))),
    (_IMM32, (0x68, 0x69, 0x81, 0xA9, 0xC7, 0xE8, 0xE9)),
    (_IMM64, (range(0xB8, 0xC0),)),
    (_OFFSET, (range(0xA0, 0xA4),)),
    (_TEST8, (0xF6,)),
    (_TEST32, (0xF7,)),
    (_ENTER, (0xC8,)),
    (_LEGACY_OR_REX, (0x26, 0x2E, 0x36, 0x3E, range(0x40, 0x50), range(0x64, 0x68), 0xF0, 0xF2, 0xF3)),
    (_SPECIAL, (0x0F, 0x62, 0xC4, 0xC5)),
)
_TWO: Final = _table(
    (_MODRM, (range(4), 0x0D, range(0x10, 0x30), range(0x40, 0x77), range(0x78, 0x80), range(0x90, 0xA0))),
    (_MODRM, (range(0xA3, 0xA8), range(0xAB, 0xC8), range(0xD0, 0x100), 0x38, 0x3A)),
    (_IMM8, (0x3A, range(0x70, 0x74), 0xA4, 0xAC, 0xBA, 0xC2, range(0xC4, 0xC7))),
    (_IMM32, (range(0x80, 0x90),)),
    (_SPECIAL, (0x38, 0x3A)),
)


class VexScan:
    """Calls `found` with the address of each block that may hold such an instruction, before it runs.

    `native` False is for hosts that cannot do otherwise.
    """

    def __init__(self, cpu: Engine, memory: AddressSpace, found: Callable[[int], None], *, native: bool = True) -> None:
        self._memory, self._found = memory, found
        self._code = executable(_CODE) if native else None
        if self._code is None:
            self._callback: object = _TRANSLATED(self._translated)
            cpu.hook(engine.HOOK_EDGE_GENERATED, self._callback)
            return
        self._callback = _FOUND(found)
        self._data = ctypes.create_string_buffer(_SIZE)
        address = ctypes.cast(self._callback, ctypes.c_void_p).value or 0
        struct.pack_into("<Q", self._data, _FOUND_AT, address)
        for index, arena in enumerate(memory.arenas):
            _ARENA.pack_into(self._data, _ARENAS_AT + index * _ARENA.size, arena.base, arena.size, arena.host)
        struct.pack_into("256s256s", self._data, _TABLES_AT, _ONE, _TWO)
        at = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        cpu.hook(engine.HOOK_EDGE_GENERATED, ctypes.c_void_p(at), data=ctypes.addressof(self._data))

    def _translated(self, _uc: int, block: int, _before: int, _data: int) -> None:
        address, _, size = _BLOCK.unpack(ctypes.string_at(block, _BLOCK.size))
        try:
            code = bytes(self._memory.peek(address, size))
        except Fault:
            return  # it is not the guest's
        if _PREFIX.search(code):
            self._found(address)
