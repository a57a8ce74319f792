"""`emuleak sysroot`: packages of Debian's unpacked as dpkg unpacks them, and never outside of their directory."""

import functools
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from oracles.commandline import Done, compiled, run
from oracles.native import environment
from oracles.peers import absent, cache_directory, need

ROOT = Path(__file__).parent.parent
FOREIGN = Path(__file__).parent / "foreign_host.py"
CONTROL = "Package: {name}\nVersion: 1.0-1\nArchitecture: {architecture}\nDescription: for a test\n more of it\n"


def sysroot(*words: str | Path, env: dict[str, str] | None = None) -> Done:
    return run(*words, verb="sysroot", env=env)


def tar(members: list[tarfile.TarInfo | tuple[str, bytes]], compression: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member, io.BytesIO(b"x" * member.size))
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return out.getvalue()


def ar(members: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n".encode() + data + b"\n" * (len(data) % 2)
    return out


def deb(path: Path, *members: tarfile.TarInfo | tuple[str, bytes], name: str = "made", architecture: str = "amd64",
        compression: str = "xz") -> Path:  # fmt: skip
    control = CONTROL.format(name=name, architecture=architecture).encode()
    suffix = f".{compression}" if compression else ""
    path.write_bytes(ar({
        "debian-binary": b"2.0\n",
        f"control.tar{suffix}": tar([("./control", control)], compression),
        f"data.tar{suffix}": tar(list(members), compression),
    }))  # fmt: skip
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def tree(root: Path) -> dict[str, str]:
    """Every file and link below a directory, by its name."""
    return {
        str(path.relative_to(root)): os.readlink(path) if path.is_symlink() else path.read_bytes().hex()
        for path in sorted(root.rglob("*"))
        if (path.is_symlink() or path.is_file()) and path.name != ".emuleak-sysroot.json"
    }


@functools.cache
def fetched() -> tuple[Path, ...]:
    """The real packages, fetched once."""
    place = cache_directory() / "packages"
    place.mkdir(parents=True, exist_ok=True)
    if not list(place.glob("*.deb")):
        command = [need("apt-get"), "-q", "download", "libc6", "libstdc++6", "libgcc-s1", "libc6-dbg"]
        if subprocess.run(command, capture_output=True, cwd=place, check=False).returncode:
            absent("apt-get download does not work here")
    return tuple(sorted(place.glob("*.deb")))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sysroot") / "root"
    done = sysroot("add", "--to", root, *fetched())
    assert done.status == 0, done.err
    return root


# ---- real packages


def test_files_are_those_that_dpkg_unpacks(made: Path, tmp_path: Path) -> None:
    for package in fetched():
        subprocess.run([need("dpkg-deb"), "-x", package, tmp_path / "wanted"], check=True)
    wanted, found = tree(tmp_path / "wanted"), tree(made)
    left_out = ("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/lintian/", "usr/share/bug/")
    wanted = {name: content for name, content in wanted.items() if not name.startswith(left_out)}
    assert found.keys() == wanted.keys()
    absolute = {name for name, target in wanted.items() if target.startswith("/")}
    assert {name: found[name] for name in wanted.keys() - absolute} == {
        name: wanted[name] for name in wanted.keys() - absolute
    }
    for name in absolute:
        assert (made / name).resolve() == (made / wanted[name].lstrip("/")).resolve()


@pytest.mark.skipif(sys.platform != "linux", reason="the programs are the host's own")
@pytest.mark.parametrize("language", ["c", "cpp"])
def test_programs_run_with_the_sysroot_alone(language: str, made: Path, tmp_path: Path) -> None:
    if language == "c":
        program = compiled("#include <stdlib.h>\nint main(void) { void *p = malloc(7); p = 0; return 0; }", "-g")
    else:
        gxx = need("g++")
        (tmp_path / "p.cpp").write_text("#include <string>\nint main() { new std::string(99, 'x'); return 0; }")
        program = tmp_path / "p"
        subprocess.run([gxx, "-g", "-o", program, tmp_path / "p.cpp"], check=True)
    words = ["run", "--sandbox", "--sysroot", str(made), str(program)]
    variables = environment() | {"PYTHONPATH": str(ROOT), "EMULEAK_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, FOREIGN, "denied", *words], capture_output=True, text=True, env=variables, check=False
    )
    assert done.returncode == 23, done.stderr
    assert "definitely lost" in done.stderr


def test_libcs_functions_have_lines_by_the_debug_package(made: Path) -> None:
    program = compiled('#include <string.h>\nint main(void) { return strdup("x") == 0; }', "-g")
    done = run("--sysroot", made, "--format", "json", program)
    assert '"file":"./string/strdup.c"' in done.err.replace(" ", "") or "strdup.c" in done.err


def test_the_list(made: Path) -> None:
    done = sysroot("list", made)
    assert [line.split()[0] for line in done.out.splitlines()[1:]] == ["libc6", "libc6-dbg", "libgcc-s1", "libstdc++6"]
    empty = sysroot("list", env={"EMULEAK_SYSROOT": "/absent"})
    assert empty.status == 1
    assert "no sysroot" in empty.out


# ---- what a hostile package tries


@pytest.mark.parametrize("compression", ["", "gz", "xz", "bz2"])
def test_every_compression(compression: str, tmp_path: Path) -> None:
    package = deb(tmp_path / "a.deb", ("./usr/lib/file", b"content"), compression=compression)
    assert sysroot("add", "--to", tmp_path / "root", package).status == 0
    assert (tmp_path / "root/usr/lib/file").read_bytes() == b"content"


def test_zstd(tmp_path: Path) -> None:
    zstd = need("zstd")
    data = subprocess.run(
        [zstd, "-q", "-c"], input=tar([("f", b"content")], ""), capture_output=True, check=True
    ).stdout
    control = subprocess.run(
        [zstd, "-q", "-c"], input=tar([("control", CONTROL.format(name="n", architecture="all").encode())], ""),
        capture_output=True, check=True,
    ).stdout  # fmt: skip
    package = tmp_path / "a.deb"
    package.write_bytes(ar({"debian-binary": b"2.0\n", "control.tar.zst": control, "data.tar.zst": data}))
    done = sysroot("add", "--to", tmp_path / "root", package)
    if done.status:
        assert "pip install zstandard" in done.err
    else:
        assert (tmp_path / "root/f").read_bytes() == b"content"


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("untouched")
    package = deb(
        tmp_path / "evil.deb",
        ("../outside/a", b"evil"),
        ("/absolute", b"inside"),
        ("usr/../../outside/b", b"evil"),
        link("away", str(outside)),
        ("away/c", b"evil"),
        link("up", "../../../../../../.."),
        ("up/d", b"stays"),
        link("deep/down", "../../outside"),
        ("deep/down/e", b"evil"),
        link("one", "two"),
        link("two", str(outside / "secret")),
        ("one", b"replaced"),
        link("hard", str(outside / "secret"), tarfile.LNKTYPE),
        link("hard2", "../outside/secret", tarfile.LNKTYPE),
        link("null", "", tarfile.CHRTYPE),
    )
    done = sysroot("add", "--to", tmp_path / "root", package)
    assert done.status == 0, done.err
    assert [path.name for path in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "untouched"
    assert (tmp_path / "root/absolute").read_bytes() == b"inside"
    assert (tmp_path / "root/d").read_bytes() == b"stays"
    assert not (tmp_path / "root/null").exists()
    assert not (tmp_path / "root/hard2").exists()
    for path in (tmp_path / "root").rglob("*"):
        assert path.resolve().is_relative_to(tmp_path / "root"), path


def test_set_uid_bits_are_dropped(tmp_path: Path) -> None:
    info = tarfile.TarInfo("bin/su")
    info.mode, info.size = 0o4755, 3
    assert sysroot("add", "--to", tmp_path / "root", deb(tmp_path / "a.deb", info)).status == 0
    assert (tmp_path / "root/bin/su").stat().st_mode & 0o7777 == 0o755


def test_links_in_a_circle(tmp_path: Path) -> None:
    package = deb(tmp_path / "a.deb", link("a", "b"), link("b", "a"), ("a/file", b"x"))
    done = sysroot("add", "--to", tmp_path / "root", package)
    assert done.status == 2
    assert "circle" in done.err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text", "no ar archive"),
        (b"!<arch>\n" + b"x" * 60, "damaged or was cut off"),
        (ar({"debian-binary": b"2.0\n"}), "no control.tar"),
        (ar({"control.tar.xz": b"rubbish"}), "is damaged"),
        (ar({"control.tar.gz": tar([("other", b"")], "gz")}), "no control file"),
    ],
)
def test_what_is_no_package(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(content)
    done = sysroot("add", "--to", tmp_path / "root", tmp_path / "a.deb")
    assert done.status == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_other_mistakes(tmp_path: Path) -> None:
    package = deb(tmp_path / "arm.deb", ("f", b""), architecture="arm64")
    assert "is for arm64" in sysroot("add", "--to", tmp_path / "root", package).err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    good = deb(tmp_path / "good.deb", ("f", b""))
    assert "is not empty" in sysroot("add", "--to", tmp_path / "full", good).err
    assert "no such file" in sysroot("add", "--to", tmp_path / "root", tmp_path / "absent.deb").err
