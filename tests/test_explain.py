"""`emuleak explain`: a lesson for every kind, the story in order and of what is known, the text report's numbers."""

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from oracles import commandline
from test_report_golden import CASES, OK, START, frame, leak, report

from emuleak.errors import BadOption
from emuleak.report.document import Exit, Finding
from emuleak.report.entries import MAX_ENTRIES, listing
from emuleak.report.explain import Explanation
from emuleak.report.lessons import LESSONS
from emuleak.report.story import story
from emuleak.report.terminal import Terminal
from emuleak.report.verdict import LEAK_KINDS, MISUSE_KINDS

ALLOCATED = frame("make", "a.c", 3), frame("main", "a.c", 20), START
FREED = frame("drop", "a.c", 7), frame("main", "a.c", 21), START
HERE = frame("use", "a.c", 11), frame("main", "a.c", 22), START
CRASH = Exit(code=None, signal=11, signal_name="SIGSEGV")


def explained(document, wanted: int | None = None, **options) -> str:
    out = io.StringIO()
    Explanation(colour=False, cwd="/", **options).write(document, wanted, out)
    return out.getvalue()


def misuse(kind: str, **more) -> Finding:
    return Finding(kind=kind, **{"bytes": 16, "blocks": 1, "stack": HERE, "why": "This is why.", **more})


def steps(finding: Finding, exit_: Exit = OK) -> list[str]:
    return [step.text for step in story(finding, exit_)]


def test_every_kind_has_a_lesson_and_every_lesson_a_kind():
    assert set(LESSONS) == {*LEAK_KINDS, *MISUSE_KINDS}
    for lesson in LESSONS.values():
        assert len(lesson.meaning) > 60
        assert lesson.repair
        assert len(lesson.check) >= 2
        assert len(lesson.mistakes) >= 2
        assert all(question.endswith(("?", ".")) for question in lesson.check)


@pytest.mark.parametrize("kind", LESSONS)
def test_every_kind_can_be_explained(kind):
    finding = leak(16, 1, *ALLOCATED, kind=kind) if kind in LEAK_KINDS else misuse(kind)
    text = explained(report(finding), show_reachable=True)
    titles = re.findall(r"^[A-Z][A-Z ]+$", text, re.MULTILINE)
    assert titles == [
        "WHAT IT MEANS", "WHAT HAPPENED HERE", "WHAT TO CHECK", "HOW TO REPAIR IT", "MISTAKES THAT OFTEN LEAD HERE",
    ]  # fmt: skip
    prose = " ".join(text.split())
    assert LESSONS[kind].meaning in prose
    assert all(item in prose for item in (*LESSONS[kind].check, *LESSONS[kind].mistakes))
    assert finding.why.rstrip(".") in prose
    assert max(map(len, text.splitlines())) <= 100


def test_a_kind_that_is_not_known_is_told_without_a_lesson():
    text = explained(report(misuse("heap-confusion", allocated=ALLOCATED)))
    assert "no lesson on 'heap confusion'" in text
    assert "WHAT HAPPENED HERE\n    1. A block of 16 bytes was allocated:\n      at make (a.c:3)\n" in text
    assert "WHAT TO CHECK" not in text


# ---- the story


@pytest.mark.parametrize("kind", MISUSE_KINDS)
def test_the_order_is_that_of_time(kind):
    told = story(misuse(kind, allocated=ALLOCATED, freed=FREED), OK)
    assert [step.stack for step in told if step.stack] == [ALLOCATED, FREED, HERE]
    assert "allocated" in told[0].text
    assert "freed" in told[1].text
    assert "This is why" in told[-1].text


@pytest.mark.parametrize("kind", MISUSE_KINDS)
def test_what_the_report_does_not_know_is_not_told(kind):
    told = steps(misuse(kind))
    assert not any("was allocated" in text or "It was freed" in text for text in told)


