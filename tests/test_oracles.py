"""The judge is judged: its parsers, its sense of difference, and the annotations themselves against valgrind."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from oracles import corpus, emuleak, expectations, judge, native, valgrind
from oracles.build import VARIANTS
from oracles.corpus import PLAIN, PROGRAMS
from oracles.expectations import BadExpectationError
from oracles.shapes import Finding, Frame, Heap, Key, Run, Size, Summary

O2 = VARIANTS["O2"]
ENDED_WELL = Run(b"", b"", 0, None)
NO_HEAP = Heap(0, 0, 0, 0, 0)


def frame(function: str, line: int | None = None, file: str = "/src/prog.c", object_: str = "/bin/prog") -> Frame:
    return Frame(function, file if line else None, line, object_)


def leak(line: int, size: int, blocks: int, kind: str = "definitely-lost") -> Finding:
    stack = (frame("strdup", object_="/lib/libc.so.6"), frame("work", line), frame("main", 99))
    return Finding("leak", kind, size, blocks, "program", stack)


def summary(*findings: Finding, heap: Heap = NO_HEAP, run: Run = ENDED_WELL) -> Summary:
    return Summary(run, heap, findings)


# The comments


def test_expectations_are_read() -> None:
    text = """/* EXIT 3 */
/* FLAGS -pthread -lm */
/* SKIP static: no names to look up */
p = malloc(4); /* EXPECT leak definitely-lost bytes=40 blocks=2 */ /* EXPECT leak indirectly-lost bytes=8 blocks=1 */
free(p);       // EXPECT double-free
q = f();       /* ALLOW leak still-reachable */
r = x();       /* EXPECT[optimised] invalid-free */ /* VALGRIND differs: it is wrong */
"""
    promised = expectations.parse(text, "prog.c")
    lost = Key("leak", "definitely-lost", "prog.c", 4)
    hanging = Key("leak", "indirectly-lost", "prog.c", 4)
    twice = Key("double-free", None, "prog.c", 5)
    plain = {lost: Size(40, 2), hanging: Size(8, 1), twice: Size(0, 0)}

    assert promised.required(PLAIN) == plain
    assert promised.required(O2) == plain | {Key("invalid-free", None, "prog.c", 7): Size(0, 0)}
    assert promised.allowed(PLAIN) == {Key("leak", "still-reachable", "prog.c", 6)}
    assert (promised.exit_code, promised.signal, promised.flags) == (3, None, ("-pthread", "-lm"))
    assert promised.differing_lines == {7: "it is wrong"}
    assert not promised.holds_in(VARIANTS["static"])
    assert promised.holds_in(VARIANTS["static-pie"])
    assert promised.misuses(PLAIN)


@pytest.mark.parametrize(
    "comment",
    [
        "EXPECT leak definitely-lost",
        "EXPECT leak definitely-lost bytes=4",
        "EXPECT leak lost bytes=4 blocks=1",
        "EXPECT double free",
        "EXPECT[sometimes] double-free",
        "ALLOW leak still-reachable bytes=4 blocks=1",
        "EXIT badly",
        "SIGNAL SIGNOTHING",
        "SKIP static",
        "VALGRIND differs",
        "EXPECT",
    ],
)
def test_a_comment_that_cannot_be_understood_is_an_error(comment: str) -> None:
    with pytest.raises(BadExpectationError):
        expectations.parse(f"/* {comment} */\nf(); /* EXPECT invalid-free */\n", "prog.c")


@pytest.mark.parametrize("text", ["int main;", "/* CLEAN */\nf(); /* EXPECT invalid-free */"])
def test_a_program_is_clean_or_it_is_not(text: str) -> None:
    with pytest.raises(BadExpectationError, match="CLEAN"):
        expectations.parse(text, "prog.c")


# The judge

PROMISED = expectations.parse("\nf(); /* EXPECT leak definitely-lost bytes=40 blocks=2 */\n", "prog.c")


def test_findings_on_one_line_are_summed() -> None:
    assert judge.findings(PROMISED, PLAIN, summary(leak(2, 30, 1), leak(2, 10, 1))) == []


def test_what_the_library_keeps_for_itself_is_not_the_programs() -> None:
    kept = replace(leak(7, 4096, 1, "still-reachable"), owner="library")
    assert judge.findings(PROMISED, PLAIN, summary(leak(2, 40, 2), kept)) == []


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        ([], "missing"),
        ([leak(2, 40, 1)], "wrong size"),
        ([leak(2, 39, 2)], "wrong size"),
        ([leak(3, 40, 2)], "missing"),
        ([leak(2, 40, 2, "possibly-lost")], "missing"),
        ([leak(2, 40, 2), leak(5, 8, 1)], "unexpected"),
        ([leak(2, 40, 2), Finding("double-free", None, 0, 1, "program", (frame("main", 9),))], "unexpected"),
        ([leak(2, 40, 2), Finding("invalid-free", None, 0, 1, "program", ())], "unexpected"),
    ],
)
def test_every_difference_is_seen(found: list[Finding], complaint: str) -> None:
    differences = judge.findings(PROMISED, PLAIN, summary(*found))
    assert complaint in "\n".join(differences)


def test_an_unexpected_finding_is_shown_with_its_stack() -> None:
    (difference,) = judge.findings(PROMISED, PLAIN, summary(leak(2, 40, 2), leak(5, 8, 1)))
    assert "prog.c:5 leak definitely-lost bytes=8 blocks=1" in difference
    assert "at strdup (libc.so.6)" in difference
    assert "by work (prog.c:5)" in difference


def test_heaps_totals_and_ends_are_compared() -> None:
    one = summary(leak(2, 40, 2), heap=Heap(5, 3, 100, 40, 2))
    two = summary(leak(2, 41, 2), heap=Heap(5, 4, 100, 40, 2), run=Run(b"hullo", b"", None, 6))
    assert judge.heaps(one, one) == judge.totals(one, one) == judge.ends(one.run, one.run) == []
    assert judge.heaps(one, two) == ["  ! heap.frees: valgrind 3, emuleak 4"]
    assert judge.totals(one, two) == [
        "  ! definitely-lost: valgrind bytes=40 blocks=2, emuleak bytes=41 blocks=2",
    ]
    assert judge.ends(one.run, two.run) == [
        "  ! ended with signal 6, not with status 0",
        "  ! stdout differs at byte 0: b'' became b'hullo'",
    ]


# What valgrind and emuleak say

XML = """<?xml version="1.0"?><valgrindoutput>
<error><kind>InvalidFree</kind><what>Invalid free() / delete / delete[] / realloc()</what>
  <stack><frame><obj>/x/vgpreload_memcheck-amd64-linux.so</obj><fn>{function}</fn></frame>
         <frame><obj>/tmp/a</obj><fn>main</fn><dir>/src</dir><file>a.c</file><line>9</line></frame></stack>
  <auxwhat>Address 0x4d6ee40 is {offset} bytes inside a block of size 1,005 free'd</auxwhat>
  <stack><frame><obj>/x/vgpreload_memcheck-amd64-linux.so</obj><fn>free</fn></frame></stack>
