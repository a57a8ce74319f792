"""The entries of `.eh_frame` and `.debug_frame`: common information entries (CIE) and frame description entries (FDE).

An FDE describes one range of addresses, most often a function; what FDEs have in common stands in the CIE they point
to. The two sections differ in little: how an entry says that it is a CIE, what an FDE's pointer to its CIE counts from,
and the augmentation, which in `.eh_frame` tells how pointers are encoded.

Sources: DWARF 5 section 6.4.1; Linux Standard Base Core 5.0 section 10.6.
"""

from collections.abc import Iterator
from typing import NamedTuple

from emuleak.stacks.cfi_bytes import ABSOLUTE, UNSIGNED_4, BadCallFrameInfo, Reader
from emuleak.stacks.cfi_program import Factors, Interpreter
from emuleak.stacks.cfi_rule import Row, Rule

# The largest FDE of libLLVM takes 2,388 bytes, a CIE some 30. A corrupt length would otherwise have the rest of the
# file read as instructions, and many FDEs could each name a CIE of that size.
_LARGEST_FDE = 1 << 20
_LARGEST_CIE = 1 << 12

# `.debug_frame` has a CIE for every compilation unit.
_MOST_CIES_KEPT = 1024

_EXTENDED_LENGTH = 0xFFFFFFFF
_CIE_IN_EH_FRAME = 0
_CIE_IN_DEBUG_FRAME = {4: 0xFFFFFFFF, 8: 0xFFFFFFFFFFFFFFFF}
_VERSIONS = (1, 3, 4)


class Cie:
    """What a number of FDEs have in common."""

    __slots__ = ("_initial", "_program", "augmented", "factors", "return_column", "selector_size", "signal_frame")

    def __init__(self, entry: Reader) -> None:
        """Read the body of an entry, from behind its identifier."""
        version = entry.unsigned(1)
        if version not in _VERSIONS:
            raise BadCallFrameInfo(f"version {version} of call-frame information is not known")
        augmentation = entry.text()
        pointer_encoding = ABSOLUTE
        self.selector_size = 0
        if version >= 4:
            pointer_encoding = _address_encoding(entry.unsigned(1))
            self.selector_size = entry.unsigned(1)
        if augmentation.startswith(b"eh"):
            entry.take(8)  # gcc 2's pointer to exception data
        code, data = entry.uleb(), entry.sleb()
        self.return_column = entry.unsigned(1) if version == 1 else entry.uleb()
        self.augmented = augmentation.startswith(b"z")
        self.signal_frame = self.augmented and b"S" in augmentation
        if self.augmented:
            pointer_encoding = _augmentation(entry, augmentation, pointer_encoding)
        elif augmentation not in {b"", b"eh"}:
            raise BadCallFrameInfo(f"augmentation {augmentation!r} of call-frame information is not known")
        self.factors = Factors(code, data, pointer_encoding)
        self._program = entry
        self._initial: Row | None = None

    @property
    def initial(self) -> Row:
        """The row that every table of this CIE begins with. Raises BadCallFrameInfo."""
        if self._initial is None:
            entry = self._program
            interpreter = Interpreter(entry.data, entry.address, entry.at, self.factors, Row())
            interpreter.run(0, (1 << 64) - 1)
            self._initial = interpreter.row
        return self._initial


def _address_encoding(size: int) -> int:
    if size not in {4, 8}:
        raise BadCallFrameInfo(f"call-frame information with addresses of {size} bytes is not known")
    return ABSOLUTE if size == 8 else UNSIGNED_4


def _augmentation(entry: Reader, letters: bytes, pointer_encoding: int) -> int:
    """Read the augmentation data and return the encoding of an FDE's addresses.

    A letter that is not known ends the reading: the data that belong to it cannot be told from those that follow.
    """
    size = entry.uleb()
    end = entry.at + size
    for letter in letters[1:].decode("latin-1"):
        if letter == "R":
            pointer_encoding = entry.unsigned(1)
        elif letter == "P":
            entry.skip_pointer(entry.unsigned(1))
        elif letter == "L":
            entry.unsigned(1)
        elif letter not in "SB":
            break
    if not entry.at <= end <= len(entry.data):
        raise BadCallFrameInfo("the augmentation of a call-frame entry has a wrong length")
    entry.at = end
    return pointer_encoding


