"""The text report: folding, paths, grouping, colour; nothing left out without a word."""

import io
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_report_golden import CASES, frame, heap, leak, report

from emuleak.errors import BadOption
from emuleak.report import json, terminal
from emuleak.report.document import Finding
from emuleak.report.entries import leak_entries, misuse_entries
from emuleak.report.paper import clean
from emuleak.report.stacktext import Fold, fold, own_frame, short_path, stack_lines
from emuleak.report.terminal import Terminal
from emuleak.report.writers import writer


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def text_of(document, out=None, **options) -> str:
    out = out or io.StringIO()
    Terminal(**options).write(document, out)
    return out.getvalue()


def folded(letters: str) -> str:
    items = fold([(letter, "") for letter in letters])
    return "".join(f"<{item.period}x{item.times}>" if isinstance(item, Fold) else item[0] for item in items)


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        ("", ""),
        ("ab", "ab"),
        ("aaa", "aaa"),
        ("aaaa", "a<1x3>"),
        ("xaaaaaay", "xa<1x5>y"),
        ("abab", "abab"),
        ("mabcabcabcz", "mabc<3x2>z"),
        ("abcabcabcab", "abc<3x2>ab"),
        ("aabaabaab", "aab<3x2>"),
    ],
)
def test_fold(letters, expected):
    assert folded(letters) == expected


@given(st.lists(st.sampled_from("abc"), max_size=60))
def test_a_folded_stack_can_be_unfolded(letters):
    unfolded = []
    for item in fold([(letter, "") for letter in letters]):
        unfolded += unfolded[-item.period :] * item.times if isinstance(item, Fold) else [item]
    assert [letter for letter, _ in unfolded] == letters


def test_every_frame_of_a_long_stack_is_shown_or_counted():
    stack = [frame(f"f{index}", "a.c", index) for index in range(1000)] + [frame("g", "a.c", 1)] * 500
    text = "\n".join("".join(s if isinstance(s, str) else s[0] for s in line) for line in stack_lines(stack, None, ""))
    shown = len(re.findall(r"^(?:at|by) ", text, re.MULTILINE))
    hidden = sum(int(n.replace(",", "")) for n in re.findall(r"([\d,]+) (?:frames not shown|more times)", text))
    assert shown + hidden == len(stack)


def test_what_calls_main_is_left_out_but_not_a_stack_without_main():
    libc = "/lib/libc.so.6"
    below = frame("__libc_start_main", None, obj=libc), frame("_start", None)
    text = text_of(report(leak(1, 1, frame("main", "a.c", 1), *below), leak(1, 1, frame("init", "a.c", 2), *below)))
    assert text.count("_start") == 2


@pytest.mark.parametrize(
    ("path", "cwd", "expected"),
    [
        ("/home/ada/list/a.c", "/home/ada/list", "a.c"),
        ("/home/ada/list/src/../a.c", "/home/ada/list/", "a.c"),
        ("/home/ada/listing/a.c", "/home/ada/list", "/home/ada/listing/a.c"),
        ("/usr/a.c", "/", "usr/a.c"),
        ("a.c", None, "a.c"),
        ("/x/\x1b[2J", None, r"/x/\x1b[2J"),
    ],
)
def test_short_path(path, cwd, expected):
    assert short_path(path, cwd) == expected


def test_what_a_terminal_would_obey_is_shown_instead():
    assert clean("tab\tESC\x1b[31m \u202e \udce9 é") == r"tab\tESC\x1b[31m \u202e \xe9 é"


def test_own_frame_prefers_the_programs_code_to_headers_and_libraries():
    new = frame("operator new", None, obj="/usr/lib/libstdc++.so.6")
    header = frame("allocate", "/usr/include/c++/12/new_allocator.h", 137)
    mine = frame("build", "/home/ada/a.cpp", 9)
    assert own_frame((new, header, mine, frame("main", "a.cpp", 1))) == mine
    assert own_frame((new, frame("build", None))).function == "build"
    assert own_frame((new,)) == new
    assert own_frame(()) is None


