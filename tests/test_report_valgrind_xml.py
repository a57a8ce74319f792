"""valgrind's XML: in valgrind's order, readable by public parsers, and of the same defects as valgrind's own."""

import io
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import valparse
from hypothesis import given
from hypothesis import strategies as st
from oracles.peers import need
from test_report_golden import CASES, OK, frame, heap, leak, report
from ValgrindCI.parse import ValgrindData

from emuleak.kernel.core import Identity
from emuleak.report.document import Exit, Finding, Frame, Report, Suppressed
from emuleak.report.valgrind_errors import LEAKS, MISUSE
from emuleak.report.valgrind_xml import PID, PPID, ValgrindXml
from emuleak.report.verdict import LEAK_KINDS, MISUSE_KINDS

PROGRAM = """
#include <stdlib.h>
char *keep, *inner;
static char *copy(int size) { return malloc(size); }
int main(int argc, char **argv) {
  char *volatile p = copy(27);
  p = copy(1200);
  p = 0;
  inner = copy(64); inner += 8;
  keep = copy(100);
  char *volatile twice = copy(16); free(twice);
  free(twice);
  char *volatile middle = copy(40);
  free(middle + 8);
  free(middle);
  twice = 0; middle = 0;
  if (argc > 3) *(volatile int *)0 = 1;
  return 0;
}
"""


def text_of(document: Report, **options) -> str:
    out = io.StringIO()
    ValgrindXml(**options).write(document, out)
    return out.getvalue()


def tree_of(document: Report, **options) -> ET.Element:
    return ET.fromstring(text_of(document, **options))


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("valgrind-xml")
    (directory / "defects.c").write_text(PROGRAM)
    target = directory / "defects"
    subprocess.run([need("gcc"), "-g", "-O0", "-w", "-o", target, directory / "defects.c"], check=True)
    return target


def valgrind(program: Path, *arguments: str) -> Path:
    file = program.parent / f"valgrind{len(arguments)}.xml"
    options = "--leak-check=full", "--show-leak-kinds=all", "--xml=yes", f"--xml-file={file}"
    subprocess.run([need("valgrind"), *options, program, *arguments], check=False, capture_output=True)
    return file


def emuleak(program: Path, *arguments: str) -> Path:
    file = program.parent / f"emuleak{len(arguments)}.xml"
    options = "--show-reachable", "--format", "valgrind-xml", "--output", str(file)
    command = [sys.executable, "-m", "emuleak", "run", *options, program, *arguments]
    subprocess.run(command, check=False, capture_output=True)
    return file


# ---- beside valgrind


def order(root: ET.Element) -> set[tuple[str, str, str]]:
    """Which element comes before which other in the same parent."""
    found = set()
    for parent in root.iter():
        tags = [child.tag for child in parent]
        found |= {(parent.tag, first, then) for index, first in enumerate(tags) for then in tags[index + 1 :]}
    return found


@pytest.mark.peer("valgrind")
@pytest.mark.parametrize("arguments", [(), ("a", "<b> & c"), ("1", "2", "crash")])
def test_elements_stand_where_valgrind_puts_them(program: Path, arguments: tuple[str, ...]) -> None:
    theirs, ours = (ET.parse(tool(program, *arguments)).getroot() for tool in (valgrind, emuleak))
    assert {child.tag for child in ours.iter()} <= {child.tag for child in theirs.iter()}
    assert order(ours) <= order(theirs)
    assert theirs[0].text == ours[0].text
    assert [child.text for child in ours.find("args/argv")][1:] == [child.text for child in theirs.find("args/argv")][
        1:
    ]


@pytest.mark.peer("valgrind")
def test_both_tell_of_the_same_defects(program: Path) -> None:
    theirs, ours = (sorted(defects(ET.parse(tool(program)).getroot())) for tool in (valgrind, emuleak))
    assert len(ours) == 6
    assert ours == theirs


