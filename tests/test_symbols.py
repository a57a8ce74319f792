"""Addresses to source lines: real compilers, with addr2line and llvm-symbolizer as the oracles.

GNU addr2line 2.40 is wrong in ways that show up here, so an address counts as right if either oracle agrees:

- The innermost inlined function, if it has no linkage name (C functions in clang's C++, templates over local types),
  is given the name of the symbol around it.
- DWARF 5 line tables: rows before the first "set file" opcode are put in the compiled file instead of file 1.
- DWARF 5 from clang: inlined calls whose ranges are of form rnglistx are left out of the chain.
"""

import os
import re
import shutil
import subprocess
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_symbols_programs import SOURCES

from emuleak.symbols import Location, ObjectSymbols, cache, locate
from emuleak.symbols.demangle import strip_clone
from emuleak.symbols.dwarf import DwarfLines
from emuleak.symbols.objectfile import ObjectFile

TOOLS = ("gcc", "g++", "objdump", "objcopy", "addr2line", "c++filt", "nm")
pytestmark = [
    pytest.mark.peer("gcc"),
    pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason="needs gcc and binutils"),
]

C_FLAGS = [
    *(f"{cc} {o} -g -gdwarf-{v}" for cc in ("gcc", "clang") for o in ("-O0", "-O2") for v in (4, 5)),
    "gcc -O2 -g -gz",
    "clang -O2 -g -gz",
    "gcc -O2 -g -no-pie",
    "gcc -O2 -g -static",
    "gcc -O2 -g -ffunction-sections -Wl,--gc-sections",
    "gcc -O3 -g -flto",
]
CC_FLAGS = ["g++ -O0 -g -gdwarf-4", "g++ -O2 -g", "clang++ -O0 -g", "clang++ -O2 -g -gdwarf-4", "clang++ -O2 -g -gz"]

