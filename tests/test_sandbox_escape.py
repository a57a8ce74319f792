"""Programs that want out of the sandbox: nothing of the host is read, changed, reached or used up."""

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from oracles.build import VARIANTS, build

import emuleak

PROGRAMS = Path(__file__).parent / "sandbox_programs"
pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="compiles for Linux"), pytest.mark.peer("gcc")]
SECRET = b"SECRET which nobody is to read\n"


def built(name: str) -> Path:
    return build(PROGRAMS / f"{name}.c", VARIANTS["O0"], ("-pthread",))


def state(directory: Path) -> list[tuple[object, ...]]:
    """All of a tree that anybody could have changed."""
    found = []
    for path in sorted([directory, *directory.rglob("*")]):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        found.append((str(path), status.st_mode, status.st_nlink, status.st_uid, status.st_mtime_ns, content))
    return found


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file of the host's that no sandbox was given, with every right for everybody."""
    directory = tmp_path / "outside"
    directory.mkdir(mode=0o777)
    secret = directory / "secret"
    secret.write_bytes(SECRET)
    secret.chmod(0o666)
    for each in (directory, *directory.parents):
        if each.is_relative_to(tmp_path.parent):
            each.chmod(0o777)
    return secret


@pytest.mark.parametrize("grants", [False, True], ids=["", "beside a grant"])
def test_no_way_leads_to_a_file_outside(outside: Path, tmp_path: Path, grants: bool) -> None:
    before = state(outside.parent)
    files: dict[str, object] = {}
    if grants:
        granted = tmp_path / "granted"
        granted.mkdir()
        (granted / "link").symlink_to(outside)
        (granted / "up").symlink_to("../outside")
        (granted / "file").write_bytes(b"harmless")
        files = {"granted": granted, "/data": granted}
    report = emuleak.run([built("reads"), outside], sandbox=True, files=files, stdin=b"")
    assert report.exit.code == 0, (report.exit, report.stdout, report.stderr)
    assert re.fullmatch(rb"\d+ tries\n", report.stdout)
    assert int(report.stdout.split()[0]) > 600
    assert state(outside.parent) == before


def test_these_ways_would_lead_there(outside: Path, tmp_path: Path) -> None:
    """The control: where nothing holds the program back, it finds the file."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    (scratch / "link").symlink_to(outside)
    report = emuleak.run([built("reads"), "/home/user/secret"], sandbox=True, files={"secret": SECRET})
    ways = set(report.stdout.decode().splitlines())
    for way in ("directly", "dots", "/proc/self/root", "a link", "openat /", "chdir ..", "O_PATH reopened", "openat2"):
        assert f"READ {way}" in ways, way
    assert "LINKED" in ways
    assert any(way.startswith("READ a race") for way in ways)


def test_links_in_a_granted_directory_stay_inside(outside: Path, tmp_path: Path) -> None:
    granted = tmp_path / "granted"
    (granted / "inner").mkdir(parents=True)
    (granted / "absolute").symlink_to(outside)
    (granted / "relative").symlink_to("../outside/secret")
    (granted / "inner" / "own").symlink_to("../file")
    (granted / "file").write_bytes(b"granted\n")
    names = ["absolute", "relative", "inner/own"]
    done = emuleak.run(["/bin/cat", *(f"granted/{name}" for name in names)], sandbox=True, files={"granted": granted})
    assert done.stdout == b"granted\n"
    assert done.stderr.count(b"No such file or directory") == 2


def test_nothing_outside_is_changed(outside: Path, tmp_path: Path) -> None:
    program = built("writes")
    victim = subprocess.Popen(["sleep", "100"])
    socket_path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(str(socket_path)[:107])
        listener.listen()
        abstract.bind("\0emuleak-test")
        abstract.listen()
        watched = [outside.parent, program.parent]
        before = [state(directory) for directory in watched]
        devices = [os.lstat(name) for name in ("/dev/null", "/etc/passwd", "/usr/lib")]
        arguments = [outside, outside.parent, str(victim.pid), socket_path]
        report = emuleak.run([program, *arguments], sandbox=True)
        assert report.exit.code == 0, (report.exit, report.stdout, report.stderr)
        assert report.stdout == b"done\n"
        assert [state(directory) for directory in watched] == before
        for name, status in zip(("/dev/null", "/etc/passwd", "/usr/lib"), devices, strict=True):
            assert os.lstat(name).st_mtime_ns == status.st_mtime_ns
            assert os.lstat(name).st_mode == status.st_mode
    assert victim.poll() is None
    victim.kill()
    victim.wait()


def test_the_streams_are_all_that_the_guest_can_write_to(tmp_path: Path) -> None:
    """Standard output is a file of the host's: its position, mode and length are not the guest's to change."""
    out = tmp_path / "out"
    out.write_bytes(b"earlier\n")
    out.chmod(0o600)
    command = [sys.executable, "-m", "emuleak", "run", "--no-config", "--sandbox", str(built("writes"))]
    with out.open("ab") as stream:
        arguments = ["/nowhere/file", "/nowhere", str(os.getpid()), "/nowhere/socket"]
        done = subprocess.run([*command, *arguments], stdout=stream, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == b"earlier\ndone\n"
    assert out.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("what", "told", "noted"),
    [
        ("output", None, "bytes of output"),
        ("file", "No space left on device", "bytes of files"),
        ("memfd", "No space left on device", "bytes of files"),
        ("sparse", "40,", None),
        ("files", "No space left on device", "files was reached"),
        ("descriptors", "1021, Too many open files", "descriptors"),
        ("pipes", "Cannot allocate memory", "pipes and sockets"),
        ("sockets", "Cannot allocate memory", "pipes and sockets"),
        ("threads", "255 threads", "threads"),
        ("depth", "3000,", None),
        ("links", "Too many levels of symbolic links", None),
    ],
)
def test_what_can_be_used_up_is_limited(what: str, told: str | None, noted: str | None) -> None:
    report = emuleak.run([built("exhausts"), what], sandbox=True)
    words = [*report.incomplete, str(report.exit.stopped)]
    if noted is not None:
        assert any("limit of" in each and noted in each for each in words), words
    if told is None:
        assert len(report.stdout) == 64 << 20
    else:
        assert told in report.stderr.decode()
    if what == "links":
        assert report.stdout == b"Too many levels of symbolic links\n"


def test_time_is_limited() -> None:
    report = emuleak.run([built("exhausts"), "loop"], sandbox=True, max_seconds=0.5)
    assert report.exit.stopped == "the limit of 0.5 seconds was reached"
