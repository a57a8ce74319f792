"""Several reports of one run: an --output belongs to the --format before it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from oracles.commandline import compiled

from emuleak.cli.reports import paired
from emuleak.errors import BadOption

FORMAT, OUTPUT = "formats", "outputs"


@pytest.mark.parametrize(
    ("order", "formats", "outputs", "expected"),
    [
        ([FORMAT], ["json"], [], [("json", None)]),
        ([FORMAT, OUTPUT], ["json"], ["a"], [("json", "a")]),
        ([OUTPUT, FORMAT], ["json"], ["a"], [("json", "a")]),
        ([FORMAT, OUTPUT, FORMAT, OUTPUT], ["html", "json"], ["a", "b"], [("html", "a"), ("json", "b")]),
        ([FORMAT, FORMAT, OUTPUT], ["text", "json"], ["a"], [("text", None), ("json", "a")]),
        ([FORMAT, OUTPUT, FORMAT], ["json", "text"], ["a"], [("json", "a"), ("text", None)]),
        ([OUTPUT, FORMAT, FORMAT, OUTPUT], ["text", "json"], ["a", "b"], [("text", "a"), ("json", "b")]),
        (["hook", FORMAT, "stdin", OUTPUT], ["json"], ["a"], [("json", "a")]),
    ],
)
def test_what_goes_where(order, formats, outputs, expected) -> None:
    assert paired(formats, outputs, order) == expected


@pytest.mark.parametrize(
    ("order", "formats"),
    [
        ([FORMAT, OUTPUT, OUTPUT], ["json"]),
        ([OUTPUT, OUTPUT, FORMAT], ["json"]),
        ([FORMAT, FORMAT, OUTPUT, OUTPUT], ["text", "json"]),
    ],
)
def test_two_outputs_for_one_format_are_refused(order, formats) -> None:
    with pytest.raises(BadOption, match=r"--output b: a is the --output of the same --format; add a --format"):
        paired(formats, ["a", "b"], order)


LEAK = "#include <stdlib.h>\nint main(void) { char *volatile p = malloc(27); p = 0; return 0; }"


@pytest.fixture(scope="module")
def leaky() -> Path:
    return compiled(LEAK, "-g")


def emuleak(directory: Path, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emuleak", "run", *map(str, words)]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def test_all_forms_of_one_run(leaky: Path, tmp_path: Path) -> None:
    forms = {"json": "{", "sarif": "{", "valgrind-xml": "<?xml", "junit": "<?xml", "text": "emuleak: 1 leak"}
    words = [word for form in forms for word in ("--format", form, "--output", f"report.{form}")]
    done = emuleak(tmp_path, *words, leaky)
    assert (done.returncode, done.stderr) == (23, "")
    for form, start in forms.items():
        assert (tmp_path / f"report.{form}").read_text(encoding="utf-8").startswith(start), form


def test_text_for_me_and_json_for_the_file(leaky: Path, tmp_path: Path) -> None:
    done = emuleak(tmp_path, "--format", "text", "--format", "json", "--output", "r.json", leaky)
    assert done.stderr.startswith("emuleak: 1 leak: 27 bytes in 1 block")
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["findings"][0]["bytes"] == 27


def test_an_output_without_a_format_is_text(leaky: Path, tmp_path: Path) -> None:
    assert emuleak(tmp_path, "--output", "r.txt", leaky).stderr == ""
    assert (tmp_path / "r.txt").read_text(encoding="utf-8").startswith("emuleak: 1 leak")


def test_what_counts_is_the_same_for_the_status_and_for_the_report(leaky: Path, tmp_path: Path) -> None:
    done = emuleak(tmp_path, "--fail-on", "none", "--format", "junit", leaky)
    assert done.returncode == 0
    assert 'failures="0"' in done.stderr
    assert "no leaks and misuse" in done.stderr


def test_show_reachable_reaches_the_writers(tmp_path: Path) -> None:
    kept = compiled("#include <stdlib.h>\nchar *kept; int main(void) { kept = malloc(9); return 0; }", "-g")
    for form, word in (("valgrind-xml", "Leak_StillReachable"), ("sarif", '"ruleId":"still-reachable"')):
        assert word not in emuleak(tmp_path, "--format", form, kept).stderr
        assert word in emuleak(tmp_path, "--format", form, "--show-reachable", kept).stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--format", "text", "--format", "json"], "--format json: the report as text goes to stderr"),
        (
            ["--format", "json", "--output", "r", "--format", "junit", "--output", "./r"],
            "the report as json goes there",
        ),
        (["--format", "json", "--output", "a", "--output", "b"], "--output b: a is the --output of the same"),
        (["--output", "a", "--output", "b"], "more outputs than formats"),
    ],
)
def test_two_reports_in_one_place_are_refused_before_the_run(words, said: str, leaky: Path, tmp_path: Path) -> None:
    done = emuleak(tmp_path, *words, leaky)
    assert done.returncode == 2
    assert done.stderr.startswith("emuleak: error: ")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_configured_format_takes_the_output(leaky: Path, tmp_path: Path) -> None:
    (tmp_path / "emuleak.toml").write_text('format = "junit"\n', encoding="utf-8")
    emuleak(tmp_path, "--output", "r", leaky)
    assert (tmp_path / "r").read_text(encoding="utf-8").startswith("<?xml")


def test_writers_are_imported_when_they_are_chosen() -> None:
    script = (
        "import sys, emuleak.cli.run; from emuleak.report.writers import WRITERS;"
        "print([path for path in WRITERS.values() if path.partition(':')[0] in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
