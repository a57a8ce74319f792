"""Which variable lies at an address: globals, static locals, thread-local variables, the locals of a call in progress.

Read by way of pyelftools, and only when a report has to name what holds a block. Locals are known where they have one
place in the frame for all of their life, as in code that was not optimised. Sources: DWARF 5, sections 2.5 (location
expressions), 3.3.5 (frame base), 4.1 (variables).
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from emuleak.symbols.dwarf import DAMAGED, DwarfLines, Unit, number_of, references, text_of
from emuleak.symbols.parts import Part, part_at, part_of_block, size_of, type_of_variable

# To read 100 KB of .debug_info takes about 0.1 s. Of larger files the symbol table's names must do.
_MOST_DEBUG_INFO = 1 << 18

_ADDR, _CONST4U, _CONST8U, _BREG6, _FBREG, _CALL_FRAME_CFA, _REG6 = 0x03, 0x0C, 0x0E, 0x76, 0x91, 0x9C, 0x56
_ADDRX, _TLS, _GNU_TLS = 0xA1, 0x9B, 0xE0
_NUMBER_SIZES = {_ADDR: 8, _CONST4U: 4, _CONST8U: 8}
_VARIABLES = frozenset({"DW_TAG_variable", "DW_TAG_formal_parameter"})
_SCOPES = frozenset({"DW_TAG_lexical_block", "DW_TAG_try_block", "DW_TAG_catch_block"})
_DEEPEST = 256


class Variable(NamedTuple):
    """A variable and the part of it that was asked for. `function` is the one whose static or local it is, or ""."""

    name: str
    function: str
    file: str | None
    line: int | None
    part: Part


class _Place(NamedTuple):
    """Where a variable lies: in memory, or in the thread-local block of its module."""

    start: int
    thread_local: bool
    unit: Unit
    die: Any


class Variables:
    """The variables of one file, by its own (link-time) addresses. What is damaged is unknown."""

    def __init__(self, lines: DwarfLines) -> None:
        self._lines = lines
        self._places: list[_Place] | None = None

    def static(self, address: int) -> Variable | None:
        """The global or static variable that covers the address."""
        return self._find(address, thread_local=False)

    def thread_local(self, offset: int) -> Variable | None:
        """The variable that covers the offset in the module's thread-local block."""
        return self._find(offset, thread_local=True)

    def local(self, pc: int, from_cfa: int, frame_pointer: int | None) -> Variable | None:
        """The local variable or parameter, of the function at `pc`, that covers the word `from_cfa` bytes from its CFA.

        `frame_pointer` is rbp less the CFA, where it is known.
        """
        try:
            unit = self._lines.unit_at(pc)
            if unit is None or unit.size > _MOST_DEBUG_INFO:
                return None
            chain = unit.chain(pc)
            base = _frame_base(chain[0], frame_pointer) if chain else None
            if base is None:
                return None
            for die in _in_scope(unit, chain[0], pc, 0):
                start = _frame_offset(die, base, frame_pointer)
                if start is not None and (found := _covering(unit, die, from_cfa - start)):
                    return found
        except DAMAGED:
            return None
        return None

    def in_block(self, pointee: Any, block_size: int, offset: int) -> Part:
        """What lies at an offset in a heap block whose start a pointer to `pointee` points to."""
        try:
            return part_of_block(pointee, block_size, offset)
        except DAMAGED:
            return Part("", None)

    def _find(self, start: int, *, thread_local: bool) -> Variable | None:
        try:
            if self._places is None:
                self._places = list(self._read_places())
            for place in self._places:
                # No variable is found far behind its start without its type being read: few are.
                if place.thread_local == thread_local and place.start <= start:
                    found = _covering(place.unit, place.die, start - place.start)
                    if found is not None:
                        return found
        except DAMAGED:
            self._places = self._places or []
        return None

    def _read_places(self) -> Iterator[_Place]:
        if self._lines.size > _MOST_DEBUG_INFO:
            return
        for unit in self._lines.units():
            for die in unit.dies():
                if die.tag == "DW_TAG_variable" and (place := _static_place(unit, die)):
                    yield place


