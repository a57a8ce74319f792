"""DWARF expressions as call-frame information uses them: a stack machine over 64-bit words.

A rule for a CFA or for a register can be a small program, where a fixed offset cannot say it: the PLT of a program
(the offset depends on the low bits of rip), the frame a signal is delivered on, a function that realigns its stack.

Sources: DWARF 5 sections 2.5.1 (operators), 6.4.2 (which of them may not occur here), 7.7.1 (opcodes). Values are of
the generic type; where the standard leaves signedness open, libgcc's unwinder is followed: division and comparison are
signed, remainder is not.
"""

import operator
from collections.abc import Callable, Mapping

from emuleak.stacks.cfi_bytes import WORD_MASK, BadCallFrameInfo, Reader

MOST_OPERATIONS = 10_000
"""How many operations one evaluation may take: `DW_OP_bra` can jump backwards, for ever in a corrupt file."""

_SIGN = 1 << 63


class BadExpression(BadCallFrameInfo):
    """A DWARF expression cannot be evaluated: unknown operator, empty stack, division by zero, or no end."""

    slug = "bad-expression"


def evaluate(
    expr: bytes, registers: Mapping[int, int], read_word: Callable[[int], int], initial: int | None = None
) -> int:
    """The value that the expression leaves on top of its stack, as an unsigned 64-bit number.

    `registers` maps DWARF register numbers (7 = rsp, 16 = rip) to values; `read_word(address)` returns the 64-bit
    word of the guest's memory there, and what it raises goes through; `initial` is pushed first: the CFA for the rules
    of registers, nothing for the rule of the CFA. The operand of `DW_OP_addr` is used as written, a link-time address.

    Raises BadExpression for anything else than a value.
    """
    machine = _Machine(expr, registers, read_word)
    if initial is not None:
        machine.push(initial)
    for _ in range(MOST_OPERATIONS):
        if machine.at == len(expr):
            return machine.pop()
        machine.step()
    raise BadExpression(f"a DWARF expression has not ended after {MOST_OPERATIONS} operations")


def _signed(value: int) -> int:
    return value - (1 << 64) if value & _SIGN else value


class _Machine(Reader):
    __slots__ = ("_read_word", "_registers", "_stack")

    def __init__(self, expr: bytes, registers: Mapping[int, int], read_word: Callable[[int], int]) -> None:
        super().__init__(expr)
        self._registers = registers
        self._read_word = read_word
        self._stack: list[int] = []

    def step(self) -> None:
        opcode = self.unsigned(1)
        action = _OPERATORS.get(opcode)
        if action is None:
            raise BadExpression(f"DWARF operator {opcode:#x} does not belong in call-frame information")
        try:
            action(self, opcode)
        except BadExpression:
            raise
        except BadCallFrameInfo as error:
            raise BadExpression("a DWARF expression ends within an operand") from error

    def push(self, value: int) -> None:
        self._stack.append(value & WORD_MASK)

    def pop(self) -> int:
        if not self._stack:
            raise BadExpression("a DWARF expression takes a value from its empty stack")
        return self._stack.pop()

    def pick(self, depth: int) -> None:
        if depth >= len(self._stack):
            raise BadExpression("a DWARF expression picks a value below its stack")
        self._stack.append(self._stack[-1 - depth])

    def register(self, number: int) -> int:
        value = self._registers.get(number)
        if value is None:
            raise BadExpression(f"a DWARF expression needs register {number}, whose value is not known")
        return value

    def load(self, address: int, size: int) -> int:
        if size == 8:
            return self._read_word(address)
        # An operand of fewer bytes than a word may be the last thing on its page: reading aligned words touches only
        # what the program itself may read.
        low = address & 7
        value = self._read_word(address - low)
        if low + size > 8:
            value |= self._read_word((address - low + 8) & WORD_MASK) << 64
        return value >> 8 * low & (1 << 8 * size) - 1

    def jump(self, distance: int) -> None:
        target = self.at + distance
        if not 0 <= target <= len(self.data):
            raise BadExpression("a DWARF expression jumps out of itself")
        self.at = target


