"""Fingerprints: what an unrelated edit, another build or another input leaves as it is, and what they tell apart."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emuleak.report.document import Finding, Frame
from emuleak.report.fingerprint import bare_name, fingerprint, fingerprints, place

LIBC = "/usr/lib/x86_64-linux-gnu/libc.so.6"
NAMES = ["main", "parse", "copy", "node_new", "list_add", "visit", "run"]


def frame(function: str, line: int | None = 1, file: str | None = "/home/ada/a.c", **more) -> Frame:
    more = {"pc": "0x401000", "object": "/home/ada/prog", **more}
    return Frame(function=function, file=file, line=line, **more)


def libc(function: str, file: str | None = None) -> Frame:
    return Frame("0x7ffff7e3a1c0", function, file, None if file is None else 42, LIBC)


def leak(*stack: Frame, kind: str = "definitely-lost", **more) -> Finding:
    return Finding(kind="leak", leak_kind=kind, stack=stack, **{"bytes": 8, "blocks": 1, **more})


frames = st.builds(
    frame,
    st.sampled_from(NAMES),
    st.integers(1, 999),
    st.sampled_from(["/home/ada/a.c", "/home/ada/b.c"]),
    inlined=st.booleans(),
)
stacks = st.lists(frames, min_size=1, max_size=8).map(tuple)


def elsewhere(original: Frame, shift: int) -> Frame:
    """The frame in another build, in another directory, after an edit above it."""
    return msgspec.structs.replace(
        original,
        pc=hex(int(original.pc, 16) + 0x1230),
        file=f"/tmp/build/../{original.file.rpartition('/')[2]}",
        line=original.line + shift,
        object="./prog",
        inlined=not original.inlined,
    )


@given(stacks, st.integers(1, 500))
def test_lines_addresses_directories_and_inlining_do_not_matter(stack, shift):
    moved = tuple(elsewhere(one, shift) for one in stack)
    before, after = leak(*stack), leak(*moved, bytes=800, blocks=7, why="another sentence")
    assert fingerprint(after) == fingerprint(before)
    assert re.fullmatch("[0-9a-f]{16}", fingerprint(before))
    assert [there - here for here, there in zip(place(before).lines, place(after).lines, strict=True)] == [shift] * len(
        place(before).lines
    )


@given(st.permutations(NAMES), st.integers(1, 3), st.integers(1, 3), st.integers(1, 60))
def test_the_depth_of_recursion_does_not_matter(names, head, period, rounds):
    inner = [frame(name) for name in names[:head]]
    cycle = [frame(name) for name in names[head : head + period]]
    outer = [frame(name) for name in names[head + period :]]
    assert place(leak(*inner, *cycle * rounds, *outer)) == place(leak(*inner, *cycle, *outer))


@given(st.permutations(NAMES[1:]), st.lists(st.sampled_from(NAMES[1:4]), max_size=40))
def test_nor_does_the_way_that_a_recursion_takes(names, detour):
    """From a function back to itself anything may have happened: an interpreter's stack hardly repeats itself."""
    start = [frame("alloc"), frame(names[0])]
    end = [frame("top"), frame("main")]
    through = [frame(name) for name in detour]
    assert place(leak(*start, *through, frame(names[0]), *end)) == place(leak(*start, *end))


@given(stacks)
def test_a_path_has_every_function_once_and_keeps_both_ends(stack):
    lines = place(leak(*stack)).lines
    assert len(lines) <= len({(one.function, one.file) for one in stack})
    assert lines[0] == stack[0].line


paths = st.lists(st.sampled_from(NAMES[1:]), min_size=1, unique=True)


@given(paths, paths)
def test_functions_matter(one, other):
    same = fingerprint(leak(*map(frame, one))) == fingerprint(leak(*map(frame, other)))
    assert same == (one == other)


def test_kind_class_owner_and_the_other_stacks_matter():
    here, there = frame("f"), frame("g")
    base = leak(here)
    others = [
        leak(here, kind="still-reachable"),
        leak(here, kind="indirectly-lost"),
        leak(here, owner="library"),
        *(Finding(kind=kind, bytes=8, blocks=1, stack=(here,)) for kind in ("double-free", "invalid-free")),
        Finding(kind="double-free", bytes=8, blocks=1, stack=(here,), freed=(there,)),
        Finding(kind="double-free", bytes=8, blocks=1, stack=(here,), allocated=(there,)),
    ]
    assert len({fingerprint(finding) for finding in (base, *others)}) == len(others) + 1