def _static_place(unit: Unit, die: Any) -> _Place | None:
    expression = _expression(die, "DW_AT_location")
    size = _NUMBER_SIZES.get(expression[0], 0) if expression else 0
    if size and len(expression) > size:
        value, rest = int.from_bytes(expression[1 : 1 + size], "little"), expression[1 + size :]
        if expression[0] == _ADDR and not rest:
            return _Place(value, thread_local=False, unit=unit, die=die)
        if expression[0] != _ADDR and rest in {bytes([_TLS]), bytes([_GNU_TLS])}:
            return _Place(value, thread_local=True, unit=unit, die=die)
    elif expression[:1] == bytes([_ADDRX]):
        index, end = _leb128(expression, 1, signed=False)
        if end == len(expression):
            return _Place(unit.indexed_address(index), thread_local=False, unit=unit, die=die)
    return None


def _frame_base(function: Any, frame_pointer: int | None) -> int | None:
    """What fbreg counts from, in bytes from the CFA."""
    expression = _expression(function, "DW_AT_frame_base")
    if expression == bytes([_CALL_FRAME_CFA]):
        return 0
    return frame_pointer if expression == bytes([_REG6]) else None


def _frame_offset(die: Any, base: int, frame_pointer: int | None) -> int | None:
    """Where a local variable starts, in bytes from the CFA."""
    expression = _expression(die, "DW_AT_location")
    if not expression or expression[0] not in {_FBREG, _BREG6}:
        return None
    offset, end = _leb128(expression, 1, signed=True)
    origin = base if expression[0] == _FBREG else frame_pointer
    return None if origin is None or end != len(expression) else origin + offset


def _in_scope(unit: Unit, die: Any, pc: int, depth: int) -> Iterator[Any]:
    """The variables that exist at `pc`, those of the innermost block first."""
    if depth > _DEEPEST:
        return
    children = list(die.iter_children())
    for child in children:
        if child.tag in _SCOPES and unit.covers(child, pc):
            yield from _in_scope(unit, child, pc, depth + 1)
    yield from (child for child in children if child.tag in _VARIABLES)


def _covering(unit: Unit, die: Any, offset: int) -> Variable | None:
    """The variable, if the offset lies in it."""
    if offset < 0:
        return None
    whole = next((item for item in references(die) if "DW_AT_type" in item.attributes), None)
    type_ = None if whole is None else type_of_variable(whole)
    size = None if type_ is None else size_of(type_)
    name = next(filter(None, (text_of(item, "DW_AT_name") for item in references(die))), "")
    if not name or size is None or offset >= size:
        return None
    declared = next((item for item in references(die) if "DW_AT_decl_line" in item.attributes), die)
    file, line = unit.file(number_of(declared, "DW_AT_decl_file")), number_of(declared, "DW_AT_decl_line")
    return Variable(name, _function_of(die), file, line, part_at(type_, offset))


def _function_of(die: Any) -> str:
    for _ in range(_DEEPEST):
        die = die.get_parent()
        if die is None:
            return ""
        if die.tag == "DW_TAG_subprogram":
            return next(filter(None, (text_of(item, "DW_AT_name") for item in references(die))), "")
    return ""


def _expression(die: Any, name: str) -> bytes:
    attribute = die.attributes.get(name)
    if attribute is None or not isinstance(attribute.value, list | bytes):
        return b""
    return bytes(attribute.value)


def _leb128(data: bytes, at: int, *, signed: bool) -> tuple[int, int]:
    """The number at a place and the place behind it. Raises IndexError, one of DAMAGED, where it has no end."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            break
    if signed and byte & 0x40:
        value -= 1 << shift
    return value, at
