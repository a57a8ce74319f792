"""`emuleak cc`: programs that it makes run and are checked."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from oracles.commandline import EMULEAK, Done, run
from oracles.native import environment
from oracles.peers import absent, need

from emuleak import compiling
from emuleak.errors import BadOption

ROOT = Path(__file__).parent.parent
LEAK = """#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    void *volatile p = malloc(7);
    p = NULL;
    puts("ran");
}
"""


def cc(*words: str | Path, cwd: Path, **variables: str) -> Done:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*EMULEAK, "cc", *map(str, words)], capture_output=True, text=True, cwd=cwd, timeout=300, check=False,
        env=environment() | {"PYTHONPATH": path} | variables,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def ziglang() -> None:
    if importlib.util.find_spec("ziglang") is None:
        absent("ziglang")


@pytest.fixture(autouse=True)
def source(tmp_path: Path) -> Path:
    (tmp_path / "leak.c").write_text(LEAK)
    return tmp_path / "leak.c"


def test_the_hosts_own_compiler(tmp_path: Path) -> None:
    need("gcc")
    done = cc("-o", "leak", "leak.c", "-DX=1", "-O1", cwd=tmp_path)
    assert (done.status, done.err) == (0, "")
    checked = run(tmp_path / "leak")
    assert checked.out == "ran\n"
    assert "leak.c:5" in checked.err


@pytest.mark.parametrize("target", ["x86_64-linux-gnu", "x86_64-linux-gnu.2.31"])
def test_zigs_compiler(target: str, tmp_path: Path) -> None:
    ziglang()
    done = cc("--target", target, "-o", "leak", "leak.c", cwd=tmp_path)
    assert done.status == 0, done.err
    checked = run(tmp_path / "leak")
    assert checked.out == "ran\n"
    assert "leak.c:5" in checked.err
    assert checked.status == 23


def test_a_target_names_its_glibc(tmp_path: Path) -> None:
    ziglang()
    for target, version in (("x86_64-linux-gnu.2.31", "GLIBC_2.2.5"), ("x86_64-linux-gnu.2.36", "GLIBC_2.34")):
        assert cc("--target", target, "-o", "leak", "leak.c", cwd=tmp_path).status == 0
        told = subprocess.run([need("nm"), "-D", tmp_path / "leak"], capture_output=True, text=True, check=True).stdout
        assert f"__libc_start_main@{version}\n" in told


def test_musl_by_zig(tmp_path: Path) -> None:
    ziglang()
    assert cc("--target", "x86_64-linux-musl", "-o", "leak", "leak.c", cwd=tmp_path).status == 0
    assert run(tmp_path / "leak").out == "ran\n"


def test_cxx(tmp_path: Path) -> None:
    need("g++")
    (tmp_path / "p.cpp").write_text("#include <string>\nint main() { new std::string(99, 'x'); }\n")
    assert cc("-o", "p", "p.cpp", cwd=tmp_path).status == 0
    assert "definitely lost" in run(tmp_path / "p").err


def test_the_compilers_errors_are_its_own(tmp_path: Path) -> None:
    need("gcc")
    (tmp_path / "bad.c").write_text("int main(void) { return x; }\n")
    done = cc("bad.c", cwd=tmp_path)
    assert done.status == 1
    assert "bad.c:1" in done.err
    assert "emuleak: error" not in done.err


def test_without_any_compiler_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BadOption, match=r"there is no compiler for x86-64 Linux here: .*pip install ziglang"):
        compiling.command(["a.c"], None)
    with pytest.raises(BadOption, match="only Zig's compiler knows targets"):
        compiling.command(["a.c"], "x86_64-linux-gnu.2.31")


@pytest.mark.parametrize(("system", "machine"), [("win32", "AMD64"), ("darwin", "arm64"), ("linux", "aarch64")])
def test_another_hosts_compiler_makes_other_programs(
    system: str, machine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(compiling.platform, "machine", lambda: machine)
    monkeypatch.setattr(compiling, "find_spec", lambda _name: object())
    words = compiling.command(["-o", "out", "a.c"], None)
    assert words[1:6] == ["-m", "ziglang", "cc", "-target", "x86_64-linux-gnu"]
    assert words[-3:] == ["-o", "out", "a.c"]


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    for words, message in (((), "nothing to compile"), (("--target", "aarch64-linux-gnu", "a.c"), "only programs for")):
        done = cc(*words, cwd=tmp_path)
        assert done.status == 2
        assert message in done.err
        assert done.err.count("\n") == 1
