"""What an ELF file says of itself: segments, symbols, PLT stubs, GOT slots, build-id. The only import of lief.

Importing lief costs 0.3-0.6 s, more than a whole small run, so what it said of a file is kept (image_cache.py) and lief
is imported only for a file not met before (or changed since). The header is checked first, by hand (elf_header.py).

A file may lie: every address that lief hands out is dropped unless it is inside a segment, so that nothing which is
built on an Image can be led outside of it.
"""

import contextlib
import os
import warnings
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import msgspec

from emuleak import image_cache
from emuleak.elf_header import ET_DYN, ET_EXEC, PT_LOAD, Header, check_executable, open_file, read_header
from emuleak.entrypoints import OPERATORS
from emuleak.errors import BadProgram
from emuleak.memory import EXEC, READ, WRITE

if TYPE_CHECKING:
    from collections.abc import Iterator

_CACHE_VERSION: Final = 13  # raise it when Image changes
_DT_FLAGS_1_PIE: Final = 0x0800_0000
_ENDBR64: Final = b"\xf3\x0f\x1e\xfa"
_HOOK_SIZE: Final = 5  # bytes of the jump that a hook writes
# How a program makes a client request of valgrind on x86-64: four rotations that come to nothing, and an exchange of
# RBX with itself (valgrind.h).
_CLIENT_REQUEST: Final = bytes.fromhex("48c1c703 48c1c70d 48c1c73d 48c1c733 4887db")
_LSAN: Final = "__lsan_"
_SYMBOL_SIZE: Final = 24
# lief reads a file whole, twice.
_MAX_SIZE: Final = 4 << 30


class Segment(msgspec.Struct, frozen=True, array_like=True):
    """A PT_LOAD program header. Addresses are the file's own (link-time); `prot` is READ | WRITE | EXEC."""

    address: int
    memory_size: int
    offset: int
    file_size: int
    prot: int
    alignment: int = 4096

    def holds(self, address: int, size: int) -> bool:
        """Whether all of `[address, address + size)` lies inside."""
        return self.address <= address and address + size <= self.address + self.memory_size


class Image(msgspec.Struct, frozen=True, array_like=True):
    """What a file says of itself: pure, unrelocated; addresses are link-time.

    `functions` are the global and weak functions it defines; `stubs` the PLT entries and `slots` the GOT entries by
    the name of the symbol they lead to. `library`: it can only be loaded by another program.
    `replaced_operators`: C++'s operators new and delete that it defines in a way of its own (operatorcode.py).

    `requests` are the client requests of valgrind in its code; `lsan_imports` the symbols of LeakSanitizer's interface
    that it does not define, by the addresses of their entries in the dynamic symbol table. `speaks_to_tools`: it has
    any of these, or defines functions of that interface.

    `wraps_malloc`: it defines malloc and hands the calls on to another one (mallocwrapper.py). `is_go`: it is a Go
    program, which brings Go's runtime with its allocator along.
    """

    path: str
    fixed: bool  # ET_EXEC: must lie where it was linked
    entry: int
    program_headers: int  # address of the table in memory
    program_header_count: int
    segments: tuple[Segment, ...]
    interpreter: str
    soname: str
    needed: tuple[str, ...]
    build_id: str
    functions: dict[str, int]
    stubs: dict[str, tuple[int, ...]]
    slots: dict[str, tuple[int, ...]]
    has_symbol_table: bool = False
    library: bool = False
    replaced_operators: tuple[str, ...] = ()
    requests: tuple[int, ...] = ()
    lsan_imports: dict[str, int] = msgspec.field(default_factory=dict)
    speaks_to_tools: bool = False
    wraps_malloc: bool = False
    is_go: bool = False

    @property
    def start(self) -> int:
        """The lowest link-time address."""
        return self.segments[0].address

    @property
    def end(self) -> int:
        """One past the highest link-time address."""
        return max(segment.address + segment.memory_size for segment in self.segments)

    @property
    def alignment(self) -> int:
        """What its load address must be a multiple of, as Linux's `maximum_alignment` has it."""
        sound = (s.alignment for s in self.segments if s.alignment & (s.alignment - 1) == 0)
        return max([4096, *sound])


