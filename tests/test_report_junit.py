"""JUnit XML: what a CI server makes of a run."""

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml
from test_report_golden import CASES, GOLDEN, frame, leak, report

from emuleak.report.document import Exit, Finding, Frame, Report
from emuleak.report.junit import CLEAN, JUnit
from emuleak.report.verdict import counting, is_leak
from emuleak.report.writers import writer


def text_of(document: Report, **options) -> str:
    out = io.StringIO()
    JUnit(**options).write(document, out)
    return out.getvalue()


def suite_of(document: Report, **options):
    (suite,) = JUnitXml.fromstring(text_of(document, **options).encode())
    return suite


def outcomes_of(document: Report, **options) -> dict[str, tuple]:
    """The name of each test with its class and its outcome."""
    return {test.name: (test.classname, *test.result) for test in suite_of(document, **options)}


@pytest.mark.parametrize("name", CASES)
def test_the_figures_are_those_of_the_tests(name: str) -> None:
    document = CASES[name]()
    suite = suite_of(document)
    said = suite.tests, suite.failures, suite.errors, suite.skipped
    suite.update_statistics()
    assert said == (suite.tests, suite.failures, suite.errors, suite.skipped)
    assert (suite.failures > 0) is any(counting(document))
    assert len({(test.classname, test.name) for test in suite}) == suite.tests


# What Jenkins' schema allows, as far as this writer goes: attributes and children, in this order.
ALLOWED = {
    "testsuites": ({"tests", "failures", "errors", "skipped"}, ["testsuite"]),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped"}, ["properties", "testcase"]),
    "properties": (set(), ["property"]),
    "property": ({"name", "value"}, []),
    "testcase": ({"name", "classname", "file", "line"}, ["error", "failure"]),
    "failure": ({"type", "message"}, []),
    "error": ({"type", "message"}, []),
}


@pytest.mark.parametrize("name", CASES)
def test_nothing_but_what_ci_servers_expect(name: str) -> None:
    for element in ET.fromstring(text_of(CASES[name]()).encode()).iter():
        attributes, children = ALLOWED[element.tag]
        assert element.attrib.keys() <= attributes
        positions = [children.index(child.tag) for child in element]
        assert positions == sorted(positions)


def test_a_clean_run_is_one_test_that_passes() -> None:
    assert outcomes_of(CASES["clean"]()) == {CLEAN: ("prog",)}
    assert outcomes_of(CASES["library_only"]()) == {CLEAN: ("prog",)}


def test_a_leak_is_a_test_that_fails() -> None:
    ((name, (classname, failure)),) = outcomes_of(CASES["leak"]()).items()
    assert (name, classname) == ("definitely lost in copy", "leak.c")
    assert isinstance(failure, Failure)
    assert (failure.type, failure.message) == ("definitely-lost", "Definitely lost: 8 bytes in 1 block")


@pytest.mark.parametrize("name", ["leak", "leak_kinds", "double_free", "names", "no_debug", "missing_source"])
def test_the_body_is_the_text_reports(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(GOLDEN / "src")
    document = CASES[name]()
    out = io.StringIO()
    writer("text").write(document, out)
    counted = [test for test in suite_of(document) if test.result]
    assert len(counted) == len(list(counting(document)))
    for test in counted:
        (failure,) = test.result
        body = re.sub(r"^\[\d+\] ", "", failure.text)
        assert body in out.getvalue()


def test_what_counts_is_what_fail_on_says() -> None:
    document = report(*CASES["leak"]().findings, *CASES["double_free"]().findings)
    assert outcomes_of(document, fail_on=frozenset()) == {CLEAN: ("prog",)}
    assert outcomes_of(document, fail_on=frozenset({"still-reachable"})).keys() == {"still reachable in main"}
    assert len(outcomes_of(document)) == 3


def test_the_same_name_twice_is_numbered() -> None:
    findings = [leak(8, 1, frame("copy", "a.c", 1), frame("main", "a.c", line)) for line in range(3)]
    assert list(outcomes_of(report(*findings))) == [f"definitely lost in copy{end}" for end in ("", " #2", " #3")]


def test_the_same_mistake_again_is_one_test() -> None:
    ((_, (_, failure)),) = outcomes_of(CASES["access"]()).items()
    assert "It happened 1,000 times" in failure.text


def test_a_crash_is_an_error_besides() -> None:
    tests = outcomes_of(CASES["crash"]())
    assert tests.keys() == {CLEAN, "crash with SIGSEGV in second"}
    classname, error = tests["crash with SIGSEGV in second"]
    assert classname == "crash.c"
    assert isinstance(error, Error)
    assert error.type == "SIGSEGV"
    assert "null pointer" in error.message
    assert "second (crash.c:7)" in error.text


@pytest.mark.parametrize(
    ("ending", "name"),
    [
        (Exit(code=None, signal=15, signal_name="SIGTERM"), "ended by SIGTERM"),
        (Exit(code=None, signal=None, stopped="enough"), "stopped early"),
    ],
)
def test_a_run_that_did_not_end_by_itself_is_an_error(ending: Exit, name: str) -> None:
    document = report(*CASES["leak"]().findings, exit_=ending)
    tests = outcomes_of(document)
    assert list(tests) == ["definitely lost in copy", name]
    assert isinstance(tests[name][1], Error)


def test_what_could_not_be_emulated_is_a_property() -> None:
    properties = {(each.name, each.value) for each in suite_of(CASES["budget"]()).properties()}
    assert ("incomplete", "the FPU state of signal frames is not saved") in properties


def test_a_place_is_given_where_there_is_one(tmp_path: Path) -> None:
    inside = leak(8, 1, frame("main", f"{tmp_path}/src/a.c", 7))
    (case,) = ET.fromstring(text_of(report(inside), cwd=str(tmp_path))).iter("testcase")
    assert case.attrib == {"classname": "src/a.c", "name": "definitely lost in main", "file": "src/a.c", "line": "7"}
    outside = leak(8, 1, Frame("0x1", "main", None, None, "/opt/bin/prog"))
    (case,) = ET.fromstring(text_of(report(outside))).iter("testcase")
    assert case.attrib == {"classname": "/opt/bin/prog", "name": "definitely lost in main"}


@given(st.text(), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1, max_size=4))
def test_any_name_makes_a_document_that_can_be_read(why: str, function: str, file: str, kind: str) -> None:
    odd = Frame("0x1", function, file, 1, file)
    found = Finding(kind=kind, bytes=1, blocks=1, why=why, stack=(odd,), freed=(odd,), address="0x1")
    document = report(found, program=file, incomplete=(why,))
    (case,) = ET.fromstring(text_of(document).encode()).iter("testcase")
    assert len(case) == (0 if is_leak(found) and not any(counting(document)) else 1)
