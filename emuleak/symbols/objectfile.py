"""An ELF file's sections, build-id and debug link, with nothing but `struct`.

Only what looking up an address needs, and made to survive damaged files: whatever cannot be read is absent.
Sources: System V gABI chapters 4 and 5; GDB manual, "Separate Debug Files".
"""

import io
import struct
import zlib
from typing import BinaryIO, NamedTuple

SHT_SYMTAB, SHT_NOTE, SHT_NOBITS, SHT_DYNSYM = 2, 7, 8, 11
PT_LOAD, PT_TLS = 1, 7
SHF_EXECINSTR, SHF_COMPRESSED = 4, 0x800
ELFCOMPRESS_ZLIB = 1
NT_GNU_BUILD_ID = 3
PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
SECTION = struct.Struct("<IIQQQQIIQQ")
# No section of a real program decompresses to more; a hostile one would fill the memory.
MAX_SECTION = 1 << 30


class Section(NamedTuple):
    """One entry of the section table; `name` resolved, sizes and offsets in bytes of the file."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


class ObjectFile:
    """A 64-bit little-endian ELF file. An unreadable file has no sections.

    It is read piece by piece and never mapped: a build that truncates a mapped file would end this process with SIGBUS.
    """

    def __init__(self, source: BinaryIO, path: str = "") -> None:
        self.path = path
        self._source = source
        self.size = source.seek(0, io.SEEK_END)
        self._header = self.read(0, 64)
        self.sections: tuple[Section, ...] = ()
        if len(self._header) == 64 and self._header[:6] == b"\x7fELF\x02\x01":
            self.sections = self._read_sections()
        self._by_name = {section.name: section for section in reversed(self.sections)}

    @classmethod
    def open(cls, path: str) -> "ObjectFile":
        """Open the file at `path`. One that cannot be opened reads as empty: its addresses are just unknown."""
        try:
            return cls(open(path, "rb", buffering=0), path)
        except OSError:
            return cls(io.BytesIO(), path)

    def close(self) -> None:
        """Close the file; what was read of it stays."""
        self._source.close()

    def read(self, offset: int, size: int) -> bytes:
        """Give `size` bytes from `offset`, fewer where the file ends."""
        if not 0 <= offset < self.size:
            return b""
        try:
            self._source.seek(offset)
            return self._source.read(min(size, self.size - offset))
        except OSError:
            return b""

    @property
    def image(self) -> bytes:
        """The whole file."""
        return self.read(0, self.size)

    def _read_sections(self) -> tuple[Section, ...]:
        offset, size, count, names_index = self._table_place()
        table = self.read(offset, size * count)
        if size != SECTION.size or len(table) != size * count:
            return ()
        rows = list(SECTION.iter_unpack(table))
        names = self.read(rows[names_index][4], rows[names_index][5]) if names_index < len(rows) else b""
        return tuple(
            Section(c_string(names, row[0]), row[1], row[2], row[3], row[4], row[5], row[6])
            for row in rows
        )  # fmt: skip

    def _table_place(self) -> tuple[int, int, int, int]:
        (offset,) = struct.unpack_from("<Q", self._header, 0x28)
        size, count, names_index = struct.unpack_from("<HHH", self._header, 0x3A)
        return offset, size, count, names_index

    @property
    def table_offset(self) -> int:
        """Where the section table stands in the file, in bytes."""
        return self._table_place()[0]

    @property
    def load_address(self) -> int:
        """The address of the first loadable segment: 0 for position-independent files."""
        first = next((header for header in self._program_headers() if header[0] == PT_LOAD), None)
        return 0 if first is None or not self.sections else first[3]

    @property
    def thread_local_size(self) -> int:
        """Bytes of the PT_TLS segment, rounded up to its alignment; 0 without one, and where it is not aligned."""
        for kind, _, _, address, _, _, size, alignment in self._program_headers():
            if kind == PT_TLS and alignment and address % alignment == 0:
                return -(-size // alignment) * alignment
        return 0

    def _program_headers(self) -> list[tuple[int, ...]]:
        if len(self._header) < 64:
            return []
        (offset,) = struct.unpack_from("<Q", self._header, 0x20)
        size, count = struct.unpack_from("<HH", self._header, 0x36)
        if size != PROGRAM_HEADER.size:
            return []
        table = self.read(offset, size * count)
        return list(PROGRAM_HEADER.iter_unpack(table[: len(table) // size * size]))

    def section(self, name: str) -> Section | None:
        """Give the section of that name that has contents in this file; of `.debug_x` also one called `.zdebug_x`."""
        section = self._by_name.get(name) or self._by_name.get(name.replace(".debug_", ".zdebug_"))
        return None if section is None or section.type == SHT_NOBITS else section

    def contents(self, name: str) -> bytes:
        """Give a section's bytes, decompressed; empty if absent or damaged."""
        section = self.section(name)
        return b"" if section is None else self.section_bytes(section)

    def section_bytes(self, section: Section) -> bytes:
        """Give the bytes of a section, decompressed if it is marked SHF_COMPRESSED (zlib), or was by older tools."""
        raw = self.read(section.offset, section.size)
        if section.name.startswith(".zdebug_") and raw.startswith(b"ZLIB"):
            # binutils before 2.26: the size in front is big-endian.
            raw = struct.pack("<IIQ", ELFCOMPRESS_ZLIB, 0, int.from_bytes(raw[4:12], "big")) + raw[12:]
        elif not section.flags & SHF_COMPRESSED:
            return raw
        if len(raw) < 24:
            return b""
        kind, _, size = struct.unpack_from("<IIQ", raw)
        if kind != ELFCOMPRESS_ZLIB or size > MAX_SECTION:
            return b""
        try:
            return zlib.decompressobj().decompress(raw[24:], max(size, 1))
        except zlib.error:
            return b""

    @property
    def has_debug_info(self) -> bool:
        """Say whether the file itself carries DWARF."""
        return self.section(".debug_info") is not None

    @property
    def build_id(self) -> bytes:
        """The linker's fingerprint of the program; empty without one."""
        for section in self.sections:
            if section.type == SHT_NOTE:
                found = _build_id(self.section_bytes(section))
                if found:
                    return found
        return b""

    @property
    def debug_link(self) -> tuple[str, int] | None:
        """File name and CRC32 of the separate debug file, from .gnu_debuglink."""
        raw = self.contents(".gnu_debuglink")
        name = c_string(raw, 0)
        place = (len(name.encode("utf-8", "surrogateescape")) + 4) & ~3
        # Only a bare name is allowed, so the file cannot point to just anywhere.
        if not name or "/" in name or place + 4 > len(raw):
            return None
        return name, struct.unpack_from("<I", raw, place)[0]

    def mini_debug_data(self) -> "ObjectFile | None":
        """The compressed symbol table that Fedora's stripped programs carry in .gnu_debugdata."""
        raw = self.contents(".gnu_debugdata")
        if not raw:
            return None
        import lzma  # noqa: PLC0415 - few programs have the section

        try:
            plain = lzma.LZMADecompressor(memlimit=1 << 28).decompress(raw, MAX_SECTION)
        except lzma.LZMAError:
            return None
        return ObjectFile(io.BytesIO(plain), self.path)


def c_string(data: bytes, offset: int) -> str:
    """Read a NUL-terminated name; undecodable bytes survive as surrogates."""
    end = data.find(b"\0", offset)
    return data[offset : end if end >= 0 else len(data)].decode("utf-8", "surrogateescape")


def _build_id(notes: bytes) -> bytes:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        start = at + 12 + ((name_size + 3) & ~3)
        if kind == NT_GNU_BUILD_ID and notes[at + 12 : at + 16] == b"GNU\0":
            return notes[start : start + size]
        at = start + ((size + 3) & ~3)
    return b""
