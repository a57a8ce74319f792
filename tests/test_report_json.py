"""The contract of emuleak-report/1: keys, their order, lists that are always there; and reading it back."""

import io
import json as stdlib_json

import pytest

from emuleak.errors import BadOption
from emuleak.report import json
from emuleak.report.document import Exit, Finding, Frame, HeapSummary, Report

HEAP = HeapSummary(allocs=3, frees=1, bytes_allocated=99, peak_bytes=64, in_use_bytes=48, in_use_blocks=2)
FRAME = Frame("0x401136", "main", "a.c", 7, "prog")
LEAK = Finding(kind="leak", leak_kind="definitely-lost", bytes=40, blocks=1, why="Lost.", stack=(FRAME,))
READ = Finding(kind="use-after-free", access="read", size=4, address="0x10", bytes=8, blocks=1, freed=(FRAME,))
REPORT = Report(program="prog", exit=Exit(code=0, signal=None), heap=HEAP, findings=(LEAK, READ), incomplete=("x",))


def text_of(report: Report) -> str:
    out = io.StringIO()
    json.write(report, out)
    return out.getvalue()


def test_keys_and_their_order():
    document = stdlib_json.loads(text_of(REPORT))
    assert list(document) == ["schema", "program", "arguments", "exit", "heap", "incomplete", "findings"]
    assert document["schema"] == "emuleak-report/1"
    assert document["exit"] == {"code": 0, "signal": None}
    assert list(document["heap"]) == [
        "allocs",
        "frees",
        "bytes_allocated",
        "peak_bytes",
        "in_use_bytes",
        "in_use_blocks",
    ]
    leak, read = document["findings"]
    common = ["bytes", "blocks", "owner", "why", "stack", "allocated", "freed"]
    assert list(leak) == ["kind", "leak_kind", *common]
    assert list(read) == ["kind", "access", "size", "address", *common]
    assert (leak["allocated"], leak["freed"], read["stack"]) == ([], [], [])
    assert leak["stack"] == [
        {"pc": "0x401136", "function": "main", "file": "a.c", "line": 7, "object": "prog", "inlined": False}
    ]


def test_layout_is_that_of_indent_2():
    text = text_of(REPORT)
    assert text.endswith("\n}\n")
    assert text == stdlib_json.dumps(stdlib_json.loads(text), indent=2, ensure_ascii=False) + "\n"


def test_line_breaks_in_names_stay_in_their_string():
    odd = Finding(kind="leak", bytes=1, blocks=1, why='a\n  "b": \\n\r\n\x1b')
    document = stdlib_json.loads(text_of(Report(program="p\n", exit=REPORT.exit, heap=HEAP, findings=(odd,))))
    assert (document["program"], document["findings"][0]["why"]) == ("p\n", odd.why)


def test_names_that_are_not_utf_8_are_written_visibly():
    report = Report(program="caf\udce9", exit=REPORT.exit, heap=HEAP, findings=(LEAK,))
    assert stdlib_json.loads(text_of(report))["program"] == r"caf\xe9"


def test_round_trip(tmp_path):
    crash = Exit(code=None, signal=11, signal_name="SIGSEGV", address="0x0", stack=(FRAME,))
    for report in (REPORT, Report(program="prog", exit=crash, heap=HEAP)):
        path = tmp_path / "report.json"
        path.write_text(text_of(report), encoding="utf-8")
        assert json.read(path) == report


def test_fields_added_later_do_not_hinder_reading(tmp_path):
    document = stdlib_json.loads(text_of(REPORT)) | {"mood": "good"}
    (tmp_path / "r.json").write_text(stdlib_json.dumps(document))
    assert json.read(tmp_path / "r.json") == REPORT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an emuleak report"),
        (b"\x7fELF\xff", "not an emuleak report"),
        (b"[1, 2]", "not an emuleak report"),
        (b'{"version": 1}', "not an emuleak report"),
        (b"[" * 100_000, "not an emuleak report"),
        (b'{"x": ' + b"[" * 100_000, "not an emuleak report"),
        (b'{"schema": "emuleak-report/1"}', "not an emuleak report"),
        (b'{"schema": "emuleak-fuzz/1"}', "its schema is 'emuleak-fuzz/1', not 'emuleak-report/1'"),
        (b'{"schema": "emuleak-report/two"}', "its schema is"),
        (b'{"schema": "emuleak-report/2", "exit": 7}', "written by a newer emuleak"),
        (b'{"schema": "emuleak-report/' + b"9" * 9999 + b'"}', "written by a newer emuleak"),
    ],
)
def test_a_document_that_cannot_be_read_is_one_line(tmp_path, content, message):
    path = tmp_path / "report.json"
    path.write_bytes(content)
    with pytest.raises(BadOption, match=message) as error:
        json.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300 + len(str(path))


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path):
    with pytest.raises(BadOption, match="cannot read the report: No such file"):
        json.read(tmp_path / "none.json")
    with pytest.raises(BadOption, match="cannot read the report: Is a directory"):
        json.read(tmp_path)
