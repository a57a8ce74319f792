"""Nothing in emuleak needs a Linux host: it is run in processes that look like other hosts (foreign_host.py).

A simulation cannot show what a real Windows or macOS does otherwise: docs/portability.md says what was not tried.
"""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import foreign_host
import pytest
from oracles.build import VARIANTS, build
from oracles.commandline import Done, compiled, run
from oracles.native import environment

from emuleak import host

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="plays the other hosts on Linux")

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "emuleak"
ABSENT = frozenset((*foreign_host.ONLY_POSIX, *foreign_host.ONLY_LINUX, *foreign_host.ONLY_POSIX_FLAGS))
# Called only by who has asked already.
ASKED_BEFORE = {("kernel/fifos.py", "mkfifo"), ("hostcode.py", "uname")} | {
    ("kernel/xattr.py", name)
    for name in ("getxattr", "setxattr", "listxattr", "removexattr", "XATTR_CREATE", "XATTR_REPLACE")
}
PROGRAMS = (
    "process_programs/pipes",
    "process_programs/threads",
    "sandbox_programs/writes",
)


def functions(tree: ast.AST) -> Iterator[ast.AST]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def used(node: ast.AST) -> set[str]:
    """The names of the module os that code uses."""
    return {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name) and each.value.id == "os"
    }


def asked(node: ast.AST) -> set[str]:
    """The names that it asks for by hasattr(os, NAME)."""
    calls = (each for each in ast.walk(node) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name))
    return {
        str(call.args[1].value)
        for call in calls
        if call.func.id == "hasattr" and len(call.args) == 2 and isinstance(call.args[1], ast.Constant)  # type: ignore[attr-defined]
    }


# What comes together: who has one has the other.
TOGETHER = ({"getuid", "getgid"}, {"major", "minor"}, {"preadv", "readv"}, {"pwritev", "writev"})


def test_nothing_is_used_that_only_some_hosts_have() -> None:
    wrong = set()
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for function in functions(tree):
            sure = asked(function)
            sure |= {name for pair in TOGETHER if pair & sure for name in pair}
            name = str(path.relative_to(PACKAGE))
            wrong |= {(name, each) for each in used(function) & ABSENT - sure}
    assert wrong == ASKED_BEFORE


def foreign(kind: str, *words: str | Path, home: Path, stdin: bytes = b"") -> Done:
    home.mkdir(exist_ok=True)
    variables = environment() | {"EMULEAK_CACHE": str(home / "cache"), "PYTHONPATH": str(HERE.parent)}
    done = subprocess.run(
        [sys.executable, HERE / "foreign_host.py", kind, *map(str, words)],
        input=stdin, capture_output=True, env=variables, cwd=home, timeout=120, check=False,
    )  # fmt: skip
    return Done(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@pytest.mark.parametrize("kind", ["windows", "darwin"])
def test_every_module_can_be_imported(kind: str, tmp_path: Path) -> None:
    script = tmp_path / "all.py"
    script.write_text(
        f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent)!r}]\n"
        f"import foreign_host, importlib, pkgutil\nforeign_host.become_{kind}()\nimport emuleak\nforeign_host.deny()\n"
        "names = [m.name for m in pkgutil.walk_packages(emuleak.__path__, 'emuleak.')]\n"
        "for name in names:\n"
        "    if name not in ('emuleak.__main__', 'emuleak.pytest_plugin', 'emuleak.symbols.symcache'):\n"
        "        importlib.import_module(name)\nprint(len(names))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 200


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_do_the_same_everywhere(name: str, tmp_path: Path) -> None:
    program = build(HERE / f"{name}.c", VARIANTS["O0"], ("-pthread", "-fno-builtin"))
    packed = tmp_path / "program.emu"
    assert run("-o", packed, "--no-debug", program, verb="bundle").status == 0
    words = ("run", "--format", "json", "--output", "report", packed)
    wanted, *others = (foreign(kind, *words, home=tmp_path / kind) for kind in ("denied", "windows", "darwin"))
    report = (tmp_path / "denied" / "report").read_bytes()
    assert json.loads(report)["exit"] != {"code": None, "signal": None}
    for kind in ("windows", "darwin"):
        assert (tmp_path / kind / "report").read_bytes() == report
    for other in others:
        assert other.out == wanted.out
        assert other.status == wanted.status
        assert other.err == wanted.err


