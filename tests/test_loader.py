"""Where programs are mapped, what does not fit, and what the first stack holds."""

import os
import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from oracles.commandline import compiled, run

from emuleak import loader
from emuleak.errors import BadProgram
from emuleak.loader import Process
from emuleak.memory import PROGRAM_BASE, STACK_TOP, AddressSpace

EXIT = """
.globl _start
_start: mov $60, %eax
 mov $5, %edi
 syscall
.data
.balign 4096
here: .quad here
.bss
.skip 5000
"""
STATIC = ("-nostdlib", "-static", "-Wl,--build-id=none")
PIE = ("-nostdlib", "-static-pie", "-Wl,--build-id=none")
PT_LOAD = 1


def _load(path: Path, argv: Sequence[str] = ("prog",), environment: dict[str, str] | None = None) -> Process:
    return loader.load(AddressSpace(), str(path), argv, environment or {}, lambda name: name, (1, 2), 0)


def _patched(source: Path, directory: Path, patches: dict[int, int]) -> Path:
    """A copy with 64-bit words changed: offsets into the file header, or 1000 + those into its last PT_LOAD."""
    content = bytearray(source.read_bytes())
    table, count = struct.unpack_from("<Q", content, 32)[0], struct.unpack_from("<H", content, 56)[0]
    last = max(at for at in range(table, table + 56 * count, 56) if struct.unpack_from("<I", content, at)[0] == PT_LOAD)
    for at, value in patches.items():
        struct.pack_into("<Q", content, at if at < 1000 else last + at - 1000, value)
    path = directory / "patched"
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def test_a_fixed_program_lies_where_it_was_linked() -> None:
    process = _load(compiled(EXIT, *STATIC, suffix=".S"))
    assert process.program.bias == 0
    assert process.entry == process.program.image.entry


def test_a_position_independent_program_lies_at_linux_s_place() -> None:
    assert _load(compiled(EXIT, *PIE, suffix=".S")).program.start == PROGRAM_BASE


def test_a_large_alignment_is_kept() -> None:
    aligned = compiled(
        "char big[9] __attribute__((aligned(1 << 21))); int main(void) { return (long)big % (1 << 21); }"
    )
    process = _load(aligned)
    assert process.program.bias % (1 << 21) == 0
    assert run(aligned).status == 0


def test_the_rest_of_the_last_page_is_zero_and_bss_too() -> None:
    memory = AddressSpace()
    path = compiled(EXIT, *STATIC, suffix=".S")
    process = loader.load(memory, str(path), ("prog",), {}, lambda name: name, (1, 2), 0)
    data = process.program.image.segments[-1]
    assert data.memory_size > data.file_size
    assert memory.word(data.address) == data.address  # `here`
    end = data.address + data.file_size
    rest = process.program.end - end
    assert memory.read(end, rest) == bytes(rest)


@pytest.mark.parametrize("flags", [STATIC, PIE])
def test_what_does_not_fit_is_refused(tmp_path: Path, flags: tuple[str, ...]) -> None:
    program = compiled(EXIT, *flags, suffix=".S")
    for size in (1 << 41, 1 << 46):
        with pytest.raises(BadProgram, match="cannot allocate memory"):
            _load(_patched(program, tmp_path, {1040: size}))


def test_a_bss_larger_than_the_host_s_memory_costs_nothing(tmp_path: Path) -> None:
    done = run("--max-memory", "64M", _patched(compiled(EXIT, *PIE, suffix=".S"), tmp_path, {1040: 12 << 30}))
    assert done.status == 5, done.err


@pytest.mark.parametrize("address", [0x6000_0000_0000, 0x7FFF_FFF0_0000, 0x1234_0000_0000])
def test_a_program_linked_where_others_lie_is_refused(address: int) -> None:
    program = compiled(EXIT, *STATIC, f"-Wl,-Ttext-segment={address:#x}", suffix=".S")
    with pytest.raises(BadProgram, match="where no program can be loaded"):
        _load(program)


_OUTSIDE = (1 << 40, 0x6000_0000_0000, 1 << 47, (1 << 63) + 5, (1 << 64) - 1)


@pytest.mark.parametrize(
    ("flags", "entry"), [*((STATIC, entry) for entry in (0, 0x1000, *_OUTSIDE)), *((PIE, entry) for entry in _OUTSIDE)]
)
def test_an_entry_point_outside_starts_and_crashes(tmp_path: Path, flags: tuple[str, ...], entry: int) -> None:
    done = run("--max-seconds", "5", _patched(compiled(EXIT, *flags, suffix=".S"), tmp_path, {24: entry}))
    assert done.status == 139, done.err
    assert "crashed with SIGSEGV" in done.err


def test_the_stack_holds_arguments_environment_and_auxiliary_vector() -> None:
    memory = AddressSpace()
    path = compiled(EXIT, *PIE, suffix=".S")
    process = loader.load(memory, str(path), ("a", "\udcff"), {"K": "v"}, lambda name: name, (11, 22), 0)
    assert process.stack_pointer % 16 == 0
    words = struct.unpack("<7Q", memory.read(process.stack_pointer, 56))
    assert words[0] == 2
    assert [memory.cstring(words[index]) for index in (1, 2, 4)] == [b"a", b"\xff", b"K=v"]
    assert words[3] == words[5] == 0
    vector = iter(struct.unpack("<40Q", memory.read(process.stack_pointer + 48, 320)))
    auxiliary = dict(zip(vector, vector, strict=True))
    assert auxiliary[9] == process.entry  # AT_ENTRY
    assert auxiliary[11] == 11  # AT_UID
    assert memory.cstring(auxiliary[31]) == os.fsencode(path)  # AT_EXECFN
    assert auxiliary[3] == process.program.image.program_headers + process.program.bias  # AT_PHDR


def test_arguments_longer_than_execve_takes_are_refused() -> None:
    with pytest.raises(BadProgram, match="arguments and environment are longer"):
        _load(compiled(EXIT, *PIE, suffix=".S"), ("prog", "x" * (3 << 20)))


def test_the_stack_ends_where_linux_s_does() -> None:
    assert STACK_TOP - _load(compiled(EXIT, *PIE, suffix=".S")).stack_pointer < 1 << 12
