"""Hand-made reports in every format, compared with golden files: `pytest --update-golden` rewrites them."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import UNSET

from emuleak._version import __version__
from emuleak.report.document import Exit, Finding, Frame, HeapSummary, Report
from emuleak.report.writers import WRITERS, writer

GOLDEN = Path(__file__).parent / "golden" / "report"
SUFFIX = {
    "text": ".txt",
    **{name: f".{name}" for name in ("json", "html", "sarif", "valgrind-xml", "junit")},
}
LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
OK = Exit(code=0, signal=None)
LOST = "No pointer to the block is left: nothing in the program can free it any more."


def frame(function: str, file: str | None, line: int | None = None, obj: str = "prog", **more: bool) -> Frame:
    pc = 0x401100 + sum(function.encode()) % 0xF00
    return Frame(hex(pc), function, file, line, obj, **more)


START = Frame("0x7ffff7c29d8f", "__libc_start_call_main", None, None, LIBC)


def heap(allocs: int, frees: int, allocated: int, in_use: tuple[int, int] = (0, 0)) -> HeapSummary:
    return HeapSummary(
        allocs=allocs,
        frees=frees,
        bytes_allocated=allocated,
        peak_bytes=allocated,
        in_use_bytes=in_use[0],
        in_use_blocks=in_use[1],
    )


def leak(size: int, blocks: int, *stack: Frame, kind: str = "definitely-lost", why: str = LOST, **more: str) -> Finding:
    return Finding(kind="leak", leak_kind=kind, bytes=size, blocks=blocks, why=why, stack=stack, **more)


def report(*findings: Finding, program: str = "prog", exit_: Exit = OK, **more: object) -> Report:
    more.setdefault("heap", heap(12, 12, 4096))
    return Report(program=program, exit=exit_, findings=findings, **more)


def case_leak() -> Report:
    stack = frame("copy", "leak.c", 6), frame("main", "leak.c", 12), START
    reachable = "A pointer to the block still exists at exit."
    return report(
        leak(1024, 1, frame("main", "leak.c", 12), START, kind="still-reachable", why=reachable),
        leak(8, 1, *stack),
        leak(4096, 1, START, kind="still-reachable", owner="library"),
        heap=heap(4, 1, 5133, (5128, 3)),
    )


def case_leak_kinds() -> Report:
    site = frame("main", "leak.c", 13), START
    return report(
        leak(1200, 4, *site, kind="indirectly-lost", why="Only lost blocks point to it: freeing them would reach it."),
        leak(32, 1, *site, kind="possibly-lost", why="Only a pointer into its middle was found."),
        leak(40, 1, frame("copy", "leak.c", 6, inlined=True), *site),
        leak(1200, 6, frame("copy", "leak.c", 7), *site),
        Finding(kind="mismatched-free", address="0x4c3f2a0", bytes=8, blocks=1, stack=site, allocated=site),
        heap=heap(1_234_567, 1_234_555, 98_765_432, (2472, 12)),
        exit_=Exit(code=3, signal=None),
    )


def case_double_free() -> Report:
    freed = frame("main", "double.c", 8), START
    allocated = frame("main", "double.c", 5), START
    return report(
        Finding(
            kind="invalid-free",
            address="0x4c3f2a8",
            bytes=64,
            blocks=1,
            why="The pointer is 8 bytes inside a block that was freed already; free takes only what malloc returned.",
            stack=(frame("main", "double.c", 10), START),
            allocated=allocated,
            freed=freed,
        ),
        Finding(
            kind="double-free",
            address="0x4c3f2a0",
            bytes=64,
            blocks=1,
            why="The block was freed already, and is freed here again.",
            stack=(frame("main", "double.c", 11), START),
            allocated=allocated,
            freed=freed,
        ),
        heap=heap(1, 1, 64),
    )


def case_access() -> Report:
    stack = frame("main", "double.c", 11), START
    more = {"kind": "use-after-free", "access": "read", "size": 4, "bytes": 64, "blocks": 1, "stack": stack}
    return report(*(Finding(address=hex(0x4C3F2A0 + 4 * index), **more) for index in range(1000)))


def case_crash() -> Report:
    stack = frame("second", "crash.c", 7), frame("main", "crash.c", 13), START
    ending = Exit(code=None, signal=11, signal_name="SIGSEGV", address="0x8", stack=stack)
    reachable = leak(16, 1, frame("main", "crash.c", 12), START, kind="still-reachable")
    return report(reachable, exit_=ending, heap=heap(1, 0, 16, (16, 1)))


def case_killed() -> Report:
    return report(exit_=Exit(code=None, signal=15), heap=heap(2, 1, 48, (24, 1)))


def case_budget() -> Report:
    stopped = Exit(code=None, signal=None, stopped="its 10 s of time were used up")
    missing = "system call 425 (io_uring_setup) is not emulated: it returned ENOSYS 3 times, first at tick 17"
    return report(exit_=stopped, incomplete=(missing, "the FPU state of signal frames is not saved"))


def case_clean() -> Report:
    return report()


def case_library_only() -> Report:
    kept = leak(72_704, 1, START, kind="still-reachable", owner="library")
    return report(kept, heap=heap(13, 12, 76_800, (72_704, 1)))


def case_many() -> Report:
    lines = [(index, 1 + index % 12 if index < 1900 else index) for index in range(2000)]
    findings = [
        leak(8 + index, 1, frame("copy", "leak.c", line), frame(f"caller_{index}", "leak.c", 20 + index), START)
        for index, line in lines
    ]
    return report(*findings, heap=heap(2000, 0, 2_015_000, (2_015_000, 2000)))


def case_recursion() -> Report:
    rounds = [frame("parse_list", "parse.c", 30), frame("parse_item", "parse.c", 41), frame("parse", "parse.c", 12)]
    walk = [frame("walk", "parse.c", 77)] * 200
    straight = [frame(f"step_{index}", "parse.c", 100 + index) for index in range(90)]
    main = frame("main", "parse.c", 90), START
    return report(
        leak(160, 10, frame("new_node", "parse.c", 8), *rounds * 42, *main),
        leak(80, 5, *walk, *main),
        leak(40, 1, *straight, *main),
        heap=heap(16, 0, 280, (280, 16)),
    )


def case_names() -> Report:
    table = "std::map<std::string, std::vector<int, std::allocator<int> >, std::less<std::string> >"
    header = "/usr/include/c++/12/bits/new_allocator.h"
    return report(
        leak(
            48,
            1,
            Frame("0x7ffff7e3a1c0", "operator new(unsigned long)", None, None, "/usr/lib/libstdc++.so.6"),
            frame(f"std::__new_allocator<{table}>::allocate(unsigned long, void const*)", header, 137, inlined=True),
            frame("build()", "names.cpp", 9),
            frame("main", "names.cpp", 14),
        ),
        heap=heap(3, 2, 200, (48, 1)),
    )


def case_no_debug() -> Report:
    stack = frame("???", None), frame("make", None), frame("main", None), START
    return report(leak(40, 1, *stack), heap=heap(2, 1, 80, (40, 1)), program="/opt/bin/prog")


def case_missing_source() -> Report:
    stack = frame("copy", "/build/gone/leak.c", 6), frame("main", "/build/gone/leak.c", 12), START
    return report(leak(8, 1, *stack), heap=heap(2, 1, 13, (8, 1)))


def case_hostile() -> Report:
    stack = frame("\x1b[2Jmain\u202e", "/tmp/\udce9\r\nemuleak: no leaks.c", 1), START
    return report(leak(8, 1, *stack, why="Lost.\x07"), heap=heap(2, 1, 13, (8, 1)), program="caf\udce9")


CASES: dict[str, Callable[[], Report]] = {
    name.removeprefix("case_"): case for name, case in list(globals().items()) if name.startswith("case_")
}
BULKY = {
    "json": {"many", "access", "recursion"},
    "html": {"many"},
    "sarif": {"many", "recursion"},
    "valgrind-xml": {"many", "recursion"},
    "junit": {"many"},
}


def scrubbed(text, format_):
    """A page without its style sheet and its script, which are the same in all of them, and without their hashes.

    No form with the version of emuleak that wrote it.
    """
    if format_ != "html":
        return re.sub(rf'(emuleak |"version": "){re.escape(__version__)}', r"\1VERSION", text)
    text, changes = re.subn(r"(?s)(<(style|script)>).*?(</\2>)|sha256-[A-Za-z0-9+/=]{44}", r"\1\3", text)
    assert changes == 4
    return text


@pytest.mark.parametrize("format_", WRITERS)
@pytest.mark.parametrize("name", CASES)
def test_golden(name, format_, golden, monkeypatch):
    if name in BULKY.get(format_, ()):
        pytest.skip("a golden file of that size teaches nobody anything")
    monkeypatch.chdir(GOLDEN / "src")
    out = io.StringIO()
    writer(format_).write(CASES[name](), out)
    golden.check(f"report/{name}{SUFFIX[format_]}", scrubbed(out.getvalue(), format_))


def test_every_format_has_golden_files_and_every_golden_file_a_case():
    assert set(SUFFIX) == set(WRITERS), "a format without golden files: give it a suffix here and --update-golden"
    wanted = {name + SUFFIX[format_] for name in CASES for format_ in WRITERS if name not in BULKY.get(format_, ())}
    assert {path.name for path in GOLDEN.iterdir() if path.is_file()} == wanted


@pytest.mark.parametrize("name", CASES)
def test_text_is_at_most_100_columns_unless_a_symbol_is_that_long(name, monkeypatch):
    monkeypatch.chdir(GOLDEN / "src")
    out = io.StringIO()
    writer("text").write(CASES[name](), out)
    long = [line for line in out.getvalue().splitlines() if len(line) > 100]
    assert all("std::__new_allocator<" in line for line in long)
    assert "\n\n\n" not in out.getvalue()
    assert not any(line != line.rstrip() for line in out.getvalue().splitlines())


def test_the_cases_cover_what_they_claim():
    findings = [finding for case in CASES.values() for finding in case().findings]
    assert {"leak", "double-free", "invalid-free", "mismatched-free", "use-after-free"} <= {f.kind for f in findings}
    assert len({f.leak_kind for f in findings if f.leak_kind is not UNSET}) == 4
