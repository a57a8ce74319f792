"""Which libraries a program would be given: its own ld.so is run in the emulator and asked, as ldd(1) asks it.

So all of its rules hold, those of the program's libc: DT_RPATH, DT_RUNPATH, $ORIGIN, LD_LIBRARY_PATH, LD_PRELOAD,
ld.so.cache, versions of symbols. The program itself does not run.
"""

import os
import re
from collections.abc import Mapping
from contextlib import closing
from typing import Final

import msgspec

from emuleak.elf import Image
from emuleak.unhooked import Guest, UnhookedRun

# `libm.so.6 => /lib/libm.so.6 (0x...)`, `libx.so => not found`, `/lib64/ld-linux-x86-64.so.2 (0x...)`
_LINE: Final = re.compile(r"^\t(?:(?P<name>\S+) => )?(?P<path>not found|\S+)(?: \(0x[0-9a-f]+\))?$")
_MUSL_MISSING: Final = re.compile(r"^Error loading shared library (?P<name>[^:]+):")
_COMPLAINTS: Final = ("version `", "error while loading", "cannot be preloaded", "ISA level", "undefined symbol")
_MUSL_SYMBOL: Final = re.compile(r"^Error relocating .*")
# Where ld.so says, with LD_DEBUG=libs, from where it takes the directories that it searches.
_SEARCH: Final = re.compile(r"search path=.*\((?P<source>.*)\)$")
_CACHE: Final = re.compile(r"search cache=(?P<source>.*)$")
_TRYING: Final = re.compile(r"trying file=(?P<path>.*)$")


class Library(msgspec.Struct, frozen=True):
    """A library that is needed: `path` in the guest's files, None when it was not found; `source`: why it was there."""

    name: str
    path: str | None
    source: str = ""


class Linkage(msgspec.Struct, frozen=True):
    """What ld.so answered: the libraries in the order in which symbols are searched, and what else it said."""

    libraries: tuple[Library, ...]
    complaints: tuple[str, ...] = ()


def linkage(
    program: str, image: Image, sysroot: str, environment: Mapping[str, str], *, sources: bool = False
) -> Linkage:
    """Ask the ld.so of a program. `sources` has it say why it chose each file. Raises BadProgram when it cannot run.

    A static program has none, and no libraries.
    """
    if not image.interpreter:
        return Linkage(())
    asked = {**environment, "LD_TRACE_LOADED_OBJECTS": "1"}
    if sources:
        asked["LD_DEBUG"] = "libs"
    if "musl" in os.path.basename(image.interpreter):
        # musl's is the command ldd when it is called by that name.
        loader = image.interpreter
        host = _host_path(sysroot, loader)
        out, err = _said(Guest(host, ("ldd", program), environment, sysroot, stdin=b"", capture=True))
    else:
        out, err = _said(Guest(program, (program,), asked, sysroot, stdin=b"", capture=True))
    origins = dict(_origins(err)) if sources else {}
    libraries = tuple(
        msgspec.structs.replace(each, source=origins.get(each.path or "", "")) for each in _libraries(out, image)
    )
    missing = [Library(match["name"], None) for line in err.splitlines() if (match := _MUSL_MISSING.match(line))]
    return Linkage((*libraries, *missing), tuple(_complaints(out, err)))


def _host_path(sysroot: str, path: str) -> str:
    inside = sysroot.rstrip("/") + path
    return inside if os.path.lexists(inside) else path


def _said(guest: Guest) -> tuple[str, str]:
    with closing(UnhookedRun(guest)) as run:
        run.run()
        return tuple(run.files.output(fd).decode(errors="surrogateescape") for fd in (1, 2))  # type: ignore[return-value]


def _libraries(out: str, image: Image) -> list[Library]:
    found = []
    for line in out.splitlines():
        match = _LINE.match(line)
        if match is None or match["path"].startswith("linux-vdso"):
            continue
        path = None if match["path"] == "not found" else match["path"]
        # musl's interpreter is its libc, too, and then stands there twice.
        if match["name"] != image.interpreter and (match["name"] or path != image.interpreter):
            found.append(Library(match["name"] or os.path.basename(match["path"]), path))
    return found


def _origins(err: str) -> list[tuple[str, str]]:
    """For each file that was tried the list of directories that it came from; the last try of a path counts."""
    found, source = [], ""
    for line in err.splitlines():
        if match := _SEARCH.search(line) or _CACHE.search(line):
            source = match["source"]
        elif match := _TRYING.search(line):
            found.append((match["path"], source))
    return found


def _complaints(out: str, err: str) -> list[str]:
    """What ld.so finds wrong besides: versions of symbols that are not there, symbols that nobody defines."""
    words = []
    for line in (*err.splitlines(), *out.splitlines()):
        text = line.strip()
        if _MUSL_SYMBOL.match(text) or any(each in text for each in _COMPLAINTS):
            words.append(text)
    return list(dict.fromkeys(words))