class Fde(NamedTuple):
    """The description of the frames of the program from `begin` up to, not including, `end`, link-time addresses."""

    begin: int
    end: int
    cie: Cie
    program: Reader

    def rule(self, address: int) -> Rule:
        """The rule at an address in the range. Raises BadCallFrameInfo when the instructions are corrupt."""
        cie, program = self.cie, self.program
        interpreter = Interpreter(program.data, program.address, program.at, cie.factors, cie.initial)
        interpreter.run(self.begin, address)
        return interpreter.row.rule(cie.return_column, cie.signal_frame)


class FrameTable:
    """A stretch of the file that holds entries: a section, or the segment that the section is part of.

    `data` are the bytes, `address` the link-time address of the first of them, `debug` whether they are in the form of
    `.debug_frame`. Entries are named by their offset in `data`.
    """

    def __init__(self, data: memoryview, address: int, debug: bool = False) -> None:
        self.data = data
        self.address = address
        self._debug = debug
        self._cies: dict[int, Cie] = {}

    def entries(self, start: int = 0, until_terminator: bool = False) -> Iterator[int]:
        """The offsets of the entries from `start` on, until the end or, if asked for, the first empty entry.

        An empty entry ends the table for the run-time unwinder. Yet sections joined by `ld -r` have them in between,
        so that they are passed over where the end of the section is known.
        """
        at = start
        while at + 4 <= len(self.data):
            body, end = self._extent(at)
            if end > len(self.data):
                return
            if end > body:
                yield at
            elif until_terminator:
                return
            at = end

    def is_fde(self, offset: int) -> bool:
        """Whether the entry is an FDE and not a CIE. Raises BadCallFrameInfo."""
        body, end = self._extent(offset)
        size = self._identifier_size(body - offset)
        return int.from_bytes(self.data[body : min(body + size, end)], "little") != self._cie_identifier(size)

    def fde(self, offset: int) -> Fde:
        """The FDE at this offset. Raises BadCallFrameInfo."""
        entry, pointer, base = self._entry(offset, _LARGEST_FDE)
        cie = self._cie(pointer if self._debug else base - pointer)
        if cie.selector_size:
            entry.take(cie.selector_size)
        encoding = cie.factors.pointer_encoding
        begin = entry.pointer(encoding)
        end = begin + entry.encoded(encoding)
        if cie.augmented:
            entry.take(entry.uleb())
        return Fde(begin, end, cie, entry)

    def _cie(self, offset: int) -> Cie:
        cie = self._cies.get(offset)
        if cie is None:
            entry, identifier, base = self._entry(offset, _LARGEST_CIE)
            if identifier != self._cie_identifier(self._identifier_size(base - offset)):
                raise BadCallFrameInfo("an FDE names as its CIE an entry that is none")
            cie = Cie(entry)
            if len(self._cies) >= _MOST_CIES_KEPT:
                self._cies.clear()
            self._cies[offset] = cie
        return cie

    def _extent(self, offset: int) -> tuple[int, int]:
        """Where the entry's body, which begins with its identifier, starts and ends."""
        data = self.data
        if not 0 <= offset <= len(data) - 4:
            raise BadCallFrameInfo("a pointer in the call-frame information leads out of it")
        length = int.from_bytes(data[offset : offset + 4], "little")
        if length != _EXTENDED_LENGTH:
            return offset + 4, offset + 4 + length
        return offset + 12, offset + 12 + int.from_bytes(data[offset + 4 : offset + 12], "little")

    def _identifier_size(self, length_size: int) -> int:
        # With the 64-bit length the identifier has eight bytes in .debug_frame, but still four in .eh_frame.
        return 8 if self._debug and length_size == 12 else 4

    def _cie_identifier(self, size: int) -> int:
        return _CIE_IN_DEBUG_FRAME[size] if self._debug else _CIE_IN_EH_FRAME

    def _entry(self, offset: int, largest: int) -> tuple[Reader, int, int]:
        """A reader of the entry's body behind its identifier, the identifier, and the offset of the identifier."""
        body, end = self._extent(offset)
        if end > len(self.data) or end - body > largest:
            raise BadCallFrameInfo("an entry of the call-frame information is longer than it can be")
        entry = Reader(bytes(self.data[body:end]), self.address + body)
        return entry, entry.unsigned(self._identifier_size(body - offset)), body
