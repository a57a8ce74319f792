"""`emuleak bundle`: a program and all that it needs, run where nothing of the host's system is there."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from oracles.commandline import EMULEAK, Done, compiled, run
from oracles.native import environment
from oracles.peers import absent, need

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the programs are the host's own")

FOREIGN = Path(__file__).parent / "foreign_host.py"
ROOT = Path(__file__).parent.parent
LEAK = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
    char *lost = strdup(argc > 1 ? argv[1] : "nothing");
    printf("hello %s\\n", lost);
    lost = NULL;
    free(malloc(5));
    return 3;
}
"""


def bundle(target: Path, *words: str | Path, env: dict[str, str] | None = None) -> Path:
    done = run("-o", target, *words, verb="bundle", env=env)
    assert done.status == 0, done.err
    assert done.err == ""
    return target


def foreign(kind: str, *words: str | Path, stdin: bytes = b"", home: Path) -> Done:
    """Run emuleak as another host has it, with a cache of its own."""
    variables = environment() | {"EMULEAK_CACHE": str(home / "cache"), "PYTHONPATH": str(ROOT)}
    home.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, FOREIGN, kind, "run", *map(str, words)],
        input=stdin, capture_output=True, env=variables, cwd=home, timeout=120, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


def manifest(path: Path) -> dict:
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("manifest.json"))


def test_a_bundle_runs_without_the_hosts_system(tmp_path: Path) -> None:
    program = compiled(LEAK, "-g")
    packed = bundle(tmp_path / "leak.emu", "--sources", program)
    here = run(program, "word")
    there = foreign("denied", packed, "word", home=tmp_path / "home")
    assert there.out == here.out == "hello word\n"
    assert there.status == here.status == 23
    shortened = os.path.relpath(program.parent, tmp_path / "home")
    assert there.err.replace(shortened, str(program.parent)) == here.err
    assert "char *lost = strdup(" in there.err


@pytest.mark.parametrize("kind", ["windows", "darwin"])
def test_a_bundle_runs_on_another_host(kind: str, tmp_path: Path) -> None:
    packed = bundle(tmp_path / "leak.emu", compiled(LEAK, "-g"))
    wanted = foreign("denied", "--format", "json", packed, home=tmp_path / "one")
    found = foreign(kind, "--format", "json", packed, home=tmp_path / "two")
    assert json.loads(found.err) == json.loads(wanted.err)
    assert found.out.splitlines() == wanted.out.splitlines() == ["hello nothing"]
    assert found.status == 23


HOST = (
    (["/usr/bin/jq", "-n", "[range(5)] | add"], b""),
    (["/usr/bin/sort", "-r"], b"b\na\nc\n"),
    (["/usr/bin/wc"], b"text\n" * 100),
    (["/bin/bash", "-c", "for i in 1 2 3; do echo $i; done"], b""),
)


@pytest.mark.parametrize(("words", "stdin"), HOST, ids=["jq", "sort", "wc", "bash"])
def test_programs_of_the_host(words: list[str], stdin: bytes, tmp_path: Path) -> None:
    if shutil.which(words[0]) is None:
        absent(words[0])
    wanted = subprocess.run(words, input=stdin, capture_output=True, env=environment(), check=False)
    packed = bundle(tmp_path / "p.emu", "--no-debug", words[0])
    assert (
        "FileNotFoundError"
        not in (
            done := foreign("denied", "--fail-on", "none", packed, *words[1:], stdin=stdin, home=tmp_path / "home")
        ).err
    )
    assert done.out == wanted.stdout.decode(errors="replace")
    assert done.status == wanted.returncode


def test_a_bundle_can_be_traced(tmp_path: Path) -> None:
    packed = bundle(tmp_path / "a.emu", "--no-debug", compiled(LEAK))
    done = run("-e", "trace=write,openat,execve", packed, "word", verb="strace")
    assert done.out == "hello word\n"
    assert 'write(1, "hello word\\n", 11' in done.err
    assert 'libc.so.6", O_RDONLY|O_CLOEXEC) = 3' in done.err
    assert done.status == 3


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    one = bundle(tmp_path / "one.emu", "--sources", compiled(LEAK, "-g"))
    two = bundle(tmp_path / "two.emu", "--sources", compiled(LEAK, "-g"))
    assert one.read_bytes() == two.read_bytes()


