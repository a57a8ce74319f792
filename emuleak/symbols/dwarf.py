"""Line information by way of pyelftools: slower than symbolic, but it runs everywhere and reads all that is there.

A unit is read when the first address in it is asked for: its line table into sorted sequences, its functions into a
list of ranges. Inlined calls are then found by walking down from the one function around the address.
Sources: DWARF 5, sections 3.3 (subroutines), 6.2 (line tables); DWARF 4 where they differ.
"""

import io
import os.path
import struct
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct import ConstructError
from elftools.dwarf.ranges import BaseAddressEntry
from elftools.elf.elffile import ELFFile

from emuleak.symbols.aranges import AddressRanges
from emuleak.symbols.lines import SourceFrame
from emuleak.symbols.objectfile import ObjectFile

# pyelftools checks little: a damaged offset or form surfaces as whatever its Python happens to raise.
DAMAGED = (
    DWARFError, ELFError, ConstructError, AssertionError, AttributeError, LookupError, TypeError, ValueError,
    ArithmeticError, RecursionError, EOFError, struct.error, zlib.error, MemoryError, NotImplementedError,
)  # fmt: skip
# Abstract origins lead to specifications and no further; a damaged file may have a circle.
MAX_REFERENCES = 8
MAX_NESTING = 256

# The package's own objects are untyped here: Any stands for its CompileUnit, DIE, LineProgram and DWARFInfo.
Ranges = list[tuple[int, int]]


class LineSequence(NamedTuple):
    """A contiguous run of a line table: `rows` are (file index, line) that hold from `starts` on, up to `end`."""

    start: int
    end: int
    starts: list[int]
    rows: list[tuple[int, int]]


class Unit:
    """One compilation unit: its line table and the functions in it, both read on first use."""

    def __init__(self, info: Any, unit: Any) -> None:
        self._info = info
        self._unit = unit
        self._directory = text_of(unit.get_top_DIE(), "DW_AT_comp_dir") or ""
        self._program = info.line_program_for_CU(unit)
        self._sequences: list[LineSequence] | None = None
        self._functions: list[tuple[Ranges, Any]] | None = None

    def position(self, address: int) -> tuple[str | None, int | None]:
        """Give file and line of the instruction at `address`."""
        if self._sequences is None:
            self._sequences = sorted(_sequences(self._program), key=lambda item: item.start)
        for sequence in reversed(self._sequences[: bisect_right(self._sequences, address, key=lambda s: s.start)]):
            if address < sequence.end:
                file, line = sequence.rows[bisect_right(sequence.starts, address) - 1]
                return self.file(file), line or None
        return None, None

    def chain(self, address: int) -> list[Any]:
        """Give the DIEs of the function at `address` and of what is inlined there, outermost first."""
        if self._functions is None:
            self._functions = [
                (ranges, die)
                for die in self._unit.iter_DIEs()
                if die.tag == "DW_TAG_subprogram" and (ranges := self._ranges(die))
            ]
        around = [(size, die) for ranges, die in self._functions if (size := _covering(ranges, address))]
        if not around:
            return []
        found = [min(around, key=lambda item: item[0])[1]]
        self._descend(found[0], address, found, 0)
        return found

    def _descend(self, die: Any, address: int, found: list[Any], depth: int) -> bool:
        """Append the inlined calls around `address` below `die`; True if there were any."""
        if depth > MAX_NESTING:
            return False
        for child in die.iter_children():
            if child.tag not in {"DW_TAG_inlined_subroutine", "DW_TAG_lexical_block", "DW_TAG_try_block"}:
                continue
            ranges = self._ranges(child)
            if child.tag == "DW_TAG_inlined_subroutine":
                if _covering(ranges, address):
                    found.append(child)
                    self._descend(child, address, found, depth + 1)
                    return True
            elif (not ranges or _covering(ranges, address)) and self._descend(child, address, found, depth + 1):
                return True
        return False

    def frames(self, address: int) -> tuple[SourceFrame, ...]:
        """Give the functions at `address`, innermost first."""
        file, line = self.position(address)
        frames = []
        for die in reversed(self.chain(address)):
            frames.append(SourceFrame(self._name(die), file, line))
            # The caller of an inlined function stands where it was called from.
            file = self.file(number_of(die, "DW_AT_call_file"))
            line = number_of(die, "DW_AT_call_line") or None
        if not frames and file is not None:
            frames.append(SourceFrame("", file, line))
        return tuple(frames)

    def ranges(self) -> Ranges:
        """Give the addresses that the unit says it covers."""
        return self._ranges(self._unit.get_top_DIE())

    def _ranges(self, die: Any) -> Ranges:
        low = number_of(die, "DW_AT_low_pc")
        high = die.attributes.get("DW_AT_high_pc")
        if high is not None and low is not None:
            end = high.value if high.form == "DW_FORM_addr" or "addrx" in high.form else low + high.value
            # Code that the linker dropped starts at 0.
            return [(low, end)] if low else []
        if "DW_AT_ranges" not in die.attributes:
            return []
        base = number_of(self._unit.get_top_DIE(), "DW_AT_low_pc") or 0
        found = []
        lists = self._info.range_lists()
        for entry in lists.get_range_list_at_offset(die.attributes["DW_AT_ranges"].value, self._unit):
            if isinstance(entry, BaseAddressEntry):
                base = entry.base_address
            else:
                shift = 0 if entry.is_absolute else base
                found.append((entry.begin_offset + shift, entry.end_offset + shift))
        return [(start, end) for start, end in found if start]

    def _name(self, die: Any) -> str:
        plain = ""
        for item in references(die):
            linkage = text_of(item, "DW_AT_linkage_name") or text_of(item, "DW_AT_MIPS_linkage_name")
            if linkage:
                return linkage
            plain = plain or text_of(item, "DW_AT_name") or ""
        return plain

    @property
    def size(self) -> int:
        """Bytes of its part of .debug_info."""
        return int(self._unit.size)

    def dies(self) -> Iterator[Any]:
        """All of its DIEs."""
        return iter(self._unit.iter_DIEs())

    def indexed_address(self, index: int) -> int:
        """An entry of the unit's part of .debug_addr (DW_OP_addrx)."""
        return int(self._info.get_addr(self._unit, index))

    def covers(self, die: Any, address: int) -> bool:
        """Whether a DIE has code around the address, or does not say where its code is."""
        ranges = self._ranges(die)
        return not ranges or bool(_covering(ranges, address))

    def file(self, index: int | None) -> str | None:
        """A file of the line table, by the number that attributes give."""
        if index is None or self._program is None:
            return None
        header = self._program.header
        entries = header["file_entry"]
        first = 0 if header["version"] >= 5 else 1
        if not first <= index < len(entries) + first:
            return None
        entry = entries[index - first]
        directories = header["include_directory"]
        place = ""
        if first <= entry.dir_index < len(directories) + first:
            place = _decode(directories[entry.dir_index - first])
        return os.path.normpath(os.path.join(self._directory, place, _decode(entry.name)))


