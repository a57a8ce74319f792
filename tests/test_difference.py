"""Two reports compared: which finding is which, what counts, how it is told; and the same from the command line."""

import io
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from oracles import commandline
from test_report_golden import frame, report

from emuleak.errors import BadOption
from emuleak.report import verdict
from emuleak.report.difference import against, compare, failing, write_json
from emuleak.report.differencetext import DifferenceText, sentence
from emuleak.report.document import Exit, Finding
from emuleak.report.terminal import Terminal

MAIN = frame("main", "a.c", 90)


def leak(line: int, *, size: int = 16, blocks: int = 1, kind: str = "definitely-lost", function: str = "f", **more):
    stack = frame(function, "a.c", line), MAIN
    return Finding(kind="leak", leak_kind=kind, bytes=size * blocks, blocks=blocks, stack=stack, why="Lost.", **more)


def misuse(line: int, times: int = 1, kind: str = "double-free") -> Finding:
    return Finding(kind=kind, address="0x10", bytes=8 * times, blocks=times, stack=(frame("f", "a.c", line), MAIN))


def changes(old, new) -> list[tuple[str, int]]:
    """Each change that there is, with the line of its finding."""
    difference = compare(report(*old), report(*new))
    return [(one.change, one.finding.stack[0].line) for one in difference.changes if one.change != "unchanged"]


def test_a_report_does_not_differ_from_itself():
    findings = leak(10), leak(20), leak(20, kind="indirectly-lost"), misuse(5), leak(30, owner="library")
    difference = compare(report(*findings), report(*findings))
    assert [one.change for one in difference.changes] == ["unchanged"] * 4
    assert sentence(difference) == "emuleak diff: no difference: 4 unchanged"
    assert sentence(compare(report(), report())) == "emuleak diff: no difference: nothing was found in either run"


sizes = st.integers(1, 5).map(lambda words: 8 * words)
places = st.lists(st.tuples(st.integers(1, 60), sizes), unique_by=lambda item: item[0], max_size=12)


@given(places, st.integers(1, 100))
def test_lines_that_are_all_moved_are_no_difference(old, shift):
    assert changes([leak(line, size=size) for line, size in old], [leak(n + shift, size=s) for n, s in old]) == []


@given(places, places)
def test_every_place_is_told_exactly_once(old, new):
    difference = compare(report(*(leak(n, size=s) for n, s in old)), report(*(leak(n, size=s) for n, s in new)))
    tally = [one.change for one in difference.changes]
    assert len(tally) - tally.count("gone") == len(new)
    assert len(tally) - tally.count("new") == len(old)


@given(places.filter(bool), st.data())
def test_what_is_taken_out_is_gone_and_nothing_else(old, data):
    old = [(line, 8 * number) for number, (line, _) in enumerate(sorted(old), 1)]
    gone = data.draw(st.sampled_from(old))
    new = [item for item in old if item != gone]
    findings = [leak(n, size=s) for n, s in old], [leak(n + 3, size=s) for n, s in new]
    assert changes(*findings) == [("gone", gone[0])]
    assert changes(*findings[::-1]) == [("new", gone[0])]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([10, 20, 30], [10, 30], [("gone", 20)]),
        ([10, 20], [10, 15, 20], [("new", 15)]),
        ([10, 20], [13, 18, 23], [("new", 18)]),
        ([10, 20], [10, 23], []),
        ([10], [99], []),
        ([10], [10, 12], [("new", 12)]),
        ([], [10], [("new", 10)]),
    ],
)
def test_places_of_one_size_in_one_function(old, new, expected):
    assert changes(map(leak, old), map(leak, new)) == expected


def test_sizes_say_which_place_is_which():
    old = leak(8, size=10), leak(9, size=20)
    new = leak(10, size=10), leak(12, size=15), leak(13, size=20)
    assert changes(old, new) == [("new", 12)]


