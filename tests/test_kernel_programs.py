"""C programs that ask the kernel many questions, one line each: emuleak must answer as the host's own Linux does."""

import sys
from pathlib import Path

import pytest
from oracles import emuleak, native
from oracles.build import VARIANTS, build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")

HERE = Path(__file__).parent / "kernel_programs"


def both(name: str, tmp_path: Path, *arguments: str) -> tuple[native.Run, emuleak.Verdict]:
    """The same program on the host and under emuleak, each in a directory of its own."""
    binary = build(HERE / f"{name}.c", VARIANTS["O0"], ("-pthread",))
    places = tmp_path / "native", tmp_path / "emulated"
    for place in places:
        place.mkdir()
    wanted = native.execute([binary, *arguments], cwd=places[0])
    return wanted, emuleak.check(binary, arguments, cwd=places[1])


@pytest.mark.parametrize("name", ["everyday", "mappings", "sockets"])
def test_every_answer_is_the_hosts(name: str, tmp_path: Path) -> None:
    wanted, verdict = both(name, tmp_path, "shown")
    assert wanted.stdout.count(b"\n") > 20
    assert verdict.summary.run.stdout.decode() == wanted.stdout.decode()
    assert (verdict.summary.run.code, verdict.summary.run.signal) == (wanted.code, wanted.signal) == (0, None)
    assert verdict.incomplete == ()


def test_what_was_stored_in_shared_mappings_is_in_the_files(tmp_path: Path) -> None:
    both("mappings", tmp_path, "shown")
    for name, size in (("shown", 40_000), ("sparse.bin", 1 << 20)):
        files = [tmp_path / place / name for place in ("native", "emulated")]
        start = [file.open("rb").read(size) for file in files]
        assert start[0] == start[1]
        assert any(start[0])
        assert files[0].stat().st_size == files[1].stat().st_size