Frames = list[tuple[str, str | None, int | None]]


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory):
    """Compile the C or the C++ program with the given command, once a session."""
    made: dict[str, Path] = {}

    def compile_with(command: str) -> Path:
        if command not in made:
            compiler = command.split(maxsplit=1)[0]
            if shutil.which(compiler) is None:
                pytest.skip(f"no {compiler}")
            place = tmp_path_factory.mktemp("program")
            (place / "inc").mkdir()
            for name, text in SOURCES.items():
                (place / name).write_text(text)
            sources = ["main.cc"] if "++" in compiler else ["main.c", "other.c"]
            subprocess.run([*command.split(), *sources, "-o", "prog"], cwd=place, check=True)
            made[command] = place / "prog"
        return made[command]

    return compile_with


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(params=["symbolic", "pyelftools"])
def reader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test with either reader of line information."""
    if request.param == "symbolic":
        pytest.importorskip("symbolic")
    else:
        monkeypatch.setattr(locate, "open_lines", DwarfLines)
    return str(request.param)


def output(*command: str | Path, text: str = "") -> list[str]:
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout.splitlines()


def call_sites(program: Path) -> list[int]:
    """The return address of every call, less one."""
    rows = [re.match(r"\s+([0-9a-f]+):\s+(\S+)", row) for row in output("objdump", "-d", "--no-show-raw-insn", program)]
    return [int(after[1], 16) - 1 for row, after in pairwise(rows) if row and after and row[2].startswith("call")]


def demangled(names: set[str]) -> dict[str, str]:
    ordered = sorted(names)
    found = dict(zip(ordered, output("c++filt", "-i", text="\n".join(ordered)), strict=True))
    # Where several packs at the end are empty, c++filt leaves a comma behind.
    return {k: k if k.startswith("_GLOBAL_") else v.replace(", >", ">") for k, v in found.items()}


def ask(tool: list[str], program: Path, addresses: list[int]) -> dict[int, Frames]:
    rows = [row for row in output(*tool, program, text="\n".join(map(hex, addresses))) if row]
    found: dict[int, Frames] = {}
    at = 0
    while at < len(rows):
        if re.fullmatch(r"0x[0-9a-f]+", rows[at]):
            frames = found.setdefault(int(rows[at], 16), [])
            at += 1
            continue
        file, _, line = re.sub(r" \(discriminator \d+\)", "", rows[at + 1]).rpartition(":")
        known = line.isdigit() and line != "0"
        name = strip_clone(rows[at]).partition("@")[0]
        frames.append((name, os.path.normpath(file) if known else None, int(line) if known else None))
        at += 2
    names = demangled({name for frames in found.values() for name, _, _ in frames})
    return {key: [(names[name], file, line) for name, file, line in frames] for key, frames in found.items()}


ADDR2LINE = ["addr2line", "-a", "-f", "-i", "-e"]
LLVM = ["llvm-symbolizer", "--output-style=GNU", "-a", "-f", "--no-demangle", "-i", "-e"]


def aliases(program: Path) -> dict[str, int]:
    rows = [row.split() for row in output("nm", program)]
    return {row[2].partition("@")[0]: int(row[0], 16) for row in rows if len(row) == 3}


def plain(found: tuple[Location, ...]) -> Frames:
    return [(item.function, item.file if item.line else None, item.line) for item in found]


def check_against_oracles(program: Path, symbols: ObjectSymbols, limit: int = 600) -> float:
    """Fail where no oracle agrees; give the share in which addr2line does."""
    addresses = call_sites(program)[:limit]
    assert len(addresses) > 15
    gnu = ask(ADDR2LINE, program, addresses)
    llvm = ask(LLVM, program, addresses) if shutil.which(LLVM[0]) else gnu
    known = aliases(program)
    wrong, agreed = [], 0
    for address in addresses:
        found = symbols.lookup(address)
        assert [item.inlined for item in found] == [True] * (len(found) - 1) + [False]
        ours = plain(found)
        # Without lines only a symbol's name is left, and libc has several for one address.
        same_symbol = len(ours) == 1 and ours[0][1:] == gnu[address][0][1:] == (None, None)
        same_symbol = same_symbol and known.get(ours[0][0], -1) == known.get(gnu[address][0][0], -2)
        agreed += ours == gnu[address] or same_symbol
        if not same_symbol and ours not in (gnu[address], llvm[address]):
            wrong.append((hex(address), ours, gnu[address], llvm[address]))
    if shutil.which(LLVM[0]):
        assert not wrong, f"{len(wrong)} of {len(addresses)}: {wrong[:2]}"
    return agreed / len(addresses)


@pytest.mark.parametrize("command", [*C_FLAGS, *CC_FLAGS])
def test_lines_and_inlined_calls_agree_with_the_oracles(build, reader: str, command: str) -> None:
    program = build(command)
    share = check_against_oracles(program, ObjectSymbols(str(program)))
    # clang's DWARF 5 is where addr2line drops inlined calls.
    assert share > (0.7 if "clang++ -O2" in command else 0.85), (reader, share)


def test_both_readers_agree_everywhere(build, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("symbolic")
    program = build("g++ -O2 -g")
    text = next(s for s in ObjectFile.open(str(program)).sections if s.name == ".text")
    addresses = range(text.address, text.address + text.size, 3)
    fast = ObjectSymbols(str(program))
    one = {address: plain(fast.lookup(address)) for address in addresses}
    monkeypatch.setattr(locate, "open_lines", DwarfLines)
    slow = ObjectSymbols(str(program))
    assert [hex(a) for a in addresses if plain(slow.lookup(a)) != one[a]] == []


@pytest.mark.usefixtures("reader")
def test_files_are_absolute_and_normalised(build) -> None:
    program = build("gcc -O2 -g -gdwarf-5")
    symbols = ObjectSymbols(str(program))
    files = {item.file for address in call_sites(program) for item in symbols.lookup(address)}
    assert {str(program.parent / "main.c"), str(program.parent / "inc.h")} <= files


@pytest.mark.usefixtures("reader")
def test_a_cold_part_has_its_functions_name(build) -> None:
    program = build("gcc -O2 -g -gdwarf-5")
    cold = {name: at for name, at in aliases(program).items() if name.endswith(".cold")}
    assert cold
    symbols = ObjectSymbols(str(program))
    for name, address in cold.items():
        assert symbols.lookup(address)[-1].function == name.removesuffix(".cold")
        assert symbols.function_range(address)[0] == name.removesuffix(".cold")


def test_function_range_and_data_symbol(build) -> None:
    program = build("gcc -O2 -g -gdwarf-5")
    symbols = ObjectSymbols(str(program))
    rows = [row.split() for row in output("nm", "-S", program)]
    sizes = {row[3]: (int(row[0], 16), int(row[1], 16)) for row in rows if len(row) == 4}
    start, size = sizes["other"]
    assert symbols.function_range(start + size - 1) == ("other", start, start + size)
    start, size = sizes["counter_array"]
    assert symbols.data_symbol(start + 12) == ("counter_array", 12)
    assert symbols.data_symbol(start + size) != ("counter_array", size)
    assert symbols.function_range(start) is None


def split(program: Path, place: Path, link_to: str | None) -> tuple[Path, Path]:
    """A stripped copy of the program and its debug file, as distributions make them."""
    place.mkdir(parents=True, exist_ok=True)
    stripped, debug = place / "prog", place / "prog.debug"
    output("objcopy", "--only-keep-debug", "--compress-debug-sections", program, debug)
    output("objcopy", "--strip-all", program, stripped)
    if link_to is not None:
        output("objcopy", "--remove-section=.note.gnu.build-id", f"--add-gnu-debuglink={debug}", stripped)
    return stripped, debug


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("place", ["usr/bin", "usr/bin/.debug", "debug/{directory}", "debug/usr/bin"])
def test_debug_link_is_found_where_gdb_looks(build, tmp_path: Path, place: str) -> None:
    program = build("gcc -O2 -g -gdwarf-5")
    stripped, debug = split(program, tmp_path / "usr" / "bin", "prog.debug")
    target = tmp_path / place.format(directory=str(stripped.parent).lstrip("/"))
    target.mkdir(parents=True, exist_ok=True)
    debug.rename(target / "prog.debug")
    address = call_sites(program)[-3]
    full = ObjectSymbols(str(program)).lookup(address)
    assert full[0].line is not None
    if "{" in place:
        found = ObjectSymbols(str(stripped), debug_roots=[str(tmp_path / "debug")])
    else:
        found = ObjectSymbols(str(stripped), debug_roots=["/debug"], sysroot=str(tmp_path))
    assert found.lookup(address) == full


def test_a_debug_file_of_another_build_is_refused(build, tmp_path: Path) -> None:
    program = build("gcc -O2 -g -gdwarf-5")
    stripped, debug = split(program, tmp_path, "prog.debug")
    link = ObjectFile.open(str(stripped)).debug_link
    assert link == ("prog.debug", zlib.crc32(debug.read_bytes()))
    debug.write_bytes(debug.read_bytes() + b"x")
    assert ObjectSymbols(str(stripped)).lookup(call_sites(program)[-3])[0].line is None


@pytest.mark.usefixtures("reader")
def test_build_id_is_found_under_the_roots_and_the_sysroot(build, tmp_path: Path) -> None:
    program = build("g++ -O2 -g -Wl,--build-id")
    stripped, debug = split(program, tmp_path / "bin", None)
    name = ObjectFile.open(str(program)).build_id.hex()
    target = tmp_path / "usr/lib/debug/.build-id" / name[:2] / f"{name[2:]}.debug"
    target.parent.mkdir(parents=True)
    debug.rename(target)
    for symbols in (
        ObjectSymbols(str(stripped), debug_roots=[str(tmp_path / "usr/lib/debug")]),
        ObjectSymbols(str(stripped), sysroot=str(tmp_path)),
    ):
        check_against_oracles(program, symbols, limit=60)


def test_a_stripped_program_has_its_exported_names(build, tmp_path: Path) -> None:
    program = build("gcc -O1 -rdynamic")
    stripped, debug = split(program, tmp_path, None)
    debug.unlink()
    start = aliases(program)["visible_size"]
    symbols = ObjectSymbols(str(stripped), debug_roots=())
    assert symbols.lookup(start + 2) == (Location("visible_size", None, None, inlined=False),)
    hidden = aliases(program)["partial"]
    assert re.fullmatch(r"\?\?\?|\w+\+0x[0-9a-f]+|_\w+", symbols.lookup(hidden)[0].function)


@pytest.mark.usefixtures("reader")
def test_an_address_outside_of_everything_is_unknown(build) -> None:
    symbols = ObjectSymbols(str(build("gcc -O2 -g -gdwarf-5")))
    assert symbols.lookup(0x7FFF_0000_0000) == (Location("???", None, None, inlined=False),)
    assert symbols.function_range(0) is None
    assert symbols.data_symbol(0) is None


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + b"\xff" * 80, b"#!/bin/sh\n", None])
def test_a_file_that_is_no_program_knows_nothing(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_bytes(content)
    assert ObjectSymbols(str(path)).lookup(0x1234)[0].function == "???"
    assert ObjectSymbols(str(tmp_path)).lookup(0x1234)[0].function == "???"


RELAXED = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.mark.usefixtures("reader")
@RELAXED
@given(address=st.one_of(st.integers(0, 0x9000), st.integers(0, 2**64 - 1), st.integers(-5, 2**70)))
def test_any_address_has_an_answer(build, address: int) -> None:
    found = ObjectSymbols(str(build("g++ -O2 -g"))).lookup(address)
    assert found
    assert all(item.function for item in found)
    assert not found[-1].inlined


@pytest.mark.usefixtures("reader")
@RELAXED
@given(data=st.data())
def test_damaged_debug_information_never_raises(build, tmp_path: Path, data: st.DataObject) -> None:
    program = build("gcc -O2 -g -gdwarf-5")
    file = ObjectFile.open(str(program))
    image = bytearray(program.read_bytes())
    names = [s.name for s in file.sections if s.name.startswith(".debug") or s.name in {".symtab", ".strtab"}]
    for _ in range(data.draw(st.integers(1, 8))):
        section = file.section(data.draw(st.sampled_from(names)))
        assert section is not None
        at = section.offset + data.draw(st.integers(0, section.size - 1))
        image[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del image[data.draw(st.integers(0, len(image) - 1)) :]
    path = tmp_path / "damaged"
    path.unlink(missing_ok=True)  # the file before it may still be mapped
    path.write_bytes(image)
    symbols = ObjectSymbols(str(path))
    for address in call_sites(program):
        assert symbols.lookup(address)
        symbols.function_range(address)
        symbols.data_symbol(address)


def test_a_large_index_is_kept_and_a_spoilt_one_is_made_anew(
    build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    symcache = pytest.importorskip("emuleak.symbols.symcache")
    monkeypatch.setattr(symcache, "WORTH_KEEPING", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    program = build("gcc -O2 -g -gdwarf-5")
    address = call_sites(program)[-3]
    first = ObjectSymbols(str(program)).lookup(address)
    (kept,) = (tmp_path / "emuleak").iterdir()
    monkeypatch.setattr(symcache, "_build", lambda _file, _key: None)
    assert ObjectSymbols(str(program)).lookup(address) == first
    monkeypatch.undo()
    monkeypatch.setattr(symcache, "WORTH_KEEPING", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for spoilt in (b"", kept.read_bytes()[:100]):
        kept.write_bytes(spoilt)
        assert ObjectSymbols(str(program)).lookup(address) == first


def test_an_unusable_cache_directory_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "emuleak").write_text("a file where the directory should be")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache.store("name", b"content")
    assert cache.load("name") is None
    assert cache.key(str(tmp_path / "absent"), "kind") is None


LIBC = Path("/lib/x86_64-linux-gnu/libc.so.6")


@pytest.mark.skipif(not LIBC.exists(), reason="needs a Debian libc")
def test_libc_frames_have_names() -> None:
    symbols = ObjectSymbols(str(LIBC))
    rows = output("nm", "-D", "--defined-only", LIBC)
    exported = {row.split()[2].partition("@")[0]: int(row.split()[0], 16) for row in rows}
    assert symbols.function_range(exported["malloc"] + 1)[0] == "malloc"
    build_id = ObjectFile.open(str(LIBC)).build_id.hex()
    debug = Path("/usr/lib/debug/.build-id", build_id[:2], f"{build_id[2:]}.debug")
    if not debug.exists():
        pytest.skip("no debug information for libc")
    known = aliases(debug)
    for name in ("_IO_file_doallocate", "__libc_start_call_main"):
        found = symbols.lookup(known[name] + 8)[-1]
        assert found.function == name
        assert found.line is not None
