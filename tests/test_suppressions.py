"""Suppressions: both syntaxes, what they match, what the report then says, and valgrind as the judge of all that."""

import fnmatch
import io
import json
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from oracles.build import VARIANTS, build
from oracles.commandline import compiled, run
from oracles.native import execute
from oracles.peers import need

from emuleak.errors import BadOption
from emuleak.findings.suppression import FrameView, LeakPattern, Location, Suppression, View, glob, part
from emuleak.findings.suppression_file import KINDS, parse_suppressions
from emuleak.findings.suppression_view import bare_name, view
from emuleak.report.document import Exit, Finding, Frame, HeapSummary, Report, Suppressed
from emuleak.report.selection import select
from emuleak.report.suppression_text import suppression_texts
from emuleak.report.terminal import Terminal
from emuleak.report.verdict import exit_status, sentence

# Every leak has a size of its own, by which both judges' findings are told apart.
LEAKY = """
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
void *volatile slot, *volatile kept, *volatile inside;
__attribute__((noinline)) void *make(size_t n) { return malloc(n); }
__attribute__((noinline)) void *outer(size_t n) { void *p = make(n); return p; }
static inline __attribute__((always_inline)) void *inlined(size_t n) { return malloc(n); }
__attribute__((noinline)) void *twice(int depth, size_t n)
{ void *p = depth ? twice(depth - 1, n) : make(n); return p; }
int main(void)
{
    char *text;
    slot = make(11); slot = outer(12); slot = inlined(13); slot = twice(3, 14);
    slot = calloc(1, 15); slot = realloc(0, 16); slot = malloc(1); slot = realloc(slot, 17);
    posix_memalign((void **) &slot, 64, 18); slot = aligned_alloc(64, 64); slot = strdup("nineteen is enough");
    asprintf(&text, "%020d", 5); text = 0;
    kept = make(22);
    void **head = make(24); *head = make(25); slot = head; head = 0; slot = 0;
    inside = (char *) make(26) + 8;
    slot = malloc(27); free((void *) slot); free((void *) slot);
    slot = 0;
    return 0;
}
"""
SIZES = re.compile(r"([\d,]+)(?: \(([\d,]+) direct, [^)]*\))? bytes in \d+ blocks are")


@pytest.fixture(scope="module")
def leaky() -> Path:
    return compiled(LEAKY, "-g", "-O0", name="leaky")


def suppression(kind: str, *stack: str, name: str = "known") -> str:
    return "".join(f"{line}\n" for line in ("{", f"  {name}", f"  Memcheck:{kind}", *stack, "}"))


def by_valgrind(program: Path, file: Path) -> set[object]:
    """The sizes of the leaks, and the misuses, that valgrind still reports."""
    words = ["--leak-check=full", "--show-leak-kinds=all", "--run-libc-freeres=no", "--run-cxx-freeres=no"]
    done = execute([need("valgrind"), *words, f"--suppressions={file}", program])
    said = done.stderr.decode()
    assert "LEAK SUMMARY" in said or "All heap blocks were freed" in said, said
    sizes = {int((direct or total).replace(",", "")) for total, direct in SIZES.findall(said)}
    return sizes | ({"free"} if "Invalid free()" in said else set())