class DwarfLines:
    """The line reader over pyelftools. A file it cannot open has no lines. `size`: bytes of .debug_info in the file."""

    def __init__(self, file: ObjectFile) -> None:
        section = file.section(".debug_info")
        self.size = 0 if section is None else section.size
        self._ranges = AddressRanges(file)
        self._units: dict[int, Unit] = {}
        self._all_ranges: list[tuple[int, int, int]] | None = None
        self._info: Any = None
        try:
            self._info = ELFFile(io.BytesIO(file.image)).get_dwarf_info(
                relocate_dwarf_sections=False, follow_links=False
            )
        except DAMAGED:
            self._info = None

    def frames(self, address: int) -> tuple[SourceFrame, ...]:
        """Give the functions at `address`, innermost first; empty if unknown."""
        try:
            unit = self.unit_at(address)
            return () if unit is None else unit.frames(address)
        except DAMAGED:
            return ()

    def unit_at(self, address: int) -> Unit | None:
        """The unit whose code is around the address. May raise one of DAMAGED."""
        if self._info is None:
            return None
        offset = self._ranges.unit(address)
        if offset is not None:
            return self._unit(offset, self._info.get_CU_at(offset))
        if self._all_ranges is None:
            self._all_ranges = sorted(self._read_all_ranges())
        at = bisect_right(self._all_ranges, address, key=lambda item: item[0])
        for _, end, unit in reversed(self._all_ranges[max(0, at - 64) : at]):
            if address < end:
                return self._units[unit]
        return None

    def units(self) -> Iterator[Unit]:
        """All units. May raise one of DAMAGED."""
        if self._info is not None:
            for cu in self._info.iter_CUs():
                yield self._unit(cu.cu_offset, cu)

    def _read_all_ranges(self) -> Iterator[tuple[int, int, int]]:
        """Ask every unit where its code is, for compilers that leave .debug_aranges out."""
        try:
            for cu in self._info.iter_CUs():
                unit = self._unit(cu.cu_offset, cu)
                yield from ((start, end, cu.cu_offset) for start, end in unit.ranges())
        except DAMAGED:
            # The units before the damaged one are still good.
            return

    def _unit(self, offset: int, cu: Any) -> Unit:
        known = self._units.get(offset)
        if known is None:
            known = self._units[offset] = Unit(self._info, cu)
        return known


def _sequences(program: Any) -> Iterator[LineSequence]:
    """Split a line program's rows at each end_sequence."""
    starts: list[int] = []
    rows: list[tuple[int, int]] = []
    for entry in program.get_entries() if program is not None else ():
        state = entry.state
        if state is None:
            continue
        if not state.end_sequence:
            starts.append(state.address)
            rows.append((state.file, state.line))
            continue
        if starts and starts[0]:
            yield LineSequence(starts[0], state.address, starts, rows)
        starts, rows = [], []


def _covering(ranges: Ranges, address: int) -> int:
    """Give the size of the range around the address; 0 if there is none."""
    return next((end - start for start, end in ranges if start <= address < end), 0)


def references(die: Any) -> Iterator[Any]:
    """The DIE, and those that say the rest of it: its abstract origin, its declaration."""
    for _ in range(MAX_REFERENCES):
        yield die
        for name in ("DW_AT_abstract_origin", "DW_AT_specification"):
            if name in die.attributes:
                die = die.get_DIE_from_attribute(name)
                break
        else:
            return


def number_of(die: Any, name: str) -> int | None:
    """The value of a number's attribute."""
    attribute = die.attributes.get(name)
    return attribute.value if attribute is not None and isinstance(attribute.value, int) else None


def text_of(die: Any, name: str) -> str | None:
    """The value of a string's attribute."""
    attribute = die.attributes.get(name)
    return _decode(attribute.value) if attribute is not None and isinstance(attribute.value, bytes) else None


def _decode(name: bytes) -> str:
    return name.decode("utf-8", "replace")