def test_more_places_than_are_weighed():
    old = [leak(line) for line in range(1, 700)]
    assert changes(old, [*old, leak(900)]) == [("new", 900)]
    assert changes([*old, leak(900)], old) == [("gone", 900)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (leak(1), leak(1, blocks=2), "grown"),
        (leak(1), leak(1, size=17), "grown"),
        (leak(1, blocks=10), leak(1, size=1000), "grown"),
        (leak(1, blocks=2), leak(1), "shrunk"),
        (leak(1, size=17), leak(1), "shrunk"),
        (misuse(1), misuse(1, 2), "grown"),
        (misuse(1, 2), misuse(1), "shrunk"),
        (leak(1, kind="still-reachable"), leak(1), "changed"),
        (leak(1, kind="indirectly-lost"), leak(1, blocks=4), "changed"),
        (leak(1), leak(1, kind="still-reachable"), "changed"),
        (leak(1, kind="possibly-lost"), leak(1), "changed"),
        (leak(1, kind="possibly-lost"), leak(1, blocks=2), "grown"),
    ],
)
def test_what_became_of_one_place(old, new, expected):
    assert changes([old], [new]) == [(expected, 1)]


def test_the_size_of_a_block_that_is_freed_twice_is_no_growth():
    assert changes([misuse(1)], [msgspec.structs.replace(misuse(1), bytes=4000)]) == []


def test_recursion_to_another_depth_is_growth_of_one_place():
    def tree(depth: int) -> list[Finding]:
        rounds = [frame("node", "a.c", 7)], [frame("node", "a.c", 8)]
        stacks = [(frame("node", "a.c", 5), *rounds[n % 2] * n, MAIN) for n in range(depth)]
        return [Finding(kind="leak", leak_kind="indirectly-lost", bytes=16, blocks=1, stack=stack) for stack in stacks]

    difference = compare(report(*tree(5)), report(*tree(9)))
    assert [(one.change, one.before.blocks, one.after.blocks) for one in difference.changes] == [("grown", 5, 9)]


def test_another_kind_is_another_finding():
    assert changes([misuse(1)], [misuse(1, kind="invalid-free")]) == [("new", 1), ("gone", 1)]


# ---- what counts


@pytest.mark.parametrize(
    ("old", "new", "fails"),
    [
        ([], [leak(1)], True),
        ([leak(1)], [], False),
        ([leak(1)], [leak(1)], False),
        ([leak(1)], [leak(1, blocks=2)], True),
        ([leak(1, blocks=2)], [leak(1)], False),
        ([], [misuse(1)], True),
        ([], [leak(1, kind="still-reachable")], False),
        ([], [leak(1, kind="indirectly-lost")], False),
        ([], [leak(1, owner="library")], False),
        ([leak(1, kind="still-reachable")], [leak(1)], True),
        ([leak(1, kind="indirectly-lost")], [leak(1, kind="possibly-lost")], True),
        ([leak(1, kind="possibly-lost")], [leak(1)], False),
        ([leak(1)], [leak(1, kind="still-reachable", blocks=9)], False),
    ],
)
def test_what_fails(old, new, fails):
    older, newer = report(*old), report(*new)
    assert any(failing(compare(older, newer))) is fails
    marked = against(older, "old.json", newer)
    assert verdict.exit_status(marked) == (23 if fails else 0)


def test_kinds_that_are_not_asked_for_do_not_fail():
    difference = compare(report(), report(leak(1), leak(2, kind="still-reachable", function="g")))
    assert [one.finding.stack[0].line for one in failing(difference, verdict.parse_fail_on("reachable"))] == [2]
    assert not any(failing(difference, verdict.parse_fail_on("none")))


# ---- a run and its baseline


