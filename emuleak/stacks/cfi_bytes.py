"""The primitive values call-frame information is written in: integers, LEB128 numbers and encoded pointers.

Sources: DWARF 5 section 7.6 (LEB128); Linux Standard Base Core 5.0 section 10.5 (pointer encodings, `DW_EH_PE_*`).
"""

from emuleak.errors import EmuleakError

WORD_MASK = (1 << 64) - 1

OMITTED = 0xFF
"""`DW_EH_PE_omit`: no value is there."""

ABSOLUTE = 0x00
UNSIGNED_4 = 0x03
PC_RELATIVE = 0x10
DATA_RELATIVE = 0x30
ALIGNED = 0x50

# Low four bits of a pointer encoding -> size in bytes, signed. DW_EH_PE_uleb128 (1) and _sleb128 (9) have no size.
_FIXED = {
    0x00: (8, False),
    0x02: (2, False),
    0x03: (4, False),
    0x04: (8, False),
    0x0A: (2, True),
    0x0B: (4, True),
    0x0C: (8, True),
}

# A linker may pad a LEB128 number with empty groups, but one that goes on for longer than a 64-bit value takes is
# corrupt; without an end, a long run of 0x80 would build an integer of millions of bits.
_LONGEST_SHIFT = 70


class BadCallFrameInfo(EmuleakError):
    """The call-frame information of a file is corrupt, or of a kind that is not read here."""

    slug = "bad-call-frame-info"


class Reader:
    """A position that moves forward in `data`, whose first byte has the link-time address `address`.

    Every method raises BadCallFrameInfo when the data end before the value does.
    """

    __slots__ = ("address", "at", "data")

    def __init__(self, data: bytes, address: int = 0, at: int = 0) -> None:
        self.data = data
        self.address = address
        self.at = at

    def take(self, size: int) -> bytes:
        """The next `size` bytes."""
        start = self.at
        end = start + size
        if end > len(self.data):
            raise BadCallFrameInfo(f"the call-frame information ends within a value of {size} bytes")
        self.at = end
        return self.data[start:end]

    def unsigned(self, size: int) -> int:
        """An unsigned little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little")

    def signed(self, size: int) -> int:
        """A two's-complement little-endian integer of `size` bytes."""
        return int.from_bytes(self.take(size), "little", signed=True)

    def uleb(self) -> int:
        """An unsigned LEB128 number."""
        # Nearly all have a single byte, and a lookup reads some ten of them.
        data, at = self.data, self.at
        if at < len(data) and data[at] < 0x80:
            self.at = at + 1
            return data[at]
        value, _ = self._leb()
        return value

    def sleb(self) -> int:
        """A signed LEB128 number."""
        value, bits = self._leb()
        return value - (1 << bits) if value >> (bits - 1) else value

    def _leb(self) -> tuple[int, int]:
        data = self.data
        at = self.at
        value = shift = 0
        try:
            while shift < _LONGEST_SHIFT:
                byte = data[at]
                at += 1
                value |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    self.at = at
                    return value, shift
        except IndexError:
            raise BadCallFrameInfo("the call-frame information ends within a LEB128 number") from None
        raise BadCallFrameInfo("a LEB128 number in the call-frame information is longer than 64 bits")

    def text(self) -> bytes:
        """The bytes up to a NUL, which is skipped."""
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise BadCallFrameInfo("a string in the call-frame information has no end")
        return self.take(end + 1 - self.at)[:-1]

    def encoded(self, encoding: int) -> int:
        """A number in the format of a pointer encoding's low four bits, related to no base."""
        fixed = _FIXED.get(encoding & 0x0F)
        if fixed is not None:
            size, signed = fixed
            return self.signed(size) if signed else self.unsigned(size)
        if encoding & 0x0F == 0x01:
            return self.uleb()
        if encoding & 0x0F == 0x09:
            return self.sleb()
        raise BadCallFrameInfo(f"pointer encoding {encoding:#x} is not known")

    def pointer(self, encoding: int, data_base: int | None = None) -> int:
        """An encoded pointer, as a link-time address.

        `data_base` is what DW_EH_PE_datarel counts from. Pointers that must be loaded from relocated memory
        (DW_EH_PE_indirect) and those relative to text or function are refused: no x86-64 tool writes a pc so.
        """
        position = self.address + self.at
        value = self.encoded(encoding)
        base = encoding & 0xF0
        if base == PC_RELATIVE:
            return (position + value) & WORD_MASK
        if base == ABSOLUTE:
            return value & WORD_MASK
        if base == DATA_RELATIVE and data_base is not None:
            return (data_base + value) & WORD_MASK
        raise BadCallFrameInfo(f"pointer encoding {encoding:#x} is not supported")

    def skip_pointer(self, encoding: int) -> None:
        """Step over an encoded pointer whose value is not wanted."""
        if encoding == OMITTED:
            return
        if encoding & 0x70 == ALIGNED:
            self.take(-(self.address + self.at) & 7)
        self.encoded(encoding)
