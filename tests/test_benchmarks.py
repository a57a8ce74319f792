"""The benchmarks: their arithmetic, their programs, and one short measurement from end to end."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from oracles.peers import need

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
OUTPUT = {
    "hello": "hello\n",
    "integers": "49952172389\n",
    "tree": "4422\n",
    "strings": "4788000 240000 24000\n",
    "pairs": "63746416\n",
    "leaks": "",
}

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="measured with wait4(2)")


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare", BENCHMARKS / "compare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


compare = load()


def result(bar: float | None, *rounds: tuple[float, float, float], name: str = "subject") -> object:
    subject = compare.Subject(name, "what it does", lambda _work: (), bar)
    return compare.Result(subject, tuple(compare.Round(*times) for times in rounds))


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    # The ratio of the medians would be 3 / 2; the rounds say 3, 0.5 and 1.
    one = result(1.0, (1, 1, 3), (1, 8, 4), (1, 2, 2))
    assert one.ratio == 1.0
    assert one.spread() == "0.50-3.00"
    assert (one.seconds("memcheck"), one.seconds("emuleak")) == (2, 3)


@pytest.mark.parametrize(("bar", "over"), [(0.5, False), (0.49, True), (None, False)])
def test_a_bar_may_be_touched_not_crossed(bar: float | None, over: bool) -> None:
    assert result(bar, (1, 2, 1)).over is over


def test_the_table() -> None:
    rows = compare.table([result(0.5, (0.001, 0.5, 0.125), name="hello"), result(None, (1, 2, 6), name="pairs")])
    assert rows == (
        "| subject | what it does | native s | memcheck s | emuleak s | ratio |   from-to |  bar |      |\n"
        "| ------- | ------------ | -------: | ---------: | --------: | ----: | --------: | ---: | ---: |\n"
        "| hello   | what it does |    0.001 |      0.500 |     0.125 |  0.25 | 0.25-0.25 |  0.5 | good |\n"
        "| pairs   | what it does |    1.000 |      2.000 |     6.000 |  3.00 | 3.00-3.00 | none |      |"
    )


def test_the_time_of_a_child_is_its_own() -> None:
    lazy = compare.cpu_seconds([sys.executable, "-c", "import time; time.sleep(0.3)"])
    busy = compare.cpu_seconds([sys.executable, "-c", "import time\nwhile time.process_time() < 0.6: pass"])
    assert lazy < 0.3
    assert 0.6 <= busy < 3


def test_a_subject_that_fails_is_not_measured() -> None:
    with pytest.raises(SystemExit, match="ended with 3"):
        compare.cpu_seconds([sys.executable, "-c", "raise SystemExit(3)"])


def test_the_written_results_have_every_subject() -> None:
    page = (BENCHMARKS / "RESULTS.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")]
    assert rows[2:] == [subject.name for subject in compare.SUBJECTS]


@pytest.mark.peer("gcc")
@pytest.mark.parametrize("name", OUTPUT)
def test_the_programs_do_what_they_did(name: str, tmp_path: Path) -> None:
    need("gcc")
    command = {subject.name: subject.command for subject in compare.SUBJECTS}[name]
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == OUTPUT[name]


def test_every_program_belongs_to_a_subject() -> None:
    assert {path.stem for path in (BENCHMARKS / "src").glob("*.c")} == OUTPUT.keys()
    assert OUTPUT.keys() <= {subject.name for subject in compare.SUBJECTS}


@pytest.mark.peer("valgrind")
def test_a_measurement(capsys: pytest.CaptureFixture[str]) -> None:
    need("valgrind")
    need("gcc")
    assert compare.main(["hello", "--rounds", "1"]) == 0
    row = capsys.readouterr().out.splitlines()[-1].split("|")
    assert row[1].strip() == "hello"
    native, memcheck, emuleak, ratio = (float(cell) for cell in row[3:7])
    assert native < memcheck
    assert native < emuleak
    assert ratio == pytest.approx(emuleak / memcheck, rel=0.05)


def test_an_unknown_subject_is_said_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compare.main(["helo"])
    assert "no such subject: helo" in capsys.readouterr().err