def test_a_baseline_marks_each_finding_and_counts_them():
    old = leak(1), leak(2, function="g"), leak(3, function="h", kind="still-reachable"), leak(4, function="i")
    new = (
        leak(1),
        leak(2, function="g", blocks=3),
        leak(3, function="h"),
        leak(5, function="j"),
        leak(9, owner="library"),
    )
    marked = against(report(*old), "old.json", report(*new))
    assert [finding.baseline for finding in marked.findings] == ["known", "grown", "changed", "new", UNSET]
    base = marked.baseline
    assert (base.file, base.new, base.grown, base.changed, base.known, base.gone) == ("old.json", 1, 1, 1, 1, 1)


def test_a_report_with_marks_can_be_the_next_baseline():
    first = against(report(), "none.json", report(leak(1)))
    assert [finding.baseline for finding in against(first, "first.json", report(leak(1))).findings] == ["known"]
    assert not any(failing(compare(first, against(first, "first.json", report(leak(1))))))
    assert any(failing(compare(report(), against(first, "first.json", report(leak(1))))))


def text_of(document) -> str:
    out = io.StringIO()
    Terminal(colour=False, cwd="/").write(document, out)
    return out.getvalue()


def test_the_text_report_lists_what_is_new_and_sums_up_what_is_known():
    new = report(leak(1, blocks=2), leak(2, function="g"), misuse(3))
    text = text_of(against(report(leak(1), misuse(3), leak(7, function="x")), "old.json", new))
    assert text.startswith("emuleak: 1 new, 1 grown; 2 leaks")
    assert "[2]" in text
    assert "[3]" not in text
    assert "It is new: the baseline does not know it." in text
    assert "The baseline knows it, but not as much of it." in text
    assert "Known from old.json, not listed: 1 place; 1 place of it gone.\n" in text
    known = text_of(against(new, "old.json", new))
    assert known.startswith("emuleak: nothing new; 2 leaks")
    assert "[1]" not in known
    assert "Known from old.json, not listed: 3 places (48 bytes in 3 blocks).\n" in known
    assert "Known from old.json: nothing.\n" in text_of(against(report(), "old.json", report()))


def test_new_findings_are_listed_before_those_that_only_grew():
    new = report(leak(1, blocks=9), leak(2, function="g"), misuse(3, 2), misuse(4, kind="invalid-free"))
    text = text_of(against(report(leak(1), misuse(3)), "old.json", new))
    titles = [line.partition(":")[0] for line in text.splitlines() if line.startswith("[")]
    assert titles == ["[1] Invalid free", "[2] Double free", "[3] Definitely lost", "[4] Definitely lost"]
    assert text.index("[3] Definitely lost: 16 bytes") < text.index("[4] Definitely lost: 144 bytes")


# ---- how it is told

OLD = report(
    leak(1), leak(2, function="g", blocks=3), leak(4, function="i", kind="still-reachable"), leak(6, function="k")
)
NEW = report(
    misuse(9), leak(1, blocks=2), leak(2, function="g"), leak(4, function="i"),
    leak(6, function="k", kind="still-reachable"), leak(8, function="l"),
)  # fmt: skip


def told(old, new, **more) -> str:
    out = io.StringIO()
    choices = {"fail_on": verdict.FAIL_ON_DEFAULT, "colour": False, "cwd": "/", **more}
    DifferenceText(old="old.json", new="new.json", **choices).write(compare(old, new), out)
    return out.getvalue()


def test_a_difference_as_text():
    text = told(OLD, NEW)
    assert text.startswith(
        "emuleak diff: 2 new, 1 grown, 2 changed, 1 shrunk\n\nNEW\n\n[1] Double free: 0x10 (block of"
    )
    assert "[3] Definitely lost: 32 bytes in 2 blocks\n    Before it was 16 bytes in 1 block. Lost.\n" in text
    assert "CHANGED FOR THE WORSE\n\n[4] Definitely lost: 16 bytes in 1 block\n" in text
    assert "    Before it was still reachable, 16 bytes in 1 block. Lost.\n" in text
    assert "CHANGED\n    Still reachable: 16 bytes in 1 block, before definitely lost, 16 bytes in 1 block: k" in text
    assert "SHRUNK\n    Definitely lost: 16 bytes in 1 block, before 48 bytes in 3 blocks: g (a.c:2)\n" in text
    assert "GONE\n    Double free: 1 time: f (a.c:9)\n" in told(NEW, report())
    assert "It happened 1 time before, and 3 times now." in told(report(misuse(9)), report(misuse(9, 3)))
    assert "\n\n\n" not in text
    assert max(map(len, text.splitlines())) <= 100


