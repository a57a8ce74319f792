"""The emulated CPU: what it computes is what the host's computes; what it cannot do is said in one line."""

import platform
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from oracles import emuleak
from oracles.build import VARIANTS, build
from oracles.native import execute

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or shutil.which("gcc") is None,
    reason="compares with the host's own CPU",
)

DIRECTORY = Path(__file__).parent / "cpu_programs"
FLAGS = {
    "writes_code": ("-pthread",),
    "bmi": ("-mno-red-zone", "-mbmi", "-mbmi2", "-mlzcnt", "-mpopcnt", "-madx", "-msse4.2"),
}
NEEDS: dict[str, set[str]] = {"bmi": {"bmi1", "bmi2", "abm", "popcnt", "adx", "sse4_2"}}


def host_has(features: set[str]) -> bool:
    return features <= set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())


def program(name: str, flags: Sequence[str] = (), variant: str = "O0") -> Path:
    return build(next(DIRECTORY.glob(f"{name}.c*")), VARIANTS[variant], (*FLAGS.get(name, ()), *flags))


def compare(binary: Path, arguments: Sequence[str] = ()) -> emuleak.Verdict:
    native, verdict = execute([binary, *arguments]), emuleak.check(binary, arguments)
    emulated = verdict.summary.run
    assert emulated.stdout.decode() == native.stdout.decode()
    assert (emulated.code, emulated.signal) == (native.code, native.signal)
    return verdict


@pytest.mark.parametrize("name", ["bmi", "writes_code"])
def test_computes_what_the_host_computes(name: str):
    if not host_has(NEEDS.get(name, set())):
        pytest.skip("the host's CPU has not all of that")
    compare(program(name))


@pytest.mark.parametrize(
    ("flags", "extension", "flag"),
    [
        (("-mavx",), "AVX", "-mavx"),
        (("-mavx2",), "AVX", "-mavx2"),
        (("-mfma",), "AVX", "-mfma"),
        (("-march=haswell",), "AVX", "-march=haswell"),
        (("-march=x86-64-v3",), "AVX", "-march=x86-64-v3"),
        (("-march=skylake-avx512",), "AVX", "-march="),
    ],
)
@pytest.mark.parametrize("variant", ["O0", "O2"])
def test_one_line_for_a_program_built_for_another_cpu(flags, extension, flag, variant):
    verdict = emuleak.check(program("needs_avx", flags, variant))
    run = verdict.summary.run
    # What ran before is what ran natively: no AVX instruction was executed as something else.
    assert run.stdout in {b"", b"1\n"}
    assert run.signal == 4
    (line,) = verdict.incomplete
    assert line.startswith(f"the emulated CPU has no {extension}")
    assert "needs_avx.c:" in line
    assert flag in line
    assert "`v" in line


def test_the_line_names_instruction_function_and_place():
    (line,) = emuleak.check(program("needs_avx", ("-mavx",), "O2")).incomplete
    function = "scalar" if "in scalar" in line else "main"
    assert f" in {function} (needs_avx.c:" in line


def test_a_child_that_dies_of_it_is_told_of():
    binary = program("needs_avx", ("-mavx2",))
    verdict = emuleak.check(Path("/bin/sh"), ["-c", f"{binary} > /dev/null; echo $?"])
    assert verdict.summary.run.stdout == b"132\n"
    assert any(str(binary) in line and "AVX" in line for line in verdict.incomplete)


@pytest.mark.parametrize("variant", ["O0", "O2"])
def test_a_program_that_asks_the_cpu_is_told_that_it_has_none(variant):
    verdict = compare(program("asks_first", variant=variant))
    assert not verdict.incomplete