def test_a_double_free():
    finding = misuse(
        "double-free", address="0x600010", allocated=ALLOCATED, freed=FREED, maker="new", releaser="delete"
    )
    assert steps(finding) == [
        "A block of 16 bytes was allocated by new:",
        "It was freed. From here on no pointer to it was valid:",
        "The pointer 0x600010 was given to delete. This is why:",
    ]


def test_of_several_blocks_only_the_sum_of_their_sizes_is_known():
    told = steps(misuse("double-free", blocks=3, bytes=48, allocated=ALLOCATED))
    assert told[0] == "The block was allocated:"
    assert "It happened 3 times with the same stacks; this is the first time:" in told[-1]


def test_an_access_that_was_seen_and_damage_that_was_not():
    seen = misuse("use-after-free", access="write", size=4, address="0x600010", freed=FREED, thread=2)
    assert steps(seen)[-1] == "The program wrote 4 bytes at 0x600010 in thread 2. This is why:"
    damage = misuse("heap-overflow", offset=3, allocated=ALLOCATED)
    assert "3 bytes behind the block's end. The moment itself was not seen." in steps(damage)[1]
    assert story(damage, OK)[2].stack == HERE
    assert "1 byte before the block's start" in steps(misuse("heap-underflow", offset=-1))[0]


def test_a_place_that_was_told_is_not_told_again_as_another():
    told = story(misuse("heap-overflow", offset=0, allocated=ALLOCATED, stack=ALLOCATED), OK)
    assert [step.stack for step in told if step.stack] == [ALLOCATED]
    assert told[-1].text == "The damage was noticed. This is why."


def test_a_leak():
    told = story(leak(16, 1, *ALLOCATED, why="Nothing is left."), OK)
    assert told[0].text == "A block of 16 bytes was allocated:"
    assert told[0].stack == ALLOCATED
    assert told[1].text == "It was not freed, neither on the way nor at the end."
    assert "the last pointer to it went away" in told[2].text
    assert told[3].text.startswith("The program ended with exit status 0. emuleak then looked")
    assert told[3].text.endswith("Nothing is left.")
    many = steps(leak(48, 3, *ALLOCATED, maker="calloc"))
    assert many[0] == "3 blocks, 48 bytes in all, were allocated by calloc by the same calls:"
    assert many[1].startswith("They were not freed")


@pytest.mark.parametrize("kind", LEAK_KINDS[1:])
def test_only_of_a_definitely_lost_block_the_last_pointer_went_away(kind):
    assert not any("went away" in text for text in steps(leak(16, 1, *ALLOCATED, kind=kind)))


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (CRASH, "The program crashed with SIGSEGV."),
        (Exit(code=None, signal=15, signal_name="SIGTERM"), "The program was ended by SIGTERM."),
        (Exit(code=None, signal=None, stopped="time limit"), "emuleak stopped the program: time limit."),
        (Exit(code=3, signal=None), "The program ended with exit status 3."),
    ],
)
def test_how_it_ended(ending, told):
    reachable = steps(leak(16, 1, *ALLOCATED, kind="still-reachable"), ending)
    assert any(text.startswith(told) for text in reachable)
    early = ending.code is None
    assert reachable[-1].startswith("The program did not come to its own end.") is early


def test_the_way_to_a_block_that_is_reachable():
    finding = leak(16, 1, *ALLOCATED, kind="still-reachable", chain=("the global table", "a block of 80 bytes"))
    assert "The way to it: the global table -> a block of 80 bytes." in steps(finding)
    assert finding.chain is not UNSET


# ---- numbers