def test_a_very_long_difference_is_cut_with_a_word():
    many = report(*(leak(n, function=f"f{n}") for n in range(250)))
    for text in (told(report(), many), told(many, report())):
        assert "150 more places not listed here; --format json lists them all." in text
        assert text.count("Definitely lost") == 100


def test_a_run_that_was_cut_short_is_told():
    stopped = report(exit_=Exit(code=None, signal=None, stopped="time"))
    assert "new.json: that run did not come to its own end" in told(OLD, stopped)
    assert "old.json: that run did not come to its own end" in told(stopped, OLD)
    assert "not come to its own end" not in told(OLD, NEW)


def test_colour_only_where_it_is_wanted():
    assert "\x1b[1;31memuleak diff" in told(OLD, NEW, colour=True)
    assert "\x1b[1;32memuleak diff" in told(NEW, NEW, colour=True)
    assert "\x1b" not in told(OLD, NEW)


def test_a_difference_as_json():
    out = io.StringIO()
    write_json(compare(OLD, NEW), verdict.FAIL_ON_DEFAULT, out)
    document = json.loads(out.getvalue())
    assert list(document) == ["schema", "old", "new", "counts", "failing", "changes"]
    assert document["schema"] == "emuleak-diff/1"
    assert document["counts"] == {"new": 2, "grown": 1, "changed": 2, "shrunk": 1, "gone": 0, "unchanged": 0}
    assert document["failing"] == 4
    assert document["new"] == {"program": "prog", "findings": 6, "complete": True}
    grown = next(change for change in document["changes"] if change["change"] == "grown")
    assert grown["before"] == {"leak_kind": "definitely-lost", "bytes": 16, "blocks": 1}
    assert grown["after"]["blocks"] == 2
    assert grown["worse"] is True
    assert grown["finding"]["stack"][0]["function"] == "f"
    new = next(change for change in document["changes"] if change["change"] == "new")
    assert new["before"] is None


# ---- the command line, with two versions of a program

FIRST = """
#include <stdlib.h>
#include <string.h>

static void *volatile sink;

static void grow(int times)
{
    while (times--)
        sink = malloc(24);
    sink = 0;
}

int main(void)
{
    grow(2);
    sink = malloc(100);
    sink = strdup("repaired later");
    sink = 0;
    return 0;
}
"""
COMMENTED = FIRST.replace("static void grow", "/* It grows.\n   And how. */\n\nstatic void grow")
COMMENTED = COMMENTED.replace("    sink = strdup", "    /* here, too */\n    sink = strdup")
SECOND = COMMENTED.replace("grow(2)", "grow(5)")
SECOND = SECOND.replace("    /* here", "    sink = calloc(3, 7);\n    /* here").replace(
    'later");', 'later");\n    free(sink);'
)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("reports")
    made = {}
    for name, source in (("first", FIRST), ("commented", COMMENTED), ("second", SECOND)):
        program = commandline.compiled(source, "-g", "-O0")
        made[name] = directory / f"{name}.json"
        assert commandline.run("--format", "json", "--output", made[name], program).status == 23
    return made


def test_a_comment_is_no_difference(reports):
    done = commandline.run(reports["first"], reports["commented"], verb="diff")
    assert (done.status, done.err) == (0, "")
    assert done.out == "emuleak diff: no difference: 3 unchanged\n"


