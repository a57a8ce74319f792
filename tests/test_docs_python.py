"""The Python examples of the documentation do what the pages say."""

import io
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the programs need a Linux libc")


def blocks(page: str) -> list[tuple[str, str]]:
    return [(match[1], match[2]) for match in BLOCK.finditer((ROOT / "docs" / page).read_text(encoding="utf-8"))]


def test_the_examples_of_the_api_print_what_the_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    printed, shown = io.StringIO(), []
    for kind, text in blocks("python-api.md"):
        if kind == "text":
            shown.append(text)
            continue
        assert kind == "python"
        with redirect_stdout(printed):
            exec(compile(text, "python-api.md", "exec"), names)
    assert len(shown) >= 3
    assert printed.getvalue() == "".join(shown)


def test_the_examples_for_pytest_end_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "known-leaks.supp").touch()
    found = blocks("pytest.md")
    for kind, text in found:
        if kind == "python":
            (tmp_path / text.splitlines()[0].removeprefix("# ")).write_text(text)
        elif kind == "ini":
            (tmp_path / "pytest.ini").write_text(text)
    strict = ["--strict-markers", "--strict-config", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-v", *strict, "-c", tmp_path / "pytest.ini", tmp_path]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    outcomes = dict(re.findall(r"^\S+::(\w+) ([A-Z]+)", done.stdout, re.MULTILINE))
    assert outcomes.pop("test_prints_ages") == "FAILED", done.stdout
    assert len(outcomes) == 4
    assert set(outcomes.values()) == {"PASSED"}, done.stdout
    message = next(text for kind, text in found if kind == "text")
    assert message.endswith("...\n")  # the rest is shown on other pages
    assert message.removesuffix("...\n") in done.stdout
