"""`emuleak doctor`: what it says of a program is what ldd, readelf and a run of the program say."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from oracles.commandline import Done, compiled, run
from oracles.native import environment
from oracles.peers import absent, need

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")

PLAIN = "#include <stdlib.h>\nint main(void) { free(malloc(3)); return 0; }\n"
AVX = """#include <immintrin.h>
int main(int argc, char **argv)
{ volatile float a[8] = {argc}; __m256 v = _mm256_loadu_ps((float *)a);
  _mm256_storeu_ps((float *)a, _mm256_add_ps(v, v));
  return a[0] == 2 ? 0 : 1; }
"""


def doctor(*words: str | Path, env: dict[str, str] | None = None) -> Done:
    return run(*words, verb="doctor", env=env)


def document(*words: str | Path, env: dict[str, str] | None = None) -> dict:
    done = doctor("--format", "json", *words, env=env)
    assert done.err == ""
    return json.loads(done.out) | {"status": done.status}


def shared(source: str, directory: Path, name: str, *flags: str) -> Path:
    """A library made in `directory`."""
    text = directory / "library.c"
    text.write_text(source)
    subprocess.run([need("gcc"), "-shared", "-fPIC", "-o", str(directory / name), str(text), *flags], check=True)
    return directory / name


def linked(directory: Path, *flags: str, source: str = "int f(void); int main(void) { return f(); }") -> Path:
    text, program = directory / "main.c", directory / "program"
    text.write_text(source)
    subprocess.run([need("gcc"), "-g", "-o", str(program), str(text), *flags], check=True)
    return program


@pytest.mark.parametrize("program", ["/bin/ls", "/usr/bin/python3", "/usr/bin/xz", "/usr/bin/jq", "/bin/bash"])
def test_the_libraries_are_those_of_ldd(program: str) -> None:
    if not os.path.exists(program):
        absent(program)
    done = subprocess.run([need("ldd"), program], capture_output=True, text=True, env=environment(), check=True)
    wanted = dict(re.findall(r"^\t(\S+) => (\S+)", done.stdout, re.MULTILINE))
    found = document(program)
    assert {each["name"]: each["path"] for each in found["libraries"]} == wanted
    assert found["missing"] == []
    assert found["status"] == 0


def test_a_library_that_is_not_there(tmp_path: Path) -> None:
    shared("int f(void) { return 0; }", tmp_path, "libgone.so")
    program = linked(tmp_path, f"-L{tmp_path}", "-lgone")
    assert "the library libgone.so is not found" in document(program)["missing"]
    assert document(program, env={"LD_LIBRARY_PATH": str(tmp_path)})["missing"] == []
    (tmp_path / "libgone.so").unlink()
    done = doctor(program, env={"LD_LIBRARY_PATH": str(tmp_path)})
    assert done.status == 1
    assert "libgone.so: NOT FOUND" in done.out
    assert run(program).status == 2  # and it really does not run


def test_where_a_library_is_found_is_said(tmp_path: Path) -> None:
    shared("int f(void) { return 0; }", tmp_path, "libhere.so")
    program = linked(tmp_path, f"-L{tmp_path}", "-lhere", "-Wl,-rpath,$ORIGIN")
    (here,) = [each for each in document(program)["libraries"] if each["name"] == "libhere.so"]
    assert os.path.realpath(here["path"]) == str(tmp_path / "libhere.so")
    assert here["source"].startswith("RUNPATH from file")


def test_a_version_that_is_missing(tmp_path: Path) -> None:
    script = tmp_path / "map"
    script.write_text("V2 { global: f; };")
    shared("int f(void) { return 0; }", tmp_path, "libver.so", f"-Wl,--version-script={script}")
    program = linked(tmp_path, f"-L{tmp_path}", "-lver", f"-Wl,-rpath,{tmp_path}")
    script.write_text("V1 { global: f; };")
    shared("int f(void) { return 0; }", tmp_path, "libver.so", f"-Wl,--version-script={script}")
    assert any("version `V2' not found" in words for words in document(program)["missing"])


def test_no_interpreter(tmp_path: Path) -> None:
    program = linked(tmp_path, "-Wl,--dynamic-linker=/absent/ld.so", source=PLAIN)
    found = document(program)
    assert found["status"] == 1
    assert "/absent/ld.so does not exist" in found["missing"][0]
    assert found["libraries"][0]["path"] is None


# ---- the allocator


def test_libcs_malloc_is_served() -> None:
    assert document(compiled(PLAIN))["allocator"] == "glibc's malloc in libc.so.6: served and checked"
    static = document(compiled(PLAIN, "-static"))
    assert static["kind"] == "static x86-64 ELF program, glibc inside"
    assert static["allocator"].endswith("served and checked")


def test_a_static_program_without_symbols_cannot_be_checked() -> None:
    found = document(compiled(PLAIN, "-static", "-s"))
    assert found["status"] == 1
    assert "its heap not checked" in found["missing"][0]


def test_a_malloc_of_the_programs_own() -> None:
    own = (
        "#include <stddef.h>\nstatic char pool[1 << 16], *at = pool;\n"
        "void *malloc(size_t n) { char *p = at; at += n + 15 & ~15; return p; }\nvoid free(void *p) {}\n"
    )
    program = compiled(own + "int main(void) { free(malloc(3)); return 0; }")
    assert "its own malloc in prog: kept" in document(program)["allocator"]


def test_jemalloc(tmp_path: Path) -> None:
    library = Path("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2")
    if not library.exists():
        absent("libjemalloc2")
    program = linked(tmp_path, str(library), "-Wl,--no-as-needed", source=PLAIN)
    assert "jemalloc malloc in libjemalloc.so.2: kept" in document(program)["allocator"]


def test_musl() -> None:
    if shutil.which("musl-gcc") is None:
        absent("musl-tools")
    source = Path(compiled(PLAIN)).parent / "musl.c"
    source.write_text(PLAIN)
    program = source.with_suffix("")
    subprocess.run(["musl-gcc", "-g", "-o", str(program), str(source)], check=True)
    found = document(program)
    assert ", musl" in found["kind"]
    assert found["allocator"].endswith("served and checked")
    assert found["missing"] == []


def test_rust_and_go(tmp_path: Path) -> None:
    rustc, go = shutil.which("rustc"), shutil.which("go")
    if rustc is None or go is None:
        absent("rustc, go")
    (tmp_path / "main.rs").write_text('fn main() { println!("{}", vec![1, 2].len()); }')
    subprocess.run([rustc, "-g", "-o", str(tmp_path / "rust"), str(tmp_path / "main.rs")], check=True, cwd=tmp_path)
    assert re.search(r"Rust \d+\.\d+", document(tmp_path / "rust")["kind"])
    (tmp_path / "main.go").write_text('package main\nfunc main() { println("x") }\n')
    variables = environment() | {"HOME": str(tmp_path), "GO111MODULE": "off"}
    command = [go, "build", "-o", str(tmp_path / "go"), str(tmp_path / "main.go")]
    subprocess.run(command, check=True, cwd=tmp_path, env=variables)
    found = document(tmp_path / "go")
    assert "Go" in found["kind"]
    assert found["allocator"].startswith("Go's own")


# ---- debug information, instructions, system calls


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_the_version_of_dwarf(version: int) -> None:
    program = compiled(PLAIN, f"-gdwarf-{version}")
    info = document(program)["debug"][0]
    told = subprocess.run(["readelf", "--debug-dump=info", str(program)], capture_output=True, text=True, check=True)
    assert info["dwarf"] == sorted(
        {int(number) for number in re.findall(r"^   Version: +(\d)", told.stdout, re.MULTILINE)}
    )
    assert version in info["dwarf"]


def test_separate_debug_information(tmp_path: Path) -> None:
    program = linked(tmp_path, "-Wl,--build-id", source=PLAIN)
    objcopy = need("objcopy")
    subprocess.run([objcopy, "--only-keep-debug", program, tmp_path / "program.debug"], check=True)
    subprocess.run([objcopy, "--strip-debug", f"--add-gnu-debuglink={tmp_path}/program.debug", program], check=True)
    info = document(program)["debug"][0]
    assert info["found_by"] == "debug link"
    assert info["file"] == str(tmp_path / "program.debug")
    (tmp_path / "program.debug").unlink()
    assert document(program)["debug"][0]["file"] is None
    assert any("no debug information" in note for note in document(program)["notes"])


def test_avx_without_a_question_is_missing() -> None:
    program = compiled(AVX, "-mavx", "-O1")
    found = document(program)
    assert found["status"] == 1
    assert found["instructions"][0]["extensions"] == ["AVX"]
    assert "main()" in found["instructions"][0]["first"]
    assert run(program).status == 128 + 4  # and there it ends


def test_avx_behind_a_question_is_not() -> None:
    guarded = AVX.replace("int main(", '__attribute__((target("avx"))) int fast(') + (
        'int main(int argc, char **argv) { return __builtin_cpu_supports("avx") ? fast(argc, argv) : 0; }'
    )
    program = compiled(guarded, "-O1")
    found = document(program)
    assert found["status"] == 0
    assert found["instructions"][0]["chosen"]
    assert "may not be reached" in doctor(program).out
    assert run(program).status == 0


def test_instructions_that_the_cpu_has() -> None:
    text = "int main(int n, char **v) { return _bzhi_u32(_pdep_u32(n * 5, 0xff0), 8) & _blsr_u32(n * 6); }"
    source = f"#include <x86intrin.h>\n{text}"
    program = compiled(source, "-mbmi", "-mbmi2", "-O1")
    assert document(program)["instructions"] == []
    assert run(program).status == subprocess.run([program], check=False).returncode


def test_system_calls_that_are_not_there() -> None:
    program = compiled("#include <sys/shm.h>\nint main(void) { return shmget(1, 1, 0) == -1; }")
    found = document(program)
    assert found["system_calls"] == ["shmget"]
    assert found["status"] == 0  # it may never be made
    assert "shmget" in doctor(program).out


@pytest.mark.parametrize(("name", "words"), [("text", "is not an ELF file"), ("absent", "no such file")])
def test_what_is_no_program_is_an_error(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "text").write_text("text")
    (tmp_path / "text").chmod(0o755)
    done = doctor(tmp_path / name)
    assert done.status == 2
    assert words in done.err
    assert done.err.count("\n") == 1
