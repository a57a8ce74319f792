"""Line information by way of `symbolic`: it indexes a whole program in a few milliseconds.

Three things to know about it:

- Its addresses count from the file's first loadable segment, not from 0.
- It lets the symbol table overrule DWARF, so cold parts appear as `foo.cold`, and at times a neighbour's name is given
  to a function. The symbol tables are hidden from it; names come from DWARF alone, and the caller has its own.
- `Archive.from_bytes` borrows the buffer. It must outlive the archive, or names turn into other people's memory.
"""

import struct

from symbolic.debuginfo import Archive
from symbolic.exceptions import SymbolicError
from symbolic.symcache import SYMCACHE_LATEST_VERSION, SymCache

from emuleak.symbols import cache
from emuleak.symbols.lines import SourceFrame
from emuleak.symbols.objectfile import SECTION, SHT_DYNSYM, SHT_SYMTAB, ObjectFile

SHT_PROGBITS = 1
# Below this an index is built in less time than it takes to look for it.
WORTH_KEEPING = 1 << 20


class SymCacheLines:
    """The line reader over symbolic's SymCache. A file that symbolic refuses has no lines."""

    def __init__(self, file: ObjectFile) -> None:
        self._base = file.load_address
        section = file.section(".debug_info")
        key = None
        if section is not None and section.size >= WORTH_KEEPING:
            key = cache.key(file.path, f"symcache {SYMCACHE_LATEST_VERSION}")
        self._cache = _load(key) or _build(file, key)

    def frames(self, address: int) -> tuple[SourceFrame, ...]:
        """Give the functions at `address`, innermost first; empty if unknown."""
        if self._cache is None or not self._base <= address < 1 << 64:
            return ()
        try:
            found = self._cache.lookup(address - self._base)
        except SymbolicError:
            return ()
        return tuple(SourceFrame(item.symbol, item.full_path, item.line or None) for item in found)


def _load(key: str | None) -> SymCache | None:
    stored = cache.load(key) if key is not None else None
    try:
        return SymCache.from_bytes(stored) if stored is not None else None
    except SymbolicError:
        # Cut short or from another version: it is built and stored anew.
        return None


def _build(file: ObjectFile, key: str | None) -> SymCache | None:
    image = _without_symbol_tables(file)
    try:
        archive = Archive.from_bytes(image)
        first = next(archive.iter_objects(), None)
        index = None if first is None else first.make_symcache()
    except SymbolicError:
        # Every complaint about a damaged file, a caught Rust panic included, is of this class.
        return None
    if index is not None and key is not None:
        cache.store(key, index.open_stream().read())
    return index


def _without_symbol_tables(file: ObjectFile) -> bytes:
    image = bytearray(file.image)
    for position, section in enumerate(file.sections):
        if section.type in {SHT_SYMTAB, SHT_DYNSYM}:
            struct.pack_into("<I", image, file.table_offset + position * SECTION.size + 4, SHT_PROGBITS)
    return bytes(image)
