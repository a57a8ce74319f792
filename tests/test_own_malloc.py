"""Programs that bring an allocator along: jemalloc and its kin, one of their own, one that wraps another."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from oracles import emuleak, system
from oracles.peers import absent, need

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <malloc.h>
static char *keep;
static void lose(int n) { memset(malloc(n), 1, n); }
int main(void)
{
    char *p = malloc(100);
    p = realloc(p, 5000);
    lose(70);
    lose(70);
    free(strdup("text"));
    void *q = aligned_alloc(64, 128);
    free(q);
    keep = calloc(3, 5);
    printf("%d\n", malloc_usable_size(keep) >= 15 && p != NULL);
    free(p);
}
"""
BUMP = r"""
#include <stddef.h>
#include <string.h>
static char pool[1 << 20] __attribute__((aligned(16)));
static size_t used;
void *malloc(size_t n) { void *p = pool + used; used += n + 31 & ~15ul; return p; }
void free(void *p) { (void)p; }
void *calloc(size_t n, size_t size) { return memset(malloc(n * size), 0, n * size); }
void *realloc(void *p, size_t n) { void *q = malloc(n); return p ? memcpy(q, p, n) : q; }
void *memalign(size_t a, size_t n) { used = used + a - 1 & ~(a - 1); return malloc(n); }
void *aligned_alloc(size_t a, size_t n) { return memalign(a, n); }
size_t malloc_usable_size(void *p) { (void)p; return 1 << 20; }
"""
WRAPPER = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
static int calls;
void *malloc(size_t n)
{
    void *(*next)(size_t) = dlsym(RTLD_NEXT, "malloc");
    calls++;
    return next(n);
}
void free(void *p)
{
    void (*next)(void *) = dlsym(RTLD_NEXT, "free");
    next(p);
}
__attribute__((destructor)) static void tell(void) { fprintf(stderr, "%s\n", calls ? "called" : "not called"); }
"""
CXX = r"""
#include <cstdlib>
#include <string>
int main() { int *p = new int[10]; new long(3); std::string text(100, 'x'); free(p); }
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("own_malloc")


def compiled(
    directory: Path, name: str, *flags: str, sources: Sequence[str] = (PROGRAM,), compiler: str = "gcc"
) -> Path:
    target = directory / name
    texts = []
    for number, source in enumerate(sources):
        texts.append(directory / f"{name}{number}.{'cpp' if compiler == 'g++' else 'c'}")
        texts[-1].write_text(source)
    command = [need(compiler), "-g", "-w", "-O0", "-fno-builtin", "-o", target, *texts, *flags]
    subprocess.run(command, check=True, capture_output=True)
    return target


def document(program: Path, *options: str, env: Mapping[str, str] | None = None) -> dict[str, Any]:
    told, _ = emuleak.report(program, options=options, env=env)
    return told


def leaked(told: dict[str, Any]) -> dict[tuple[str, int], int]:
    """The bytes that the program lost, by function and line."""
    lost: dict[tuple[str, int], int] = {}
    for finding in told["findings"]:
        if finding.get("leak_kind") == "definitely-lost" and finding["owner"] == "program":
            place = finding["stack"][0]["function"], finding["stack"][0]["line"]
            lost[place] = lost.get(place, 0) + finding["bytes"]
    return lost


LOST = {("lose", 7): 140}


def library(name: str) -> Path:
    path = Path("/usr/lib/x86_64-linux-gnu") / name
    if not path.exists():
        absent(f"{name} is not installed")
    return path


