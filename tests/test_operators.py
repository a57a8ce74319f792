"""C++'s operators where no program of the corpus leads: several C++ libraries in one process, replacements, traps."""

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from oracles import emuleak
from oracles.peers import need

from emuleak.elf import read_image
from emuleak.entrypoints import NAMES_OF, OPERATORS
from emuleak.events import NO_STACK, OPS, Call
from emuleak.hooks.originals import Originals, Site
from emuleak.machine import Machine
from emuleak.memory import EXEC, PAGE, PROGRAM_BASE, READ, AddressSpace, Region
from emuleak.session import Options, Session

PLUG_IN = """
#include <string>
extern "C" void *make_one() { return new int(3); }
extern "C" void *make_array() { return new long[30]; }
extern "C" void *make_text() { return new std::string(200, 'x'); }
extern "C" void drop_one(void *p) { delete (int *)p; }
extern "C" void drop_array(void *p) { delete[] (long *)p; }
extern "C" void drop_text(void *p) { delete (std::string *)p; }
"""
REPLACED = """
#include <cstdlib>
#include <new>
void *operator new(std::size_t n) { if (void *p = std::malloc(n)) return p; throw std::bad_alloc(); }
"""
HOST = """
#include <cstdio>
#include <cstdlib>
#include <dlfcn.h>
#include <new>
#include <string>
typedef void *(*Make)();
typedef void (*Drop)(void *);
int main(int count, char **words)
{
    void *in = dlopen(words[1], RTLD_NOW | RTLD_LOCAL);
    if (!in)
        return std::puts(dlerror()), 1;
    Make one = (Make)dlsym(in, "make_one"), array = (Make)dlsym(in, "make_array"), text = (Make)dlsym(in, "make_text");
    Drop drop_one = (Drop)dlsym(in, "drop_one"), drop_array = (Drop)dlsym(in, "drop_array");
    drop_one(one()), drop_array(array()), ((Drop)dlsym(in, "drop_text"))(text());
    drop_one(new int(4)), drop_array(new long[4]), drop_one(new (std::nothrow) int(5));
    delete (int *)one();
    delete[] (long *)array();
    if (count > 2) {
        std::free(new int(6));
        delete (int *)std::malloc(4);
    }
    std::puts("done");
}
"""
STATIC = ("-static-libstdc++", "-static-libgcc")
PLUG_INS = {
    "shared": (PLUG_IN, (), False),
    "static": (PLUG_IN, STATIC, False),
    "static, stripped": (PLUG_IN, STATIC, True),
    "hidden": (PLUG_IN, (*STATIC, "-Wl,--exclude-libs,ALL"), False),
    "hidden, stripped": (PLUG_IN, (*STATIC, "-Wl,--exclude-libs,ALL"), True),
    "bound to itself": (PLUG_IN, (*STATIC, "-Wl,-Bsymbolic"), False),
    "with its own new": (REPLACED + PLUG_IN, (), False),
    "with its own new, bound to itself": (REPLACED + PLUG_IN, ("-Wl,-Bsymbolic",), False),
}

