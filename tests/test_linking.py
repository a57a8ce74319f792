"""Whatever tools linked a program and keep its debug information: it runs as natively, and its lines are known."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from oracles import emuleak, system
from oracles.native import execute
from oracles.peers import absent, need

HERE = Path(__file__).parent / "link_programs"
# A name, what the library is compiled with, what the program is, and what is done to both.
QUICK = {
    "plain": ("", "", ""),
    "relative relocations": ("-Wl,-z,pack-relative-relocs", "-Wl,-z,pack-relative-relocs", ""),
    "gold": ("-fuse-ld=gold", "-fuse-ld=gold", ""),
    "lld": ("-fuse-ld=lld", "-fuse-ld=lld", ""),
    "old hash tables": ("-Wl,--hash-style=sysv", "-Wl,--hash-style=sysv", ""),
    "zlib": ("-gz=zlib", "-gz=zlib", ""),
    "zlib as it was once": ("-Wl,--compress-debug-sections=zlib-gnu", "-Wl,--compress-debug-sections=zlib-gnu", ""),
    "split DWARF": ("-gsplit-dwarf", "-gsplit-dwarf", ""),
    "dwz": ("", "", "dwz program; dwz liblibrary.so"),
    "separate files": (
        "",
        "",
        (
            "for f in program liblibrary.so; do objcopy --only-keep-debug $f $f.debug; strip -g $f;"
            " objcopy --add-gnu-debuglink=$f.debug $f; done"
        ),
    ),
    "TLS descriptors": ("-mtls-dialect=gnu2", "-mtls-dialect=gnu2", ""),
    "static": ("", "-static", ""),
    "static and position-independent": ("-fPIE", "-static-pie", ""),
    "without stubs": ("-fno-plt", "-fno-plt", ""),
}
SLOW = {
    "zstd": ("-Wl,--compress-debug-sections=zstd", "-Wl,--compress-debug-sections=zstd", ""),
    "split DWARF 4": ("-gsplit-dwarf -gdwarf-4", "-gsplit-dwarf -gdwarf-4", ""),
    "dwz with a common file": ("", "", "dwz -m common.dwz -r program liblibrary.so"),
    "DWARF 2": ("-gdwarf-2 -gstrict-dwarf", "-gdwarf-2 -gstrict-dwarf", ""),
    "DWARF 3": ("-gdwarf-3 -gstrict-dwarf", "-gdwarf-3 -gstrict-dwarf", ""),
    "DWARF 4": ("-gdwarf-4", "-gdwarf-4", ""),
    "64-bit DWARF": ("-gdwarf64", "-gdwarf64", ""),
    "type units": ("-fdebug-types-section", "-fdebug-types-section", ""),
    "macros": ("-g3", "-g3", ""),
    "both hash tables": ("-Wl,--hash-style=both", "-Wl,--hash-style=both", ""),
    "global dynamic": ("-ftls-model=global-dynamic", "-ftls-model=global-dynamic", ""),
    "local dynamic": ("-ftls-model=local-dynamic", "", ""),
    "initial exec": ("-ftls-model=initial-exec", "-ftls-model=initial-exec", ""),
    "at a fixed address": ("", "-no-pie", ""),
    "bound at once": ("-Wl,-z,now", "-Wl,-z,now", ""),
    "bound late": ("-Wl,-z,lazy", "-Wl,-z,lazy", ""),
    "branch tracking": ("-fcf-protection=full -Wl,-z,ibtplt", "-fcf-protection=full -Wl,-z,ibtplt", ""),
    "bound to itself": ("-Wl,-Bsymbolic", "", ""),
    "one segment": ("-Wl,-z,noseparate-code", "-Wl,-z,noseparate-code", ""),
    "huge pages": ("-Wl,-z,max-page-size=0x200000", "-Wl,-z,max-page-size=0x200000", ""),
    "an executable stack": ("", "-Wl,-z,execstack", ""),
}


def lost(document: dict[str, Any]) -> list[tuple[str, str, int, int]]:
    """Function, file, line and bytes of what the program lost."""
    return sorted(
        (
            leak["stack"][0]["function"],
            Path(leak["stack"][0]["file"] or "").name,
            leak["stack"][0]["line"],
            leak["bytes"],
        )
        for leak in document["findings"]
        if leak.get("leak_kind") == "definitely-lost" and leak["owner"] == "program"
    )


def line(source: str, mark: str) -> int:
    rows = (HERE / source).read_text().splitlines()
    return next(number for number, row in enumerate(rows, 1) if mark in row)


def compiled(directory: Path, library: str, program: str, afterwards: str) -> Path:
    base = [need("gcc"), "-w", "-g", "-pthread"]
    sources = [str(HERE / "program.c"), str(HERE / "library.c")]
    link = shutil.which("ld" + "." + program.partition("-fuse-ld=")[2]) if "-fuse-ld" in program else "ld"
    if link is None:
        absent(f"no linker for {program}")
    if "dwz" in afterwards:
        need("dwz")
    if "-static" in program:
        subprocess.run(
            [*base, *library.split(), *program.split(), *sources, "-o", "program"], check=True, cwd=directory
        )
    else:
        shared = ["-shared", "-fPIC", *library.split(), sources[1], "-o", "liblibrary.so"]
        subprocess.run([*base, *shared], check=True, cwd=directory)
        rest = [*program.split(), sources[0], "-o", "program", "-L.", "-llibrary", "-Wl,-rpath,$ORIGIN"]
        subprocess.run([*base, *rest], check=True, cwd=directory)
    subprocess.run(["sh", "-ec", afterwards], check=True, cwd=directory)
    return directory / "program"


def check(directory: Path, way: tuple[str, str, str]) -> None:
    program = compiled(directory, *way)
    wanted = execute([program])
    document, done = emuleak.report(program)
    assert done.stdout == wanted.stdout
    assert document["exit"]["code"] == wanted.code == 3
    assert lost(document) == [
        ("lib_lose", "library.c", line("library.c", "/* LIB */"), 32),
        ("own_lose", "program.c", line("program.c", "/* OWN */"), 31),
    ]
    assert not document["incomplete"]


@pytest.mark.parametrize("name", QUICK)
def test_a_program_linked_like_this(tmp_path: Path, name: str) -> None:
    check(tmp_path, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_program_linked_in_a_rarer_way(tmp_path: Path, name: str) -> None:
    check(tmp_path, SLOW[name])


@pytest.fixture
def plugins(tmp_path: Path) -> list[str]:
    """A program and two plug-ins of one size that differ in their lines."""
    text = (HERE / "plugin.c").read_text()
    for number, name in enumerate(("one", "two")):
        (tmp_path / f"{name}.c").write_text("\n" * number + text)
        flags = ["-w", "-g", "-shared", "-fPIC", f"-DSIZE={number}"]
        subprocess.run([need("gcc"), *flags, f"{name}.c", "-o", f"{name}.so"], check=True, cwd=tmp_path)
    subprocess.run([need("gcc"), "-g", HERE / "loader.c", "-o", "loader"], check=True, cwd=tmp_path)
    return [str(tmp_path / "loader"), "./one.so", "./two.so"]


def test_lines_of_plugins_that_are_gone(plugins: list[str], tmp_path: Path) -> None:
    """One is loaded where the other was: an address in a stack must not mean both."""
    wanted = execute(plugins, cwd=tmp_path)
    document, done = emuleak.report(Path(plugins[0]), plugins[1:], cwd=tmp_path)
    assert done.stdout == wanted.stdout
    place = line("plugin.c", "LOSE")
    assert lost(document) == [("lose", "one.c", place, 20)] * 3 + [("lose", "two.c", place + 1, 21)] * 2


def test_a_plugin_that_comes_and_goes_stays_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "p.c").write_text("int f(void) { return 1; }")
    (tmp_path / "l.c").write_text("""
    #include <dlfcn.h>
    #include <stdio.h>
    int main(void)
    {
        void *first = 0;
        for (int i = 0; i < 50; i++) {
            void *h = dlopen("./p.so", RTLD_NOW), *f = dlsym(h, "f");
            first = first ? first : f;
            if (f != first) printf("moved at %d\\n", i);
            dlclose(h);
        }
    }
    """)
    subprocess.run([need("gcc"), "-shared", "-fPIC", "p.c", "-o", "p.so"], check=True, cwd=tmp_path)
    subprocess.run([need("gcc"), "l.c", "-o", "l"], check=True, cwd=tmp_path)
    assert emuleak.check(tmp_path / "l", cwd=tmp_path).summary.run.stdout == b""


@pytest.mark.parametrize("way", ["LD_PRELOAD", "LD_LIBRARY_PATH"])
def test_libraries_come_from_where_the_environment_says(tmp_path: Path, way: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "n.c").write_text("const char *name(void) { return NAME; }")
    (tmp_path / "m.c").write_text("const char *name(void); int puts(const char *); int main(void) { puts(name()); }")
    for directory in (".", "elsewhere"):
        command = [need("gcc"), "-shared", "-fPIC", f'-DNAME="{directory}"', "n.c", "-o", f"{directory}/libn.so"]
        subprocess.run(command, check=True, cwd=tmp_path)
    subprocess.run(
        [need("gcc"), "m.c", "-o", "m", "-L.", "-ln", "-Wl,--enable-new-dtags,-rpath,$ORIGIN"], check=True, cwd=tmp_path
    )
    value = {"LD_PRELOAD": tmp_path / "elsewhere/libn.so", "LD_LIBRARY_PATH": tmp_path / "elsewhere"}[way]
    env = {**system.ENVIRONMENT, "HOME": os.environ.get("HOME", "/"), way: str(value)}
    assert emuleak.check(tmp_path / "m", env=env).summary.run.stdout == b"elsewhere\n"