def _divide(left: int, right: int) -> int:
    if right == 0:
        raise BadExpression("a DWARF expression divides by zero")
    dividend, divisor = _signed(left), _signed(right)
    quotient = abs(dividend) // abs(divisor)
    return quotient if (dividend < 0) == (divisor < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    if right == 0:
        raise BadExpression("a DWARF expression divides by zero")
    return left % right


# A shift count is clipped before it is used: Python would honour one of 2**63.
def _shift_left(left: int, right: int) -> int:
    return left << min(right, 64)


def _shift_right(left: int, right: int) -> int:
    return left >> min(right, 64)


def _shift_right_arithmetic(left: int, right: int) -> int:
    return _signed(left) >> min(right, 64)


_BINARY: dict[int, Callable[[int, int], int]] = {
    0x1A: operator.and_,
    0x1B: _divide,
    0x1C: operator.sub,
    0x1D: _remainder,
    0x1E: operator.mul,
    0x21: operator.or_,
    0x22: operator.add,
    0x24: _shift_left,
    0x25: _shift_right,
    0x26: _shift_right_arithmetic,
    0x27: operator.xor,
}

_COMPARISONS: dict[int, Callable[[int, int], bool]] = {
    0x29: operator.eq,
    0x2A: operator.ge,
    0x2B: operator.gt,
    0x2C: operator.le,
    0x2D: operator.lt,
    0x2E: operator.ne,
}


def _binary(machine: _Machine, opcode: int) -> None:
    right = machine.pop()
    machine.push(_BINARY[opcode](machine.pop(), right))


def _compare(machine: _Machine, opcode: int) -> None:
    right = _signed(machine.pop())
    machine.push(_COMPARISONS[opcode](_signed(machine.pop()), right))


def _literal(machine: _Machine, opcode: int) -> None:
    machine.push(opcode - 0x30)


def _register(machine: _Machine, opcode: int) -> None:
    machine.push(machine.register(opcode - 0x50))


def _base_register(machine: _Machine, opcode: int) -> None:
    machine.push(machine.register(opcode - 0x70) + machine.sleb())


def _base_register_extended(machine: _Machine, _: int) -> None:
    base = machine.register(machine.uleb())
    machine.push(base + machine.sleb())


def _constant(machine: _Machine, opcode: int) -> None:
    # 0x08 const1u, 0x09 const1s, 0x0a const2u ... 0x0f const8s: the size doubles with each pair
    size = 1 << (opcode - 0x08) // 2
    machine.push(machine.signed(size) if opcode & 1 else machine.unsigned(size))


def _absolute(machine: _Machine, _: int) -> None:
    value = _signed(machine.pop())
    machine.push(abs(value))


def _rotate(machine: _Machine, _: int) -> None:
    first, second, third = machine.pop(), machine.pop(), machine.pop()
    machine.push(first)
    machine.push(third)
    machine.push(second)


def _nothing(_machine: _Machine, _: int) -> None:
    pass


def _drop(machine: _Machine, _: int) -> None:
    machine.pop()


def _swap(machine: _Machine, _: int) -> None:
    first, second = machine.pop(), machine.pop()
    machine.push(first)
    machine.push(second)


def _branch(machine: _Machine, _: int) -> None:
    distance = machine.signed(2)
    if machine.pop():
        machine.jump(distance)


def _load_sized(machine: _Machine, _: int) -> None:
    size = machine.unsigned(1)
    if not 1 <= size <= 8:
        raise BadExpression(f"a DWARF expression loads a value of {size} bytes")
    machine.push(machine.load(machine.pop(), size))


_OPERATORS: dict[int, Callable[[_Machine, int], None]] = {
    0x03: lambda machine, _: machine.push(machine.unsigned(8)),  # DW_OP_addr
    0x06: lambda machine, _: machine.push(machine.load(machine.pop(), 8)),  # DW_OP_deref
    **dict.fromkeys(range(0x08, 0x10), _constant),
    0x10: lambda machine, _: machine.push(machine.uleb()),  # DW_OP_constu
    0x11: lambda machine, _: machine.push(machine.sleb()),  # DW_OP_consts
    0x12: lambda machine, _: machine.pick(0),  # DW_OP_dup
    0x13: _drop,
    0x14: lambda machine, _: machine.pick(1),  # DW_OP_over
    0x15: lambda machine, _: machine.pick(machine.unsigned(1)),  # DW_OP_pick
    0x16: _swap,
    0x17: _rotate,
    0x19: _absolute,
    **dict.fromkeys(_BINARY, _binary),
    0x1F: lambda machine, _: machine.push(-machine.pop()),  # DW_OP_neg
    0x20: lambda machine, _: machine.push(~machine.pop()),  # DW_OP_not
    0x23: lambda machine, _: machine.push(machine.pop() + machine.uleb()),  # DW_OP_plus_uconst
    0x28: _branch,
    **dict.fromkeys(_COMPARISONS, _compare),
    0x2F: lambda machine, _: machine.jump(machine.signed(2)),  # DW_OP_skip
    **dict.fromkeys(range(0x30, 0x50), _literal),
    **dict.fromkeys(range(0x50, 0x70), _register),
    **dict.fromkeys(range(0x70, 0x90), _base_register),
    0x90: lambda machine, _: machine.push(machine.register(machine.uleb())),  # DW_OP_regx
    0x92: _base_register_extended,
    0x94: _load_sized,
    0x96: _nothing,
}