def test_many_leaks_are_grouped_by_line_and_all_counted():
    leaks = [
        leak(10, 2, frame("copy", "a.c", index % 3), frame(f"c{index}", "a.c", 100 + index)) for index in range(90)
    ]
    entries = leak_entries(leaks)
    assert [entry.findings for entry in entries] == [30, 30, 30]
    assert sum(entry.bytes for entry in entries) == 900
    assert len(leak_entries(leaks[:50])) == 50
    text = text_of(report(*leaks))
    assert "90 leaks come from 3 places in the program; each place is listed once." in text
    assert "30 different stacks allocate at a.c:0; the one that lost most (10 bytes in 2 blocks):" in text


def test_the_same_misuse_from_the_same_stacks_is_told_once():
    findings = CASES["access"]().findings
    assert [entry.findings for entry in misuse_entries(findings)] == [1000]


@pytest.mark.parametrize(
    ("finding", "title"),
    [
        (Finding(kind="invalid-size", size=-1 & (1 << 64) - 1, bytes=0, blocks=1), "18,446,744,073,709,551,615 bytes"),
        (Finding(kind="invalid-alignment", size=3, bytes=0, blocks=4), "3 bytes (4 times)"),
        (Finding(kind="invalid-free", address="0x10", bytes=0, blocks=1), "0x10"),
        (Finding(kind="double-free", address="0x10", maker="malloc", bytes=0, blocks=1), "0x10 (block of 0 bytes)"),
        (Finding(kind="double-free", address="0x10", bytes=8, blocks=1), "0x10 (block of 8 bytes)"),
        (
            Finding(kind="heap-overflow", access="write", size=4, address="0x10", maker="malloc", bytes=8, blocks=1),
            "write of 4 bytes at 0x10 (block of 8 bytes)",
        ),
    ],
)
def test_a_misuse_is_headed_by_what_was_done_to_which_block_if_there_is_one(finding, title):
    (heading,) = (line for line in text_of(report(finding)).splitlines() if line.startswith("[1] "))
    assert heading.split(": ", 1)[1] == title


def test_too_many_entries_are_counted_and_the_way_to_see_them_is_told():
    many = report(*(leak(10, 1, frame("f", "a.c", index)) for index in range(150)))
    assert "50 more leaks (500 bytes in 50 blocks) not listed here; --format json lists them all." in text_of(many)


def test_reachable_blocks_are_listed_on_demand():
    document = CASES["leak"]()
    assert "Still reachable: 1,024 bytes in 1 block, allocated in 1 place." in text_of(document)
    text = text_of(document, show_reachable=True)
    assert "[2] Still reachable: 1,024 bytes in 1 block" in text
    assert "Not listed" not in text
    assert "4,096 bytes in 1 block" not in text


def test_colour_only_on_a_terminal_and_never_with_no_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    document = CASES["double_free"]()
    plain = text_of(document)
    assert "\x1b" not in plain
    coloured = text_of(document, Tty())
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert text_of(document, Tty()) == plain
    assert "\x1b[" in text_of(document, colour=True)


def test_a_stream_that_cannot_say_a_letter_gets_an_escape():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii", newline="\n")
    terminal.write(report(leak(1, 1, frame("größe", "a.c", 1)), heap=heap(1, 0, 1, (1, 1))), out)
    out.flush()
    assert rb"gr\xf6\xdfe (a.c:1)" in raw.getvalue()


def test_the_plain_path_does_not_import_rich():
    code = "import sys, emuleak.report.writers; sys.exit('rich' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_writer_by_name():
    assert writer("json") is json
    assert writer("text", show_reachable=True) == Terminal(show_reachable=True)
    with pytest.raises(BadOption, match="unknown format 'yaml'; choose from text, json"):
        writer("yaml")
