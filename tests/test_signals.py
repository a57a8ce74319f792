"""Signals of the guest: small C programs must write the same and end the same way as on the host's own Linux."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from oracles import emuleak
from oracles.native import execute

from emuleak.kernel.signals import Default, Pending, Siginfo, bit, default_of, name_of

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="compares with the host's own Linux"
)

DIRECTORY = Path(__file__).parent / "signal_programs"
# These have tests of their own: they need arguments, or are meant to crash or to leak.
APART = ("unwound", "raises", "null_pointer")
ALONE = sorted(path.stem for path in DIRECTORY.glob("*.c") if path.stem not in APART)


def compile_(directory: Path, name: str, *flags: str) -> Path:
    source, program = DIRECTORY / f"{name}.c", directory / name
    subprocess.run(["gcc", "-g", "-w", "-pthread", *flags, "-o", program, source], check=True)
    return program


def compare(program: Path, *arguments: str) -> emuleak.Verdict:
    native, verdict = execute([program, *arguments]), emuleak.check(program, arguments)
    emulated = verdict.summary.run
    assert emulated.stdout.decode() == native.stdout.decode()
    assert (emulated.code, emulated.signal) == (native.code, native.signal)
    assert not verdict.incomplete
    return verdict


@pytest.mark.parametrize("name", ALONE)
def test_as_natively(name, tmp_path):
    compare(compile_(tmp_path, name))


@pytest.fixture(scope="module")
def raiser(tmp_path_factory):
    return compile_(tmp_path_factory.mktemp("raiser"), "raises")


STOPPING = (19, 20, 21, 22)


@pytest.mark.parametrize("number", [n for n in (*range(1, 32), 34, 64) if n not in STOPPING])
def test_default_action(raiser, number):
    compare(raiser, str(number))


@pytest.mark.parametrize("number", STOPPING)
def test_a_stop_is_noted_and_the_program_goes_on(raiser, number):
    verdict = emuleak.check(raiser, [str(number)])
    assert verdict.summary.run.code == 7
    assert verdict.incomplete == (f"{name_of(number)} would have stopped the program; it went on",)


@pytest.mark.parametrize("flags", [("-O0",), ("-O2", "-fno-optimize-sibling-calls"), ("-O0", "-static")], ids=" ".join)
@pytest.mark.parametrize("arguments", [(), ("alternate",)], ids=["same stack", "alternate stack"])
def test_stacks_lead_through_the_frame(tmp_path, flags, arguments):
    verdict = compare(compile_(tmp_path, "unwound", *flags), *arguments)
    stacks = [[frame.function for frame in finding.stack] for finding in verdict.summary.findings]
    of_fault = next(stack for stack in stacks if "interrupted" in stack)
    of_raise = next(stack for stack in stacks if "sends" in stack)
    # Between the handler and the function it interrupted lies the restorer of the C library.
    assert of_fault[:2] == of_raise[:2] == ["allocates", "handler"]
    assert of_fault[3:6] == ["leaf", "interrupted", "main"]
    assert of_raise[-5:].count("main") == 1
    assert of_raise.index("raise" if "raise" in of_raise else "gsignal") < of_raise.index("sends")


def test_the_address_of_a_crash_is_exact(tmp_path):
    program = compile_(tmp_path, "null_pointer")
    done = subprocess.run(
        [sys.executable, "-m", "emuleak", "run", "--format", "json", program], capture_output=True, check=False
    )
    assert b'"address":"0x123"' in done.stderr.replace(b" ", b"")


# ---- the books, without a guest


def test_standard_signals_wait_once_and_realtime_ones_in_order():
    pending = Pending()
    first, second, standard = Siginfo(40, -1, b"1"), Siginfo(40, -1, b"2"), Siginfo(10)
    assert [pending.add(info) for info in (first, standard, second, Siginfo(10, -1))] == [True, True, True, False]
    assert pending.bits == bit(40) | bit(10)
    assert pending.take(bit(40)) is first
    assert pending.take(~0) is standard
    assert pending.take(bit(41)) is None
    assert pending.take(~0) is second
    assert pending.bits == 0


def test_signals_of_instructions_go_first():
    pending = Pending()
    for number in (1, 34, 11, 5):
        pending.add(Siginfo(number))
    order = [pending.take(~0).number for _ in range(4)]
    assert order == [5, 11, 1, 34]


def test_siginfo_is_128_bytes():
    packed = Siginfo(11, 1, (0x1234).to_bytes(8, "little"), errno=7).packed()
    assert len(packed) == 128
    assert packed[:24] == bytes.fromhex("0b000000 07000000 01000000 00000000 3412000000000000")


def test_default_actions_of_the_manual():
    told = {kind: [n for n in range(1, 65) if default_of(n) is kind] for kind in Default}
    assert told[Default.IGNORE] == [17, 23, 28]
    assert told[Default.CONTINUE] == [18]
    assert told[Default.STOP] == list(STOPPING)
    assert told[Default.CORE] == [3, 4, 5, 6, 7, 8, 11, 24, 25, 31]
    assert name_of(9) == "SIGKILL"
    assert name_of(40) == "signal 40"