def defects(root: ET.Element) -> Iterator[tuple]:
    """What a reader makes of a document: all but numbers of records, addresses, and valgrind's own frames."""
    for error in root.findall("error"):
        text = error.findtext("what") or re.sub(r" in loss record.*", "", error.findtext("xwhat/text"))
        size = error.findtext("xwhat/leakedbytes"), error.findtext("xwhat/leakedblocks")
        aux = [re.sub(r"0x[0-9a-f]+|\d+ bytes inside|inside", "", each.text) for each in error.findall("auxwhat")]
        stacks = [tuple(places(stack)) for stack in error.findall("stack")]
        yield error.findtext("kind"), text, str(size), aux, stacks


def places(stack: ET.Element) -> Iterator[tuple[str | None, ...]]:
    for each in stack.findall("frame"):
        if "vgpreload" not in each.findtext("obj"):
            yield tuple(each.findtext(name) for name in ("fn", "dir", "file", "line"))


def test_the_process_ids_are_the_programs() -> None:
    assert (Identity().pid, Identity().ppid) == (PID, PPID)


# ---- as others read it


@pytest.mark.parametrize("name", CASES)
def test_public_parsers_read_it(name: str, tmp_path: Path) -> None:
    document = CASES[name]()
    file = tmp_path / "report.xml"
    file.write_text(text_of(document, show_reachable=True), encoding="utf-8")
    strict = valparse.Parser(str(file))
    leaks = [finding for finding in document.findings if finding.kind == "leak"]
    assert strict.leakcount == len(leaks)
    assert strict.totalBytesLeaked() == sum(finding.bytes for finding in leaks)
    assert strict.hasErrors() is (len(leaks) < len(document.findings))
    assert strict.hasFatalSignal() is (document.exit.signal is not None)
    assert str(strict)
    lenient = ValgrindData()
    lenient.parse(str(file))
    assert lenient.get_num_errors() == strict.errcount + strict.leakcount
    assert all(error.stack for error in lenient.errors)


def test_every_kind_is_one_that_parsers_of_valgrind_3_19_know() -> None:
    assert MISUSE.keys() == MISUSE_KINDS.keys()
    assert LEAKS.keys() == set(LEAK_KINDS)
    known = {kind.value for kind in valparse.ValgrindErrorKind}
    assert {*MISUSE.values(), *(kind for kind, _ in LEAKS.values()), "ClientCheck"} <= known


# ---- what it says


def misuse(kind: str, **more) -> ET.Element:
    values = {"bytes": 64, "blocks": 1, "address": "0x4c3f2a0", "stack": (frame("main", "a.c", 3),), **more}
    return tree_of(report(Finding(kind=kind, **values))).find("error")


FISHY = "Argument 'size' of function malloc has a fishy (possibly negative) value:"
SOMEWHERE = (frame("main", "a.c", 1),)


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("heap-overflow", {"offset": 3, "allocated": SOMEWHERE}, "3 bytes after a block of size 64 alloc'd"),
        ("heap-underflow", {"offset": 1, "allocated": SOMEWHERE}, "1 bytes before a block of size 64 alloc'd"),
        ("write-after-free", {"offset": 0, "freed": SOMEWHERE}, "0 bytes inside a block of size 64 free'd"),
        ("mismatched-free", {"allocated": SOMEWHERE}, "0 bytes inside a block of size 64 alloc'd"),
        ("invalid-free", {"allocated": SOMEWHERE}, "inside a block of size 64 alloc'd"),
        ("use-after-free", {"freed": SOMEWHERE}, "inside a block of size 64 free'd"),
    ],
)
def test_where_the_address_lies(kind: str, more: dict, said: str) -> None:
    assert misuse(kind, **more).findtext("auxwhat") == f"Address 0x4c3f2a0 is {said}"


