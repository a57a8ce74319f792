"""The interpreter of call-frame instructions: it builds the one row of an FDE's table that holds at a pc.

The table an FDE stands for has a row for every pc and a column for every register; it is written as the instructions
that make each row from the one before. Only the row asked for is built, by running them until their location passes the
pc.

Sources: DWARF 5 sections 6.4.2 and 7.24; Linux Standard Base Core 5.0 section 10.5.2 (the GNU instructions).
"""

from collections.abc import Callable
from typing import NamedTuple

from emuleak.stacks.cfi_bytes import BadCallFrameInfo, Reader
from emuleak.stacks.cfi_rule import Kind, Row

# The psABI numbers registers up to 129, APX to 145. A file that names others is corrupt, and they would let a row, and
# each remembered copy of it, grow with the file.
_MOST_COLUMNS = 256
_MOST_REMEMBERED = 256


class Factors(NamedTuple):
    """What a CIE says of the instructions of its FDEs."""

    code: int
    """Bytes of program a unit of `DW_CFA_advance_loc` stands for."""
    data: int
    """Bytes of stack a unit of a factored offset stands for; negative."""
    pointer_encoding: int
    """Of the operand of `DW_CFA_set_loc`."""


class Interpreter(Reader):
    """Runs the instructions in `data` from position `at`, beginning with a copy of the row `initial`."""

    __slots__ = ("_factors", "_initial", "_location", "_remembered", "row")

    def __init__(self, data: bytes, address: int, at: int, factors: Factors, initial: Row) -> None:
        super().__init__(data, address, at)
        self.row = initial.copy()
        self._factors = factors
        self._initial = initial
        self._location = 0
        self._remembered: list[Row] = []

    def run(self, location: int, target: int) -> None:
        """Leave in `row` what holds at the address `target`; the first row begins at `location`.

        Raises BadCallFrameInfo for an instruction that is unknown, cut off or senseless.
        """
        self._location = location
        data = self.data
        end = len(data)
        code, factor, _ = self._factors
        while self.at < end and self._location <= target:
            opcode = data[self.at]
            self.at += 1
            primary = opcode & 0xC0
            if primary == 0x40:
                self._location += (opcode & 0x3F) * code
            elif primary == 0x80:
                self.row.saved[opcode & 0x3F] = (Kind.OFFSET, self.uleb() * factor)
            elif primary == 0xC0:
                self._restore(opcode & 0x3F)
            elif opcode:
                self._extended(opcode)

    def _extended(self, opcode: int) -> None:
        action = _INSTRUCTIONS.get(opcode)
        if action is None:
            raise BadCallFrameInfo(f"call-frame instruction {opcode:#x} is not known")
        action(self)

    def _column(self) -> int:
        number = self.uleb()
        if number >= _MOST_COLUMNS:
            raise BadCallFrameInfo(f"the call-frame information names register {number}, which x86-64 does not have")
        return number

    def _block(self) -> bytes:
        return self.take(self.uleb())

    def _restore(self, number: int) -> None:
        initial = self._initial.saved.get(number)
        if initial is not None:
            self.row.saved[number] = initial
        else:
            self.row.saved.pop(number, None)

    def restore_extended(self) -> None:
        """DW_CFA_restore_extended."""
        self._restore(self._column())

    def set_location(self) -> None:
        """DW_CFA_set_loc."""
        self._location = self.pointer(self._factors.pointer_encoding)

    def advance(self, size: int) -> None:
        """DW_CFA_advance_loc1, 2, 4, and DW_CFA_MIPS_advance_loc8: the distance is `size` bytes wide."""
        self._location += self.unsigned(size) * self._factors.code

    def save(self, kind: Kind, value: Callable[[], int | bytes]) -> None:
        """The instructions that set the rule of a register and read its value after its number."""
        number = self._column()
        self.row.saved[number] = (kind, value())

    def unsigned_factored(self) -> int:
        """A factored offset, unsigned."""
        return self.uleb() * self._factors.data

    def signed_factored(self) -> int:
        """A factored offset, signed."""
        return self.sleb() * self._factors.data

    def negative_factored(self) -> int:
        """A factored offset as old compilers for PowerPC wrote it: unsigned, to be negated."""
        return -self.uleb() * self._factors.data

    def remember(self) -> None:
        """DW_CFA_remember_state. The CFA is part of the state, as in gcc, though early DWARF did not say so."""
        if len(self._remembered) >= _MOST_REMEMBERED:
            raise BadCallFrameInfo("the call-frame information remembers too many states")
        self._remembered.append(self.row.copy())

    def restore_remembered(self) -> None:
        """DW_CFA_restore_state."""
        if not self._remembered:
            raise BadCallFrameInfo("the call-frame information restores a state that it did not remember")
        self.row = self._remembered.pop()

    def define_cfa(self, offset: Callable[[], int]) -> None:
        """DW_CFA_def_cfa and its signed form."""
        self.define_cfa_register()
        self.row.cfa_offset = offset()

    def define_cfa_register(self) -> None:
        """DW_CFA_def_cfa_register."""
        self.row.cfa_register = self._column()
        self.row.cfa_expression = None

    def define_cfa_offset(self) -> None:
        """DW_CFA_def_cfa_offset."""
        self.row.cfa_offset = self.uleb()

    def define_cfa_offset_signed(self) -> None:
        """DW_CFA_def_cfa_offset_sf."""
        self.row.cfa_offset = self.signed_factored()

    def define_cfa_expression(self) -> None:
        """DW_CFA_def_cfa_expression."""
        self.row.cfa_expression = self._block()

    def save_expression(self, kind: Kind) -> None:
        """DW_CFA_expression and DW_CFA_val_expression."""
        self.save(kind, self._block)


def _nothing() -> int:
    return 0


_INSTRUCTIONS: dict[int, Callable[[Interpreter], object]] = {
    0x01: Interpreter.set_location,
    0x02: lambda run: run.advance(1),
    0x03: lambda run: run.advance(2),
    0x04: lambda run: run.advance(4),
    0x05: lambda run: run.save(Kind.OFFSET, run.unsigned_factored),
    0x06: Interpreter.restore_extended,
    0x07: lambda run: run.save(Kind.UNDEFINED, _nothing),
    0x08: lambda run: run.save(Kind.SAME_VALUE, _nothing),
    0x09: lambda run: run.save(Kind.REGISTER, run.uleb),
    0x0A: Interpreter.remember,
    0x0B: Interpreter.restore_remembered,
    0x0C: lambda run: run.define_cfa(run.uleb),
    0x0D: Interpreter.define_cfa_register,
    0x0E: Interpreter.define_cfa_offset,
    0x0F: Interpreter.define_cfa_expression,
    0x10: lambda run: run.save_expression(Kind.EXPRESSION),
    0x11: lambda run: run.save(Kind.OFFSET, run.signed_factored),
    0x12: lambda run: run.define_cfa(run.signed_factored),
    0x13: Interpreter.define_cfa_offset_signed,
    0x14: lambda run: run.save(Kind.VAL_OFFSET, run.unsigned_factored),
    0x15: lambda run: run.save(Kind.VAL_OFFSET, run.signed_factored),
    0x16: lambda run: run.save_expression(Kind.VAL_EXPRESSION),
    0x1D: lambda run: run.advance(8),
    0x2E: lambda run: run.uleb(),  # DW_CFA_GNU_args_size: of use to exception handling only
    0x2F: lambda run: run.save(Kind.OFFSET, run.negative_factored),
}
