"""AVX instructions are noticed before they run: the scan agrees with the disassembler on all of libc's code."""

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import capstone
import pytest
from elftools.elf.elffile import ELFFile
from oracles.peers import need

from emuleak import hostcode, vexscan
from emuleak.disasm import avx_instruction, is_avx
from emuleak.vexscan import VexScan

SOURCE = vexscan.__file__.replace(".py", ".S")
NATIVE = hostcode.executable(b"\xc3") is not None
BASE = 0x7F00_0000_0000
DIRECTORIES = ("/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64")


class Cpu:
    """Takes the hook and calls it as Unicorn does."""

    def hook(self, _kind: int, callback: Any, *, data: int | None = None) -> None:
        self.callback, self.data = callback, data

    def translated(self, address: int, size: int) -> None:
        block = ctypes.create_string_buffer(address.to_bytes(8, "little") + bytes(2) + size.to_bytes(2, "little"), 16)
        prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)
        prototype(ctypes.cast(self.callback, ctypes.c_void_p).value)(None, ctypes.addressof(block), None, self.data)


class Memory:
    """One arena that holds some code."""

    def __init__(self, code: bytes) -> None:
        self.code = ctypes.create_string_buffer(code, len(code))
        self.arenas = [SimpleNamespace(base=BASE, size=len(code), host=ctypes.addressof(self.code))]

    def peek(self, address: int, length: int) -> bytes:
        return self.code.raw[address - BASE :][:length]


def scanned(code: bytes, blocks: Iterator[tuple[int, int]] | list[tuple[int, int]], *, native: bool) -> list[int]:
    found: list[int] = []
    cpu = Cpu()
    scan = VexScan(cpu, Memory(code), found.append, native=native)  # type: ignore[arg-type]
    for start, size in blocks:
        cpu.translated(BASE + start, size)
    del scan
    return [address - BASE for address in found]


def text_of(path: str) -> bytes:
    with open(path, "rb") as file:
        return bytes(ELFFile(file).get_section_by_name(".text").data())


def blocks_of(code: bytes) -> Iterator[tuple[int, int, bool]]:
    """Runs of some instructions each: where, bytes, whether one of them is of AVX and none of AVX-512 before it."""
    engine = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    start, count, avx, over = 0, 0, False, False
    for offset, size, _, _ in engine.disasm_lite(code, 0):
        over = over or code[offset] == 0x62
        avx = avx or (not over and is_avx(code[offset : offset + 4]))
        count += 1
        if count == 5:
            yield start, offset + size - start, avx
            start, count, avx, over = offset + size, 0, False, False


@pytest.mark.skipif(not NATIVE, reason="this host does not run it")
def test_the_bytes_are_the_sources(tmp_path):
    for tool in ("as", "objcopy"):
        need(tool)
    subprocess.run(["as", "-o", tmp_path / "a.o", SOURCE], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text", tmp_path / "a.o", tmp_path / "a.bin"], check=True)
    assert (tmp_path / "a.bin").read_bytes() == vexscan._CODE


@pytest.mark.skipif(not NATIVE or sys.platform != "linux", reason="this host does not run it")
@pytest.mark.parametrize("name", ["libc.so.6", "libm.so.6", "libstdc++.so.6"])
def test_it_walks_through_a_library_as_the_disassembler_does(name: str):
    path = next((path for path in (f"{where}/{name}" for where in DIRECTORIES) if os.path.exists(path)), None)
    if path is None:
        pytest.skip(f"no {name}")
    code = text_of(path)
    blocks = list(blocks_of(code))
    expected = [start for start, _, avx in blocks if avx]
    assert len(blocks) > 20_000
    assert expected or name == "libstdc++.so.6"
    assert scanned(code, [(start, size) for start, size, _ in blocks], native=True) == expected


@pytest.mark.parametrize("native", [pytest.param(True, marks=pytest.mark.skipif(not NATIVE, reason="host")), False])
@pytest.mark.parametrize(
    ("code", "is_found"),
    [
        ("c5fb58d1 c3", True),  # vaddsd xmm2, xmm0, xmm1
        ("c4e27198d0 c3", True),  # vfmadd132ps
        ("90 c5f877 c3", True),  # vzeroupper
        ("f67501 c5 90", False),  # neg byte ptr [rbp + 1], then the end
        ("4889c5 c3", False),  # mov rbp, rax
        ("48b8c5fb58d1c5fb58d1 c3", False),  # mov rax, imm64
        ("66c7042401c5 c3", False),  # mov word ptr [rsp], imm16
        ("f6c4c5 c5fb58d1", True),  # test ah, imm8; vaddsd
        ("c8c5c4c5 c3", False),  # enter
    ],
)
def test_single_instructions(code: str, is_found: bool, native: bool):
    block = bytes.fromhex(code)
    block = block[:-2] if block.endswith(b"\xc5\x90") else block
    found = scanned(block, [(0, len(block))], native=native)
    if native:
        assert found == ([0] if is_found else [])
    else:
        assert not is_found or found == [0]
    assert (avx_instruction(block, 0) is not None) is is_found


@pytest.mark.parametrize("native", [pytest.param(True, marks=pytest.mark.skipif(not NATIVE, reason="host")), False])
@pytest.mark.parametrize("code", ["c4e278f2c1", "c4e2f8f3d8", "c4e2f0f5c2", "c4e2f3f6c2", "c4e37bf0c10d"])
def test_bmi_is_left_alone(code: str, native: bool):
    block = bytes.fromhex(code + "c3")
    if native:
        assert scanned(block, [(0, len(block))], native=True) == []
    assert avx_instruction(block, 0) is None


def test_a_block_in_no_arena_is_looked_at():
    found: list[int] = []
    cpu = Cpu()
    scan = VexScan(cpu, Memory(b"\xc3"), found.append)  # type: ignore[arg-type]
    cpu.translated(0x1000, 1)
    assert found == ([0x1000] if NATIVE else [])
    del scan
