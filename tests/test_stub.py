"""The stub's bytes are those of its source, and its constants those that the source has."""

import re
import subprocess
from pathlib import Path

import pytest
from oracles.peers import need

from emuleak.events import OPS, THREAD_SHIFT
from emuleak.hooks import stub
from emuleak.memory import GATE_BASE

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
    ],
)
def test_the_source_has_the_same_constants(constant, value):
    assert int(CONSTANTS[constant], 0) == value


def test_a_thread_number_stays_between_size_and_operation():
    assert stub.LARGEST < 1 << THREAD_SHIFT < 1 << 56