</error>
<error><kind>UninitCondition</kind><what>Conditional jump</what><stack><frame><fn>main</fn></frame></stack></error>
<error><kind>Leak_DefinitelyLost</kind>
  <xwhat><text>1,016 (16 direct, 1,000 indirect) bytes in 1 blocks are definitely lost in loss record</text>
  <leakedbytes>1016</leakedbytes><leakedblocks>1</leakedblocks></xwhat>
  <stack><frame><obj>/x/vgpreload_memcheck-amd64-linux.so</obj><fn>malloc</fn></frame>
         <frame><obj>/usr/lib/libc.so.6</obj><fn>{inner}</fn><dir>./libio</dir><file>f.c</file><line>1</line></frame>
         <frame><obj>/tmp/a</obj><fn>main</fn><dir>/src</dir><file>a.c</file><line>7</line></frame></stack>
</error></valgrindoutput>"""
LOG = """==1==     in use at exit: 1,016 bytes in 2 blocks
==1==   total heap usage: 8 allocs, 6 frees, 76,935 bytes allocated"""


@pytest.mark.parametrize(
    ("function", "offset", "kind"),
    [("free", 0, "double-free"), ("free", 8, "invalid-free"), ("realloc", 0, "invalid-realloc")],
)
def test_valgrinds_xml_is_read(function: str, offset: int, kind: str) -> None:
    said = valgrind.read(XML.format(function=function, offset=offset, inner="strdup"), LOG, ENDED_WELL)
    assert said.heap == Heap(8, 6, 76935, 1016, 2)
    assert said.by_line("a.c") == {
        Key(kind, None, "a.c", 9): Size(0, 0),
        Key("leak", "definitely-lost", "a.c", 7): Size(16, 1),
    }
    assert said.totals()["definitely-lost"] == Size(16, 1)
    assert len(said.other) == 1
    assert valgrind.load(valgrind.dump(said)) == said


ACCESS = """<?xml version="1.0"?><valgrindoutput>
<error><kind>{kind}</kind><what>Invalid access</what>
  <stack><frame><obj>/tmp/a</obj><fn>fill</fn><dir>/src</dir><file>a.c</file><line>3</line></frame></stack>
  <auxwhat>Address 0x4d6ee40 is {where}</auxwhat>
  <stack><frame><obj>/tmp/a</obj><fn>drop</fn><dir>/src</dir><file>a.c</file><line>5</line></frame></stack>
  <auxwhat>Block was alloc'd at</auxwhat>
  <stack><frame><obj>/x/vgpreload_memcheck-amd64-linux.so</obj><fn>malloc</fn></frame>
         <frame><obj>/tmp/a</obj><fn>main</fn><dir>/src</dir><file>a.c</file><line>7</line></frame></stack>