def test_a_second_version(reports):
    done = commandline.run(reports["commented"], reports["second"], verb="diff")
    assert (done.status, done.err) == (23, "")
    assert done.out.startswith("emuleak diff: 1 new, 1 grown, 1 gone; 1 unchanged\n")
    new, grown, gone = (done.out.index(title) for title in ("\nNEW\n", "\nGROWN\n", "\nGONE\n"))
    assert "21 bytes in 1 block" in done.out[new:grown]
    assert "> 21 | sink = calloc(3, 7);\n" in done.out[new:grown]
    assert "120 bytes in 5 blocks" in done.out[grown:gone]
    assert "Before it was 48 bytes in 2 blocks." in done.out[grown:gone]
    assert "Definitely lost: 15 bytes in 1 block: main" in done.out[gone:]
    back = commandline.run(reports["second"], reports["commented"], verb="diff")
    assert back.out.startswith("emuleak diff: 1 new, 1 shrunk, 1 gone; 1 unchanged\n")


def test_exit_statuses_of_diff(reports):
    pair = reports["first"], reports["second"]
    assert commandline.run("--error-exitcode", "7", *pair, verb="diff").status == 7
    assert commandline.run("--fail-on", "misuse", *pair, verb="diff").status == 0
    assert commandline.run("--fail-on", "new,definite", *pair, verb="diff").status == 23
    done = commandline.run("--format", "json", *pair, verb="diff")
    assert (done.status, json.loads(done.out)["counts"]["new"]) == (23, 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.json", "nowhere.json"), "nowhere.json: cannot read the report: No such file or directory"),
        ((__file__, __file__), "not an emuleak report"),
        (("--fail-on", "", "a", "b"), "--fail-on: no kinds given"),
        (("--fail-on", "leeks", "a", "b"), "unknown kind 'leeks'"),
        (("one.json",), "Missing argument 'NEW.json'"),
    ],
)
def test_bad_input_is_one_line(words, said, tmp_path):
    done = commandline.run(*words, verb="diff", cwd=tmp_path)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("emuleak: error: ")
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_run_against_its_baseline(reports, tmp_path):
    first, second = (commandline.compiled(source, "-g", "-O0") for source in (COMMENTED, SECOND))
    known = commandline.run("--baseline", reports["first"], first)
    assert known.status == 0
    assert known.err.startswith("emuleak: nothing new; 3 leaks: ")
    assert f"Known from {reports['first']}, not listed: 3 places (163 bytes in 4 blocks)." in " ".join(
        known.err.split()
    )
    worse = commandline.run("--baseline", reports["first"], "--fail-on", "new", second)
    assert worse.status == 23
    assert worse.err.startswith("emuleak: 1 new, 1 grown; ")
    assert worse.err.count("\n[") == 2
    assert commandline.run("--baseline", reports["first"], "--fail-on", "new,misuse", second).status == 0
    output = tmp_path / "marked.json"
    commandline.run("--baseline", reports["first"], "--format", "json", "--output", output, second)
    document = json.loads(output.read_text())
    assert document["baseline"] == {
        "file": str(reports["first"]), "new": 1, "grown": 1, "changed": 0, "known": 1, "gone": 1,
    }  # fmt: skip
    assert sorted(finding["baseline"] for finding in document["findings"]) == ["grown", "known", "new"]


def test_a_bad_baseline_is_told_before_the_run(reports, tmp_path):
    program = commandline.compiled('#include <stdio.h>\nint main(void) { puts("ran"); return 0; }\n')
    for words, said in (
        (("--baseline", "nowhere.json"), "nowhere.json: cannot read the report"),
        (("--fail-on", "new"), "--baseline"),
        (("--baseline", reports["first"], "--fail-on", ", "), "--fail-on: no kinds given"),
    ):
        done = commandline.run(*words, program, cwd=tmp_path)
        assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
        assert said in done.err


def test_new_needs_a_baseline():
    with pytest.raises(BadOption, match="--baseline"):
        verdict.parse_fail_on("new")
