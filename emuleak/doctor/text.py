"""The checkup as text that is read in ten seconds: what is missing last, where the eye ends."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, TextIO

from emuleak.doctor.document import Checkup, DebugInfo
from emuleak.linking import Library

_WIDTH: Final = 14
_MOST: Final = 12  # libraries that are listed one by one


def write(checkup: Checkup, out: TextIO) -> None:
    """Write it."""
    for title, lines in _sections(checkup):
        out.writelines(f"{'' if index else title:<{_WIDTH}}{line}\n" for index, line in enumerate(lines))


def _sections(checkup: Checkup) -> Iterator[tuple[str, Sequence[str]]]:
    yield "program", [checkup.program, checkup.kind]
    if checkup.interpreter:
        yield "interpreter", [checkup.interpreter]
    yield "libraries", list(_libraries(checkup.libraries))
    yield "allocator", [checkup.allocator]
    yield "debug info", list(_debug(checkup.debug))
    yield "instructions", list(_instructions(checkup)) or ["all that were found are there"]
    if checkup.system_calls:
        yield "system calls", [f"may be refused with ENOSYS: {', '.join(checkup.system_calls)}"]
    if checkup.notes:
        yield "note", checkup.notes
    if checkup.missing:
        yield "MISSING", checkup.missing
    else:
        yield "result", ["nothing is missing"]


def _libraries(libraries: Sequence[Library]) -> Iterator[str]:
    if not libraries:
        yield "none"
        return
    lost = [each for each in libraries if each.path is None]
    found = [each for each in libraries if each.path is not None]
    for each in lost:
        yield f"{each.name}: NOT FOUND" if not each.source else f"{each.name}: {each.source}"
    for each in found[:_MOST]:
        yield f"{each.name} => {each.path}" + (f"  ({each.source})" if each.source else "")
    if len(found) > _MOST:
        sources = Counter(each.source for each in found[_MOST:])
        yield f"and {len(found) - _MOST} more, from " + ", ".join(source or "elsewhere" for source in sources)


def _debug(infos: Sequence[DebugInfo]) -> Iterator[str]:
    without = []
    for info in infos:
        if info.file is None:
            without.append(info.object)
        else:
            where = f"in {info.file}, found by {info.found_by}" if info.found_by else "in the file"
            yield f"{info.object}: DWARF {'/'.join(map(str, info.dwarf)) or 'of no unit'} {where}"
    if without:
        shown = ", ".join(without[:_MOST]) + (" ..." if len(without) > _MOST else "")
        yield f"none for {shown}"


def _instructions(checkup: Checkup) -> Iterator[str]:
    for each in checkup.instructions:
        what = f"{each.object}: {', '.join(each.extensions)} ({each.count:,} times, first {each.first})"
        yield f"{what}: may not be reached, the file asks the CPU" if each.chosen else what
