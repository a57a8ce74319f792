"""Client requests of valgrind: the same programs under valgrind and under emuleak must say and lose the same."""

import ctypes
import itertools
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from oracles import emuleak, judge, native, valgrind
from oracles.build import VARIANTS, build
from oracles.peers import absent, need
from oracles.shapes import Key, Summary

from emuleak.interfaces.printf import VaList, extended, formatted
from emuleak.interfaces.valgrind import REQUESTS, TOOL_BASE
from emuleak.memory import READ, WRITE, AddressSpace, Fault, Region

HERE = Path(__file__).parent / "client_programs"
HEADERS = Path("/usr/include/valgrind")


def program(name: str, variant: str = "O0", *flags: str) -> Path:
    need("valgrind")
    if not (HEADERS / "memcheck.h").exists():
        absent("valgrind's headers are not installed")
    return build(HERE / f"{name}.c", VARIANTS[variant], flags)


def by_line(summary: Summary, source: str) -> dict[Key, tuple[int, int]]:
    """The program's findings by line. valgrind's free of a released block of the program's own is just invalid."""
    found: dict[Key, tuple[int, int]] = {}
    for key, size in summary.by_line(source).items():
        plain = key._replace(kind="invalid-free") if key.kind in {"double-free", "invalid-realloc"} else key
        found[plain] = (size.bytes, size.blocks)
    return found


@pytest.mark.parametrize("variant", ["O0", "no-pie", "clang-O0"])
@pytest.mark.parametrize("name", ["blocks", "pools"])
def test_declared_blocks_are_what_they_are_for_valgrind(name: str, variant: str) -> None:
    binary = program(name, variant)
    wanted, verdict = valgrind.check(binary), emuleak.check(binary)
    found = by_line(wanted, f"{name}.c")
    assert len(found) >= 8
    assert by_line(verdict.summary, f"{name}.c") == found
    assert judge.heaps(wanted, verdict.summary) == []
    assert judge.ends(wanted.run, verdict.summary.run) == []
    assert verdict.incomplete == ()


def test_checks_while_the_program_runs_count_the_same() -> None:
    binary = program("checks")
    wanted, verdict = valgrind.check(binary), emuleak.check(binary)
    assert wanted.run.stdout.count(b"bytes:") == 5
    assert verdict.summary.run.stdout.decode() == wanted.run.stdout.decode()
    assert judge.heaps(wanted, verdict.summary) == []


def test_a_check_writes_what_it_found_and_the_run_goes_on() -> None:
    said = emuleak.check(program("checks")).summary.run.stderr.decode()
    checks = said.split("emuleak: leak check, asked for by main at ")[1:]
    assert len(checks) == 4
    assert "Possibly lost: 1,000 bytes" in checks[0]
    assert "possibly lost" not in checks[1].split("HEAP SUMMARY")[0].partition("\n\n")[2].lower()
    assert "Definitely lost: 100 bytes" in checks[1]
    assert "Since the last leak check: +100 bytes, +1 block" in " ".join(checks[1].split())
    assert len(checks[2].splitlines()) == 2
    assert "222 bytes" not in checks[2]
    assert "1,000 bytes" in checks[3]


def test_what_is_said_through_valgrind() -> None:
    binary = program("talk")
    wanted, verdict = valgrind.check(binary), emuleak.check(binary)
    assert verdict.summary.run.stdout.decode() == wanted.run.stdout.decode()
    pattern = re.compile(r"^\*\*\d+\*\* (.*)$", re.MULTILINE)
    said = pattern.findall(verdict.summary.run.stderr.decode())
    assert said == ["number -3, text abc|left    |   right|, ff     7|7    |z%", "half a line", "from here"]
    assert re.search(r"==\d+==    at 0x[0-9A-F]+: .*\(valgrind\.h:\d+\)\n==\d+==    by 0x[0-9A-F]+: main \(talk\.c:",
                     verdict.summary.run.stderr.decode())  # fmt: skip
    assert verdict.incomplete == ()


def test_registered_stacks_share_a_mapping() -> None:
    binary = program("coroutines")
    wanted, verdict = valgrind.check(binary), emuleak.check(binary)
    assert {key.leak_kind for key in by_line(wanted, "coroutines.c")} == {"still-reachable"}
    assert by_line(verdict.summary, "coroutines.c") == by_line(wanted, "coroutines.c")


def test_a_library_that_is_loaded_later_is_heard() -> None:
    plugin = program("plugin", "O0", "-shared", "-fPIC")
    verdict = emuleak.check(program("loads"), [str(plugin)])
    assert verdict.summary.run.stdout == b"1\n"
    found = by_line(verdict.summary, "plugin.c")
    assert sorted(found.values()) == [(123, 1)]


