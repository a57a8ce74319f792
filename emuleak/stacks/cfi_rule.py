"""What call-frame information says of one pc: where the frame is, and where it keeps the caller's registers.

Registers carry their DWARF numbers (System V x86-64 psABI, figure 3.36): 0 rax, 1 rdx, 2 rcx, 3 rbx, 4 rsi, 5 rdi,
6 rbp, 7 rsp, 8-15 r8-r15, 16 the return address, that is, rip.
"""

from enum import IntEnum
from functools import lru_cache
from typing import NamedTuple, Self

import msgspec

from emuleak.stacks.cfi_bytes import BadCallFrameInfo

RETURN_ADDRESS = 16
"""The DWARF number of the return-address column."""

NO_REGISTER = -1
"""`Rule.cfa_register` of a CFA that an expression computes."""


class Kind(IntEnum):
    """How a register of the caller is found (DWARF 5 section 6.4.1), and what `Saved.value` then is."""

    UNDEFINED = 0
    """The value is lost. 0."""
    SAME_VALUE = 1
    """The register has not been touched. 0."""
    OFFSET = 2
    """In memory at CFA + value. A signed number of bytes."""
    VAL_OFFSET = 3
    """The value is CFA + value. A signed number of bytes."""
    REGISTER = 4
    """In another register of this frame. Its DWARF number."""
    EXPRESSION = 5
    """In memory at the address an expression computes, the CFA being on its stack. The expression's bytes."""
    VAL_EXPRESSION = 6
    """The value is what an expression computes, the CFA being on its stack. The expression's bytes."""


class Saved(NamedTuple):
    """Where one register of the caller is."""

    register: int
    kind: Kind
    value: int | bytes


class Rule(msgspec.Struct, frozen=True):
    """How to step out of a frame at one pc. Equal rules are mostly the same object; compare with `==` all the same.

    The CFA, by the psABI the value of rsp in the caller before its call instruction, is `cfa_register` + `cfa_offset`,
    unless `cfa_expression` is set: then it is what that expression computes, from an empty stack.
    """

    cfa_register: int
    """DWARF number; NO_REGISTER with an expression."""
    cfa_offset: int
    """Signed, in bytes."""
    cfa_expression: bytes | None
    return_address: int | None
    """Where the return address is, in bytes from the CFA, normally -8. None when it is at no such place: either there
    is none, see `outermost`, or `saved` has an entry for RETURN_ADDRESS."""
    saved: tuple[Saved, ...]
    """Every other register that has a rule, by ascending number. A register that is not here keeps its value if the
    psABI has callees save it (rbx, rbp, r12-r15) and is lost otherwise; rsp is the CFA."""
    signal_frame: bool
    """The frame of a signal handler's trampoline: the caller was interrupted, not calling, so that its pc is to be
    looked up as it is and not less one."""

    @property
    def outermost(self) -> bool:
        """Whether the stack ends here: the return address is undefined."""
        return self.return_address is None and all(entry.register != RETURN_ADDRESS for entry in self.saved)


class Row:
    """One row of the table an FDE describes, while it is being built."""

    __slots__ = ("cfa_expression", "cfa_offset", "cfa_register", "saved")

    def __init__(self) -> None:
        self.cfa_register = NO_REGISTER
        self.cfa_offset = 0
        self.cfa_expression: bytes | None = None
        self.saved: dict[int, tuple[Kind, int | bytes]] = {}

    def copy(self) -> Self:
        """A row that can change on its own."""
        other = type(self).__new__(type(self))
        other.cfa_register = self.cfa_register
        other.cfa_offset = self.cfa_offset
        other.cfa_expression = self.cfa_expression
        other.saved = self.saved.copy()
        return other

    def rule(self, return_column: int, signal_frame: bool) -> Rule:
        """The row as a rule; `return_column` is the number that the CIE gives the return address.

        Raises BadCallFrameInfo when the row does not say where the CFA is.
        """
        if self.cfa_register == NO_REGISTER and self.cfa_expression is None:
            raise BadCallFrameInfo("the call-frame information has no rule for the CFA")
        register = NO_REGISTER if self.cfa_expression is not None else self.cfa_register
        offset = 0 if self.cfa_expression is not None else self.cfa_offset
        return _rule(
            register, offset, self.cfa_expression, return_column, tuple(sorted(self.saved.items())), signal_frame
        )


# A file of ten thousand functions has a few hundred distinct rules, and finding one costs less than building it.
@lru_cache(maxsize=4096)
def _rule(
    cfa_register: int,
    cfa_offset: int,
    cfa_expression: bytes | None,
    return_column: int,
    cells: tuple[tuple[int, tuple[Kind, int | bytes]], ...],
    signal_frame: bool,
) -> Rule:
    saved = {register: Saved(register, kind, value) for register, (kind, value) in cells}
    found = saved.pop(return_column, None)
    saved.pop(RETURN_ADDRESS, None)
    offset = None
    if found is not None and found.kind is Kind.OFFSET and isinstance(found.value, int):
        offset = found.value
    elif found is not None and found.kind is not Kind.UNDEFINED:
        saved[RETURN_ADDRESS] = found._replace(register=RETURN_ADDRESS)
    entries = tuple(saved[register] for register in sorted(saved))
    return Rule(cfa_register, cfa_offset, cfa_expression, offset, entries, signal_frame)