def test_what_is_in_it(tmp_path: Path) -> None:
    program = compiled(LEAK, "-g")
    found = {each["path"]: each for each in manifest(bundle(tmp_path / "a.emu", program))["files"]}
    assert found[str(program)]["role"] == "program"
    assert found["/lib64/ld-linux-x86-64.so.2"]["role"] == "interpreter"
    (libc,) = [each for path, each in found.items() if path.endswith("/libc.so.6")]
    told = subprocess.run([need("ldd"), "--version"], capture_output=True, text=True, check=True).stdout
    assert libc["version"] == f"glibc {told.splitlines()[0].split()[-1]}"
    notes = subprocess.run(["readelf", "-n", program], capture_output=True, text=True, check=True).stdout
    assert found[str(program)]["build_id"] in notes


def test_files_and_variables(tmp_path: Path) -> None:
    source = """#include <stdio.h>
#include <stdlib.h>
int main(int n, char **v) { for (int i = 1; i < n; i++) { FILE *f = fopen(v[i], "r"); char b[99] = "absent\\n";
    if (f) { fgets(b, 99, f); fclose(f); } fputs(b, stdout); } puts(getenv("COLOUR")); return 0; }"""
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    (data / "one").write_text("first\n")
    (data / "deep" / "two").write_text("second\n")
    packed = bundle(
        tmp_path / "a.emu", "--file", f"{data}=/data", "--file", data / "one", "--env", "COLOUR=red", compiled(source)
    )
    done = foreign("denied", packed, "/data/one", "/data/deep/two", data / "one", "/etc/shadow", home=tmp_path / "home")
    assert done.out == "first\nsecond\nfirst\nabsent\nred\n"


def test_files_that_are_opened_are_packed_by_trace(tmp_path: Path) -> None:
    source = """#include <stdio.h>
int main(int n, char **v)
{ char b[99] = "absent"; FILE *f = fopen(v[1], "r"); if (f) fgets(b, 99, f); puts(b); }"""
    (tmp_path / "input").write_text("found")
    packed = tmp_path / "a.emu"
    done = run("-o", packed, "--trace", compiled(source), tmp_path / "input", verb="bundle")
    assert done.out.startswith("found\n")
    assert str(tmp_path / "input") in [each["path"] for each in manifest(packed)["files"]]
    (tmp_path / "input").unlink()
    assert foreign("denied", "--fail-on", "none", packed, tmp_path / "input", home=tmp_path / "home").out == "found\n"


