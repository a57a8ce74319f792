"""An ELF file's header and program headers, read and checked as Linux's `load_elf_binary` does (fs/binfmt_elf.c).

Written by hand because these are the errors a user must understand, and because what is refused here never reaches
the parser of everything else. Nothing but the header, its table and the interpreter's name is read.
"""

import os
import stat
import struct
from io import BufferedReader
from typing import BinaryIO, Final, NamedTuple

import msgspec

from emuleak.errors import BadProgram

ET_REL, ET_EXEC, ET_DYN, ET_CORE = 1, 2, 3, 4
PT_LOAD, PT_INTERP = 1, 3
_EHDR: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR: Final = struct.Struct("<IIQQQQQQ")
_EM_X86_64: Final = 62
_MACHINES: Final = {2: "SPARC", 3: "32-bit x86", 8: "MIPS", 20: "PowerPC", 21: "PowerPC64", 22: "S/390",
                    40: "32-bit ARM", 183: "aarch64", 243: "RISC-V", 258: "LoongArch"}  # fmt: skip
_KINDS: Final = {ET_REL: "an object file, not a program: link it first", ET_CORE: "a core dump, not a program"}
# Other formats a user may hold for a program, by their first bytes.
_FORMATS: Final = {
    b"#!": "is a script, not a program",
    b"MZ": "is a Windows program; only Linux programs for x86-64 run",
    b"\xcf\xfa\xed\xfe": "is a macOS program; only Linux programs for x86-64 run",
    b"\xca\xfe\xba\xbe": "is a macOS program or Java class; only Linux programs for x86-64 run",
    b"!<arch>": "is an archive of object files: link it first",
}
_MAX_PROGRAM_HEADERS: Final = 65536 // _PHDR.size  # Linux refuses more than 64 KiB of them
_PATH_MAX: Final = 4096
_PAGE: Final = 4096
_ADDRESS_LIMIT: Final = 1 << 47
_AGAIN: Final = "copy it again or build it again"


class ProgramHeader(NamedTuple):
    """One entry of the program header table, in the file's order; sizes and offsets in bytes."""

    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    file_size: int
    memory_size: int
    alignment: int


class Header(msgspec.Struct, frozen=True):
    """What was read and found sound. `table_offset` is e_phoff, `size` the file's, in bytes."""

    kind: int
    entry: int
    table_offset: int
    table: tuple[ProgramHeader, ...]
    interpreter: str
    size: int