@pytest.mark.parametrize("kind", ["windows", "darwin"])
@pytest.mark.parametrize("form", ["text", "html", "valgrind-xml"])
def test_every_form_of_report(kind: str, form: str, tmp_path: Path) -> None:
    program = compiled("#include <stdlib.h>\nint main(void) { void *p = malloc(7); p = 0; free(&p); return 0; }", "-g")
    packed = tmp_path / "program.emu"
    assert run("-o", packed, "--no-debug", "--sources", program, verb="bundle").status == 0
    words = ("run", "--format", form, "--output", "report", packed)
    assert foreign("denied", *words, home=tmp_path / "one").status == 23
    done = foreign(kind, *words, home=tmp_path / "two")
    assert (done.status, done.err) == (23, "")
    assert (tmp_path / "two" / "report").read_bytes() == (tmp_path / "one" / "report").read_bytes()


@pytest.mark.parametrize("kind", ["windows", "darwin"])
def test_a_program_with_files_of_the_host(kind: str, tmp_path: Path) -> None:
    """Without a sandbox: the host's own files by way of Python's portable functions."""
    source = """#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/uio.h>
int main(void) { char b[99] = ""; struct stat s; int fd = open("made", O_RDWR | O_CREAT | O_TRUNC, 0666);
  struct iovec v[2] = {{"ab", 2}, {"cd\\n", 3}}; writev(fd, v, 2); pwrite(fd, "X", 1, 1); lseek(fd, 0, SEEK_SET);
  read(fd, b, 99); pread(fd, b + 50, 2, 2); fstat(fd, &s); printf("%s%s %d\\n", b, b + 50, (int)s.st_size);
  fcntl(fd, F_SETFL, O_APPEND | O_NONBLOCK); rename("made", "moved"); printf("%d\\n", unlink("moved"));
  printf("%d ", mkdir("d", 0777)); printf("%d\\n", rmdir("d")); printf("%d\\n", access("moved", F_OK)); return 0; }"""
    program = compiled(source, "-static")
    done = foreign(kind, "run", "--fail-on", "none", program, home=tmp_path / kind)
    assert done.out == "aXcd\ncd 5\n0\n0 0\n-1\n", done.err
    assert done.status == 0


@pytest.mark.parametrize("kind", ["windows", "darwin"])
def test_the_other_verbs(kind: str, tmp_path: Path) -> None:
    program = compiled('#include <unistd.h>\nint main(void) { write(1, "x\\n", 2); return 0; }', "-static", "-g")
    traced = foreign(kind, "strace", program, home=tmp_path / "a")
    assert traced.out == "x\n"
    assert 'write(1, "x\\n", 2)' in traced.err
    examined = foreign(kind, "doctor", program, home=tmp_path / "b")
    assert "static x86-64 ELF program" in examined.out
    assert examined.status == 0
    packed = foreign(kind, "bundle", "-o", "p.emu", program, home=tmp_path / "c")
    assert packed.status == 0, packed.err
    assert foreign(kind, "run", tmp_path / "c" / "p.emu", home=tmp_path / "d").out == "x\n"


@pytest.mark.parametrize(
    ("path", "wanted"), [("C:\\Users\\me\\a.out", "/Users/me/a.out"), ("D:/x", "/x"), ("/home/me", "/home/me")]
)
def test_paths_of_other_hosts(path: str, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host.os, "sep", "\\" if "\\" in path else "/")
    assert host.guest_path(path) == wanted
