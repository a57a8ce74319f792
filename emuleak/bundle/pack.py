"""What belongs into a bundle: the program, its ld.so and libraries as ld.so finds them, debug files, what is named."""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Final

import msgspec

from emuleak._version import __version__
from emuleak.bundle.archive import digest_of, write
from emuleak.bundle.manifest import Entry, Manifest, Role, is_portable
from emuleak.elf import Image, read_image, read_program
from emuleak.errors import BadOption, BadProgram
from emuleak.host import guest_path
from emuleak.linking import linkage
from emuleak.symbols.objectfile import ObjectFile
from emuleak.symbols.separate import find_debug_file

_DEBUG_ROOTS: Final = ("/usr/lib/debug",)
_CACHE: Final = "/etc/ld.so.cache"  # without it libraries outside of the system's directories are not found
_LIBC_VERSION: Final = re.compile(rb"GNU C Library \([^)]*\) [^\n]*version ([0-9.]+[0-9])|musl libc[^\n]*\x00")
_READABLE: Final = 0o444


class Wanted(msgspec.Struct, frozen=True):
    """What is asked for. `files` maps the guest's paths to the host's; `sources` are host paths of source files."""

    program: str
    sysroot: str
    environment: Mapping[str, str]
    kept: Mapping[str, str]  # variables that the bundle sets for the program
    files: Mapping[str, str]
    sources: Sequence[str] = ()
    debug: bool = True


class Packed(msgspec.Struct, frozen=True):
    """What was put into a bundle, and what could not be found."""

    manifest: Manifest
    missing: tuple[str, ...]


def pack(wanted: Wanted, target: str) -> Packed:
    """Write the bundle. Raises BadProgram, BadOption, OSError."""
    collection = _Collection(wanted.sysroot)
    program = os.path.realpath(wanted.program)
    image = read_program(program)
    guest = collection.guest_of(program)
    collection.add(guest, program, "program")
    missing = _add_libraries(collection, program, image, wanted) if image.interpreter else []
    for path, host in wanted.files.items():
        collection.add_all(path, host)
    if wanted.debug:
        collection.add_debug_files()
    for source in wanted.sources:
        collection.add_source(source)
    entries = tuple(sorted(collection.entries.values(), key=lambda entry: entry.path))
    manifest = Manifest(guest, dict(sorted(wanted.kept.items())), entries, __version__)
    write(target, manifest, collection.sources)
    return Packed(manifest, tuple(missing))


def _add_libraries(collection: "_Collection", program: str, image: Image, wanted: Wanted) -> list[str]:
    """The interpreter and what it finds; what it does not find, and complains of, is the answer."""
    collection.add(image.interpreter, collection.host_of(image.interpreter), "interpreter")
    answer = linkage(program, image, wanted.sysroot, wanted.environment)
    for library in answer.libraries:
        if library.path is not None and library.path != image.interpreter:
            path = os.path.normpath(os.path.abspath(library.path))
            collection.add(guest_path(path), collection.host_of(path), "library")
    if os.path.isfile(collection.host_of(_CACHE)):
        collection.add(_CACHE, collection.host_of(_CACHE), "data")
    return [*(each.name for each in answer.libraries if each.path is None), *answer.complaints]


class _Collection:
    """The entries by path, and the host's file of each digest."""

    def __init__(self, sysroot: str) -> None:
        self._sysroot = "" if sysroot == "/" else os.path.realpath(sysroot)
        self.entries: dict[str, Entry] = {}
        self.sources: dict[str, str] = {}

    def host_of(self, path: str) -> str:
        """Where the host keeps a file of the guest's, links followed inside of the sysroot."""
        inside = self._sysroot + path
        return inside if self._sysroot and os.path.exists(inside) else path

    def guest_of(self, host: str) -> str:
        """The path of a host's file as the program will know it."""
        path, root = guest_path(host), guest_path(self._sysroot)
        return path[len(root) :] if root and path.startswith(root + "/") else path

    def add(self, path: str, host: str, role: Role) -> None:
        """One file. Raises BadOption when it cannot be read; one that is there stays."""
        if path in self.entries:
            return
        try:
            status = os.stat(host)
            digest, size = digest_of(host)
        except OSError as error:
            raise BadOption(f"{host}: cannot be packed: {(error.strerror or str(error)).lower()}") from None
        build_id, version = _identity(host) if role in {"program", "interpreter", "library"} else ("", "")
        mode = stat.S_IMODE(status.st_mode) & 0o777 | _READABLE
        if role == "program":
            mode |= 0o111
        self.entries[path] = Entry(path, role, mode, size, digest, build_id, version)
        self.sources.setdefault(digest, host)

    def add_all(self, path: str, host: str) -> None:
        """A file, or every regular file below a directory."""
        if not os.path.isdir(host):
            self.add(path, host, "data")
            return
        for directory, folders, names in os.walk(host):
            folders.sort()
            below = os.path.relpath(directory, host).replace(os.sep, "/")
            place = path if below == "." else f"{path}/{below}"
            for name in sorted(names):
                file = os.path.join(directory, name)
                if os.path.isfile(file):
                    self.add(f"{place}/{name}", file, "data")

    def add_debug_files(self) -> None:
        """The separate debug files of everything that is run."""
        for entry in list(self.entries.values()):
            if entry.role not in {"program", "interpreter", "library"}:
                continue
            with closing(ObjectFile.open(self.sources[entry.sha256])) as file:
                found = None if file.has_debug_info else find_debug_file(file, _DEBUG_ROOTS, self._sysroot or "/")
                if found is not None:
                    with closing(found):
                        self.add(_debug_place(entry, file, found), found.path, "debug")

    def add_source(self, host: str) -> None:
        """A source file, for the report to quote."""
        # A relative name is told from where the report is read, and is looked for below the bundle's own directory.
        path = self.guest_of(host) if os.path.isabs(host) else "/" + host.replace(os.sep, "/")
        if is_portable(path):
            self.add(path, host, "source")


def _debug_place(entry: Entry, file: ObjectFile, found: ObjectFile) -> str:
    """Where emuleak will look for it: by its build-id, or by the debug link of a file without one."""
    if len(file.build_id) > 1 and file.build_id == found.build_id:
        name = file.build_id.hex()
        return f"/usr/lib/debug/.build-id/{name[:2]}/{name[2:]}.debug"
    link = file.debug_link
    return f"/usr/lib/debug/{link[0] if link else os.path.basename(entry.path)}"


def _identity(host: str) -> tuple[str, str]:
    """The build-id of an ELF file, and its version if it is a C library."""
    try:
        image = read_image(host)
    except BadProgram:
        return "", ""
    version = ""
    if image.soname.startswith("libc.") or os.path.basename(host).startswith("ld-musl"):
        with open(host, "rb") as file:
            match = _LIBC_VERSION.search(file.read())
        version = f"glibc {match[1].decode()}" if match and match[1] else ""
    return image.build_id, version