def by_emuleak(program: Path, *options: str) -> tuple[set[object], dict]:
    """The same of emuleak, and the document."""
    target = program.with_name(f"report-{abs(hash(options))}.json")
    done = run("--format", "json", "--output", target, *options, program)
    assert "emuleak: error" not in done.err, done.err
    document = json.loads(target.read_text())
    target.unlink()
    leaks = {f["bytes"] // f["blocks"] for f in document["findings"] if f["kind"] == "leak"}
    return leaks | ({"free"} if any(f["kind"] == "double-free" for f in document["findings"]) else set()), document


NOT_BY_MALLOC = {15, 16, 17, 18, 64}


# ---- the same file, the same program, the same findings

FILES = {
    "nothing": "",
    "comments": "# nothing\n\n   # here\n",
    "prefix": suppression("Leak", "fun:malloc", "fun:make"),
    "whole": suppression("Leak", "fun:malloc", "fun:make", "fun:outer", "fun:main"),
    "not-from-the-top": suppression("Leak", "fun:make", "fun:outer"),
    "dots": suppression("Leak", "...", "fun:outer"),
    "dots-between": suppression("Leak", "fun:malloc", "...", "fun:twice", "...", "fun:main"),
    "dots-match-nothing": suppression("Leak", "fun:malloc", "...", "...", "fun:make", "fun:main"),
    "dots-at-the-end": suppression("Leak", "fun:malloc", "fun:inlined", "..."),
    "recursion": suppression("Leak", "...", "fun:twice", "fun:twice", "fun:twice", "fun:twice", "fun:main"),
    "recursion-too-deep": suppression("Leak", "...", *["fun:twice"] * 5, "fun:main"),
    "star": suppression("Leak", "fun:*alloc", "fun:ma?e"),
    "star-in-the-middle": suppression("Leak", "fun:m*c", "fun:*k*", "fun:*"),
    "query": suppression("Leak", "fun:m?lloc", "fun:?????"),
    "brackets-are-themselves": suppression("Leak", "fun:malloc", "fun:[m]ake"),
    "reachable": suppression("Leak", "match-leak-kinds: reachable", "...", "fun:make"),
    "two-kinds": suppression("Leak", "match-leak-kinds:definite,possible", "...", "fun:make"),
    "indirect": suppression("Leak", "match-leak-kinds: indirect", "fun:malloc", "fun:make"),
    "all": suppression("Leak", "match-leak-kinds: all", "...", "fun:main"),
    "none": suppression("Leak", "match-leak-kinds: none", "...", "fun:main"),
    "library": suppression("Leak", "fun:malloc", "fun:strdup"),
    "object": suppression("Leak", "...", "obj:*/libc.so*", "fun:main"),
    "own-object": suppression("Leak", "fun:malloc", "obj:*/leaky", "obj:*/leaky", "fun:main"),
    "object-without-path": suppression("Leak", "...", "obj:leaky"),
    "replacement": suppression("Leak", "obj:*vgpreload_memcheck*", "fun:outer"),
    "source": suppression("Leak", "fun:malloc", "src:source.c"),
    "source-and-line": suppression("Leak", "fun:malloc", "src:source.c:7"),
    "source-and-another-line": suppression("Leak", "fun:malloc", "src:source.c:8"),
    "source-and-any-line": suppression("Leak", "fun:malloc", "src:s*.?", "fun:outer"),
    "below-main": suppression("Leak", "...", "fun:(below main)"),
    "posix": suppression("Leak", "fun:memalign", "fun:posix_memalign", "fun:main"),
    "free": suppression("Free", "fun:free", "fun:main"),
    "free-elsewhere": suppression("Free", "fun:free", "fun:make"),
    "leak-is-no-free": suppression("Leak", "fun:free", "fun:main"),
    "other-kinds": suppression("Cond", "...", "fun:main") + suppression("Addr4", "...", "fun:main")
    + suppression("Param", "write(buf)", "...", "fun:main") + suppression("Value8", "...", "fun:main"),
    "other-tools": "{\n x\n Helgrind:Race\n what ever\n{\n}\n{\n y\n Addrcheck, Memcheck:Leak\n ...\n fun:main\n}\n",
    "several-tools": "{\n x\n Addrcheck,Memcheck:Leak\n ...\n fun:outer\n}\n",
}  # fmt: skip


@pytest.mark.peer("valgrind")
@pytest.mark.parametrize("name", FILES)
def test_valgrind_suppresses_the_same(leaky: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "known.supp"
    file.write_text(FILES[name])
    said, document = by_emuleak(leaky, "--suppressions", str(file))
    expected = by_valgrind(leaky, file)
    if not any("maker" in each for each in document["findings"]):
        said, expected = said - NOT_BY_MALLOC, expected - NOT_BY_MALLOC  # any allocator's name is taken for theirs
    assert said == expected
    assert sum(each["findings"] for each in document.get("suppressed", [])) == 16 - len(document["findings"])


def test_the_files_above_do_suppress_something_and_not_all(leaky: Path, tmp_path: Path) -> None:
    """The comparison with valgrind would hold as well if both always suppressed nothing."""
    file = tmp_path / "known.supp"
    every, document = by_emuleak(leaky)
    assert every == {11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 24, 25, 26, 64, "free"}
    assert "suppressed" not in document
    assert "unused_suppressions" not in document
    for name, gone in {"whole": {12}, "dots": {12}, "free": {"free"}, "recursion": {14}, "library": {19}}.items():
        file.write_text(FILES[name])
        said, document = by_emuleak(leaky, "--suppressions", str(file))
        assert every - said == gone, name
        assert document["unused_suppressions"] == []
        assert [each["findings"] for each in document["suppressed"]] == [1]


CXX = """
#include <cstdlib>
#include <new>
namespace ns {
struct Foo { __attribute__((noinline)) void *bar(int n) { return malloc(n); } void *operator()(int n); };
__attribute__((noinline)) void *Foo::operator()(int n) { return malloc(n); }
template <class T> inline __attribute__((always_inline)) T *quick(int n) { return (T *) malloc(n); }
namespace { __attribute__((noinline)) void *hidden(int n) { return malloc(n); } }
}
void *volatile slot;
int main()
{
    ns::Foo foo;
    slot = foo.bar(31); slot = foo(32); slot = ns::quick<int>(33); slot = ns::hidden(34);
    slot = new char[35]; slot = new (std::nothrow) int[9]; slot = operator new(37); slot = 0;
    return 0;
}
"""
CXX_FILES = {
    "mangled": suppression("Leak", "fun:malloc", "fun:_ZN2ns3Foo3barEi"),
    "part-of-a-mangled-name": suppression("Leak", "fun:malloc", "fun:_ZN2ns3Foo*"),
    "inlined-without-its-namespace": suppression("Leak", "fun:malloc", "fun:quick<*>"),
    "new-array": suppression("Leak", "fun:_Zna*", "fun:main"),
    "unnamed": suppression("Leak", "fun:malloc", "fun:_ZN2ns12_GLOBAL__N_16hiddenEi"),
}


@pytest.fixture(scope="module")
def cxx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("cxx") / "names.cpp"
    source.write_text(CXX)
    return build(source, VARIANTS["O0"])


@pytest.mark.peer("valgrind")
@pytest.mark.parametrize("name", CXX_FILES)
def test_mangled_names_are_known(cxx: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "known.supp"
    file.write_text(CXX_FILES[name])
    said, document = by_emuleak(cxx, "--suppressions", str(file))
    mine = {31, 32, 33, 34, 35, 36, 37}  # libstdc++'s pool is described by names that only valgrind may lack
    if name == "new-array" and not any("maker" in each for each in document["findings"]):
        mine -= {37}  # nobody knows which of its forms `new` had
    assert said & mine == by_valgrind(cxx, file) & mine
    assert document["suppressed"] != []


def test_readable_names_are_known_too(cxx: Path, tmp_path: Path) -> None:
    file = tmp_path / "known.supp"
    file.write_text(suppression("Leak", "...", "fun:ns::Foo::bar(int)"))
    assert 31 not in by_emuleak(cxx, "--suppressions", str(file))[0]
    file.write_text("leak:ns::Foo::\n")
    said, _ = by_emuleak(cxx, "--suppressions", str(file))
    assert {31, 32} & said == set()
    assert {33, 34} <= said


# ---- what emuleak writes, both read


@pytest.mark.peer("valgrind")
def test_generated_suppressions_suppress_what_they_were_made_of(leaky: Path, tmp_path: Path) -> None:
    file = tmp_path / "made.supp"
    before, _ = by_emuleak(leaky, "--gen-suppressions", str(file))
    assert before - {22} == {11, 12, 13, 14, 15, 16, 17, 18, 19, 21, 24, 25, 26, 64, "free"}
    after, document = by_emuleak(leaky, "--suppressions", str(file))
    assert after == {22}, "what was not listed is not suppressed"
    assert document["unused_suppressions"] == []
    makers = any("maker" in each for each in document["findings"])
    assert by_valgrind(leaky, file) == ({22} if makers else {22, 18}), "18: posix_memalign has two frames"
    run("--show-reachable", "--gen-suppressions", file, leaky)
    assert by_emuleak(leaky, "--suppressions", str(file))[0] == set()


@pytest.mark.peer("valgrind")
def test_generated_suppressions_for_cxx(cxx: Path, tmp_path: Path) -> None:
    file = tmp_path / "made.supp"
    run("--gen-suppressions", file, cxx)
    mine = {31, 32, 33, 34, 35, 36, 37}
    assert by_emuleak(cxx, "--suppressions", str(file))[0] & mine == set()
    assert by_valgrind(cxx, file) & mine == set()


def test_generated_suppressions_go_to_standard_error_after_the_report(leaky: Path) -> None:
    done = run("--gen-suppressions", "-", leaky)
    report, _, rest = done.err.partition("{\n")
    assert "LEAK SUMMARY" in report
    parsed = parse_suppressions("{\n" + rest, "made")
    assert {one.kind for one in parsed} == {"Leak", "Free"}
    assert any(one.name.startswith("definitely lost in make (source.c:") for one in parsed)


def test_a_file_that_cannot_be_written_is_said_before_the_run(leaky: Path, tmp_path: Path) -> None:
    done = run("--gen-suppressions", tmp_path / "none" / "x", leaky)
    assert done.status == 2
    assert done.err == f"emuleak: error: --gen-suppressions {tmp_path}/none/x: there is no directory {tmp_path}/none\n"


# ---- files that are refused

BAD = {
    "no brace": ("name\n", 1, "expected '{'"),
    "no name": ("{\n}\n", 2, "must have a name"),
    "no colon": ("{\nn\nMemcheck\nfun:x\n}\n", 3, "TOOL:KIND"),
    "unknown kind": ("{\nn\nMemcheck:Nix\nfun:x\n}\n", 3, "a kind that memcheck knows"),
    "blank in kind": ("{\nn\nMemcheck: Leak\nfun:x\n}\n", 3, "a kind that memcheck knows"),
    "comment behind kind": ("{\nn\nMemcheck:Leak # all\nfun:x\n}\n", 3, "a kind that memcheck knows"),
    "no location": ("{\nn\nMemcheck:Leak\nfoo:x\n}\n", 4, "'fun:', 'obj:' or 'src:'"),
    "no stack": ("{\nn\nMemcheck:Leak\n}\n", 4, "no stack"),
    "no stack behind kinds": ("{\nn\nMemcheck:Leak\nmatch-leak-kinds: all\n}\n", 5, "no stack"),
    "only dots": ("{\nn\nMemcheck:Leak\n...\n...\n}\n", 6, "nothing but '...'"),
    "unknown leak kind": ("{\nn\nMemcheck:Leak\nmatch-leak-kinds: foo\nfun:x\n}\n", 4, "expected kinds of leaks"),
    "blanks in kinds": ("{\nn\nMemcheck:Leak\nmatch-leak-kinds: definite, possible\nfun:x\n}\n", 4, "no blanks"),
    "ends": ("{\nn\nMemcheck:Leak\n\n# x\nfun:malloc\n", 6, "the file ends where '}'"),
    "ends in another tool's": ("{\nn\nHelgrind:Race\nfun:x\n", 4, "the file ends where '}'"),
    "brace too many": ("{\nn\nMemcheck:Leak\nfun:malloc\n}\n}\n", 6, "expected '{'"),
    "no parameter": ("{\nn\nMemcheck:Param\nfun:x\n}\n", 4, "expected a system call's parameter"),
    "only a parameter": ("{\nn\nMemcheck:Param\nwrite(buf)\n}\n", 5, "no stack"),
    "no argument": ("{\nn\nMemcheck:FishyValue\nmalloc\nfun:malloc\n}\n", 4, "FUNCTION(ARGUMENT)"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_line_with_the_place(tmp_path: Path, name: str) -> None:
    text, line, words = BAD[name]
    file = tmp_path / "bad.supp"
    file.write_text(text)
    with pytest.raises(BadOption) as error:
        parse_suppressions(text, str(file))
    assert str(error.value).startswith(f"{file}:{line}: ")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.peer("valgrind")
@pytest.mark.parametrize("name", BAD)
def test_valgrind_refuses_the_same_files(leaky: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "bad.supp"
    file.write_text(BAD[name][0])
    done = execute([need("valgrind"), f"--suppressions={file}", leaky])
    found = re.search(r"FATAL: in suppressions file \S+ near line (\d+)", done.stderr.decode())
    assert found is not None
    if "ends" not in name:
        assert int(found[1]) == BAD[name][1]


def test_the_command_line_says_so_and_ends_with_2(leaky: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.supp"
    file.write_text("{\nn\nMemcheck:Leak\nfoo:\x1b[2J\n}\n")
    done = run("--suppressions", file, leaky)
    assert (done.status, done.out) == (2, "")
    assert done.err == (
        f"emuleak: error: {file}:4: expected '...' or a line that starts with 'fun:', 'obj:' or 'src:', "
        "not 'foo:\\x1b[2J'\n"
    )
    for name in ("missing", "."):
        done = run("--suppressions", tmp_path / name, leaky)
        assert done.status == 2
        assert done.err.startswith(f"emuleak: error: {tmp_path / name}: cannot read the suppressions: ")


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def test_any_text_is_read_or_refused(text: str) -> None:
    read_or_refused(text)


LINES = st.sampled_from([
    "{", "}", "...", "fun:a*", "obj:?", "src:x.c", "fun:", "leak:a$", "leak:", "# c", "", "name",
    "match-leak-kinds: all", "match-leak-kinds:", "malloc(size)", "Helgrind:Race", ":",
    *(f"Memcheck:{kind}" for kind in sorted(KINDS)[:6]),
])  # fmt: skip


@given(st.lists(LINES, max_size=14).map("\n".join))
def test_any_lines_are_read_or_refused(text: str) -> None:
    read_or_refused(text)


def read_or_refused(text: str) -> None:
    lines = text.count("\n") + 1
    try:
        parsed = parse_suppressions(text, "file")
    except BadOption as error:
        place = re.match(r"file:(\d+): .", str(error))
        assert place is not None
        assert 1 <= int(place[1]) <= lines
        return
    for one in parsed:
        assert one.name
        assert one.place.startswith("file:")
        one.matches(view(leak("a", "b")))


# ---- LeakSanitizer's


def leak(*functions: str, file: str | None = None, kind: str = "definitely-lost", **more: object) -> Finding:
    frames = tuple(Frame(hex(index), name, file, 1, "/opt/bin/prog") for index, name in enumerate(functions))
    return Finding(kind="leak", leak_kind=kind, bytes=8, blocks=1, stack=frames, **more)


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("parse", True),
        ("^parse_item$", True),
        ("^parse$", False),
        ("item$", True),
        ("^item", False),
        ("pa*em", True),
        ("^p*m$", True),
        ("^p*x$", False),
        ("lib/json.c", True),
        ("^lib/*.c$", True),
        ("bin/prog", True),
        ("^prog", False),
        ("malloc", True),
        ("pars?", False),
        ("*", True),
        ("PARSE", False),
    ],
)
def test_patterns_of_leaksanitizer(pattern: str, matches: bool) -> None:
    (one,) = parse_suppressions(f"# known\n\n  leak:{pattern}  \n", "lsan")
    assert isinstance(one, LeakPattern)
    assert (one.name, one.place) == (f"leak:{pattern}", "lsan:3")
    assert one.matches(view(leak("parse_item", "main", file="lib/json.c"))) is matches
    assert not one.matches(view(Finding(kind="double-free", bytes=8, blocks=1, stack=leak("parse_item").stack)))


@pytest.mark.parametrize(
    ("text", "place"), [("leak:a\nrace:b\n", "f:2"), ("leak:\n", "f:1"), ("leak:a\n{\n", "f:2"), ("race:b\n", "f:1")]
)
def test_what_leaksanitizer_would_not_read(text: str, place: str) -> None:
    with pytest.raises(BadOption, match=f"^{place}: "):
        parse_suppressions(text, "f")


# ---- patterns


@given(st.text("ab*?.[\n"), st.text("ab*?.[\n"))
def test_glob_is_that_of_the_shell_without_brackets(pattern: str, text: str) -> None:
    expected = re.match(fnmatch.translate(pattern.replace("[", "[[]")), text) is not None
    assert (glob(pattern).match(text) is not None) is expected


@given(st.text("ab*^$?", max_size=6), st.text("ab?", max_size=8))
def test_a_part_may_be_bound_to_start_and_end(pattern: str, text: str) -> None:
    body, dollar, _ = pattern.removeprefix("^").partition("$")
    simple = ".*".join(map(re.escape, body.split("*"))) + (r"\Z" if dollar else "")
    search = re.match if pattern.startswith("^") else re.search
    assert (part(pattern).match(text) is not None) is (search(simple, text) is not None)


def test_no_pattern_takes_exponential_time() -> None:
    assert glob("*a" * 40 + "b").match("a" * 2000) is None
    assert part("*a" * 40 + "b$").match("a" * 2000) is None


def begins(stack: list[str | None], frames: list[str]) -> bool:
    """What a stack with `...` (None) means, as directly as it can be said."""
    if not stack:
        return True
    if stack[0] is None:
        return any(begins(stack[1:], frames[skipped:]) for skipped in range(len(frames) + 1))
    return bool(frames) and frames[0] == stack[0] and begins(stack[1:], frames[1:])


@given(st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=7), st.lists(st.sampled_from("ab"), max_size=8))
def test_a_stack_with_wildcards_begins_as_the_finding_s(stack: list[str | None], frames: list[str]) -> None:
    locations = tuple(None if name is None else Location("fun", name) for name in stack)
    one = Suppression("n", "f:1", "Leak", frozenset({"definitely-lost"}), locations)
    seen = View(leak("a"), (tuple(FrameView((name,)) for name in frames),))
    assert one.matches(seen) is begins(stack, frames)


@pytest.mark.parametrize(
    ("function", "bare"),
    [
        ("main", "main"),
        ("ns::Foo::bar(int) const", "bar"),
        ("int* ns::quick<int>(int)", "quick<int>"),
        ("int const& std::min<int>(int const&, int const&)", "min<int>"),
        ("ns::(anonymous namespace)::hidden(int)", "hidden"),
        ("std::vector<a::b, c::d<e> >::push_back(a::b&&)", "push_back"),
        ("ns::Foo::operator()(int)", "operator()"),
        ("main::{lambda(int)#1}::operator()(int) const", "operator()"),
        ("ns::operator<<(std::ostream&, ns::Foo const&)", "operator<<"),
        ("operator new(unsigned long)", "operator new"),
        ("ns::Foo::~Foo()", "~Foo"),
        ("operator_of(int)", "operator_of"),
        ("", ""),
    ],
)
def test_the_name_of_an_inlined_function(function: str, bare: str) -> None:
    assert bare_name(function) == bare


@given(st.text("ab:<>()[]{} ,operat~*&"))
def test_any_name_has_a_bare_one(function: str) -> None:
    assert bare_name(function) in function


# ---- kinds


def misuse(kind: str, **more: object) -> Finding:
    return Finding(kind=kind, bytes=8, blocks=1, stack=leak("f", "main").stack, **more)


@pytest.mark.parametrize(
    ("kind", "finding"),
    [
        ("Free", misuse("double-free")),
        ("Free", misuse("invalid-free")),
        ("Free", misuse("mismatched-free", maker="malloc", releaser="operator delete[]")),
        ("Free", misuse("invalid-realloc")),
        ("Addr4", misuse("use-after-free", access="read", size=4)),
        ("Addr16", misuse("heap-overflow", access="write", size=16)),
        ("Addr1", misuse("heap-underflow", access="write", size=1)),
        ("FishyValue", misuse("invalid-size", maker="malloc")),
        ("ReallocZero", misuse("realloc-zero")),
        ("BadAlign", misuse("invalid-alignment", maker="memalign")),
    ],
)
def test_a_kind_takes_its_own_findings_and_no_others(kind: str, finding: Finding) -> None:
    every = [one for name in sorted(KINDS) for one in parse_suppressions(of_kind(name), "f")]
    takers = {one.kind for one in every if one.matches(view(finding))}
    assert takers - {"BadSize"} == {kind}


def of_kind(kind: str) -> str:
    extra = {"FishyValue": ["malloc(size)"], "Param": ["write(buf)"]}.get(kind, [])
    return suppression(kind, *extra, "...", "fun:f")


def test_a_damaged_block_is_no_access_that_valgrind_would_have_reported() -> None:
    found_when_freed = misuse("heap-overflow", offset=3)
    every = [one for name in sorted(KINDS) for one in parse_suppressions(of_kind(name), "f")]
    assert not any(one.matches(view(found_when_freed)) for one in every)


def test_the_allocator_s_frame_is_the_maker_s() -> None:
    (one,) = parse_suppressions(suppression("Leak", "fun:calloc", "fun:f"), "f")
    assert one.matches(view(leak("f", "main", maker="calloc")))
    assert not one.matches(view(leak("f", "main", maker="malloc")))
    (one,) = parse_suppressions(suppression("Leak", "fun:_Znam", "fun:f"), "f")
    assert one.matches(view(leak("f", "main", maker="operator new[]")))
    assert not one.matches(view(leak("f", "main", maker="operator new")))
    (one,) = parse_suppressions(suppression("Free", "fun:_ZdlPvm", "fun:f"), "f")
    assert one.matches(view(misuse("mismatched-free", maker="malloc", releaser="operator delete")))
    assert not one.matches(view(misuse("mismatched-free", maker="operator new", releaser="free")))


@pytest.mark.parametrize(
    "finding",
    [
        *(leak("f", "main", maker=maker) for maker in (
            "malloc", "calloc", "realloc", "reallocarray", "memalign", "posix_memalign", "aligned_alloc", "valloc",
            "pvalloc", "operator new", "operator new[]", "operator new(unsigned long)")),
        leak("f", "main"), leak("???"), leak("f+0x1f", kind="still-reachable"),
        misuse("double-free"), misuse("mismatched-free", maker="malloc", releaser="operator delete"),
        misuse("invalid-realloc", releaser="realloc"), misuse("realloc-zero", releaser="realloc"),
        misuse("use-after-free", access="read", size=4),
    ],
)  # fmt: skip
def test_what_is_generated_speaks_of_the_finding(finding: Finding) -> None:
    (text,) = suppression_texts([finding])
    (one,) = parse_suppressions(text, "made")
    assert one.matches(view(finding))


def test_findings_of_which_nothing_can_be_said_get_no_suppression() -> None:
    silent = [misuse("heap-overflow", offset=3), msgspec.structs.replace(leak("f"), stack=()), misuse("of-tomorrow")]
    assert list(suppression_texts(silent)) == []
    assert len(list(suppression_texts([leak("f"), leak("f"), leak("g")]))) == 2


def test_hostile_names_cannot_break_out_of_a_suppression() -> None:
    frame = Frame("0x1", "f", "a\n}\n.c", 3, "/opt/prog")
    (text,) = suppression_texts([Finding(kind="leak", bytes=1, blocks=1, stack=(frame,))])
    (one,) = parse_suppressions(text, "made")
    assert one.name == "definitely lost in f (a\\n}\\n.c:3)"


# ---- what the report says


def report(*findings: Finding) -> Report:
    heap = HeapSummary(allocs=9, frees=3, bytes_allocated=99, peak_bytes=99, in_use_bytes=48, in_use_blocks=6)
    return Report(program="prog", exit=Exit(code=0, signal=None), heap=heap, findings=findings)


def test_what_is_suppressed_counts_nowhere_but_is_told() -> None:
    known = parse_suppressions(suppression("Leak", "...", "fun:f", name="known leak") + "\n"
                               + suppression("Leak", "...", "fun:nowhere", name="old") + suppression("Cond", "fun:f"),
                               "k.supp")  # fmt: skip
    full = report(leak("f", "main"), leak("g", "f", "main"), leak("g", "main", kind="still-reachable"))
    left = select(full, known)
    assert left.findings == full.findings[2:]
    assert left.suppressed == (Suppressed(name="known leak", findings=2, bytes=16, blocks=2),)
    assert left.unused_suppressions == ("old (k.supp:9)",), "memcheck's Cond is nothing that emuleak looks for"
    assert (exit_status(full), exit_status(left)) == (23, 0)
    assert sentence(left) == (
        "emuleak: 2 findings kept out; no other leaks, no other misuse: 8 bytes in 1 block still reachable"
    )
    out = io.StringIO()
    Terminal(colour=False).write(left, out)
    text = out.getvalue()
    assert "\nKept out: 2 findings (16 bytes in 2 blocks): known leak\n" in text
    assert "\nSuppression without use: old (k.supp:9)\n" in text


def test_many_suppressions_without_use_are_counted() -> None:
    known = parse_suppressions("\n".join(f"leak:f{index}" for index in range(40)), "k")
    out = io.StringIO()
    Terminal(colour=False).write(select(report(leak("g")), known), out)
    assert out.getvalue().count("Suppression without use:") == 10
    assert "30 more suppressions without use; --format json lists them all." in out.getvalue()


def test_without_suppressions_nothing_is_said() -> None:
    left = select(report(leak("f")))
    assert left == report(leak("f"))
    assert left.suppressed is UNSET
    assert left.unused_suppressions is UNSET


def test_the_first_suppression_takes_the_finding() -> None:
    known = parse_suppressions("leak:f\nleak:main\n", "k")
    left = select(report(leak("f", "main"), leak("g", "main"), leak("f")), known)
    assert [(one.name, one.findings) for one in left.suppressed] == [("leak:f", 2), ("leak:main", 1)]


# ---- only under a directory


def test_only_what_has_a_frame_under_the_directory_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "src")
    inside = leak("f", file=str(tmp_path / "src" / "a.c"))
    relative = leak("g", file="src/deep/../b.c")
    freed = msgspec.structs.replace(misuse("double-free"), freed=inside.stack)
    libc = Frame("0x7f01", "__libc_start_call_main", "src/csu/start.c", 58, "/usr/lib/x86_64-linux-gnu/libc.so.6")
    beside, unknown = leak("h", file=str(tmp_path / "srcs" / "a.c")), leak("i")
    unknown = msgspec.structs.replace(unknown, stack=(*unknown.stack, libc))
    kept = leak("puts", kind="still-reachable", owner="library")
    full = report(inside, relative, freed, beside, unknown, kept)
    for directory in ("src", "./src/", str(tmp_path / "src"), "link"):
        left = select(full, only_under=[directory])
        assert left.findings == (inside, relative, freed, kept)
        assert left.suppressed == (Suppressed(name=f"not under {directory}", findings=2, bytes=16, blocks=2),)
        assert left.unused_suppressions is UNSET
    assert select(full, only_under=["src", "srcs"]).findings == (inside, relative, freed, beside, kept)
    assert select(full, only_under=["/"]).findings == (inside, relative, freed, beside, kept)
    assert select(report(inside), only_under=["src"]).suppressed == ()


def test_elsewhere_is_no_reason_to_fail_but_is_counted(leaky: Path, tmp_path: Path) -> None:
    done = run("--only-under", tmp_path, leaky)
    assert done.status == 0
    assert re.search(r"^emuleak: \d+ findings kept out; no other leaks", done.err)
    assert re.search(rf"^Kept out: 16 findings .*: not under\s+{tmp_path}$", done.err, re.MULTILINE)
    assert run("--only-under", leaky.parent, "--only-under", tmp_path, leaky).status == 23
