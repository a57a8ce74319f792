"""The examination: everything that can be known of a program before it runs."""

import os
import stat
from collections.abc import Mapping
from contextlib import closing, suppress
from typing import Final

from emuleak.doctor.debuginfo import debug_info
from emuleak.doctor.document import Checkup, DebugInfo, Instructions
from emuleak.doctor.heapowner import allocator_of
from emuleak.doctor.instructionscan import Scan, required_level
from emuleak.doctor.origin import is_go, kind_of
from emuleak.doctor.systemcalls import missing_calls
from emuleak.elf import Image, read_image, read_program
from emuleak.errors import BadProgram
from emuleak.linking import Library, Linkage, linkage
from emuleak.symbols.objectfile import ObjectFile

# These are made for every CPU and choose by what it says; what they could do with AVX is no news.
_SYSTEM: Final = ("ld-linux", "libc.so", "libm.so", "libc.musl", "ld-musl")
_MOST_NAMES: Final = 3


def examine(path: str, sysroot: str, environment: Mapping[str, str]) -> Checkup:
    """Examine the program at `path`. Raises BadProgram for a file that is no program for x86-64 Linux."""
    image = read_program(path)
    missing: list[str] = []
    notes: list[str] = []
    answer = _linkage(path, image, sysroot, environment, missing)
    images = _images(answer, sysroot, missing)
    with closing(ObjectFile.open(path)) as file:
        kind, go = kind_of(image, file), is_go(image, file)
        level = required_level(file)
    if level:
        missing.append(f"it is marked as built for {level}, which the emulated CPU is not: build it without -march")
    allocator, unseen = allocator_of(image, images, go=go)
    calls = missing_calls([image, *(each for each in images if not _is_system(each))])
    instructions = _instructions(image, images, notes)
    missing += unseen
    missing += [
        f"{each.object} uses {', '.join(each.extensions)} and does not ask the CPU: it ends with SIGILL there"
        for each in instructions
        if not each.chosen
    ]
    debug = tuple(_debug_infos(path, answer, sysroot))
    notes += _notes(path, debug)
    return Checkup(
        program=path,
        kind=kind,
        interpreter=image.interpreter or None,
        libraries=answer.libraries,
        allocator=allocator,
        debug=debug,
        instructions=instructions,
        system_calls=tuple(calls),
        missing=tuple(missing),
        notes=tuple(notes),
    )


def _linkage(path: str, image: Image, sysroot: str, environment: Mapping[str, str], missing: list[str]) -> Linkage:
    """What ld.so says, or its absence."""
    try:
        answer = linkage(path, image, sysroot, environment, sources=True)
    except BadProgram as error:
        missing.append(str(error).removeprefix(f"{path}: "))
        return Linkage(tuple(Library(name, None, "not looked for: there is no ld.so") for name in image.needed))
    missing += [f"the library {each.name} is not found" for each in answer.libraries if each.path is None]
    missing += [words.removeprefix(f"{path}: ") for words in answer.complaints]
    return answer


def host_path(path: str, sysroot: str) -> str:
    """Where the host keeps a file of the guest's."""
    inside = sysroot.rstrip("/") + path
    return inside if os.path.exists(inside) else path


def _images(answer: Linkage, sysroot: str, missing: list[str]) -> list[Image]:
    images = []
    for library in answer.libraries:
        if library.path is not None:
            try:
                images.append(read_image(host_path(library.path, sysroot)))
            except BadProgram as error:
                missing.append(f"the library {error}")
    return images


def _is_system(image: Image) -> bool:
    return (image.soname or os.path.basename(image.path)).startswith(_SYSTEM)


def _instructions(image: Image, images: list[Image], notes: list[str]) -> tuple[Instructions, ...]:
    scan = Scan()
    found = [scan.foreign(image, unless_chosen=False)]
    found += [scan.foreign(each, unless_chosen=True) for each in images if not _is_system(each)]
    if scan.cut:
        names = ", ".join(sorted(os.path.basename(path) for path in scan.cut)[:_MOST_NAMES])
        names += f" and {len(scan.cut) - _MOST_NAMES} others" if len(scan.cut) > _MOST_NAMES else ""
        notes.append(f"not all code was searched for instructions, there is too much: not all of {names}")
    return tuple(each for each in found if each is not None)


def _debug_infos(path: str, answer: Linkage, sysroot: str) -> "list[DebugInfo]":
    files = [path, *(host_path(each.path, sysroot) for each in answer.libraries if each.path is not None)]
    return [debug_info(each, sysroot) for each in files]


def _notes(path: str, debug: tuple[DebugInfo, ...]) -> list[str]:
    notes = []
    if debug[0].file is None:
        notes.append("it has no debug information: reports name functions, not lines; compile with -g")
    with suppress(OSError):
        mode = os.stat(path).st_mode
        if mode & (stat.S_ISUID | stat.S_ISGID):
            notes.append("its set-uid or set-gid bit means nothing here")
    return notes