def read_image(path: str) -> Image:
    """What the file at `path` says of itself. Raises BadProgram in one line when it is no x86-64 ELF image."""
    with open_file(path) as file:
        try:
            return _read(file, path)
        except OSError as error:
            raise BadProgram(f"{path}: cannot be read: {error.strerror}") from None


def read_program(path: str) -> Image:
    """As `read_image`, of a file to be started. Raises BadProgram for one that is not a program."""
    image = read_image(path)
    if image.library:
        raise BadProgram(f"{path}: is a shared library, not a program: give the program that uses it")
    check_executable(path)
    return image


def _read(file: BinaryIO, path: str) -> Image:
    """From the cache if it knows the file. Raises BadProgram, OSError."""
    header = read_header(file, path)
    entry = image_cache.entry_for(path, os.fstat(file.fileno()), _CACHE_VERSION)
    content = image_cache.load(entry) if entry is not None else None
    if content is not None:
        with contextlib.suppress(msgspec.MsgspecError):
            return msgspec.msgpack.decode(content, type=Image)
    if header.size > _MAX_SIZE:
        raise BadProgram(f"{path}: has {header.size:,} bytes, too many to read; strip -g makes it smaller")
    image = _parse(file, header, path)
    if entry is not None:
        # A path that is no UTF-8 cannot be encoded: the file is read anew each time.
        with contextlib.suppress(UnicodeEncodeError):
            image_cache.store(entry, msgspec.msgpack.encode(image))
    return image


# ---- what lief says


def _parse(file: BinaryIO, header: Header, path: str) -> Image:
    import lief  # noqa: PLC0415 - see the module's docstring

    lief.logging.disable()
    file.seek(0)
    data = file.read()
    with warnings.catch_warnings():
        # lief warns of every tag and type it has no name for, which a program may well carry.
        warnings.simplefilter("ignore", RuntimeWarning)
        binary = lief.ELF.parse(data)
        if binary is None:
            raise BadProgram(f"{path}: is corrupt: its ELF structures cannot be read; copy it again or build it again")
        return _image(binary, data, header, path)


def _image(binary: Any, data: bytes, header: Header, path: str) -> Image:
    segments = tuple(
        Segment(load.address, load.memory_size, load.offset, load.file_size, _prot(load.flags), load.alignment)
        for load in header.table
        if load.kind == PT_LOAD and load.memory_size
    )
    slots = {name: _inside(segments, places, 8, 0) for name, places in _slots(binary).items()}
    dynamic = _dynamic(binary)
    local = not header.interpreter and not dynamic["soname"]
    functions = {
        name: place
        for name, place in _functions(binary, local=local).items()
        if _inside(segments, (place,), _HOOK_SIZE, EXEC)
    }
    stubs = {
        name: _inside(segments, places, _HOOK_SIZE, EXEC)
        for name, places in _stubs(binary, data, segments, slots).items()
    }
    table = header.table_offset
    requests = tuple(_client_requests(data, segments))
    imports = {name: place for name, place in _lsan_imports(binary) if _inside(segments, (place,), _SYMBOL_SIZE, 0)}
    return Image(
        path=path,
        fixed=header.kind == ET_EXEC,
        entry=header.entry,
        program_headers=next(
            (s.address + table - s.offset for s in segments if s.offset <= table < s.offset + s.file_size), 0
        ),
        program_header_count=len(header.table),
        segments=segments,
        interpreter=header.interpreter,
        soname=dynamic["soname"],
        needed=dynamic["needed"],
        build_id=_build_id(binary),
        functions=functions,
        stubs=stubs,
        slots=slots,
        has_symbol_table=any(True for _ in binary.symtab_symbols),
        library=_is_library(header, dynamic, path),
        replaced_operators=_replaced_operators(segments, data, functions, stubs, slots),
        requests=requests,
        lsan_imports=imports,
        speaks_to_tools=bool(requests or imports) or any(name.startswith(_LSAN) for name in functions),
        wraps_malloc=_wraps_malloc(segments, data, functions, stubs, slots),
        is_go=any(_text(section.name) == ".go.buildinfo" for section in binary.sections),
    )