def test_libraries_beside_the_program(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    (place / "l.c").write_text("int f(void) { return 42; }")
    (place / "m.c").write_text("int f(void); int main(void) { return f(); }")
    gcc = need("gcc")
    subprocess.run([gcc, "-shared", "-fPIC", "-o", place / "libf.so", place / "l.c"], check=True)
    subprocess.run([gcc, "-o", place / "m", place / "m.c", f"-L{place}", "-lf", "-Wl,-rpath,$ORIGIN"], check=True)
    packed = bundle(tmp_path / "a.emu", place / "m")
    shutil.rmtree(place)
    assert foreign("denied", packed, home=tmp_path / "home").status == 42


def test_a_static_program(tmp_path: Path) -> None:
    packed = bundle(tmp_path / "a.emu", compiled(LEAK, "-static", "-g"))
    assert [each["role"] for each in manifest(packed)["files"]] == ["program"]
    assert foreign("denied", packed, home=tmp_path / "home").status == 23


def test_a_missing_library_is_said(tmp_path: Path) -> None:
    (tmp_path / "l.c").write_text("int f(void) { return 42; }")
    (tmp_path / "m.c").write_text("int f(void); int main(void) { return f(); }")
    gcc = need("gcc")
    subprocess.run([gcc, "-shared", "-fPIC", "-o", tmp_path / "libf.so", tmp_path / "l.c"], check=True)
    subprocess.run([gcc, "-o", tmp_path / "m", tmp_path / "m.c", f"-L{tmp_path}", "-lf"], check=True)
    done = run("-o", tmp_path / "a.emu", tmp_path / "m", verb="bundle")
    assert "not packed, because it is not there: libf.so" in done.err


# ---- what a hostile or damaged bundle does


def rewritten(source: Path, target: Path, change) -> Path:
    """The bundle with another manifest or other contents."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return target


def refused(path: Path, home: Path) -> str:
    done = run(path, env={"EMULEAK_CACHE": str(home)})
    assert done.status == 2
    assert done.err.count("\n") == 1
    return done.err


@pytest.mark.parametrize("place", ["/../../outside", "outside", "/a/./b", "/a//b", "/a\\u0000b", "//x"])
def test_paths_that_lead_out_are_refused(place: str, tmp_path: Path) -> None:
    packed = bundle(tmp_path / "a.emu", "--no-debug", compiled(LEAK))

    def change(name: str, data: bytes) -> bytes:
        return data.replace(b'"/etc/ld.so.cache"', f'"{place}"'.encode()) if name == "manifest.json" else data

    bad = rewritten(packed, tmp_path / "bad.emu", change)
    assert "is corrupt" in refused(bad, tmp_path / "cache")
    assert not (tmp_path / "outside").exists()


def test_damage_is_noticed(tmp_path: Path) -> None:
    packed = bundle(tmp_path / "a.emu", "--no-debug", compiled(LEAK))
    bad = rewritten(
        packed, tmp_path / "bad.emu", lambda name, data: data if name == "manifest.json" else data[:-1] + b"!"
    )
    assert "is damaged" in refused(bad, tmp_path / "cache")
    cut = tmp_path / "cut.emu"
    cut.write_bytes(packed.read_bytes()[:-500])
    assert "is no bundle" in refused(cut, tmp_path / "cache")
    (tmp_path / "text.emu").write_text("text")
    assert "is no bundle" in refused(tmp_path / "text.emu", tmp_path / "cache")
    assert "no such file" in refused(tmp_path / "absent.emu", tmp_path / "cache")


def test_another_version_is_refused(tmp_path: Path) -> None:
    packed = bundle(tmp_path / "a.emu", "--no-debug", compiled(LEAK))
    bad = rewritten(
        packed, tmp_path / "b.emu", lambda _name, data: data.replace(b"emuleak-bundle/1", b"emuleak-bundle/9")
    )
    assert "emuleak-bundle/9" in refused(bad, tmp_path / "cache")


def test_names_that_differ_in_case_only(tmp_path: Path) -> None:
    source = """#include <stdio.h>
int main(int n, char **v)
{ for (int i = 1; i < n; i++) { char b[99]; fgets(b, 99, fopen(v[i], "r")); puts(b); } }"""
    for name in ("a", "A", "c:d"):
        (tmp_path / name).write_text(f"this is {name}")
    packed = bundle(
        tmp_path / "x.emu",
        *(w for n in ("a", "A", "c:d") for w in ("--file", f"{tmp_path}/{n}=/data/{n}")),
        compiled(source),
    )
    done = foreign("windows", "--fail-on", "none", packed, "/data/a", "/data/A", "/data/c:d", home=tmp_path / "home")
    assert done.out.splitlines() == ["this is a", "this is A", "this is c:d"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "x.zip", "/bin/true"], "ends with .emu"),
        (["/absent"], "no such file"),
        (["--file", "/absent", "/bin/true"], "there is no /absent"),
        (["/bin/true", "argument"], "--trace"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*EMULEAK, "bundle", *words], capture_output=True, text=True, cwd=tmp_path, check=False,
        env=environment() | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