Build = Callable[..., Path]


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compiles a source text with flags; what was built once is not built again."""
    directory = tmp_path_factory.mktemp("operators")
    done: dict[object, Path] = {}

    def compiled(source: str, *flags: str, compiler: str = "g++", stripped: bool = False) -> Path:
        key = (source, flags, compiler, stripped)
        if key not in done:
            target = directory / f"{len(done)}.so"
            text = target.with_suffix(".cpp")
            text.write_text(source, encoding="utf-8")
            subprocess.run([need(compiler), "-g", "-w", "-std=c++17", "-o", target, text, *flags], check=True)
            if stripped:
                subprocess.run([need("strip"), target], check=True)
            done[key] = target
        return done[key]

    return compiled


def mismatches(program: Path, *arguments: str | Path) -> list[dict[str, Any]]:
    document, run = emuleak.report(program, [str(argument) for argument in arguments])
    assert document["exit"]["code"] == 0
    assert run.stdout == b"done\n"
    assert {finding["kind"] for finding in document["findings"]} <= {"mismatched-free", "leak"}
    return [finding for finding in document["findings"] if finding["kind"] == "mismatched-free"]


# ---- several C++ libraries in one process


@pytest.mark.parametrize("name", PLUG_INS)
@pytest.mark.parametrize("host_flags", [(), STATIC], ids=["host shared", "host static"])
def test_a_plug_in_with_another_runtime_is_no_mismatch(build: Build, name: str, host_flags: Sequence[str]) -> None:
    source, flags, stripped = PLUG_INS[name]
    plug_in = build(source, "-shared", "-fPIC", *flags, stripped=stripped)
    host = build(HOST, *host_flags)
    assert mismatches(host, plug_in) == []
    assert [found["releaser"] for found in mismatches(host, plug_in, "wrongly")] == ["free", "sized operator delete"]


def test_a_stripped_program_with_a_static_runtime_has_no_operators_to_hook(build: Build) -> None:
    """What is not seen is not told: docs/limitations.md says so."""
    plug_in = build(PLUG_IN, "-shared", "-fPIC")
    host = build(HOST, *STATIC, stripped=True)
    assert mismatches(host, plug_in) == []


def test_an_allocator_of_the_programs_own_keeps_the_operators(build: Build) -> None:
    own = """
    #include <cstddef>
    #include <cstdio>
    extern "C" void *__libc_malloc(size_t);
    extern "C" void __libc_free(void *);
    static int made;
    extern "C" void *malloc(size_t n) { made++; return __libc_malloc(n); }
    extern "C" void free(void *p) { __libc_free(p); }
    int main() { int before = made; delete new int[1]; std::puts(made > before ? "done" : "passed by"); }
    """
    assert mismatches(build(own)) == []


def test_wrapped_functions_are_called(build: Build) -> None:
    wrap = """
    #include <cstddef>
    #include <cstdio>
    extern "C" void *__real_malloc(size_t);
    static int made;
    extern "C" void *__wrap_malloc(size_t n) { made++; return __real_malloc(n); }
    int main() { int before = made; delete new int; std::puts(made > before ? "done" : "passed by"); }
    """
    assert mismatches(build(wrap, "-static", "-Wl,--wrap=malloc")) == []


# ---- whose operators a file has

AS_THE_LIBRARY = """
#include <cstdlib>
#include <new>
void *operator new(std::size_t n)
{
    if (n == 0) n = 1;
    void *p;
    while (!(p = std::malloc(n))) {
        std::new_handler handler = std::get_new_handler();
        if (!handler) throw std::bad_alloc();
        handler();
    }
    return p;
}
"""
USE = "#include <string>\nint main(int n, char **) { delete new std::string(n, 'x'); delete[] new long[n]; }\n"
REPLACEMENTS = {
    "counts": "static int n; void *operator new(size_t s) { n++; return std::malloc(s); }",
    "adds a header": "void *operator new(size_t s) { auto p = (long *)std::malloc(s + 16); *p = s; return p + 2; }",
    "asks another": "void *pool(size_t); void *operator new(size_t s) { return pool(s); }"
    "char room[1 << 20], *next = room; void *pool(size_t s) { char *p = next; next += s + 15 & -16; return p; }",
    "deletes nothing": "void operator delete(void *) noexcept {} void operator delete(void *, size_t) noexcept {}",
    "array only": "static int n; void *operator new[](size_t s) { n++; return std::malloc(s); }",
}


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
@pytest.mark.parametrize("flags", [("-static",), STATIC], ids=lambda flags: flags[0])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
class TestWhose:
    def test_the_librarys_own(self, build: Build, compiler: str, flags: Sequence[str], level: str) -> None:
        image = read_image(str(build(USE, *flags, level, compiler=compiler)))
        assert OPERATORS.keys() & image.functions.keys()
        assert image.replaced_operators == ()

    @pytest.mark.parametrize("what", REPLACEMENTS)
    def test_a_replacement(self, build: Build, compiler: str, flags: Sequence[str], level: str, what: str) -> None:
        source = f"#include <cstdlib>\n#include <new>\n{REPLACEMENTS[what]}\n{USE}"
        assert read_image(str(build(source, *flags, level, compiler=compiler))).replaced_operators


def test_the_shared_librarys_own_are_all_recognised() -> None:
    for name in ("libstdc++.so.6", "libc++abi.so.1"):
        for directory in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64"):
            if (path := Path(directory, name)).exists():
                image = read_image(str(path))
                assert OPERATORS.keys() <= image.functions.keys()
                assert image.replaced_operators == ()


def test_one_that_does_exactly_what_the_librarys_does_is_as_good(build: Build) -> None:
    assert read_image(str(build(AS_THE_LIBRARY + USE, "-static", "-O2"))).replaced_operators == ()


def test_every_operation_has_a_name() -> None:
    assert all(NAMES_OF[op] for op in OPS)


# ---- served in the guest, told by line


def test_small_blocks_do_not_trap(build: Build) -> None:
    loop = """
    int main()
    {
        for (int i = 0; i < 20000; i++) {
            int *volatile one = new int(i);
            char *volatile many = new char[i % 900 + 1];
            delete one;
            delete[] many;
        }
    }
    """
    with Session(Options(str(build(loop)), ("loop",), {}, capture=True)) as session:
        traps, served = 0, session.books.gate._originals.serve

        def count(*arguments: Any) -> int | None:
            nonlocal traps
            traps += 1
            return served(*arguments)

        session.books.gate._originals.serve = count
        report = session.run()
    assert report.heap.allocs >= 40000
    assert traps < 1000


def test_a_leak_names_its_maker_and_its_thread(build: Build) -> None:
    leak = """
    #include <thread>
    __attribute__((noinline)) static int forget() { int *volatile p = new int[4]; p = nullptr; return 0; }
    int main() { std::thread(forget).join(); return 0; }
    """
    document, _ = emuleak.report(build(leak, "-pthread"))
    (found,) = [finding for finding in document["findings"] if finding["owner"] == "program"]
    assert (found["maker"], found["thread"], found["bytes"]) == ("operator new[]", 1, 16)
    assert found["stack"][0]["function"] == "forget()"


# ---- an operator new that cannot be met

NEW, NEW_ARRAY, MALLOC = "operator new", "operator new[]", "malloc"
START, OTHER = PROGRAM_BASE, PROGRAM_BASE + 0x100
ENOMEM = 12


class Original:
    """The originals of two operators, `new` and a `new[]` that calls it, and what the ledger is asked."""

    def __init__(self) -> None:
        memory = AddressSpace()
        memory.map(Region(PROGRAM_BASE, PROGRAM_BASE + PAGE, READ | EXEC, "file"))
        memory.poke(START, b"hook!")
        self.memory, self.machine = memory, Machine(memory)
        self.originals = Originals(self.machine, memory)
        self.asked: list[Call] = []
        self.answers: list[int] = []
        for start in (START, OTHER):
            self.originals.add(Site(start, lambda start=start: start + 0x40, b"code!", b"hook!"))

    def ask(self, op: Any, *stack: int, sp: int, site: int = 0, size: int = 8, thread: int = 0) -> int | None:
        packed = b"".join(address.to_bytes(8, "little") for address in stack)
        self.originals.put_hooks_back()
        return self.originals.serve(Call(op, size, 0, 0, packed, thread), sp, site, self._ledger)

    def _ledger(self, call: Call) -> int:
        self.asked.append(call)
        return self.answers.pop(0)


@pytest.fixture
def original() -> Original:
    return Original()


def test_the_original_runs_and_hears_no_once(original: Original) -> None:
    original.answers = [-ENOMEM]
    assert original.ask(NEW, 0x1000, sp=0x900, site=1, size=1 << 40) is None
    assert original.machine.get("rip") == START
    assert original.machine.get("rdi") == 1 << 40
    assert original.memory.read(START, 5) == b"code!"
    assert original.ask(MALLOC, START + 0x20, 0x1000, sp=0x8E0, size=1 << 40) == -ENOMEM
    assert original.memory.read(START, 5) == b"hook!"
    assert [call.op for call in original.asked] == [NEW]


def test_what_a_handler_made_possible_is_the_operators(original: Original) -> None:
    original.answers = [-ENOMEM, 0x55, 0x77]
    original.ask(NEW, 0x1000, 0x2000, sp=0x900, site=1, size=64)
    original.ask(MALLOC, START + 0x20, 0x1000, 0x2000, sp=0x8E0, size=64)
    assert original.ask(MALLOC, 0x3000, START + 0x30, 0x1000, 0x2000, sp=0x800, size=5) == 0x55  # the handler's own
    assert original.ask(MALLOC, START + 0x20, 0x1000, 0x2000, sp=0x8E0, size=64) == 0x77
    assert [(call.op, call.first) for call in original.asked] == [(NEW, 64), (MALLOC, 5), (NEW, 64)]
    assert original.asked[0].stack == original.asked[2].stack


def test_the_chain_of_operators_is_one_call(original: Original) -> None:
    original.answers = [-ENOMEM, 0x77]
    assert original.ask(NEW_ARRAY, 0x1000, sp=0x900, site=2, size=64) is None
    assert original.ask(NEW, 0x1000, sp=0x900, site=1, size=64) is None  # by a jump
    assert original.ask(MALLOC, START + 0x20, 0x1000, sp=0x8E0, size=64) == -ENOMEM
    assert original.ask(MALLOC, START + 0x20, 0x1000, sp=0x8E0, size=64) == 0x77
    assert [call.op for call in original.asked] == [NEW_ARRAY, NEW_ARRAY]


def test_the_same_call_again_is_a_new_one(original: Original) -> None:
    original.answers = [-ENOMEM, -ENOMEM, 0x99]
    for size in (64, 128):
        assert original.ask(NEW, 0x1000, sp=0x900, site=1, size=size) is None
        assert original.ask(MALLOC, START + 0x20, 0x1000, sp=0x8E0, size=size) == -ENOMEM
    assert original.ask(MALLOC, 0x1010, sp=0x900, size=7) == 0x99
    assert [(call.op, call.first) for call in original.asked] == [(NEW, 64), (NEW, 128), (MALLOC, 7)]


def test_another_threads_call_is_its_own(original: Original) -> None:
    original.answers = [-ENOMEM, 0x55]
    original.ask(NEW, 0x1000, sp=0x900, site=1)
    assert original.ask(MALLOC, START + 0x20, 0x1000, sp=0x8E0, thread=1) == 0x55


def test_a_site_that_a_guest_made_up_is_none(original: Original) -> None:
    original.answers = [-ENOMEM]
    assert original.ask(NEW, sp=0x900, site=77) == -ENOMEM
    assert original.asked[0].stack == NO_STACK
