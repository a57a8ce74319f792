"""Unicorn's library without its binding: the same numbers, the same registers, and the binding where it must help."""

import ctypes
import os
import re
import subprocess
import sys

import pytest
from unicorn import unicorn_const, x86_const

from emuleak import engine
from emuleak.errors import MachineFailure

ONES = (1 << 128) - 1


def test_registers_have_the_numbers_of_the_binding() -> None:
    theirs = {name: getattr(x86_const, f"UC_X86_REG_{name.upper()}") for name in engine.REGISTERS}
    assert theirs == engine.REGISTERS
    assert len(set(theirs.values())) == len(theirs)


@pytest.mark.parametrize("kind", ["HOOK", "MEM", "ERR"])
def test_constants_have_the_values_of_the_binding(kind: str) -> None:
    ours = {name: value for name, value in vars(engine).items() if re.fullmatch(f"{kind}_[A-Z_]+", name)}
    assert len(ours) >= 3
    assert ours == {name: getattr(unicorn_const, f"UC_{name}") for name in ours}


def test_requests_are_those_of_the_binding() -> None:
    write = unicorn_const.UC_CTL_IO_WRITE << 30
    assert write | unicorn_const.UC_CTL_TLB_FLUSH == engine.CTL_TLB_FLUSH
    assert write | unicorn_const.UC_CTL_TB_FLUSH == engine.CTL_TB_FLUSH
    assert write | 1 << 26 | unicorn_const.UC_CTL_CPU_MODEL == engine._CTL_CPU_MODEL
    assert write | 1 << 26 | unicorn_const.UC_CTL_TLB_TYPE == engine._CTL_TLB_TYPE
    assert engine._TLB_VIRTUAL == unicorn_const.UC_TLB_VIRTUAL
    assert (engine._ARCH_X86, engine._MODE_64) == (unicorn_const.UC_ARCH_X86, unicorn_const.UC_MODE_64)
    assert (engine._CPU_EPYC, engine.INS_SYSCALL) == (x86_const.UC_CPU_X86_EPYC, x86_const.UC_X86_INS_SYSCALL)
    assert engine.VERSION == (unicorn_const.UC_API_MAJOR, unicorn_const.UC_API_MINOR)


@pytest.mark.parametrize(
    ("register", "width"),
    [("rax", 64), ("r15", 64), ("fs_base", 64), ("xmm0", 128), ("xmm15", 128), ("fp0", 80), ("fp7", 80)],
)
def test_a_register_keeps_what_it_can_hold(register: str, width: int) -> None:
    cpu = engine.Engine()
    value = 0x0123_4567_89AB_CDEF_F1E2_D3C4_B5A6_9788
    cpu.write(register, value)
    assert cpu.read(register) == value & (1 << width) - 1
    cpu.write(register, -1)
    assert cpu.read(register) == ONES >> 128 - width


def test_a_saved_state_keeps_its_registers() -> None:
    cpu = engine.Engine()
    cpu.write("rbx", 7)
    cpu.write("fs_base", 0x7000_1000)
    context = cpu.save()
    cpu.write("rbx", 8)
    assert (context.read("rbx"), context.read("fs_base"), cpu.read("rbx")) == (7, 0x7000_1000, 8)
    cpu.restore(context)
    assert cpu.read("rbx") == 7


def test_what_unicorn_refuses_is_said() -> None:
    cpu = engine.Engine()
    with pytest.raises(MachineFailure, match="Unicorn failed"):
        cpu.map(1, 1, 7, 0)  # not on a page
    with pytest.raises(MachineFailure, match=r"refused a hook of kind 2.*2\.1\.4"):
        cpu.hook(engine.HOOK_INSN, None, ctypes.c_int(1))  # an instruction that cannot be hooked


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "VERSION", (2, 2))
    with pytest.raises(MachineFailure, match=r"Unicorn 2\.1 is installed"):
        engine.Engine()


def test_the_user_may_name_the_library_as_with_the_binding() -> None:
    """LIBUNICORN_PATH is the binding's; where it is set, the binding is asked for the library."""
    text = (
        "import sys\nfrom emuleak import engine\nengine.Engine()\nprint('unicorn' in sys.modules, engine.library._name)"
    )
    usual = {name: value for name, value in os.environ.items() if name != "LIBUNICORN_PATH"}
    found = _output(text, usual).split()
    assert found[0] == "False"
    asked = _output(text, usual | {"LIBUNICORN_PATH": os.path.dirname(found[1])}).split()
    assert asked == ["True", found[1]]


def _output(text: str, variables: dict[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, env=variables
    ).stdout