def _replaced_operators(
    segments: tuple[Segment, ...],
    data: bytes,
    functions: dict[str, int],
    stubs: dict[str, tuple[int, ...]],
    slots: dict[str, tuple[int, ...]],
) -> tuple[str, ...]:
    """The operators new and delete that the file defines, but not as the C++ library does."""
    if not any(name in functions for name in OPERATORS):
        return ()
    from emuleak.operatorcode import code_reader, replacements  # noqa: PLC0415 - brings the disassembler along

    names: dict[int, frozenset[str]] = {}
    places = [(name, (address,)) for name, address in functions.items()]
    for name, addresses in (*places, *stubs.items(), *slots.items()):
        for address in addresses:
            names[address] = names.get(address, frozenset()) | {name}
    read = code_reader([(s.address, s.offset, s.file_size) for s in segments if s.prot & EXEC], data)
    return replacements(functions, names, read)


def _wraps_malloc(
    segments: tuple[Segment, ...],
    data: bytes,
    functions: dict[str, int],
    stubs: dict[str, tuple[int, ...]],
    slots: dict[str, tuple[int, ...]],
) -> bool:
    """Whether the file defines malloc in terms of another one."""
    if "malloc" not in functions:
        return False
    if "__libc_malloc" in slots and "__libc_malloc" not in functions:
        return True
    from emuleak.mallocwrapper import LOOK_UPS, looks_malloc_up  # noqa: PLC0415 - few files define malloc

    places = {name: (*stubs.get(name, ()), *slots.get(name, ())) for name in LOOK_UPS}
    parts = [(segment.address, segment.offset, segment.file_size, segment.prot) for segment in segments]
    return looks_malloc_up(data, [part[:3] for part in parts if part[3] & EXEC], [part[:3] for part in parts], places)


def _inside(segments: tuple[Segment, ...], places: tuple[int, ...], size: int, prot: int) -> tuple[int, ...]:
    """Those places at which `size` bytes lie inside a segment of at least this `prot`."""
    fitting = [segment for segment in segments if segment.prot & prot == prot]
    return tuple(place for place in places if any(segment.holds(place, size) for segment in fitting))


def _is_library(header: Header, dynamic: dict[str, Any], path: str) -> bool:
    """Whether it only serves others. Some linkers give a library an entry point all the same.

    glibc's and musl's dynamic loaders are libraries by this account, but they can be started.
    """
    if header.kind != ET_DYN or header.interpreter or dynamic["pie"]:
        return False
    # musl's may be without a name of its own.
    name = dynamic["soname"] or os.path.basename(path)
    loader = name.startswith("ld-") or name == "libc.so"
    return header.entry == 0 or not loader


def _prot(flags: int) -> int:
    return (READ if flags & 4 else 0) | (WRITE if flags & 2 else 0) | (EXEC if flags & 1 else 0)


def _text(value: object) -> str:
    """A name as lief gives it: str, or bytes where it is no UTF-8."""
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def _dynamic(binary: Any) -> dict[str, Any]:
    import lief  # noqa: PLC0415

    tag = lief.ELF.DynamicEntry.TAG
    soname, pie, needed = "", False, []
    for entry in binary.dynamic_entries:
        if entry.tag == tag.SONAME:
            soname = _text(entry.name)
        elif entry.tag == tag.NEEDED:
            needed.append(_text(entry.name))
        elif entry.tag == tag.FLAGS_1:
            pie = bool(entry.value & _DT_FLAGS_1_PIE)
    return {"soname": soname, "pie": pie, "needed": tuple(needed)}


def _build_id(binary: Any) -> str:
    import lief  # noqa: PLC0415

    for note in binary.notes:
        if note.type == lief.ELF.Note.TYPE.GNU_BUILD_ID:
            return bytes(note.description).hex()
    return ""