def test_an_address_outside_the_heap() -> None:
    assert misuse("invalid-free", why="It is a variable.").findtext("auxwhat") == "It is a variable."
    assert misuse("invalid-free").findtext("auxwhat").endswith("is not stack'd, malloc'd or (recently) free'd")


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("use-after-free", {"access": "read", "size": 4}, ("InvalidRead", "Invalid read of size 4")),
        ("use-after-free", {"access": "write", "size": 1}, ("InvalidWrite", "Invalid write of size 1")),
        ("heap-overflow", {}, ("InvalidWrite", "Invalid write")),
        ("heap-overflow", {"access": "read", "size": 8}, ("InvalidRead", "Invalid read of size 8")),
        ("invalid-size", {"size": 2**64 - 5}, ("FishyValue", f"{FISHY} -5")),
        ("from-the-future", {}, ("ClientCheck", "From the future")),
    ],
)  # fmt: skip
def test_the_kind_and_its_sentence(kind: str, more: dict, said: tuple[str, str]) -> None:
    error = misuse(kind, **more)
    assert (error.findtext("kind"), error.findtext("what")) == said


def test_leaks_are_listed_as_memcheck_would() -> None:
    findings = [leak(8 + index, 1, frame("main", "a.c", index), kind=kind) for index, kind in enumerate(LEAK_KINDS)]
    document = report(*findings, leak(3, 1, frame("init", None), kind="definitely-lost", owner="library"))
    listed = [error.findtext("kind") for error in tree_of(document).findall("error")]
    assert listed == ["Leak_DefinitelyLost", "Leak_DefinitelyLost", "Leak_PossiblyLost"]
    texts = [error.findtext("xwhat/text") for error in tree_of(document).findall("error")]
    assert texts[2] == "10 bytes in 1 blocks are possibly lost in loss record 4 of 5"
    assert len(tree_of(document, show_reachable=True).findall("error")) == 5


def test_errors_are_counted_and_numbered() -> None:
    root = tree_of(report(*CASES["access"]().findings, *CASES["double_free"]().findings, *CASES["leak"]().findings))
    uniques = [error.findtext("unique") for error in root.findall("error")]
    assert uniques == ["0x0", "0x1", "0x2", "0x3"]
    counts = [(pair.findtext("unique"), pair.findtext("count")) for pair in root.findall("errorcounts/pair")]
    assert counts == [("0x0", "1000"), ("0x1", "1"), ("0x2", "1")]


def test_suppressions_that_were_used() -> None:
    used = Suppressed(name="zlib <old>", findings=2, bytes=10, blocks=3)
    (pair,) = tree_of(report(suppressed=(used,))).find("suppcounts")
    assert (pair.findtext("count"), pair.findtext("name")) == ("2", "zlib <old>")


def test_threads_count_from_one() -> None:
    assert misuse("double-free").findtext("tid") == "1"
    assert misuse("double-free", thread=2).findtext("tid") == "3"


def test_a_stack_has_a_frame_and_a_folder_has_a_line() -> None:
    (only,) = tree_of(report(leak(1, 1))).find("error/stack")
    assert [child.tag for child in only] == ["ip"]
    (lineless,) = tree_of(report(leak(1, 1, frame("f", "/src/a.c", None)))).find("error/stack")
    assert [child.tag for child in lineless] == ["ip", "obj", "fn", "file"]


def test_a_run_that_ended_early_says_so() -> None:
    lines = [line.text for line in tree_of(CASES["budget"]()).findall("preamble/line")]
    assert any("its 10 s of time were used up" in line for line in lines)
    assert sum(line.startswith("Incomplete: ") for line in lines) == 2
    killed = tree_of(report(exit_=Exit(code=None, signal=15, signal_name="SIGTERM"))).find("fatal_signal")
    assert (killed.findtext("signame"), killed.find("siaddr")) == ("SIGTERM", None)
    assert tree_of(report(exit_=OK, heap=heap(1, 1, 1))).find("fatal_signal") is None


@given(st.text(), st.text(min_size=1), st.text(min_size=1))
def test_any_name_makes_a_document_that_can_be_read(why: str, function: str, file: str) -> None:
    odd = Frame("0x1", function, file, 1, file)
    found = Finding(kind="double-free", bytes=1, blocks=1, why=why, stack=(odd,), address="0x1")
    document = report(found, leak(1, 1, odd), program=file, arguments=(why,), incomplete=(why,))
    text = text_of(document)
    assert ET.fromstring(text.encode()).findtext("protocolversion") == "4"