@pytest.mark.parametrize("name", ["libjemalloc.so.2", "libmimalloc.so.2", "libtcmalloc_minimal.so.4"])
@pytest.mark.parametrize("way", ["linked", "preloaded"])
def test_an_allocators_library_is_replaced(directory: Path, name: str, way: str) -> None:
    path = library(name)
    program = compiled(directory, f"{way}-{name}", *([str(path)] if way == "linked" else []))
    # The library of the C program's allocator has C++ in it, which has blocks of its own: as under valgrind.
    env = dict(system.environment_under_valgrind())
    if way == "preloaded":
        env["LD_PRELOAD"] = str(path)
    told = document(program, env=env)
    assert leaked(told) == LOST
    assert [remark for remark in told["remarks"] if name in remark and "emuleak's heap served in its place" in remark]
    assert not told["incomplete"]
    if way == "linked":
        heap, _ = system.by_valgrind([str(program)], None, directory)
        assert told["heap"]["allocs"] - told["heap"]["frees"] == heap.in_use_blocks
        assert told["heap"]["bytes_allocated"] == heap.bytes_allocated


def test_jemalloc_linked_in_is_replaced(directory: Path) -> None:
    library("libjemalloc.a")
    program = compiled(directory, "jemalloc", "-l:libjemalloc.a", "-lm", "-lstdc++", "-lpthread")
    told = document(program)
    assert leaked(told) == LOST
    (remark,) = told["remarks"]
    assert remark.startswith("jemalloc has an allocator of its own (malloc, calloc, realloc, free)")


def test_operators_of_an_allocators_library_are_its(directory: Path) -> None:
    program = compiled(directory, "operators", str(library("libjemalloc.so.2")), sources=[CXX], compiler="g++")
    told = document(program)
    kinds = sorted((finding["kind"], finding["bytes"]) for finding in told["findings"] if finding["owner"] == "program")
    assert kinds == [("leak", 8), ("mismatched-free", 40)]


@pytest.mark.parametrize("static", [False, True])
def test_an_allocator_in_the_program_is_replaced(directory: Path, static: bool) -> None:
    flags = ["-static"] if static else []
    program = compiled(directory, f"bump{static}", *flags, sources=[PROGRAM, BUMP])
    told = document(program)
    assert leaked(told) == LOST
    assert (
        told["heap"]["in_use_bytes"]
        - sum(finding["bytes"] for finding in told["findings"] if finding["owner"] == "library")
        == 140 + 15
    )
    assert "has an allocator of its own (malloc, calloc, realloc, free)" in told["remarks"][0]


def test_it_serves_where_the_user_wants_it(directory: Path) -> None:
    program = compiled(directory, "kept", sources=[PROGRAM, BUMP])
    told = document(program, "--own-malloc", "keep")
    assert told["heap"]["allocs"] == 0
    (remark,) = told["remarks"]
    assert remark.startswith("kept has an allocator of its own")
    assert "its blocks were not seen" in remark


def test_a_wrapper_is_called_and_the_library_served(directory: Path) -> None:
    program = compiled(directory, "wrapped", sources=[PROGRAM, WRAPPER])
    told, run = emuleak.report(program)
    assert run.stderr == b"called\n"
    assert [(function, size) for (function, _), size in leaked(told).items()] == [("malloc", 140)]
    assert "in terms of the C library's, and was called" in told["remarks"][0]


def test_a_wrapper_can_be_replaced_as_well(directory: Path) -> None:
    program = compiled(directory, "served", sources=[PROGRAM, WRAPPER])
    told, run = emuleak.report(program, options=["--own-malloc", "serve"])
    assert run.stderr == b"not called\n"
    assert leaked(told) == LOST


def test_an_ordinary_program_has_no_remarks(directory: Path) -> None:
    assert "remarks" not in document(compiled(directory, "ordinary"))


def test_a_stripped_static_program_is_said_to_be_one(directory: Path) -> None:
    told = document(compiled(directory, "stripped", "-static", "-s"))
    assert told["heap"]["allocs"] == 0
    assert "without a symbol table" in told["remarks"][0]


@pytest.mark.parametrize("flags", [[], ["-static"]])
def test_musls_malloc_is_a_librarys(directory: Path, flags: list[str]) -> None:
    program = compiled(directory, f"musl{len(flags)}", *flags, compiler="musl-gcc")
    told = document(program)
    assert leaked(told) == LOST
    assert [finding["kind"] for finding in told["findings"]].count("leak") == len(told["findings"])
    assert "remarks" not in told
