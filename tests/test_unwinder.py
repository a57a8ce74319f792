"""Stacks against gdb's: every shape of frame that a compiler makes, built in many ways.

Each call in tests/stack_programs/shapes.c allocates a size of its own, three times over: the first time the gate asks
Python for the stack, later the stub in the guest walks it (up to 1,000 bytes), so the two are judged, too.
"""

import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from oracles import gdb
from oracles.build import BASE_FLAGS
from oracles.emuleak import report
from oracles.peers import absent, need

PROGRAM = Path(__file__).parent / "stack_programs" / "shapes.c"
SMALL, LARGE = range(401, 427), range(7001, 7027)  # the sizes without and with an argument
MOST_FRAMES = 128


# What clang makes jumps of and tells gdb nothing about: by shape, the functions that only emuleak puts back.
UNTOLD = {12: ("pushed_arguments",), 24: ("tail",), 25: ("tail", "tail_of_tail"), 26: ("tail_into_frame",)}


@dataclass(frozen=True)
class Build:
    """A compiler, its flags, and whether gdb is not told of the tail calls."""

    compiler: str
    flags: str
    untold: bool = False

    def __str__(self) -> str:
        return f"{self.compiler} {self.flags}".replace(" ", "")

    def only_ours(self, shape: int) -> tuple[str, ...]:
        return UNTOLD.get(shape, ()) if self.untold else ()


BUILDS = (
    Build("gcc", "-O0"),
    Build("gcc", "-O1"),
    Build("gcc", "-O2"),
    Build("gcc", "-O3"),
    Build("gcc", "-Os"),
    Build("gcc", "-O0 -fomit-frame-pointer"),
    Build("gcc", "-O2 -fno-omit-frame-pointer"),
    Build("gcc", "-O2 -fno-plt"),
    Build("gcc", "-O2 -no-pie"),
    Build("gcc", "-O2 -fcf-protection=full"),
    Build("gcc", "-O0 -fno-asynchronous-unwind-tables"),
    Build("gcc", "-O2 -fno-asynchronous-unwind-tables"),
    Build("gcc", "-O2 -maccumulate-outgoing-args -mstackrealign"),
    Build("clang", "-O0"),
    Build("clang", "-O1"),
    Build("clang", "-O2 -fomit-frame-pointer", untold=True),
)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    if not gdb.can_trace():
        absent("gdb may not trace here")
    directory = tmp_path_factory.mktemp("shapes")

    def build(how: Build) -> Path:
        target = directory / f"{BUILDS.index(how)}"
        command = [need(how.compiler), *BASE_FLAGS, *how.flags.split(), "-pthread", "-o", target, PROGRAM]
        subprocess.run(command, check=True)
        return target

    return build


def of_the_program(frame: dict[str, Any], program: Path) -> bool:
    return Path(frame["object"]) == program


def found_by_emuleak(program: Path, *arguments: str, sizes: range) -> dict[int, list[tuple[int, list[dict[str, Any]]]]]:
    """For each size how often it was allocated from which stacks."""
    found: dict[int, list[tuple[int, list[dict[str, Any]]]]] = {size: [] for size in sizes}
    document, _ = report(program, arguments)
    for finding in document["findings"]:
        assert finding["kind"] == "leak"
        size = finding["bytes"] // finding["blocks"]
        if size in found:
            found[size].append((finding["blocks"], finding["stack"]))
    return found


Shown = tuple[tuple[str | None, int | None], ...]


def shown_by_gdb(stack: gdb.GdbStack) -> Shown:
    """Function and return address; of a function that ended in a jump there is no address to compare."""
    frames = [frame for frame in stack if frame.object is None]
    return tuple((frame.function, None if frame.kind == "tail" else frame.pc) for frame in frames)


def shown_by_emuleak(stack: list[dict[str, Any]], program: Path, like: Shown) -> Shown:
    """The same of emuleak's frames, which look up the call: one byte before the return address."""
    frames = [frame for frame in stack if of_the_program(frame, program)]
    without_pc = {n for n, (_, pc) in enumerate(like) if pc is None}
    return tuple(
        (frame["function"], None if number in without_pc else int(frame["pc"], 16) + 1)
        for number, frame in enumerate(frames)
    )


def without(stack: list[dict[str, Any]], functions: tuple[str, ...]) -> list[dict[str, Any]]:
    """The frames but for those of some functions, each of which must be there once."""
    names = [frame["function"] for frame in stack]
    assert [name for name in names if name in functions] == list(functions)
    return [frame for frame in stack if frame["function"] not in functions]


@pytest.mark.peer("gdb")
@pytest.mark.parametrize("sizes", [SMALL, LARGE], ids=["by-the-stub", "by-python"])
@pytest.mark.parametrize("how", BUILDS, ids=str)
def test_against_gdb(built: Any, how: Build, sizes: range) -> None:
    program = built(how)
    arguments = () if sizes is SMALL else ("large",)
    judged = gdb.stacks(program, *arguments, sizes=sizes, frames=MOST_FRAMES)
    # The constructor runs before main could look at the argument.
    assert {size for size, _ in judged} == set(sizes) - {LARGE.start + 20}, "a shape was not taken"
    found = found_by_emuleak(program, *arguments, sizes=sizes)
    wrong = []
    for size in sizes:
        shape = size - sizes.start + 1
        wanted = Counter(shown_by_gdb(stack) for at, stack in judged if at == size)
        like = next(iter(wanted), ())
        mine: Counter[Shown] = Counter()
        for blocks, stack in found[size]:
            mine[shown_by_emuleak(without(stack, how.only_ours(shape)), program, like)] += blocks
        if mine != wanted:
            wrong.append((shape, wanted, mine))
    assert not wrong


@pytest.mark.parametrize("flags", ["-O0", "-O2"])
def test_a_stack_that_lies_ends_early_and_harms_nothing(tmp_path: Path, flags: str) -> None:
    """Coroutines on other memory, functions without rules, frame pointers to nowhere, in circles, past the stack."""
    program = tmp_path / "strange"
    subprocess.run([need("gcc"), *BASE_FLAGS, flags, "-o", program, PROGRAM.with_name("strange.c")], check=True)
    document, run = report(program)
    assert (document["exit"]["code"], run.stdout) == (0, b"done\n")
    begins: Counter[tuple[str, ...]] = Counter()
    for finding in document["findings"]:
        begins[tuple(frame["function"] for frame in finding["stack"][:2])] += finding["blocks"]
    assert begins["take", "on_other_stack"] == 6
    assert begins["take", "with_rbp"] == 16
    assert sum(begins.values()) == 6 + 16 + 1 + 1  # the stack from malloc, and stdout's buffer