def _functions(binary: Any, *, local: bool) -> dict[str, int]:
    """Functions by name. `local`: also those of local binding, as the linker makes all of libc's in a static PIE."""
    import lief  # noqa: PLC0415

    symbol_type, binding = lief.ELF.Symbol.TYPE, lief.ELF.Symbol.BINDING
    wanted = {symbol_type.FUNC, symbol_type.GNU_IFUNC, symbol_type.NOTYPE}
    found: dict[str, int] = {}
    for symbols in (binary.symtab_symbols, binary.dynamic_symbols):
        for symbol in symbols:
            if symbol.shndx and symbol.value and symbol.type in wanted and (local or symbol.binding != binding.LOCAL):
                found[_text(symbol.name)] = symbol.value
    return found


def _client_requests(data: bytes, segments: tuple[Segment, ...]) -> "Iterator[int]":
    """Where the code makes client requests of valgrind."""
    for segment in segments:
        if segment.prot & EXEC:
            end = segment.offset + segment.file_size
            at = data.find(_CLIENT_REQUEST, segment.offset, end)
            while at >= 0:
                yield segment.address + at - segment.offset
                at = data.find(_CLIENT_REQUEST, at + len(_CLIENT_REQUEST), end)


def _lsan_imports(binary: Any) -> "Iterator[tuple[str, int]]":
    """Undefined symbols of LeakSanitizer's interface, and the addresses of their entries."""
    import lief  # noqa: PLC0415

    table = binary.get(lief.ELF.DynamicEntry.TAG.SYMTAB)
    if table is None:
        return
    for index, symbol in enumerate(binary.dynamic_symbols):
        if not symbol.shndx and (name := _text(symbol.name)).startswith(_LSAN):
            yield name, int(table.value) + _SYMBOL_SIZE * index


def _slots(binary: Any) -> dict[str, tuple[int, ...]]:
    """GOT slots by symbol: JUMP_SLOT for lazy calls, GLOB_DAT for -fno-plt and for addresses taken."""
    import lief  # noqa: PLC0415

    wanted = {lief.ELF.Relocation.TYPE.X86_64_JUMP_SLOT, lief.ELF.Relocation.TYPE.X86_64_GLOB_DAT}
    found: dict[str, tuple[int, ...]] = {}
    for relocations in (binary.pltgot_relocations, binary.dynamic_relocations):
        for relocation in relocations:
            if relocation.type not in wanted or not relocation.has_symbol:
                continue
            name = _text(relocation.symbol.name)
            if name and relocation.address not in found.get(name, ()):
                found[name] = (*found.get(name, ()), relocation.address)
    return found


def _stubs(
    binary: Any, data: bytes, segments: tuple[Segment, ...], slots: dict[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]]:
    """PLT stubs by symbol: every `jmp *slot(%rip)` in a .plt section, with the ENDBR64 before it.

    Without sound section headers every executable segment is searched.
    """
    symbol_of = {address: name for name, addresses in slots.items() for address in addresses}
    ranges = {
        (section.virtual_address, section.offset, section.size)
        for section in binary.sections
        if _text(section.name).startswith(".plt") and section.offset + section.size <= len(data)
    }
    if not 0 < sum(size for _, _, size in ranges) <= len(data):  # none, or a table made to be slow
        ranges = {(s.address, s.offset, s.file_size) for s in segments if s.prot & EXEC}
    found: dict[str, tuple[int, ...]] = {}
    for address, offset, size in sorted(ranges):
        for stub, slot in _jumps_through_memory(data[offset : offset + size], address):
            name = symbol_of.get(slot)
            if name is not None:
                found[name] = (*found.get(name, ()), stub)
    return found


def _jumps_through_memory(code: bytes, address: int) -> "Iterator[tuple[int, int]]":
    """Every `ff 25 rel32`: (address of the stub, address of the slot it jumps through)."""
    at = code.find(b"\xff\x25")
    while 0 <= at <= len(code) - 6:
        slot = address + at + 6 + int.from_bytes(code[at + 2 : at + 6], "little", signed=True)
        start = at
        if code[start - 1 : start] == b"\xf2":  # BND prefix of an -fcf-protection stub
            start -= 1
        if code[start - 4 : start] == _ENDBR64:
            start -= 4
        yield address + start, slot
        at = code.find(b"\xff\x25", at + 1)