</error></valgrindoutput>"""


@pytest.mark.parametrize(
    ("kind", "where", "said", "line"),
    [
        ("InvalidWrite", "0 bytes after a block of size 10 alloc'd", "heap-overflow", 7),
        ("InvalidWrite", "1 bytes before a block of size 10 alloc'd", "heap-underflow", 7),
        ("InvalidWrite", "4 bytes inside a block of size 10 free'd", "write-after-free", 7),
        ("InvalidWrite", "4 bytes after a block of size 10 free'd", "write-after-free", 7),
        ("InvalidRead", "4 bytes inside a block of size 10 free'd", "use-after-free", 3),
        ("InvalidRead", "0 bytes after a block of size 10 alloc'd", "overread", 3),
        ("FishyValue", "", "invalid-size", 3),
    ],
)
def test_a_write_is_known_by_its_block_and_the_rest_by_its_line(kind: str, where: str, said: str, line: int) -> None:
    found = valgrind.read(ACCESS.format(kind=kind, where=where), LOG, ENDED_WELL)
    assert found.by_line("a.c") == {Key(said, None, "a.c", line): Size(0, 0)}
    assert valgrind.load(valgrind.dump(found)) == found
    frames = [{"function": "f", "file": "/src/a.c", "line": n, "object": "/tmp/a"} for n in (3, 7)]
    document = {
        "schema": "emuleak-report/1",
        "exit": {"code": 0, "signal": None},
        "heap": {"allocs": 1, "frees": 0, "bytes_allocated": 5, "peak_bytes": 5, "in_use_bytes": 5, "in_use_blocks": 1},
        "incomplete": [],
        "findings": [
            {"kind": said, "bytes": 5, "blocks": 1, "owner": "program", "stack": frames[:1], "allocated": frames[1:]}
        ],
    }
    assert emuleak.read(document, ENDED_WELL).summary.by_line("a.c") == found.by_line("a.c")


def test_valgrind_knows_what_libc_keeps_for_itself() -> None:
    said = valgrind.read(XML.format(function="free", offset=0, inner="_IO_file_doallocate"), LOG, ENDED_WELL)
    assert [finding.owner for finding in said.findings] == ["program", "library"]


def test_emuleaks_json_is_read() -> None:
    frames = [
        {"pc": "0x1", "function": "strdup", "file": None, "line": None, "object": "/lib/libc.so.6", "inlined": False},
        {"pc": "0x2", "function": "main", "file": "/src/a.c", "line": 7, "object": "/tmp/a", "inlined": False},
    ]
    document = {
        "schema": "emuleak-report/1",
        "exit": {"code": None, "signal": 11},
        "heap": {"allocs": 1, "frees": 0, "bytes_allocated": 5, "peak_bytes": 5, "in_use_bytes": 5, "in_use_blocks": 1},
        "incomplete": ["bpf"],
        "findings": [
            {"kind": "leak", "leak_kind": "possibly-lost", "bytes": 5, "blocks": 1, "owner": "program", "stack": frames}
        ],
    }
    verdict = emuleak.read(document, Run(b"out", b"", 23, None))
    assert verdict.summary.run == Run(b"out", b"", None, 11)
    assert verdict.summary.heap == Heap(1, 0, 5, 5, 1)
    assert verdict.summary.by_line("a.c") == {Key("leak", "possibly-lost", "a.c", 7): Size(5, 1)}
    assert (verdict.status, verdict.incomplete) == (23, ("bpf",))
    with pytest.raises(emuleak.EmuleakFailedError, match="schema"):
        emuleak.read(document | {"schema": "emuleak-report/9"}, ENDED_WELL)


# The corpus as a whole


def test_every_program_is_annotated_and_every_variant_is_used() -> None:
    used = {variant.name for program in PROGRAMS for variant in corpus.rotation(program, 2)}
    assert used | {PLAIN.name} == VARIANTS.keys()
    promised = [corpus.promises(program) for program in PROGRAMS]
    assert len(promised) >= 55
    assert sum(one.clean for one in promised) >= 10


def test_every_stdin_belongs_to_a_program() -> None:
    assert {path.stem for path in corpus.DIRECTORY.glob("*.stdin")} <= {path.stem for path in PROGRAMS}


def test_a_planted_wrong_expectation_is_detected(tmp_path: Path) -> None:
    """The whole way, with valgrind in emuleak's place: compile, run, parse, compare."""
    original = corpus.DIRECTORY / "leak_in_loop.c"
    text = original.read_text()
    planted = {
        "honest.c": text,
        "bytes.c": text.replace("bytes=288", "bytes=320"),
        "blocks.c": text.replace("blocks=9", "blocks=10"),
        "kind.c": text.replace("definitely-lost", "possibly-lost"),
        "line.c": text.replace(" /* EXPECT", "\n/* EXPECT"),
        "more.c": text.replace("free(line);", "free(line); /* EXPECT double-free */"),
    }
    verdicts = {}
    for name, content in planted.items():
        program = tmp_path / name
        program.write_text(content)
        verdicts[name] = judge.findings(corpus.promises(program), PLAIN, corpus.ask_valgrind(program))
    assert [name for name, differences in verdicts.items() if not differences] == ["honest.c"], verdicts


