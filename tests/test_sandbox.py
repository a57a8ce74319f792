"""Programs that do their ordinary work in the sandbox, and what its options, its API and its report say."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kernel_guest import BUFFER
from oracles.build import VARIANTS, build
from oracles.peers import need
from sandbox_guest import Boxed

import emuleak
from emuleak.errors import BadOption

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs programs of a Linux host")
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    char line[100] = "nothing\\n", directory[100];
    FILE *in = fopen("in.txt", "r"), *out = fopen("out.txt", "w");
    if (in) { fgets(line, sizeof line, in); fclose(in); unlink("in.txt"); }
    fprintf(out, "%s", line);
    fclose(out);
    mkdir("/tmp/made", 0700);
    symlink("/etc/shadow", "/tmp/made/link");
    printf("%s %s %s %ld %d\\n", argv[0], getenv("HOME") ? "home" : "-", getenv("X") ? getenv("X") : "-",
           (long)time(NULL), (int)getuid());
    printf("%s\\n", getcwd(directory, sizeof directory));
    return malloc(33) == NULL;
}
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    source = tmp_path / "source" / "writer.c"
    source.parent.mkdir()
    source.write_text(PROGRAM)
    return build(source, VARIANTS["O0"])


def command(*words: str | Path, cwd: Path, **more: object) -> subprocess.CompletedProcess[bytes]:
    line = [sys.executable, "-m", "emuleak", "run", "--no-config", *map(str, words)]
    return subprocess.run(line, cwd=cwd, capture_output=True, check=False, **more)


# ---- programs


def test_sort_uses_temporary_files() -> None:
    lines = b"".join(b"%d\n" % (number * 7919 % 30_011) for number in range(30_000))
    report = emuleak.run([need("sort"), "-n", "-S", "64k", "--batch-size=2", "numbers"], sandbox=True,
                         files={"numbers": lines})  # fmt: skip
    assert report.exit.code == 0, report.stderr
    assert report.stdout == b"".join(sorted(lines.splitlines(keepends=True), key=int))
    assert report.written == {}


def test_sqlite_keeps_a_database() -> None:
    script = b"create table t(a, b); insert into t values (1, 'x'), (2, 'y'); begin; update t set a = a + 10; commit;"
    first = emuleak.run([need("sqlite3"), "data.db"], stdin=script, sandbox=True)
    assert first.exit.code == 0, first.stderr
    assert list(first.written) == ["/home/user/data.db"]
    second = emuleak.run([need("sqlite3"), "data.db", "select * from t"], sandbox=True,
                         files={"data.db": first.written["/home/user/data.db"]})  # fmt: skip
    assert second.stdout == b"11|x\n12|y\n"


def test_tar_packs_and_unpacks(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "inner").mkdir(parents=True)
    (tree / "a").write_bytes(b"a" * 20_000)
    (tree / "inner" / "b").write_bytes(b"b")
    (tree / "inner" / "link").symlink_to("b")
    packed = emuleak.run([need("tar"), "cf", "t.tar", "tree"], sandbox=True, files={"tree": tree})
    assert packed.exit.code == 0, packed.stderr
    archive = packed.written["/home/user/t.tar"]
    unpacked = emuleak.run([need("tar"), "xvf", "t.tar"], sandbox=True, files={"t.tar": archive})
    assert unpacked.exit.code == 0, unpacked.stderr
    assert sorted(unpacked.stdout.split()) == [
        b"tree/", b"tree/a", b"tree/inner/", b"tree/inner/b", b"tree/inner/link",
    ]  # fmt: skip
    assert unpacked.written["/home/user/tree/a"] == b"a" * 20_000
    assert unpacked.written["/home/user/tree/inner/b"] == b"b"


def test_sed_edits_in_place(tmp_path: Path) -> None:
    original = tmp_path / "text"
    original.write_bytes(b"one\ntwo\n")
    report = emuleak.run([need("sed"), "-i", "s/one/three/", "text"], sandbox=True, files={"text": original})
    assert report.exit.code == 0, report.stderr
    assert report.written == {"/home/user/text": b"three\ntwo\n"}
    assert original.read_bytes() == b"one\ntwo\n"


@pytest.mark.skipif(not os.path.exists("/usr/bin/python3"), reason="needs the system's Python")
def test_python_runs_a_script() -> None:
    script = (
        b"import json, os; json.dump(sorted(os.listdir('.')), open('out.json', 'w')); print(os.environ.get('HOME'))"
    )
    report = emuleak.run(["/usr/bin/python3", "-S", "-E", "script.py"], sandbox=True, files={"script.py": script})
    assert report.exit.code == 0, report.stderr
    assert report.stdout == b"None\n"
    assert report.written["/home/user/out.json"] == b'["script.py"]'


def test_find_sees_the_same_tree_every_time() -> None:
    words = [need("find"), "/home", "/dev", "/etc/passwd", "/tmp", "-printf", "%p %i %T@ %m\n"]
    first, second = (emuleak.run(words, sandbox=True, files={"b/x": b"1", "a": b"2"}) for _ in range(2))
    assert first.exit.code == 0, first.stderr
    assert first.stdout == second.stdout
    assert b"/home/user/b/x" in first.stdout


# ---- what the guest is given


def test_the_guest_learns_nothing_of_the_host(program: Path) -> None:
    report = emuleak.run([program], sandbox=True)
    assert report.stdout == b"./writer - - 1700000000 1000\n/home/user\n"


def test_files_variables_and_what_was_written(program: Path, tmp_path: Path) -> None:
    host = tmp_path / "host.txt"
    host.write_bytes(b"from the host\n")
    report = emuleak.run([program], sandbox=True, files={"in.txt": host}, env={"X": "given", "HOME": "/"})
    assert report.stdout.startswith(b"./writer home given")
    assert report.written == {"/home/user/out.txt": b"from the host\n"}
    assert host.read_bytes() == b"from the host\n"
    assert [finding.bytes for finding in report.leaks] == [33]


def test_two_runs_are_alike_to_the_byte(program: Path) -> None:
    first, second = (emuleak.run([program], sandbox=True, files={"in.txt": b"x\n"}) for _ in range(2))
    assert (first.stdout, first.to_json(), first.written) == (second.stdout, second.to_json(), second.written)


def test_a_sysroot_that_was_named_is_shown_whole_and_read_only(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "data").mkdir(parents=True)
    (root / "data" / "text").write_bytes(b"from the sysroot\n")
    busy = need("busybox") if shutil.which("busybox") else None
    static = build(_cat(tmp_path), VARIANTS["static"])
    report = emuleak.run([static, "/data/text"], sandbox=True, sysroot=root)
    assert report.stdout == b"from the sysroot\n", (report.stderr, busy)
    assert sorted(path.name for path in root.rglob("*")) == ["data", "text"]


def _cat(directory: Path) -> Path:
    source = directory / "cat.c"
    source.write_text(
        "#include <fcntl.h>\n#include <unistd.h>\n"
        'int main(int n, char **v) { char b[999]; int f = open(v[1], 0), g = creat("/data/new", 0644);'
        " write(1, b, read(f, b, sizeof b)); unlink(v[1]); return g >= 0; }\n"
    )
    return source


@pytest.mark.parametrize("name", ["../outside", "/proc/x", "/dev/null", "", "a/../../b"])
def test_a_file_cannot_be_placed_there(program: Path, name: str) -> None:
    with pytest.raises(BadOption, match="cannot be placed"):
        emuleak.run([program], sandbox=True, files={name: b""})


def test_files_need_the_sandbox(program: Path) -> None:
    with pytest.raises(BadOption, match="sandbox=True"):
        emuleak.run([program], files={"a": b""})


# ---- the command


def test_the_command_keeps_and_lists_files(program: Path, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_bytes(b"hello\n")
    words = ["--sandbox", "--file", "in.txt", "--env", "X=1", "--show-files", "--keep-files", "kept", program]
    done = command(*words, cwd=tmp_path)
    assert done.returncode == 23, done.stderr
    assert done.stdout == b"./writer - 1 1700000000 1000\n/home/user\n"
    listing = done.stderr.decode().partition("Files the program wrote:\n")[2].splitlines()
    assert [line.split() for line in listing] == [
        ["removed", "/home/user/in.txt"], ["6", "/home/user/out.txt"], ["0", "/tmp/made/"],
        ["11", "/tmp/made/link", "(link)"],
    ]  # fmt: skip
    kept = sorted(str(path.relative_to(tmp_path / "kept")) for path in (tmp_path / "kept").rglob("*"))
    assert kept == ["home", "home/user", "home/user/out.txt", "tmp", "tmp/made"]
    assert (tmp_path / "kept/home/user/out.txt").read_bytes() == b"hello\n"
    assert (tmp_path / "in.txt").read_bytes() == b"hello\n"


def test_a_directory_under_another_name(tmp_path: Path) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "f").write_bytes(b"content\n")
    done = command("--sandbox", "--file", "host=/data/in", "/bin/cat", "/data/in/f", cwd=tmp_path)
    assert done.stdout == b"content\n", done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--file", "x"], "--file: only a program in the sandbox has files of its own; add --sandbox"),
        (["--keep-files", "x"], "add --sandbox"),
        (["--show-files"], "add --sandbox"),
        (["--sandbox", "--file", "missing"], "--file missing: there is no missing"),
        (["--sandbox", "--file", "/dev/null"], "is neither a file nor a directory"),
        (["--sandbox", "--file", "full/f=../x"], "cannot be placed at '../x'"),
        (["--sandbox", "--file", "full/f=/bin/f/x", "--file", "full/f=/bin/f"], None),
        (["--sandbox", "--file", "full/f=a", "--file", "full/f=a/b"], "is a file there"),
        (["--sandbox", "--keep-files", "full"], "is not empty"),
        (["--env", "X"], "give NAME=VALUE"),
    ],
)
def test_options_that_make_no_sense(words: list[str], message: str | None, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "f").write_bytes(b"")
    done = command(*words, "/bin/true", cwd=tmp_path)
    if message is None:
        assert done.returncode == 0, done.stderr
    else:
        assert done.returncode == 2
        assert message in done.stderr.decode()
        assert done.stderr.count(b"\n") == 1


def test_no_other_run_pays_for_the_sandbox() -> None:
    script = (
        "import sys; sys.argv = ['emuleak', 'run', '--no-config', '/bin/true']\n"
        "from emuleak.cli import _status; _status()\n"
        "print([name for name in sys.modules if name.endswith(('kernel.sandbox', 'memorytree', 'nodes', 'written'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_run_in_the_sandbox_ends_by_itself(program: Path) -> None:
    from emuleak.kernel.sandbox import MAX_SECONDS

    assert 0 < MAX_SECONDS <= 60
    before = time.monotonic()
    assert emuleak.run([program], sandbox=True).exit.code == 0
    assert time.monotonic() - before < MAX_SECONDS


# ---- single calls: what the programs above do not need


def test_a_fifo_joins_two_descriptors() -> None:
    guest = Boxed()
    assert guest("mknod", "fifo", 0o10600, 0) == 0
    assert guest("open", "fifo", 0o4001, 0) == -6
    reader = guest("open", "fifo", 0o4000, 0)
    writer = guest("open", "fifo", 0o1, 0)
    assert guest("write", writer, guest.put(b"through"), 7) == 7
    assert guest("read", reader, BUFFER + 100, 7) == 7
    assert guest.fetch(7, BUFFER + 100) == b"through"
    assert guest("close", writer) == 0
    assert guest("read", reader, BUFFER, 1) == 0


def test_a_file_without_a_name_can_be_given_one() -> None:
    guest = Boxed()
    fd = guest("open", ".", 0o20200002, 0o600)
    assert guest("write", fd, guest.put(b"later"), 5) == 5
    assert guest("linkat", -100, f"/proc/self/fd/{fd}", -100, "named", 0x400) == 0
    assert guest("close", fd) == 0
    assert guest.files.stat("/home/user/named").st_size == 5
    only = guest("open", ".", 0o20200202, 0o600)
    assert guest("linkat", -100, f"/proc/self/fd/{only}", -100, "other", 0x400) == -2


def test_an_open_file_outlives_its_name_and_then_goes() -> None:
    guest = Boxed()
    before = guest.files.quota.bytes
    fd = guest("open", "f", 0o102, 0o600)
    assert guest("write", fd, guest.put(b"x" * 5000), 5000) == 5000
    assert guest.files.quota.bytes == before + 5000
    assert guest("unlink", "f") == 0
    assert guest("read", fd, BUFFER, 10) == 0
    assert guest("pread64", fd, BUFFER, 10, 0) == 10
    assert guest("readlink", f"/proc/self/fd/{fd}", BUFFER, 100) == len("/home/user/f (deleted)")
    assert guest("close", fd) == 0
    assert guest.files.quota.bytes == before
    assert guest.files.quota.files == 0


def test_an_ordinary_user_changes_nothing_of_the_system() -> None:
    guest = Boxed()
    denied, not_permitted = -13, -1
    assert guest("open", "/usr/lib/new", 0o101, 0o644) == denied
    assert guest("open", "/etc/passwd", 1, 0) == denied
    assert guest("unlink", "/etc/passwd") == denied
    assert guest("rename", "/etc/passwd", "mine") == denied
    assert guest("chmod", "/etc/passwd", 0o777) == not_permitted
    assert guest("link", "/etc/passwd", "mine") == not_permitted
    assert guest("mkdir", "/new", 0o755) == denied
    assert guest("mkdir", "/proc/new", 0o755) == denied
    assert guest("unlink", "/dev/null") == denied
    assert guest("mknod", "device", 0o20666, 0x103) == not_permitted
    assert guest("chown", ".", 0, 0) == not_permitted
    assert guest("mkdir", "/tmp/mine", 0o755) == 0


def test_a_removed_directory_leads_nowhere() -> None:
    guest = Boxed()
    assert guest("mkdir", "d", 0o755) == 0
    fd = guest("open", "d", 0o200000, 0)
    assert guest("chdir", "d") == 0
    assert guest("rmdir", "../d") == 0
    assert guest("getcwd", BUFFER, 100) == -2
    assert guest("openat", fd, "new", 0o101, 0o600) == -2
    assert guest("getdents64", fd, BUFFER, 1000) == -2
    assert guest("chdir", "..") == 0


def test_a_socket_has_a_name_in_the_tree() -> None:
    guest = Boxed()
    address = b"\x01\0s\0"
    server, client = (guest("socket", 1, 1, 0) for _ in range(2))
    assert guest("bind", server, guest.put(address), 4) == 0
    assert guest("listen", server, 1) == 0
    assert guest("rename", "s", "t") == 0
    assert guest("connect", client, guest.put(b"\x01\0s\0"), 4) == -2
    assert guest("connect", client, guest.put(b"\x01\0/home/user/../user/t\0"), 24) == 0


def test_the_terminal_is_shown_and_not_obeyed() -> None:
    from emuleak.kernel.outputs import harmless

    assert harmless("naïve\tline\n".encode()) == "naïve\tline\n".encode()
    assert harmless(b"\x1b]0;title\x07\x9b31m\x7f") == b"^[]0;title^G\\x9b31m^?"
    assert harmless("\x9b31m".encode()) == b"\\xc2\\x9b31m"