def numbers_of(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^\[([\d,]+)\] ([^:\n]+)", text, re.MULTILINE)


@pytest.mark.parametrize("show", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_those_of_the_text_report(name, show, monkeypatch):
    monkeypatch.chdir("/")
    document = CASES[name]()
    out = io.StringIO()
    Terminal(show_reachable=show, colour=False).write(document, out)
    in_report = numbers_of(out.getvalue())
    numbered = listing(document.findings, show_reachable=show).numbered()
    assert [int(number.replace(",", "")) for number, _ in in_report] == [number for number, _ in numbered]
    for number, title in in_report:
        text = explained(document, int(number.replace(",", "")), show_reachable=show)
        assert text.startswith(f"[{number}] {title}")
    if len(in_report) != 1:
        assert numbers_of(explained(document, show_reachable=show)) == in_report


def test_a_list_to_choose_from():
    text = explained(report(misuse("double-free"), leak(8, 1, *ALLOCATED), leak(4, 2, *HERE, kind="still-reachable")))
    assert text.splitlines()[2:] == [
        "[1] Double free: (block of 16 bytes): use (a.c:11)",
        "[2] Definitely lost: 8 bytes in 1 block: make (a.c:3)",
        "",
        "Give a number as well, and that finding is explained.",
    ]


def test_the_only_one_needs_no_number():
    document = report(leak(8, 1, *ALLOCATED), leak(4, 2, *HERE, kind="still-reachable"))
    assert explained(document) == explained(document, 1)
    assert explained(document).startswith("[1] Definitely lost")


def test_nothing_to_explain():
    assert explained(report()).endswith("\nThere is no finding to explain.\n")
    reachable = report(leak(4, 2, *HERE, kind="still-reachable"))
    assert explained(reachable).endswith("--show-reachable adds more.\n")
    assert explained(reachable, show_reachable=True).startswith("[1] Still reachable")


@given(st.integers(0, 120), st.integers(0, 40), st.integers(-5, 300))
def test_a_number_that_is_none_is_refused(misuses, leaks, wanted):
    document = report(
        *(misuse("invalid-free", stack=(frame("f", "a.c", n),)) for n in range(misuses)),
        *(leak(8, 1, frame("g", "a.c", n)) for n in range(leaks)),
    )
    last = min(misuses, MAX_ENTRIES) + leaks
    if 1 <= wanted <= last:
        assert explained(document, wanted).startswith(f"[{wanted}] ")
    else:
        with pytest.raises(BadOption, match=f"there is no finding {wanted}: the report lists"):
            explained(document, wanted)


# ---- the command line

PROGRAM = """
#include <stdlib.h>
int main(void)
{
    char *volatile first = malloc(10);
    char *volatile second = first;
    free(first);
    free(second);
    first = malloc(30);
    first = NULL;
    return 0;
}
"""


def test_from_the_command_line(tmp_path):
    document = tmp_path / "report.json"
    program = commandline.compiled(PROGRAM, "-g", "-O0")
    assert commandline.run("--format", "json", "--output", document, program).status == 23
    listed = commandline.run(document, verb="explain")
    assert (listed.status, listed.err) == (0, "")
    assert [title for _, title in numbers_of(listed.out)] == ["Double free", "Definitely lost"]
    first = commandline.run(document, "1", verb="explain")
    places = [first.out.index(line) for line in ("> 5 | ", "> 7 | free(first);", "> 8 | free(second);")]
    assert places == sorted(places)
    second = commandline.run(document, "2", verb="explain")
    assert second.out.startswith("[2] Definitely lost: 30 bytes in 1 block\n")
    for words, said in (
        ((document, "3"), "there is no finding 3: the report lists 1 to 2"),
        ((document, "0"), "0 is not in the range"),
        ((tmp_path / "none.json",), "cannot read the report"),
        ((program,), "not an emuleak report"),
    ):
        done = commandline.run(*words, verb="explain")
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert said in done.err


def test_a_run_loads_none_of_it():
    """A plain run must not pay for what it does not use."""
    program = commandline.compiled(PROGRAM, "-g", "-O0")
    done = commandline.run(program, env={"PYTHONPROFILEIMPORTTIME": "1"})
    loaded = set(re.findall(r"\| +(emuleak[\w.]*)$", done.err, re.MULTILINE))
    assert "emuleak.report.findingtext" in loaded
    later = {"explain", "story", "lessons", "difference", "differencetext", "matching", "fingerprint"}
    assert loaded & {f"emuleak.report.{name}" for name in later} == set()
    assert "emuleak.cli.baseline" not in loaded