VERIFIED_VARIANTS = ["O0", "O2", "clang-O1"] if os.environ.get("EMULEAK_CORPUS") == "all" else ["O0"]


@pytest.mark.slow
@pytest.mark.parametrize("name", VERIFIED_VARIANTS)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_annotations_agree_with_valgrind(program: Path, name: str) -> None:
    promised, variant = corpus.promises(program), VARIANTS[name]
    if promised.valgrind_cannot:
        pytest.skip(promised.valgrind_cannot)
    if not promised.holds_in(variant):
        pytest.skip("not meant to be built so")
    if name.startswith("clang"):  # valgrind 3.19 cannot read clang's DWARF 5
        variant = replace(variant, flags=(*variant.flags, "-gdwarf-4"))
    said = corpus.ask_valgrind(program, variant)
    differences = judge.findings(promised, variant, said, except_lines=frozenset(promised.differing_lines))
    ended = (said.run.code, said.run.signal)
    promised_end = (None, promised.signal) if promised.signal else (promised.exit_code, None)
    if ended != promised_end:
        differences.append(f"  ! ended with {ended}, promised {promised_end}")
    # A program of the corpus has the defects it is there for and no other.
    differences += [f"  ! {complaint}" for complaint in said.other]
    assert not differences, "\n".join([program.name, *differences])


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_programs_are_deterministic(program: Path) -> None:
    """What cannot be said twice in the same words cannot be compared."""
    promised = corpus.promises(program)
    if promised.misuses(PLAIN):
        pytest.skip("glibc ends it in its own way")
    runs = [native.execute([corpus.binary(program, PLAIN)], corpus.stdin_of(program)) for _ in range(2)]
    assert runs[0] == runs[1]
    promised_end = (None, promised.signal) if promised.signal else (promised.exit_code, None)
    assert (runs[0].code, runs[0].signal) == promised_end
    if not promised.valgrind_cannot and not promised.differing_output:
        assert runs[0].stdout == corpus.ask_valgrind(program).run.stdout
