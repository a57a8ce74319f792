"""The stub's bytes are those of its source, and its constants those that the source has."""

import re
import subprocess
from pathlib import Path

import pytest
from oracles.peers import need

from emuleak import redzones
from emuleak.events import FAMILY_BY_CODE, OP_SHIFT, OPS, RELEASES_BY_CODE, SIZE_MASK, THREAD_SHIFT
from emuleak.hooks import stub
from emuleak.hooks.gate import _packed
from emuleak.memory import GATE_BASE, HEAP_BASE, HEAP_SIZE

SOURCE = Path(stub.__file__).with_name("stub.S")
CONSTANTS = dict(re.findall(r"^\s+\.equ (\w+), (\w+)", SOURCE.read_text(encoding="utf-8"), flags=re.MULTILINE))


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, int]]:
    """The code and the addresses of its labels."""
    for tool in ("as", "objcopy", "nm"):
        need(tool)
    directory = tmp_path_factory.mktemp("stub")
    subprocess.run(["as", "-o", "stub.o", SOURCE], cwd=directory, check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", "stub.o", "stub.bin"], cwd=directory, check=True)
    symbols = subprocess.run(["nm", "stub.o"], cwd=directory, check=True, capture_output=True, text=True).stdout
    labels = {name: int(address, 16) for address, kind, name in map(str.split, symbols.splitlines()) if kind == "t"}
    return (directory / "stub.bin").read_bytes(), labels


def test_the_bytes_are_the_sources(assembled):
    assert assembled[0] == stub.CODE


def test_what_looks_at_freed_blocks_is_no_part_of_the_stub(assembled):
    assert assembled[1]["inspect"] == stub.INSPECT


def test_a_header_names_the_family():
    for name, op in (("C", "malloc"), ("SINGLE", "operator new"), ("ARRAY", "operator new[]")):
        (value,) = re.findall(rf"\.equ {name}, (\d) << 16", SOURCE.read_text(encoding="utf-8"))
        assert int(value) == FAMILY_BY_CODE[OPS.index(op)]
    assert redzones.FAMILY_SHIFT == 16


def test_the_entries_are_where_the_operations_start(assembled):
    code, labels = assembled
    assert len(stub.ENTRIES) == len(OPS)
    assert [stub.ENTRIES[number] for number in (stub.MALLOC, stub.FREE, stub.CALLOC)] == [
        labels[name] for name in ("malloc", "free", "calloc")
    ]
    # Each starts (free after its test for NULL) with: movabs r11, DATA; mov qword ptr [r11], operation.
    for number, entry in enumerate(stub.ENTRIES):
        start = code.index(b"\x49\xbb" + GATE_BASE.to_bytes(8, "little") + b"\x49\xc7\x03", entry)
        assert start - entry < 16
        assert int.from_bytes(code[start + 13 : start + 17], "little") == number


@pytest.mark.parametrize(
    ("constant", "value"),
    [
        ("DATA", stub.DATA),
        ("RING", stub.RING_AT),
        ("RING_END", stub.RING_END_AT),
        ("STACKS", stub.STACKS_AT),
        ("STACKS_END", stub.STACKS_END_AT),
        ("STACK_LOW", stub.STACK_LOW_AT),
        ("STACK_HIGH", stub.STACK_HIGH_AT),
        ("THREAD", stub.THREAD_AT),
        ("LISTS", stub.LISTS_AT),
        ("RULES", stub.RULES_AT),
        ("RULE_MASK", stub.RULE_MASK),
        ("LARGEST", stub.LARGEST),
        ("MAX_FRAMES", stub.MAX_FRAMES),
        ("RESULT", stub.RESULT_AT),
        ("ERRNO", stub.ERRNO_AT),
        ("ERRNO_LOCATION", stub.ERRNO_LOCATION_AT),
        ("S_RBX", stub.REST_AT),
        ("OP", stub.SAVED_AT),
        ("STACK_WORDS", stub.STACK_WORDS_AT),
        ("LARGEST", redzones.LARGEST_TOLD),
        ("MAGIC", redzones.MAGIC),
        ("RED", int.from_bytes(redzones.RED * 8, "little")),
        ("FREED", int.from_bytes(redzones.FREED, "little")),
        ("HEAP", HEAP_BASE),
        ("SITE", stub.SITE_AT),
        ("RECORDS", stub.RING - stub.DATA),
        ("AREA", stub.STACKS - stub.DATA),
        ("RELEASES", sum(1 << code for code in stub.SERVED - stub.ALLOCATES)),
    ],
)
def test_the_source_has_the_same_constants(constant, value):
    assert int(CONSTANTS[constant], 0) == value


def test_a_thread_number_stays_between_size_and_operation():
    assert stub.LARGEST < SIZE_MASK < 1 << THREAD_SHIFT < 1 << OP_SHIFT
    assert len(OPS) <= 1 << 64 - OP_SHIFT


def test_small_blocks_lie_in_the_heap_and_what_is_read_beside_them_too():
    end = HEAP_BASE + 16 + 16 * int(CONSTANTS["HEAP_UNITS"], 0)
    assert HEAP_BASE + HEAP_SIZE // 4 < end + 0xFFFF + 32 < HEAP_BASE + HEAP_SIZE


def test_a_header_tells_its_size_twice():
    """stub.S builds it with `ror 16`, and looks at it after `rol 16` as a multiple of 0x10001."""
    for size in (0, 1, stub.LARGEST):
        word = size * redzones.TWICE
        assert word == (size << 48 | size) & (1 << 64) - 1
        assert (word << 16 | word >> 48) & (1 << 64) - 1 == size * 0x10001


def test_no_header_is_that_of_a_freed_block_or_a_red_zone():
    """The heap's addresses have no upper bits, so that of what is left without them none is a size that is told."""
    for word in (int(CONSTANTS["FREED"], 0), int(CONSTANTS["RED"], 0), 0):
        assert (word ^ stub.DATA ^ redzones.MAGIC) >> 48 > stub.LARGEST


def test_the_stub_serves_what_makes_and_frees_small_blocks_and_nothing_aligned():
    served = {OPS[code] for code in stub.SERVED}
    assert {OPS[code] for code in stub.ALLOCATES} == {"malloc", "calloc", "operator new", "operator new[]"}
    assert served - {OPS[code] for code in stub.ALLOCATES} == {
        op for code, op in enumerate(OPS) if RELEASES_BY_CODE[code] and "aligned" not in op
    }


def test_operations_that_are_not_served_trap_at_once(assembled):
    """Their entries end in a jump to `slow`, those of the others do not."""
    code, labels = assembled
    for number, entry in enumerate(stub.ENTRIES):
        at = code.index(b"\x49\x89\x53\x18", entry) + 4  # mov [r11+S_RDX], rdx is the last of `entry`
        length = {0xEB: 1, 0xE9: 4}.get(code[at], 0)
        target = at + 1 + length + int.from_bytes(code[at + 1 : at + 1 + length], "little", signed=True)
        assert (length > 0 and target == labels["slow"]) is (number not in stub.SERVED), OPS[number]


# ---- rules of call-frame information in the stub's form


def followed(packed: int, sp: int, bp: int, high: int) -> tuple[int, int] | str:
    """What stub.S does with a rule: the CFA and the offset of the saved rbp, or where it goes else."""
    cfa = sp + (packed & 0xFFFF_FFFF ^ 1 << 31) - (1 << 31)
    if cfa >= high:
        if packed >> 63:
            return "slow" if packed >> 62 & 1 else "end"
        if not packed >> 62 & 1:
            return "slow"
        cfa = bp + (packed >> 48 & 0x3FFF)
        if (cfa - sp) % 8 or not 8 <= cfa - sp <= 8 << 28 or cfa >= high:
            return "slow"
    return cfa, ((packed >> 32 & 0xFFFF) ^ 0x8000) - 0x8000


SP, BP = 0x7FFF_0000_0000, 0x7FFF_0000_0040
HIGH = SP + (1 << 20)


@pytest.mark.parametrize("offset", [8, 16, 4096, 1 << 19])
@pytest.mark.parametrize("saved", [0, -8])
def test_a_rule_from_rsp_is_followed(offset: int, saved: int) -> None:
    assert followed(_packed((False, offset, saved)), SP, BP, HIGH) == (SP + offset, saved)


@pytest.mark.parametrize("saved", [0, -16])
def test_a_rule_from_rbp_is_followed(saved: int) -> None:
    assert followed(_packed((True, 16, saved)), SP, BP, HIGH) == (BP + 16, saved)


@pytest.mark.parametrize("rule", [
    None, (False, 0, 0), (False, -8, 0), (False, 12, 0), (False, (1 << 24) + 8, 0), (True, 24, 0), (True, 16, -24),
    (False, 16, 8), (False, 1 << 20, -(1 << 15) - 8),
])  # fmt: skip
def test_a_rule_that_the_stub_cannot_follow_traps(rule: tuple[bool, int, int] | None) -> None:
    assert _packed(rule) == stub.RULE_NOT_FOR_THE_STUB
    assert followed(_packed(rule), SP, BP, HIGH) == "slow"


def test_the_outermost_frame_ends_the_walk_from_wherever_the_stack_is() -> None:
    for sp in (SP, HIGH - stub.LONGEST_STACK, HIGH - 8):
        assert followed(stub.RULE_END, sp, BP, HIGH) == "end"


def test_a_frame_that_leads_out_of_the_stack_traps() -> None:
    assert followed(_packed((False, 16, 0)), HIGH - 16, BP, HIGH) == "slow"
    for bp in (HIGH - 16, SP - 16, SP - 4096, BP + 4):
        assert followed(_packed((True, 16, 0)), SP, bp, HIGH) == "slow"
