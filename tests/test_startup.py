"""What a small run does without: modules it has no use for, stacks that nobody shows, an end that tidies up."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from oracles.commandline import compiled, run
from oracles.native import environment

HELLO = '#include <stdio.h>\nint main(void) { puts("hello"); return 3; }\n'
# Each costs 2 to 300 ms. click brings some of the standard library's, msgspec others.
NOT_NEEDED = (
    *("unicorn", "lief", "capstone", "symbolic", "elftools", "rich", "jinja2", "numpy", "hypothesis"),
    *("pathlib", "dataclasses", "socket", "shutil", "tempfile", "subprocess", "hashlib", "json", "logging"),
    *("emuleak.api", "emuleak.findings.reasons", "emuleak.symbols.dwarf", "emuleak.symbols.symcache"),
    *("emuleak.unhooked", "emuleak.linking", "emuleak.kernel.tracing", "emuleak.strace", "emuleak.bundle", "zipfile"),
)


@pytest.fixture
def hello() -> Path:
    return compiled(HELLO, "-g")


def python(text: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", text, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)


def test_a_plain_run_imports_what_it_needs_and_no_more(hello: Path) -> None:
    assert run(hello).status == 3  # and now the image is known
    text = (
        "import sys\nbefore = set(sys.modules)\nfrom emuleak.cli import main\n"
        "try: main()\nfinally: print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = python(text, "run", hello)
    assert done.stdout == "hello\n"
    imported = done.stderr.splitlines()[-1].split()
    assert "emuleak.engine" in imported
    assert [name for name in NOT_NEEDED if name in imported] == []


def _library_leaks(document: dict) -> list[dict]:
    return [finding for finding in document["findings"] if finding["owner"] == "library"]


@pytest.mark.parametrize(
    "words", [["--format", "json"], ["--format", "text", "--output", "/dev/null", "--format", "json"]]
)
def test_what_shows_the_stacks_of_libraries_has_them(hello: Path, words: Sequence[str]) -> None:
    (buffer,) = _library_leaks(json.loads(run(*words, hello).err))
    assert buffer["stack"][0]["function"] == "_IO_file_doallocate"
    assert "main" in [frame["function"] for frame in buffer["stack"]]


def test_the_text_counts_them_all_the_same(hello: Path, tmp_path: Path) -> None:
    alone = run(hello)
    both = run("--format", "text", "--format", "json", "--output", tmp_path / "report", hello)
    (buffer,) = _library_leaks(json.loads((tmp_path / "report").read_text()))
    assert alone.err == both.err
    assert f"{buffer['bytes']:,}" in alone.err


def test_a_suppression_can_speak_of_what_a_library_keeps(hello: Path, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("{\n   the buffer\n   Memcheck:Leak\n   ...\n   fun:main\n}\n")
    done = run("--suppressions", rules, hello)
    assert "the buffer" in done.err
    assert "kept by libraries" not in done.err


# ---- the end

_SCRIPT = """
import atexit, sys
atexit.register(print, "at exit", flush=True)
from emuleak.cli import script
{how}
"""


def test_the_script_ends_at_once_but_in_order(hello: Path) -> None:
    done = python(_SCRIPT.format(how="script()\nprint('came back')"), "run", hello)
    assert (done.returncode, done.stdout) == (3, "hello\nat exit\n")
    assert "LEAK SUMMARY" in done.stderr


def test_inside_another_program_the_script_raises_systemexit(hello: Path) -> None:
    how = "def caller():\n    try: script()\n    except SystemExit as end: print('ended with', end.code)\ncaller()"
    done = python(_SCRIPT.format(how=how), "run", hello)
    assert (done.returncode, done.stdout) == (0, "hello\nended with 3\nat exit\n")


def test_a_full_output_is_said_before_the_end() -> None:
    text = "import sys\nfrom emuleak.cli import script\nsys.argv[1:] = ['--version']\nscript()"
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", text], stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False
        )
    assert done.returncode == 2
    assert done.stderr == "emuleak: error: the output cannot be written: No space left on device\n"