def test_a_static_program_is_heard() -> None:
    binary = program("blocks", "static")
    verdict = emuleak.check(binary)
    same = {key: size for key, size in by_line(valgrind.check(program("blocks")), "blocks.c").items() if size != (0, 0)}
    assert {key: size for key, size in by_line(verdict.summary, "blocks.c").items() if size != (0, 0)} == same


def test_a_pool_that_was_never_created_is_told(tmp_path: Path) -> None:
    source = tmp_path / "nopool.c"
    source.write_text(
        "#include <valgrind/valgrind.h>\nint main(void) { VALGRIND_MEMPOOL_ALLOC(4096, 8192, 5); return 0; }\n"
    )
    verdict = emuleak.check(build(source, VARIANTS["O0"]))
    assert verdict.incomplete == ("MEMPOOL_ALLOC of a pool that was never created, 0x1000: nothing was done",)
    assert verdict.summary.heap.allocs == 0


def test_a_request_with_a_wild_pointer_is_the_programs_crash(tmp_path: Path) -> None:
    source = tmp_path / "wild.c"
    source.write_text(
        "#include <valgrind/memcheck.h>\n"
        "int main(void) { VALGRIND_DO_CLIENT_REQUEST_STMT(VG_USERREQ__COUNT_LEAKS, 8, 8, 8, 8, 0); return 0; }\n"
    )
    run = emuleak.check(build(source, VARIANTS["O0"])).summary.run
    assert (run.code, run.signal) == (None, 11)


# ---- every request has a decision


def declared_requests() -> dict[str, int]:
    """Names and numbers of the enumerations in the installed headers."""
    found: dict[str, int] = {}
    for header in ("valgrind.h", "memcheck.h"):
        if not (HEADERS / header).exists():
            absent("valgrind's headers are not installed")
        text = re.sub(r"/\*.*?\*/", "", (HEADERS / header).read_text(), flags=re.DOTALL)
        for body in re.findall(r"enum\s*\{([^}]*VG_USERREQ__[^}]*)\}", text):
            number = 0
            for name, value in re.findall(
                r"VG_USERREQ__(\w+)\s*(?:=\s*(VG_USERREQ_TOOL_BASE\([^)]*\)[ +\d]*|[^,}]+))?", body
            ):
                if "TOOL_BASE" in value:
                    number = TOOL_BASE + int(value.partition("+")[2].strip() or "0")
                elif value:
                    number = int(value.strip(), 0)
                found[name] = number
                number += 1
    return found


def test_every_request_of_the_headers_has_a_decision() -> None:
    declared = declared_requests()
    assert len(declared) >= 48
    assert {number: entry.name for number, entry in REQUESTS.items()} == {
        number: name for name, number in declared.items()
    }


def test_every_request_is_documented() -> None:
    text = (HERE.parent.parent / "docs" / "client-requests.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([A-Z][A-Z0-9_]+)`", text))
    assert {entry.name for entry in REQUESTS.values()} <= told


# ---- printf


class Arguments:
    """A va_list in guest memory, as a function would have it that got these arguments behind its format."""

    BASE = 0x10_0000

    def __init__(self, *arguments: float | bytes) -> None:
        self.memory = AddressSpace()
        self.memory.map(Region(self.BASE, self.BASE + 0x10000, READ | WRITE, "anonymous"))
        texts = self.BASE + 0x4000
        general, vector, overflow = [0], [], b""
        for argument in arguments:
            value = argument
            if isinstance(argument, bytes):
                self.memory.poke(texts, argument + b"\0")
                value, texts = texts, texts + len(argument) + 1
            if isinstance(value, float) and len(vector) < 8:
                vector.append(value)
            elif isinstance(value, int) and len(general) < 6:
                general.append(value)
            else:
                overflow += struct.pack("<d" if isinstance(value, float) else "<Q", value)
        saved = b"".join(struct.pack("<Q", word & (1 << 64) - 1) for word in general).ljust(48, b"\0")
        saved += b"".join(struct.pack("<dQ", value, 0) for value in vector)
        self.memory.poke(self.BASE + 0x100, saved)
        self.memory.poke(self.BASE + 0x1000, overflow)
        self.memory.poke(self.BASE, struct.pack("<IIQQ", 8, 48, self.BASE + 0x1000, self.BASE + 0x100))

    def format(self, template: bytes) -> bytes:
        return formatted(template, VaList(self.memory, self.BASE))


