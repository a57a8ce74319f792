"""Call-frame information of real files, against pyelftools as the oracle."""

import mmap
import random
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from elftools.dwarf.callframe import FDE, RegisterRule
from elftools.elf.elffile import ELFFile

from emuleak.stacks import expression
from emuleak.stacks.cfi import NO_REGISTER, RETURN_ADDRESS, BadCallFrameInfo, CallFrameInfo, Kind, Rule

KINDS = {
    RegisterRule.UNDEFINED: Kind.UNDEFINED,
    RegisterRule.SAME_VALUE: Kind.SAME_VALUE,
    RegisterRule.OFFSET: Kind.OFFSET,
    RegisterRule.VAL_OFFSET: Kind.VAL_OFFSET,
    RegisterRule.REGISTER: Kind.REGISTER,
    RegisterRule.EXPRESSION: Kind.EXPRESSION,
    RegisterRule.VAL_EXPRESSION: Kind.VAL_EXPRESSION,
}
ARGS_SIZE = 0x2E
COMMON = {0x02, 0x03, 0x0E, 0x0A, 0x0B, 0x00, 0x40, 0x80, 0xC0}
SAMPLE = 400

SOURCE = r"""
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
int fold(int n, ...) { va_list a; int s = 0; va_start(a, n); while (n--) s += va_arg(a, int); va_end(a); return s; }
int grow(int n) { char *p = __builtin_alloca(n); memset(p, n, n); return p[n / 2] + p[n - 1]; }
int wide(double *d, int n) { double k[8] __attribute__((aligned(64))); memcpy(k, d, sizeof k); return k[n & 7] > 1; }
int deep(int a, int b, int c, int d, int e, int f, int g) {
    return a < 1 ? b : deep(a - 1, g, b * c, c + d, d ^ e, e - f, f) + fold(3, a, b, c) * grow(a + 1);
}
__attribute__((noreturn)) void gone(void) { free(malloc(3)); abort(); }
int main(int argc, char **argv) {
    double d[8] = {1, 2, 3};
    if (argc > 9) gone();
    return deep(argc, 1, 2, 3, 4, 5, 6) + wide(d, argc) + (argv[0] == 0);
}
"""
DEBUG_ONLY = ["-g", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fno-exceptions"]
BUILDS = {
    "gcc-O0": ["gcc", "-O0"],
    "gcc-O2": ["gcc", "-O2"],
    "gcc-O2-pushes": ["gcc", "-O2", "-m64", "-mno-red-zone", "-mpush-args", "-mno-accumulate-outgoing-args"],
    "gcc-no-header": ["gcc", "-O2", "-Wl,--no-eh-frame-hdr"],
    "gcc-static": ["gcc", "-O2", "-static"],
    "gcc-debug-frame": ["gcc", "-O2", *DEBUG_ONLY],
    "gcc-debug-frame-zlib": ["gcc", "-O2", *DEBUG_ONLY, "-gz=zlib"],
    "gcc-debug-frame-64": ["gcc", "-O2", *DEBUG_ONLY, "-gdwarf64", "-no-pie"],
    "clang-O0": ["clang", "-O0"],
    "clang-O2": ["clang", "-O2"],
    "clang-debug-frame": ["clang", "-O2", *DEBUG_ONLY],
}
SYSTEM = [
    "/lib/x86_64-linux-gnu/libc.so.6",
    "/lib64/ld-linux-x86-64.so.2",
    "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
    "/bin/bash",
    "/usr/bin/python3",
]


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """A function that compiles SOURCE one way of BUILDS, once."""
    directory = tmp_path_factory.mktemp("cfi")
    (directory / "program.c").write_text(SOURCE)

    def compile_program(name: str) -> Path:
        command = BUILDS[name]
        if shutil.which(command[0]) is None:
            pytest.skip(f"no {command[0]} here")
        program = directory / name
        if not program.exists():
            subprocess.run([*command, "-o", program, directory / "program.c"], check=True)
        return program

    return compile_program


def fdes(path, debug=False):
    """Every FDE of a file, as pyelftools reads it."""
    dwarf = ELFFile.load_from_path(str(path)).get_dwarf_info(relocate_dwarf_sections=False, follow_links=False)
    if debug:
        entries = dwarf.CFI_entries() if dwarf.has_CFI() else []
    else:
        entries = dwarf.EH_CFI_entries() if dwarf.has_EH_CFI() else []
    return [entry for entry in entries if isinstance(entry, FDE) and entry["address_range"]]


def bounds(fde):
    begin = fde["initial_location"] % 2**64
    return begin, begin + fde["address_range"]


def rows(fde):
    """(first address, last address, row) of each row that is at least one byte long."""
    # pyelftools decodes no DW_CFA_GNU_args_size, which changes no row
    fde.instructions = [each for each in fde.instructions if int(each.opcode) != ARGS_SIZE]
    begin, end = bounds(fde)
    table = fde.get_decoded().table
    starts = [row["pc"] % 2**64 for row in table] + [end]
    assert starts[0] == begin
    for row, (first, after) in zip(table, pairwise(starts), strict=True):
        if first < min(after, end):
            yield first, min(after, end) - 1, row


def expected(row, signal_frame):
    """A row of pyelftools as a Rule, but with every register in `saved`."""
    cells = []
    for number in sorted(key for key in row if isinstance(key, int)):
        value = row[number].arg
        kind = KINDS[row[number].type]
        cells.append((number, kind, bytes(value) if isinstance(value, list) else value or 0))
    cfa = row["cfa"]
    if cfa.expr is not None:
        return NO_REGISTER, 0, bytes(cfa.expr), tuple(cells), signal_frame
    return cfa.reg, cfa.offset, None, tuple(cells), signal_frame


def flat(rule: Rule):
    """A Rule in the form of `expected`."""
    cells = [tuple(entry) for entry in rule.saved]
    if rule.return_address is not None:
        cells.append((RETURN_ADDRESS, Kind.OFFSET, rule.return_address))
    elif rule.outermost:
        cells.append((RETURN_ADDRESS, Kind.UNDEFINED, 0))
    return rule.cfa_register, rule.cfa_offset, rule.cfa_expression, tuple(sorted(cells)), rule.signal_frame


def compare(cfi, entries):
    """Every row of the entries at its first and at its last address; returns the number of rows."""
    count = 0
    for fde in entries:
        signal_frame = b"S" in fde.cie.header["augmentation"]
        for first, last, row in rows(fde):
            wanted = expected(row, signal_frame)
            for address in (first, last):
                assert flat(cfi.rule(address)) == wanted, f"{address:#x}"
            count += 1
    return count


def sample(entries):
    """Those with rare instructions, and SAMPLE of the others."""
    rare = [fde for fde in entries if not {int(each.opcode) for each in fde.instructions} <= COMMON]
    return rare[:SAMPLE] + random.Random(7).sample(entries, min(SAMPLE, len(entries)))


def gaps(entries):
    """The first address behind each FDE that no other covers, and one on either side of them all."""
    ranges = sorted(bounds(fde) for fde in entries)
    behind = [end for (_, end), (begin, _) in pairwise(ranges) if end < begin]
    return [ranges[0][0] - 1, max(end for _, end in ranges), 0, 2**64 - 1, *behind[:SAMPLE]]


def address_of(path, name):
    symbols = ELFFile.load_from_path(str(path)).get_section_by_name(".symtab")
    return symbols.get_symbol_by_name(name)[0]["st_value"]


def without_section_headers(data: bytes) -> bytes:
    """What `strip` cannot do but packers do: e_shoff, e_shnum and e_shstrndx are zero."""
    return data[:40] + bytes(8) + data[48:60] + bytes(4) + data[64:]


@pytest.mark.parametrize("path", SYSTEM)
def test_agrees_with_pyelftools_on_the_libraries_of_the_host(path):
    if not Path(path).exists():
        pytest.skip(f"no {path} here")
    cfi = CallFrameInfo.open(path)
    entries = fdes(path)
    assert compare(cfi, sample(entries)) > 200
    for address in gaps(entries):
        assert cfi.rule(address) is None, f"{address:#x}"
    assert cfi._index is not None, "the table of .eh_frame_hdr was given up"
    assert "_eh_frame" not in vars(cfi), "the section was scanned"


@pytest.mark.parametrize("name", BUILDS)
def test_agrees_with_pyelftools_on_compiled_programs(build, name):
    program = build(name)
    cfi = CallFrameInfo.open(program)
    eh_entries, debug_entries = fdes(program), fdes(program, debug=True)
    in_eh = [bounds(fde) for fde in eh_entries]
    only_debug = [fde for fde in debug_entries if not any(low <= bounds(fde)[0] < high for low, high in in_eh)]
    assert bool(only_debug) == ("debug-frame" in name)
    entries = sample(eh_entries) + only_debug
    assert compare(cfi, entries) > 5
    for address in gaps(eh_entries + debug_entries):
        assert cfi.rule(address) is None, f"{address:#x}"


@pytest.mark.parametrize("name", ["gcc-debug-frame", "gcc-debug-frame-zlib", "gcc-debug-frame-64", "clang-debug-frame"])
def test_a_function_that_only_debug_frame_describes(build, name):
    program = build(name)
    main = address_of(program, "main")
    assert not any(begin <= main < end for begin, end in map(bounds, fdes(program)))
    rule = CallFrameInfo.open(program).rule(main)
    assert (rule.cfa_register, rule.cfa_offset, rule.return_address) == (7, 8, -8)


@pytest.mark.parametrize("name", ["gcc-O2", "gcc-static", "gcc-no-header", "clang-O2"])
def test_a_stripped_program(build, name, tmp_path):
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", stripped, build(name)], check=True)
    assert compare(CallFrameInfo.open(stripped), sample(fdes(stripped))) > 20


@pytest.mark.parametrize("name", ["gcc-O2", "clang-O2"])
def test_a_program_without_section_headers(build, name, tmp_path):
    stripped = tmp_path / "stripped"
    subprocess.run(["strip", "-o", stripped, build(name)], check=True)
    cfi = CallFrameInfo(without_section_headers(stripped.read_bytes()))
    assert compare(cfi, sample(fdes(stripped))) > 20
    assert cfi._index is not None


def test_the_ways_to_an_fde_agree(build):
    """The table, a scan of the section, a scan from where .eh_frame_hdr points to: with it damaged, and stripped."""
    data = bytearray(build("gcc-O2").read_bytes())
    entries = fdes(build("gcc-O2"))
    header = ELFFile.load_from_path(str(build("gcc-O2"))).get_section_by_name(".eh_frame_hdr")["sh_offset"]
    damages = {
        "no table": (3, b"\xff"),
        "no count": (2, b"\xff"),
        "version": (0, b"\2"),
        "encoding": (3, b"\x01"),
        "count too large": (8, b"\xff\xff\xff\x7f"),
        "count of zero": (8, bytes(4)),
        "a location one early": (20, bytes([data[header + 20] - 1])),
        "entries wrong": (16, b"\x01\x02\x03\x04" * 2),
        "out of order": (12, data[header + 20 : header + 28] + data[header + 12 : header + 20]),
    }
    for name, (at, patch) in damages.items():
        damaged = data[: header + at] + patch + data[header + at + len(patch) :]
        for file in (damaged, without_section_headers(damaged)):
            if name == "version" and file is not damaged:
                continue  # nothing is left that says where the entries are
            assert compare(CallFrameInfo(file), entries) > 20, name


def test_the_plt_by_its_expression(build):
    """Lazy binding pushes a word in the middle of each PLT entry, so the CFA depends on where in the entry rip is."""
    program = build("gcc-O0")
    plt = ELFFile.load_from_path(str(program)).get_section_by_name(".plt")
    cfi = CallFrameInfo.open(program)
    for offset in range(16, plt["sh_size"]):
        rip = plt["sh_addr"] + offset
        rule = cfi.rule(rip)
        cfa = expression.evaluate(rule.cfa_expression, {7: 0x7FF0, 16: rip}, pytest.fail, None)
        assert cfa == 0x7FF0 + (16 if offset % 16 >= 11 else 8)


def test_start_is_outermost_and_the_signal_trampoline_is_no_call(build):
    rule = CallFrameInfo.open(build("gcc-O2")).rule(address_of(build("gcc-O2"), "_start"))
    assert rule.outermost
    assert rule.return_address is None
    libc = CallFrameInfo.open(SYSTEM[0])
    trampolines = [fde for fde in fdes(SYSTEM[0]) if b"S" in fde.cie.header["augmentation"]]
    assert trampolines
    for fde in trampolines:
        rule = libc.rule(bounds(fde)[0] + 1)
        assert rule.signal_frame
        assert not rule.outermost
        saved = {entry.register: entry for entry in rule.saved}
        assert saved[RETURN_ADDRESS].kind is Kind.EXPRESSION
        # rt_sigreturn: rsp points at the ucontext, whose general registers begin at 40 with r8; rip is the 17th
        registers = {7: 0x1000}
        assert expression.evaluate(saved[RETURN_ADDRESS].value, registers, pytest.fail, 0) == 0x1000 + 40 + 16 * 8


def test_equal_rules_are_one_object(build):
    cfi = CallFrameInfo.open(build("gcc-O2"))
    assert cfi.rule(address_of(build("gcc-O2"), "main")) is cfi.rule(address_of(build("gcc-O2"), "deep"))


def test_buffers_of_every_kind(build):
    main = address_of(build("gcc-O2"), "main")
    wanted = CallFrameInfo.open(build("gcc-O2")).rule(main)
    data = build("gcc-O2").read_bytes()
    for buffer in (data, bytearray(data), memoryview(data)):
        assert CallFrameInfo(buffer).rule(main) == wanted
    with build("gcc-O2").open("rb") as file:
        assert CallFrameInfo(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).rule(main) == wanted


@pytest.mark.parametrize(
    "data", [b"", b"MZ", b"#!/bin/sh\n" * 20, b"\x7fELF\1\1" + bytes(90), b"\x7fELF\2\2" + bytes(90)]
)
def test_what_is_no_elf_file_is_refused(data):
    with pytest.raises(BadCallFrameInfo):
        CallFrameInfo(data)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(BadCallFrameInfo, match="nowhere: cannot be read: No such file"):
        CallFrameInfo.open(tmp_path / "nowhere")


def test_a_file_without_any_table_covers_nothing():
    assert CallFrameInfo(b"\x7fELF\2\1" + bytes(90)).rule(0x1000) is None