def test_whether_a_block_is_lost_for_sure_can_hang_on_a_register():
    assert fingerprint(leak(frame("f"), kind="possibly-lost")) == fingerprint(leak(frame("f")))


def test_the_kind_of_leak_does_not_move_the_place():
    assert place(leak(frame("f"), kind="still-reachable")) == place(leak(frame("f")))


@pytest.mark.parametrize(
    "inside", [(), (libc("__getdelim"),), (libc("malloc_hook"), libc("_IO_getdelim", "iogetdelim.c"))]
)
def test_the_insides_of_a_library_do_not_matter(inside):
    program = frame("read_all"), frame("main")
    start = libc("__libc_start_call_main"), libc("__libc_start_main_impl", "libc-start.c"), frame("_start", None, None)
    assert fingerprint(leak(*inside, libc("__getline"), *program, *start)) == fingerprint(
        leak(libc("getline"), *program)
    )
    assert fingerprint(leak(*inside, libc("fopen"), *program)) != fingerprint(leak(libc("getline"), *program))


def test_a_program_without_a_symbol_for_main():
    stack = frame("???", None, None, pc="0x401234"), frame("???", None, None, pc="0x401300")
    start = libc("__libc_start_call_main"), libc("__libc_start_main_impl"), frame("???", None, None, pc="0x401050")
    assert place(leak(*stack, *start)) == place(leak(*stack))
    assert place(leak(*stack)).lines == (0x401234, 0x401300)


def test_what_a_library_allocates_on_its_own_keeps_its_stack():
    one, other = (leak(libc(name), libc("call_init"), libc("_dl_start"), owner="library") for name in ("pool", "tls"))
    assert fingerprint(one) != fingerprint(other)


def test_without_debug_information_the_object_stands_for_the_file():
    nameless = [leak(frame("f", None, None, object=path)) for path in ("/a/libx.so", "/b/libx.so", "/a/liby.so")]
    assert len({fingerprint(finding) for finding in nameless}) == 2


def test_two_places_in_one_function_have_names_of_their_own_in_the_order_of_the_source():
    findings = [leak(frame("f", 30)), leak(frame("f", 9)), leak(frame("f", 30), kind="possibly-lost"), leak(frame("g"))]
    names = fingerprints(findings)
    base = fingerprint(findings[0])
    assert names == [f"{base}:2", base, f"{base}:2", fingerprint(findings[3])]
    assert fingerprints([]) == []


def test_names_that_are_not_utf_8():
    assert fingerprint(leak(frame("f", file="/tmp/\udce9.c"))) != fingerprint(leak(frame("f", file="/tmp/e.c")))


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("main", "main"),
        ("copy.constprop.0", "copy"),
        ("copy.isra.0.part.1.cold", "copy"),
        ("copy(char const*) [clone .part.0]", "copy"),
        ("memcpy@@GLIBC_2.14", "memcpy"),
        ("long* (anonymous namespace)::mk<long>(int)", "mk"),
        ("mk<long int>", "mk"),
        ("main::{lambda(int)#1}::operator()(int) const", "operator 40 41"),
        ("operator()", "operator 40 41"),
        ("bool operator< <int>(A const&, A const&)", "operator 60"),
        ("A::operator int*() const", "operator int*"),
        ("operator new[](unsigned long)", "operator new"),
        ("std::vector<int>::push_back(int&&)", "push_back"),
        ("A::~A()", "~A"),
        ("f()::{lambda()#1}", "f"),
        ("core::ptr::drop_in_place<T>::h0123456789abcdef", "drop_in_place"),
        ("copy+0x1f", "copy"),
        ("???", "???"),
        ("<>", "<>"),
        ("", ""),
    ],
)
def test_bare_name(name, bare):
    assert bare_name(name) == bare


@given(
    st.from_regex(r"[a-z_][a-z0-9_]{0,20}", fullmatch=True),
    st.sampled_from(["", "ns::", "(anonymous namespace)::", "std::map<int, A<B> >::", "void ", "int* a::"]),
    st.sampled_from(["", "<int>", "(char)", "(A<int (*)(char)>) const", "() [clone .part.0]", "+0x1f", ".cold"]),
)
def test_whatever_stands_around_a_name_is_taken_off(name, before, after):
    assert bare_name(before + name + after) == name
