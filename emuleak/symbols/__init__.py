"""From an address in an ELF file to function, file and line, with the functions inlined there.

    symbols = ObjectSymbols("/usr/bin/prog")
    symbols.lookup(0x1234)      # (Location("wrap", "/src/inc.h", 5, True), Location("main", "/src/a.c", 30, False))

objectfile, symtab, separate: the ELF side. symcache, dwarf: two readers of line information behind lines.LineReader.
demangle, itanium: readable C++ names. locate puts them together.
"""

from emuleak.symbols.locate import Location, ObjectSymbols

__all__ = ["Location", "ObjectSymbols"]