def open_file(path: str) -> BufferedReader:
    """Open a regular file for reading. Raises BadProgram for everything else, without waiting on a FIFO."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise BadProgram(f"{path}: is a directory, not a program")
        if not stat.S_ISREG(mode):
            raise BadProgram(f"{path}: is not a regular file: give the path of a program")
        return open(path, "rb")
    except (FileNotFoundError, NotADirectoryError):
        raise BadProgram(f"{path}: no such file") from None
    except PermissionError:
        raise BadProgram(f"{path}: permission denied: it cannot be read") from None
    except OSError as error:
        raise BadProgram(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise BadProgram(f"{path!r}: is no path of a file") from None


def check_executable(path: str) -> None:
    """Refuse what execve(2) refuses with EACCES. Raises BadProgram."""
    if not os.access(path, os.X_OK):
        raise BadProgram(f"{path}: permission denied: it is not executable; chmod +x makes it so")


def read_header(file: BinaryIO, path: str) -> Header:
    """Read and check the headers of an x86-64 program or library. Raises BadProgram, OSError."""
    size = os.fstat(file.fileno()).st_size
    start = file.read(_EHDR.size)
    _check_format(start, path)
    ident, kind, machine, _, entry, offset, _, _, _, entry_size, count, *_ = _EHDR.unpack(start)
    _check_machine(ident, kind, machine, path)
    if entry_size != _PHDR.size or not 0 < count <= _MAX_PROGRAM_HEADERS:
        raise BadProgram(f"{path}: is corrupt: its program header table makes no sense; {_AGAIN}")
    if offset + count * _PHDR.size > size:
        raise BadProgram(f"{path}: is truncated: its program headers lie beyond its {size:,} bytes; {_AGAIN}")
    file.seek(offset)
    raw = file.read(count * _PHDR.size)
    table = tuple(map(ProgramHeader._make, _PHDR.iter_unpack(raw[: len(raw) // _PHDR.size * _PHDR.size])))
    _check_loads([header for header in table if header.kind == PT_LOAD and header.memory_size], size, path)
    return Header(kind, entry, offset, table, _interpreter(file, table, size, path), size)


def _check_format(start: bytes, path: str) -> None:
    if not start:
        raise BadProgram(f"{path}: is empty; {_AGAIN}")
    if start[:4] != b"\x7fELF":
        known = (what for magic, what in _FORMATS.items() if start.startswith(magic))
        raise BadProgram(f"{path}: {next(known, 'is not an ELF file: only Linux programs for x86-64 run')}")
    if len(start) < _EHDR.size:
        raise BadProgram(f"{path}: is truncated: {len(start)} bytes are less than an ELF header; {_AGAIN}")


def _check_machine(ident: bytes, kind: int, machine: int, path: str) -> None:
    little = ident[5] == 1
    if not little:
        kind, machine = (int.from_bytes(value.to_bytes(2, "little"), "big") for value in (kind, machine))
    name = _MACHINES.get(machine, f"machine {machine}")
    if machine != _EM_X86_64:
        raise BadProgram(f"{path}: is for {name}; only x86-64 runs: build it for that")
    if not little:
        raise BadProgram(f"{path}: is corrupt: its byte order is not x86-64's; {_AGAIN}")
    if ident[4] != 2:
        raise BadProgram(f"{path}: is a 32-bit program for x86-64 (x32); only 64-bit ones run: build it without -mx32")
    if kind not in {ET_EXEC, ET_DYN}:
        raise BadProgram(f"{path}: is {_KINDS.get(kind, f'of ELF type {kind}, not a program')}")


def _check_loads(loads: list[ProgramHeader], size: int, path: str) -> None:
    if not loads:
        raise BadProgram(f"{path}: is corrupt: it has nothing to load; {_AGAIN}")
    end = -1
    for load in loads:
        where = f"the segment at {load.address:#x}"
        if load.address + load.memory_size > _ADDRESS_LIMIT:
            raise BadProgram(f"{path}: cannot allocate memory: {where} wants {load.memory_size:,} bytes; {_AGAIN}")
        if load.file_size > load.memory_size or (load.address - load.offset) % _PAGE:
            raise BadProgram(f"{path}: is corrupt: {where} makes no sense; {_AGAIN}")
        if load.address < end:
            raise BadProgram(f"{path}: is corrupt: {where} overlaps the one before it; {_AGAIN}")
        if load.offset + load.file_size > size:
            beyond = f"{where} ends at byte {load.offset + load.file_size:,} of {size:,}"
            raise BadProgram(f"{path}: is truncated: {beyond}; {_AGAIN}")
        end = load.address + load.memory_size


def _interpreter(file: BinaryIO, table: tuple[ProgramHeader, ...], size: int, path: str) -> str:
    """The name in the first PT_INTERP; "" without one."""
    header = next((header for header in table if header.kind == PT_INTERP), None)
    if header is None:
        return ""
    if not 2 <= header.file_size <= _PATH_MAX or header.offset + header.file_size > size:
        raise BadProgram(f"{path}: is corrupt: it names no interpreter where it should; {_AGAIN}")
    file.seek(header.offset)
    raw = file.read(header.file_size)
    name, _, _ = raw.partition(b"\0")
    if raw[-1:] != b"\0" or not name:
        raise BadProgram(f"{path}: is corrupt: its interpreter's name has no end; {_AGAIN}")
    return os.fsdecode(name)
