"""Excerpts of source: right lines, and no exception whatever the debug information claims."""

import os
import sys

import pytest

from emuleak.report import source
from emuleak.report.source import Sources


def lines(path, line, context=1, **options):
    return [tuple(item) for item in Sources(**options).excerpt(str(path), line, context)]


def test_excerpt_dedents_expands_tabs_and_leaves_blank_context_out(tmp_path):
    path = tmp_path / "a.c"
    path.write_bytes(b"{\r\n\tif (x)\r\n\t\ty();\r\n\r\n}")
    assert lines(path, 2) == [(1, "{", False), (2, "    if (x)", True), (3, "        y();", False)]
    assert lines(path, 3) == [(2, "if (x)", False), (3, "    y();", True)]
    assert lines(path, 5, 0) == [(5, "}", True)]


@pytest.mark.parametrize("line", [0, -1, 4, 10**9, None])
def test_lines_that_do_not_exist(tmp_path, line):
    path = tmp_path / "a.c"
    path.write_text("1\n2\n3\n")
    assert lines(path, line) == []


def test_files_that_are_no_source(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "MAX_FILE_BYTES", 100)
    (tmp_path / "binary").write_bytes(b"int\0main\n")
    (tmp_path / "large").write_bytes(b"x\n" * 51)
    (tmp_path / "latin").write_bytes(b"caf\xe9\n")
    os.symlink("loop", tmp_path / "loop")
    for name in ("binary", "large", "loop", "missing", "zero\0byte", "x" * 5000, "binary/a.c", ".", ""):
        assert lines(tmp_path / name, 1) == [], name
    assert Sources().excerpt(None, 1) == ()
    assert lines(tmp_path / "latin", 1) == [(1, "caf\ufffd", True)]


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in the file system")
def test_a_pipe_or_device_named_as_source_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.c")
    assert lines(tmp_path / "pipe.c", 1) == []
    assert lines("/dev/zero", 1) == []


def test_roots_confine_what_is_quoted(tmp_path):
    course, secret = tmp_path / "course", tmp_path / "course-secret"
    for folder in (course, secret):
        folder.mkdir()
        (folder / "a.c").write_text("text\n")
    (course / "link.c").symlink_to(secret / "a.c")
    roots = [str(course)]
    assert lines(course / "a.c", 1, roots=roots)
    assert lines(secret / "a.c", 1, roots=roots) == []
    assert lines(course / "link.c", 1, roots=roots) == []
    assert lines(f"{course}/../course-secret/a.c", 1, roots=roots) == []


def test_a_file_is_read_once_and_few_are_kept(monkeypatch):
    reads = []
    monkeypatch.setattr(Sources, "_read", lambda _, file: reads.append(file) or [b"x"])
    sources = Sources()
    for _ in range(3):
        sources.excerpt("a.c", 1)
    assert reads == ["a.c"]
    for index in range(100):
        sources.excerpt(f"{index}.c", 1)
    assert len(sources._files) <= 8
