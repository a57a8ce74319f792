"""The programs of the corpus, and which variants each is built in."""

import functools
import zlib
from pathlib import Path

from oracles import expectations, valgrind
from oracles.build import VARIANTS, Variant, build
from oracles.expectations import Expectations
from oracles.native import execute
from oracles.shapes import Run, Summary

DIRECTORY = Path(__file__).parent.parent / "programs"
PROGRAMS = sorted(path for suffix in ("*.c", "*.cpp") for path in DIRECTORY.glob(suffix))
PLAIN = VARIANTS["O0"]
OTHERS = [variant for variant in VARIANTS.values() if variant is not PLAIN]


@functools.cache
def promises(program: Path) -> Expectations:
    """What the comments of a program say."""
    return expectations.read(program)


def stdin_of(program: Path) -> Path | None:
    """The file beside the program that it reads, if there is one."""
    beside = program.with_suffix(".stdin")
    return beside if beside.exists() else None


def rotation(program: Path, count: int) -> list[Variant]:
    """A few of the other variants, chosen by the program's name: adding a program moves nobody else's."""
    possible = [variant for variant in OTHERS if promises(program).holds_in(variant)]
    start = zlib.crc32(program.name.encode())
    # Two steps apart, so that the neighbours in the table (static and static-pie, say) rarely go to one program.
    return [possible[(start + 2 * n) % len(possible)] for n in range(min(count, len(possible)))]


def binary(program: Path, variant: Variant) -> Path:
    """The program, built."""
    return build(program, variant, promises(program).flags)


def ask_valgrind(program: Path, variant: Variant = PLAIN) -> Summary:
    """What valgrind says of the program in a variant."""
    flags = promises(program).valgrind_flags
    return valgrind.check(binary(program, variant), stdin=stdin_of(program), flags=flags)


def reference(program: Path, variant: Variant) -> Run:
    """How the program ought to end and what it ought to write.

    That is the host's own answer, but where the heap is misused glibc would end the program: then valgrind's, which
    goes on as emuleak does.
    """
    if promises(program).misuses(variant):
        return ask_valgrind(program).run  # plainly built: into a static program valgrind cannot look
    return execute([binary(program, variant)], stdin_of(program))
