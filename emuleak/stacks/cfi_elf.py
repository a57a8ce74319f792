"""What the reader of call-frame information must know of an ELF file: its segments, and sections by name.

Sources: System V gABI, chapters "Object Files" and "Program Loading"; Linux Standard Base Core 5.0 section 10.6.2
(`PT_GNU_EH_FRAME`).
"""

import struct
import zlib
from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

from emuleak.stacks.cfi_bytes import BadCallFrameInfo

Bytes = bytes | bytearray | memoryview | mmap
"""The whole of a file."""

_IDENT = b"\x7fELF\x02\x01"  # ELFCLASS64, ELFDATA2LSB
_HEADER = struct.Struct("<6s10xHHIQQQIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_SECTION_HEADER = struct.Struct("<IIQQQQIIQQ")
_COMPRESSION_HEADER = struct.Struct("<IIQQ")

_PT_LOAD = 1
_PT_GNU_EH_FRAME = 0x6474E550
_SHT_NOBITS = 8
_SHF_COMPRESSED = 0x800
_SHN_XINDEX = 0xFFFF
_ELFCOMPRESS_ZLIB = 1

# zlib packs a thousand to one: without a limit a small file could ask for any amount of memory.
_LARGEST_UNPACKED = 1 << 28


class Stretch(NamedTuple):
    """Bytes of the file and the link-time address of the first of them."""

    data: memoryview
    address: int

    def holds(self, address: int) -> bool:
        """Whether the byte at the address is among them."""
        return 0 <= address - self.address < len(self.data)


class _SectionHeader(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class ElfFile:
    """A 64-bit ELF file. The program headers are read at once, the section headers when a section is asked for.

    Raises BadCallFrameInfo when the file is no 64-bit little-endian ELF file. What its headers say of bytes that the
    file does not have is left out.
    """

    def __init__(self, data: Bytes) -> None:
        view = memoryview(data)
        if view.nbytes < _HEADER.size or bytes(view[:6]) != _IDENT:
            raise BadCallFrameInfo("the file is not a 64-bit little-endian ELF file")
        self._data = view.cast("B")
        header = _HEADER.unpack_from(self._data)
        self._section_headers_at: int = header[6]
        self._names_index: int = header[13]
        self._section_count = self._count_sections(header[12])
        self.segments: list[Stretch] = []
        self.eh_frame_header: Stretch | None = None
        self._read_segments(at=header[5], count=header[10])

    def _read_segments(self, at: int, count: int) -> None:
        table = self._data[at : at + count * _PROGRAM_HEADER.size]
        for header in _PROGRAM_HEADER.iter_unpack(table[: len(table) // _PROGRAM_HEADER.size * _PROGRAM_HEADER.size]):
            kind, _, offset, address, _, size, _, _ = header
            if kind == _PT_LOAD:
                self.segments.append(Stretch(self._data[offset : offset + size], address))
            elif kind == _PT_GNU_EH_FRAME:
                self.eh_frame_header = Stretch(self._data[offset : offset + size], address)

    def segment_at(self, address: int) -> Stretch | None:
        """The loaded segment whose part in the file holds a link-time address."""
        return next((segment for segment in self.segments if segment.holds(address)), None)

    def sections(self, name: bytes) -> Iterator[Stretch]:
        """The sections of this name that have bytes in the file, unpacked.

        Raises BadCallFrameInfo when one is compressed by anything but zlib, or badly.
        """
        names = self._names()
        for index in range(self._section_count):
            header = self._section_header(index)
            if header.type != _SHT_NOBITS and bytes(names[header.name : header.name + len(name) + 1]) == name + b"\0":
                data = self._data[header.offset : header.offset + header.size]
                yield Stretch(_unpack(data) if header.flags & _SHF_COMPRESSED else data, header.address)

    def _section_header(self, index: int) -> _SectionHeader:
        fields = _SECTION_HEADER.unpack_from(self._data, self._section_headers_at + index * _SECTION_HEADER.size)
        return _SectionHeader(*fields)

    def _count_sections(self, count: int) -> int:
        """The number of sections, given what the file's header says, as far as their headers are in the file."""
        room = max(0, len(self._data) - self._section_headers_at) // _SECTION_HEADER.size
        if not self._section_headers_at or not room:
            return 0
        # A file of more than 65,279 sections keeps their number in the first, otherwise empty, section header.
        return min(count or self._section_header(0).size, room)

    def _names(self) -> memoryview:
        index = self._names_index
        if index == _SHN_XINDEX and self._section_count:
            index = self._section_header(0).link
        if index >= self._section_count:
            return self._data[:0]
        header = self._section_header(index)
        return self._data[header.offset : header.offset + header.size]


def _unpack(data: memoryview) -> memoryview:
    if len(data) < _COMPRESSION_HEADER.size:
        raise BadCallFrameInfo("a compressed section has no header")
    kind, _, size, _ = _COMPRESSION_HEADER.unpack_from(data)
    if kind != _ELFCOMPRESS_ZLIB:
        raise BadCallFrameInfo(f"call-frame information is compressed by method {kind}; only zlib, 1, is supported")
    if size > _LARGEST_UNPACKED:
        raise BadCallFrameInfo(f"call-frame information would unpack to {size} bytes")
    try:
        # A limit of zero would mean none.
        unpacked = zlib.decompressobj().decompress(data[_COMPRESSION_HEADER.size :], size or 1)
    except zlib.error as error:
        raise BadCallFrameInfo(f"call-frame information cannot be unpacked: {error}") from error
    return memoryview(unpacked)
