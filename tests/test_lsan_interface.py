"""LeakSanitizer's interface: a program that was built without it says and loses what it would with it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from oracles import emuleak, native
from oracles.build import VARIANTS, build
from oracles.peers import absent, need

HERE = Path(__file__).parent / "client_programs"
THREADS = ("-pthread",)
WHERE = "__lsan_default_suppressions"


def document(how: str, variant: str = "O0") -> tuple[dict[str, Any], native.Run]:
    return emuleak.report(build(HERE / "lsan.c", VARIANTS[variant], THREADS), [how])


def lost(report: dict[str, Any]) -> set[int]:
    """The bytes of what was lost."""
    kinds = {"definitely-lost", "indirectly-lost", "possibly-lost"}
    return {finding["bytes"] for finding in report["findings"] if finding.get("leak_kind") in kinds}


def kept_out(report: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {one["name"]: (one["bytes"], one["blocks"]) for one in report.get("suppressed", ())}


IGNORED = {
    "__lsan_disable": (10 + 8 + 20 + 2000, 4),
    "__lsan_ignore_object": (50, 1),
    f"leak:known_to_leak ({WHERE})": (11, 1),
}


@pytest.mark.parametrize("variant", ["O0", "no-pie", "no-plt", "now", "O2", "clang-O1"])
def test_what_is_ignored_is_counted_and_no_leak(variant: str) -> None:
    report, run = document("", variant)
    assert run.stdout == b"end\n"
    assert lost(report) == {1001, 30}
    found = kept_out(report)
    # pthread_create allocates for the thread while the interface is off, as it does under LeakSanitizer.
    found["__lsan_disable"] = (found["__lsan_disable"][0] - 272, found["__lsan_disable"][1] - 1)
    assert found == IGNORED
    assert report["incomplete"] == []
    assert run.code == 23


def with_leaksanitizer(tmp_path: Path, how: str) -> native.Run:
    binary = tmp_path / "lsan"
    command = [need("clang"), "-g", "-w", "-O0", "-fsanitize=leak", "-pthread", "-o", binary, HERE / "lsan.c"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        absent("clang has no LeakSanitizer")
    return native.execute([binary, how])


@pytest.mark.parametrize("how", ["", "check", "recoverable", "clean", "off", "region"])
def test_leaksanitizer_says_the_same(how: str, tmp_path: Path) -> None:
    wanted = with_leaksanitizer(tmp_path, how)
    if b"does not work under ptrace" in wanted.stderr or b"has encountered a fatal error" in wanted.stderr:
        absent("LeakSanitizer cannot run here")
    report, run = document(how)
    assert run.stdout == wanted.stdout
    assert run.code == wanted.code
    sizes = re.findall(r"leak of (\d+) byte", wanted.stderr.decode())
    if how != "recoverable":
        assert lost(report) == {int(size) for size in sizes}
    else:
        assert {f"{int(size):,}" for size in sizes} <= set(re.findall(r"lost: ([\d,]+) bytes", run.stderr.decode()))


def test_a_check_that_finds_leaks_ends_the_program() -> None:
    report, run = document("check")
    assert run.stdout == b""
    assert report["exit"]["code"] == 23
    assert lost(report) == {1001, 30}


def test_after_a_clean_check_there_is_none_at_the_end() -> None:
    report, run = document("clean")
    assert lost(report) == set()
    assert kept_out(report) == {"__lsan_do_leak_check found no leak, and none is looked for after it": (5, 1)}
    assert run.code == 0


def test_a_recoverable_check_tells_and_goes_on() -> None:
    report, run = document("recoverable")
    assert run.stdout == b"1\nend\n"
    assert "emuleak: leak check, asked for by main at " in run.stderr.decode()
    assert lost(report) == {1001, 30}


def test_the_program_may_turn_it_off() -> None:
    report, run = document("off")
    assert lost(report) == set()
    assert kept_out(report)["__lsan_is_turned_off says so"] == (1031, 2)
    assert run.code == 0


def test_a_root_region_holds_what_it_points_to() -> None:
    report, _ = document("region")
    assert lost(report) == {1001, 30, 64, 72, 70}


@pytest.mark.parametrize("variant", ["O0", "O2", "static", "static-pie", "no-pie"])
def test_empty_functions_of_the_programs_own_are_heard(variant: str) -> None:
    report, _ = emuleak.report(build(HERE / "lsan_fallback.c", VARIANTS[variant]))
    assert lost(report) == {20}
    assert kept_out(report) == {"__lsan_disable": (10, 1)}


def test_enable_without_disable_is_told(tmp_path: Path) -> None:
    source = tmp_path / "unmatched.c"
    source.write_text(
        "void __lsan_enable(void) __attribute__((weak));\nint main(void) { __lsan_enable(); return 0; }\n"
    )
    verdict = emuleak.check(build(source, VARIANTS["O0"]))
    assert verdict.incomplete == ("__lsan_enable without __lsan_disable: LeakSanitizer would end the program",)


def test_suppressions_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    source = tmp_path / "bad.c"
    source.write_text(
        "#include <stdlib.h>\n"
        'const char *__lsan_default_suppressions(void) { return "leak:fine\\nrace:other\\n"; }\n'
        "int main(void) { return malloc(5) == 0; }\n"
    )
    verdict = emuleak.check(build(source, VARIANTS["O0"]))
    assert len(verdict.incomplete) == 1
    assert verdict.incomplete[0].startswith("__lsan_default_suppressions:2: expected 'leak:PATTERN'")


def test_a_function_that_does_not_return_counts_for_nothing(tmp_path: Path) -> None:
    source = tmp_path / "crashes.c"
    source.write_text("int __lsan_is_turned_off(void) { return *(volatile int *)8; }\nint main(void) { return 0; }\n")
    verdict = emuleak.check(build(source, VARIANTS["O0"]))
    assert verdict.incomplete == ("__lsan_is_turned_off did not return: it counts for nothing",)
