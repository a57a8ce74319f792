"""What of a value lies at an offset in it, by the types of the debug information: `.slots[2].next`, `[3]`.

Sources: DWARF 5, sections 5.3 (modifiers and pointers), 5.5 (arrays), 5.7 (structures, unions, members).
"""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from emuleak.symbols.dwarf import number_of, text_of

_MODIFIERS = frozenset({
    *("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type", "DW_TAG_atomic_type"),
})  # fmt: skip
_POINTERS = frozenset({"DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type"})
_RECORDS = frozenset({"DW_TAG_structure_type", "DW_TAG_class_type"})
_DEEPEST = 32  # of types in types; a damaged file may have a circle
_POINTER_SIZE = 8


class Part(NamedTuple):
    """A part of a value: `path` leads to it from the whole's name; `pointee` is the type it points to, None if none.

    Types are pyelftools' DIEs, which only this room looks into.
    """

    path: str
    pointee: Any


def size_of(die: Any) -> int | None:
    """Bytes of a value of the type, None where the debug information does not say."""
    count = 1
    for _ in range(_DEEPEST):
        if die is None:
            return None
        if die.tag == "DW_TAG_array_type":
            count *= math.prod(_dimensions(die))
            die = _type_of(die)
        elif die.tag in _MODIFIERS:
            die = _type_of(die)
        else:
            size = number_of(die, "DW_AT_byte_size")
            size = _POINTER_SIZE if size is None and die.tag in _POINTERS else size
            return None if size is None else size * count
    return None


def type_of_variable(die: Any) -> Any:
    """The type of a variable's or member's DIE, without typedefs and qualifiers; None for none."""
    return _plain(_type_of(die))


def part_at(die: Any, offset: int) -> Part:
    """What lies `offset` bytes into a value of the type. Where a union leaves open what it is, the path ends."""
    path = ""
    for _ in range(_DEEPEST):
        die = _plain(die)
        if die is None:
            break
        if die.tag in _POINTERS:
            return Part(path, _plain(_type_of(die)) if offset == 0 else None)
        step = _into(die, offset)
        if step is None:
            break
        name, die, offset = step
        path += name
    return Part(path, None)


def part_of_block(die: Any, block_size: int, offset: int) -> Part:
    """What lies `offset` bytes into a heap block whose start a pointer to the type points to: one value, or many."""
    size = size_of(die)
    if not size or size > block_size:
        return Part("", None)
    index = ""
    if block_size % size == 0 and block_size > size:
        index, offset = f"[{offset // size}]", offset % size
    elif offset >= size:
        return Part("", None)  # behind a structure that ends in an array of no stated length
    part = part_at(die, offset)
    return Part(index + part.path, part.pointee)


def _into(die: Any, offset: int) -> tuple[str, Any, int] | None:
    """One step down: what is added to the path, the type there, the offset in it."""
    if die.tag == "DW_TAG_array_type":
        return _element(die, offset)
    return _member(die, offset) if die.tag in _RECORDS else None


def _element(die: Any, offset: int) -> tuple[str, Any, int] | None:
    element = _type_of(die)
    size = size_of(element)
    if not size:
        return None
    number, offset = divmod(offset, size)
    path = ""
    for length in reversed(_dimensions(die)):
        number, index = divmod(number, length) if length else (0, number)
        path = f"[{index}]{path}"
    return path, element, offset


def _member(die: Any, offset: int) -> tuple[str, Any, int] | None:
    for child in die.iter_children():
        if child.tag not in {"DW_TAG_member", "DW_TAG_inheritance"}:
            continue
        start, size = number_of(child, "DW_AT_data_member_location"), size_of(_type_of(child))
        if start is not None and size and start <= offset < start + size:
            name = text_of(child, "DW_AT_name") if child.tag == "DW_TAG_member" else None
            return f".{name}" if name else "", _type_of(child), offset - start
    return None


def _dimensions(die: Any) -> list[int]:
    return [_length(child) for child in die.iter_children() if child.tag == "DW_TAG_subrange_type"]


def _length(die: Any) -> int:
    count, upper = number_of(die, "DW_AT_count"), number_of(die, "DW_AT_upper_bound")
    return count if count is not None else 0 if upper is None else upper + 1


def _type_of(die: Any) -> Any:
    return die.get_DIE_from_attribute("DW_AT_type") if "DW_AT_type" in die.attributes else None


def _plain(die: Any) -> Any:
    for step in _modified(die):
        die = step
    return die


def _modified(die: Any) -> Iterator[Any]:
    for _ in range(_DEEPEST):
        if die is None or die.tag not in _MODIFIERS:
            return
        die = _type_of(die)
        yield die
