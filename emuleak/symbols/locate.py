"""From an address in a file to the functions and source lines a person knows."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from emuleak.symbols.aranges import AddressRanges
from emuleak.symbols.demangle import demangle
from emuleak.symbols.lines import LineReader, SourceFrame
from emuleak.symbols.objectfile import ObjectFile
from emuleak.symbols.separate import find_debug_file
from emuleak.symbols.symtab import Symbol, SymbolTable, undefined_names

if TYPE_CHECKING:
    from emuleak.symbols.dwarf import DwarfLines
    from emuleak.symbols.variables import Variables

UNKNOWN = "???"


class Location(NamedTuple):
    """One function at an address. `inlined` functions stand inside the next one, the last is the real one."""

    function: str
    file: str | None
    line: int | None
    inlined: bool


class ObjectSymbols:
    """What the symbols and the debug information of one ELF file say about its addresses.

    `path` is the file on the host. Separate debug files are searched under `debug_roots`, inside `sysroot` first.
    All addresses are the file's own (link-time, unrelocated). Everything is read on first use; nothing is raised for a
    missing or damaged file, whose addresses are simply unknown.
    """

    def __init__(self, path: str, debug_roots: Sequence[str] = ("/usr/lib/debug",), sysroot: str = "/") -> None:
        self.path = path
        self._debug_roots = tuple(debug_roots)
        self._sysroot = sysroot
        self._known: dict[int, tuple[Location, ...]] = {}

    def close(self) -> None:
        """Close the files that were opened; what was looked up stays known, nothing else can be looked up."""
        for name in ("_file", "_debug_file"):
            file = vars(self).get(name)  # there once it was asked for
            if file is not None:
                file.close()

    def lookup(self, address: int) -> tuple[Location, ...]:
        """Give the functions at `address`, the innermost inlined one first; never empty.

        Look up a call by its return address less one. Without debug information `function` is the symbol that covers
        the address, else `name+0x1f` from the nearest one before it, else `???`. Files are absolute and normalised
        where the compiler recorded its directory.
        """
        known = self._known.get(address)
        if known is None:
            known = self._known[address] = self._locate(address)
        return known

    def function_range(self, address: int) -> tuple[str, int, int] | None:
        """Give (demangled name, start, end) of the function whose symbol covers the address; end is exclusive."""
        symbol = self._symbols.function(address)
        return None if symbol is None else (_readable(symbol.name), symbol.start, symbol.start + symbol.size)

    def exported_name(self, address: int) -> str:
        """Give the name of the function that covers the address by the symbols in the file itself; `???` for none."""
        symbol = self._own_symbols.function(address)
        return UNKNOWN if symbol is None else _readable(symbol.name)

    def symbol_names(self, address: int) -> tuple[str, ...]:
        """Give all names, mangled, of the function whose symbol covers the address, valgrind's choice first."""
        return self._symbols.names(address)

    def data_symbol(self, address: int) -> tuple[str, int] | None:
        """Give (demangled name, offset in bytes) of the variable whose symbol covers the address."""
        symbol = self._symbols.object(address)
        return None if symbol is None else (_readable(symbol.name), address - symbol.start)

    def thread_local_symbol(self, offset: int) -> tuple[str, int] | None:
        """As `data_symbol`, of a thread-local variable by its offset in the module's block."""
        symbol = self._symbols.thread_local(offset)
        return None if symbol is None else (_readable(symbol.name), offset - symbol.start)

    @cached_property
    def _file(self) -> ObjectFile:
        return ObjectFile.open(self.path)

    @cached_property
    def _debug_file(self) -> ObjectFile:
        """The file with the debug information: the program itself, or its separate debug file."""
        if self._file.has_debug_info:
            return self._file
        return find_debug_file(self._file, self._debug_roots, self._sysroot) or self._file

    @cached_property
    def _symbols(self) -> SymbolTable:
        if self._debug_file.section(".symtab") is not None:
            return SymbolTable(self._debug_file)
        mini = None if self._file.section(".symtab") is not None else self._file.mini_debug_data()
        return SymbolTable(mini) if mini is not None and mini.section(".symtab") else self._own_symbols

    @cached_property
    def _own_symbols(self) -> SymbolTable:
        return SymbolTable(self._file)

    @cached_property
    def _lines(self) -> LineReader | None:
        return open_lines(self._debug_file) if self._debug_file.has_debug_info else None

    @cached_property
    def _unit_ranges(self) -> AddressRanges:
        return AddressRanges(self._debug_file)

    def _locate(self, address: int) -> tuple[Location, ...]:
        frames = self._frames(address)
        if not frames:
            return (Location(self._symbol_name(address), None, None, inlined=False),)
        last = len(frames) - 1
        return tuple(
            Location(self._name(frame, address, is_outermost=index == last), frame.file, frame.line, index < last)
            for index, frame in enumerate(frames)
        )

    def _frames(self, address: int) -> tuple[SourceFrame, ...]:
        frames = self._lines.frames(address) if self._lines is not None else ()
        if frames and frames[0].line is not None:
            return frames
        # gcc folds functions with the same body into one and may keep a line table without a function entry: symbolic
        # shows nothing there. .debug_aranges says cheaply whether there is more to find.
        if self._lines is None or self._unit_ranges.unit(address) is None:
            return frames
        fuller = self._thorough_lines.frames(address)
        return fuller if fuller and fuller[0].line is not None else frames

    @cached_property
    def _thorough_lines(self) -> "DwarfLines":
        from emuleak.symbols.dwarf import DwarfLines  # noqa: PLC0415 - 40 ms that few programs need

        return DwarfLines(self._debug_file)

    @cached_property
    def variables(self) -> "Variables | None":
        """What the debug information says of variables; None where there is none."""
        if not self._debug_file.has_debug_info:
            return None
        from emuleak.symbols.variables import Variables  # noqa: PLC0415 - as above

        return Variables(self._thorough_lines)

    @cached_property
    def imported(self) -> frozenset[str]:
        """The names that the file needs of others."""
        return frozenset(undefined_names(self._file))

    @property
    def thread_local_size(self) -> int:
        """Bytes that the module's thread-local block takes below the thread pointer if it is the program's own; or 0.

        That is: rounded up to its alignment (ELF Handling For Thread-Local Storage, 3.4.6, variant II).
        """
        return self._file.thread_local_size

    def _name(self, frame: SourceFrame, address: int, *, is_outermost: bool) -> str:
        name = _readable(frame.name)
        if not is_outermost:
            return name or UNKNOWN
        if not name:
            return self._symbol_name(address)
        symbol = self._symbols.function(address)
        # gcc names no linkage for templates over local types; the symbol has the whole name.
        if symbol is not None and _is_mangled_form(symbol, frame.name):
            return _readable(symbol.name)
        return name

    def _symbol_name(self, address: int) -> str:
        symbol = self._symbols.function(address)
        if symbol is not None:
            return _readable(symbol.name)
        symbol = self._symbols.nearest(address)
        if symbol is None:
            return UNKNOWN
        return f"{_readable(symbol.name)}+{address - symbol.start:#x}"


def _readable(name: str) -> str:
    """Demangle; and take off what glibc puts before its internal alias of an exported function."""
    return demangle(name.removeprefix("__GI_"))


def _is_mangled_form(symbol: Symbol, name: str) -> bool:
    if not symbol.name.startswith("_Z") or name.startswith("_Z"):
        return False
    base = name.partition("<")[0]
    return base.startswith("operator") or f"{len(base)}{base}" in symbol.name


def open_lines(file: ObjectFile) -> LineReader:
    """Open the fastest reader of line information that is installed."""
    try:
        from emuleak.symbols.symcache import SymCacheLines  # noqa: PLC0415 - 30 ms, and absent on some hosts
    except ImportError:
        from emuleak.symbols.dwarf import DwarfLines  # noqa: PLC0415

        return DwarfLines(file)
    return SymCacheLines(file)