INTEGERS = [0, 1, 7, 255, 65536, 123456789, (1 << 31) - 1, 1 << 31, (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 300]
CONVERSIONS = (
    *("%d", "%5d", "%-5d|", "%05d", "%+d", "%.3d", "%8.5d", "%-8.5d|", "%08.3d", "%.0d", "%hd", "%hhd", "%ld"),
    *("%lld", "%zd", "%jd", "%td", "%i", "%u", "%lu", "%hhu", "%x", "%#x", "%08x", "%#010lx", "%X", "%#X", "%lx"),
    *("%o", "%#o", "%#.4o", "%p", "%20p|", "%-20p|", "%c", "%3c", "%-3c|", "%.10lu", "%+.0d", "%#.0o", "%qd"),
)
FLOATS = [
    *(0.0, -0.0, 1.0, 0.5, 2.5, -2.25, 3.14159265358979, 1e10, 1e-10, 123456.789, 1e300, 5e-324, 99999.95),
    *(float("inf"), -float("inf"), float("nan")),
]
FLOATING = (
    *("%f", "%.0f", "%#.0f", "%.2f", "%10.3f", "%-10.3f|", "%+f", "%010.2f", "%e", "%.0e", "%E", "%g", "%G"),
    *("%#g", "%.3g", "%012g", "%a", "%A", "%.3a", "%20a", "%F", "%.0a", "%020a", "%.20f"),
)


def by_glibc(template: str, *arguments: object) -> bytes:
    if sys.platform != "linux":
        absent("compares with glibc's printf")
    buffer = ctypes.create_string_buffer(1 << 12)
    ctypes.CDLL(None).snprintf(buffer, len(buffer), template.encode(), *arguments)
    return buffer.value


@pytest.mark.parametrize("template", [*CONVERSIONS, "% d"])
def test_integers_are_written_as_by_glibc(template: str) -> None:
    for value in INTEGERS:
        wanted = by_glibc(f"<{template}>", ctypes.c_uint64(value))
        # A NUL ends what glibc can show.
        assert Arguments(value).format(f"<{template}>".encode()).partition(b"\0")[0] == wanted, value


@pytest.mark.parametrize("template", [*FLOATING, "% f"])
def test_floats_are_written_as_by_glibc(template: str) -> None:
    for value in FLOATS:
        wanted = by_glibc(f"<{template}>", ctypes.c_double(value))
        assert Arguments(value).format(f"<{template}>".encode()) == wanted, value


@pytest.mark.parametrize("template", ["%s", "%10s", "%-10s|", "%.2s", "%-6.3s|", "%.0s", "%.10s"])
def test_strings_are_written_as_by_glibc(template: str) -> None:
    for text in (b"", b"a", b"hello world"):
        assert Arguments(text).format(template.encode()) == by_glibc(template, text)


def test_widths_and_many_arguments_come_from_the_list() -> None:
    values = [3, 2.5, b"abc", 7, 8.25, 9, 10, 11, 12, 0.5, *(float(n) for n in range(8)), 13]
    template = "%*d %.*f|%s %d %g %d %d %d %d %g" + " %g" * 8 + " %d"
    ours = Arguments(5, values[0], 3, *values[1:]).format(template.encode())
    pointers = [ctypes.c_double(v) if isinstance(v, float) else v for v in values]
    assert ours == by_glibc(template, 5, pointers[0], 3, *pointers[1:])
    assert Arguments(-5, 3).format(b"%*d|") == b"3    |"
    assert Arguments(0).format(b"%s %d%% %y") == b"(null) 0% %y"


def test_a_string_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(Fault):
        Arguments(0x5000_0000).format(b"%s")


@pytest.mark.parametrize(
    ("bits", "value"),
    [
        (0x3FFF_8000_0000_0000_0000, 1.0),
        (0xC000_C000_0000_0000_0000, -3.0),
        (0, 0.0),
        (0x7FFF_8000_0000_0000_0000, float("inf")),
        (0x3FFD_AAAA_AAAA_AAAA_A800, 1 / 3),
    ],
)
def test_long_doubles(bits: int, value: float) -> None:
    assert float(extended(bits)) == value


# ---- the documentation


def test_the_examples_of_the_documentation_say_what_it_says(tmp_path: Path) -> None:
    text = (HERE.parent.parent / "docs" / "client-requests.md").read_text(encoding="utf-8")
    blocks = [block.replace("\n    ", "\n").strip() for block in re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)]
    blocks = [block for block in blocks if block]
    examples = [(one, two) for one, two in itertools.pairwise(blocks) if one.startswith("#include")]
    assert len(examples) == 2
    for source, promised in examples:
        place = tmp_path / "pool.c"
        place.write_text(source)
        subprocess.run([need("gcc"), "-g", "-w", "-O0", "-o", "pool", "pool.c"], cwd=tmp_path, check=True)
        run = native.execute([sys.executable, "-m", "emuleak", "run", "./pool"], cwd=tmp_path)
        assert " ".join(promised.split()) in " ".join(run.stderr.decode().split())
