"""A project's defaults: where they are found, what may stand there, and that the command line wins."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles.commandline import compiled, run

from emuleak.cli import configfile
from emuleak.cli.run import run as command
from emuleak.errors import BadOption

LEAKY = "#include <stdlib.h>\nint main(void) { volatile char *lost = malloc(10); lost = 0; return 3; }\n"
KNOWN = "leak:main\n"


@pytest.fixture(scope="module")
def leaky() -> Path:
    return compiled(LEAKY, "-g", name="leaky")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with a directory in it; nothing above it is looked at."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "build" / "deep").mkdir(parents=True)
    (tmp_path / "known.supp").write_text(KNOWN)
    return tmp_path


def status(program: Path, cwd: Path, *options: str | Path) -> int:
    done = run(*options, program, cwd=cwd)
    assert "emuleak: error" not in done.err, done.err
    return done.status


def refused(program: Path, cwd: Path, *words: str, options: tuple[str | Path, ...] = ()) -> None:
    done = run(*options, program, cwd=cwd)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("emuleak: error: ")
    assert done.err.count("\n") == 1
    assert all(word in done.err for word in words), (words, done.err)


# ---- where it is found


@pytest.mark.parametrize("place", [".", "build", "build/deep"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("emuleak.toml", "error-exitcode = 77\n"),
        ("pyproject.toml", "[project]\nname = 'x'\n[tool.emuleak]\nerror_exitcode = 77\n"),
    ],
)
def test_it_is_found_upward(leaky: Path, project: Path, place: str, name: str, text: str) -> None:
    (project / name).write_text(text)
    assert status(leaky, project / place) == 77


def test_the_first_found_wins(leaky: Path, project: Path) -> None:
    (project / "emuleak.toml").write_text("error-exitcode = 1\n")
    (project / "build" / "pyproject.toml").write_text("[tool.emuleak]\nerror-exitcode = 2\n")
    assert status(leaky, project / "build" / "deep") == 2
    (project / "build" / "emuleak.toml").write_text("error-exitcode = 4\n")
    assert status(leaky, project / "build") == 4
    (project / "build" / "deep" / "emuleak.toml").write_text("")
    assert status(leaky, project / "build" / "deep") == 23, "an empty file is one, too"


def test_a_pyproject_without_the_table_is_passed_over(leaky: Path, project: Path) -> None:
    (project / "emuleak.toml").write_text("error-exitcode = 9\n")
    for text in ("[tool.ruff]\n", "# [tool.emuleak]\n", "[tool.emuleaks]\nx = 1\n", "not TOML at all"):
        (project / "build" / "pyproject.toml").write_text(text)
        assert status(leaky, project / "build") == 9


def test_the_search_ends_at_the_root_of_the_repository(leaky: Path, project: Path) -> None:
    (project / "emuleak.toml").write_text("error-exitcode = 9\n")
    (project / "build" / ".git").write_text("gitdir: elsewhere\n")  # a worktree, a submodule
    assert status(leaky, project / "build") == 23
    (project / "build" / "emuleak.toml").write_text("error-exitcode = 8\n")
    assert status(leaky, project / "build" / "deep") == 8


def test_without_it_or_with_another(leaky: Path, project: Path) -> None:
    (project / "emuleak.toml").write_text("error-exitcode = 9\n")
    (project / "other.toml").write_text("error-exitcode = 10\n")
    assert status(leaky, project, "--no-config") == 23
    assert status(leaky, project, "--config", "other.toml") == 10
    assert status(leaky, project / "build", "--config", project / "other.toml") == 10
    refused(leaky, project, "--config and --no-config", options=("--config", "other.toml", "--no-config"))
    refused(leaky, project, "--config and --no-config", options=("--no-config", "--config", "other.toml"))
    refused(leaky, project, "missing.toml: cannot be read", options=("--config", "missing.toml"))
    (project / "pyproject.toml").write_text("[tool.ruff]\n")
    refused(leaky, project, "no table [tool.emuleak]", options=("--config", "pyproject.toml"))


def test_a_working_directory_that_is_gone_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "getcwd", gone)
    assert command.make_context("run", ["prog"]).default_map is None


# ---- what wins


def test_the_command_line_wins(leaky: Path, project: Path) -> None:
    (project / "emuleak.toml").write_text(
        'error-exitcode = 9\nfail-on = "none"\nshow-reachable = true\nsuppressions = ["known.supp"]\n'
    )
    (project / "none.supp").write_text("leak:nothing\n")
    assert status(leaky, project) == 3
    assert status(leaky, project, "--fail-on", "definite") == 3, "it is suppressed"
    assert status(leaky, project, "--fail-on", "definite", "--suppressions", "none.supp") == 9
    assert status(leaky, project, "--fail-on", "all", "--suppressions", "none.supp", "--error-exitcode", "5") == 5


def test_paths_start_at_the_file(leaky: Path, project: Path) -> None:
    (project / "emuleak.toml").write_text('suppressions = "known.supp"\n')
    assert status(leaky, project / "build" / "deep") == 3
    (project / "emuleak.toml").write_text(f'only_under = ["build", "{leaky.parent}"]\n')
    assert status(leaky, project / "build") == 23
    (project / "emuleak.toml").write_text('only-under = ["build"]\n')
    done = run("--format", "json", leaky, cwd=project / "build")
    assert json.loads(done.err)["suppressed"][0]["name"] == "not under ../build"


def test_every_sort_of_value(leaky: Path, project: Path) -> None:
    (project / "emuleak.toml").write_text(
        'fail-on = ["definite", "misuse"]\nmax-seconds = 60\nmax-memory = "512M"\nhook = "entry"\nsysroot = "/"\n'
        'format = "json"\nshow-reachable = false\n'
    )
    done = run(leaky, cwd=project)
    assert done.status == 23
    assert json.loads(done.err)["findings"][0]["bytes"] == 10
    (project / "emuleak.toml").write_text("max-seconds = 0.5\nmax-memory = 10\n")
    assert status(leaky, project) == 124


# ---- what is refused

BAD = {
    'suppresions = "x"': ["unknown key 'suppresions'", "did you mean 'suppressions'?"],
    "zzz = 1": ["unknown key 'zzz'", "known are", "max-seconds"],
    'output = "x"': ["unknown key 'output'", "only be given on the command line"],
    'gen-suppressions = "x"': ["gen-suppressions", "only be given on the command line"],
    'error-exitcode = "x"': ["error-exitcode: must be a number, not a string"],
    "error-exitcode = 256": ["error-exitcode: '256' is no exit status"],
    "error-exitcode = true": ["error-exitcode: must be a number, not true or false"],
    "max-seconds = 0": ["max-seconds: '0' must be more than 0 seconds"],
    "max-seconds = nan": ["max-seconds: "],
    'max-memory = "lots"': ["max-memory: 'lots' is no size"],
    "max-memory = 1.5": ["max-memory: must be a number or a string, not a number with a point"],
    "show-reachable = 1": ["show-reachable: must be true or false, not a number"],
    "suppressions = 3": ["suppressions: must be a string or a list of strings, not a number"],
    "suppressions = [3]": ["suppressions: must be a string, not a number"],
    "fail-on = [1]": ["fail-on: must be a string"],
    "sysroot = 1979-05-27": ["sysroot: must be a string, not a date or time"],
    'format = "yaml"': ["format: 'yaml' is not one of"],
    "max-seconds = 1\nmax_seconds = 2": ["'max-seconds' and 'max_seconds' are the same key"],
    "[hook]": ["hook: must be a string, not a table"],
    "x = ": ["is no TOML"],
}


@pytest.mark.parametrize("text", BAD)
def test_what_is_wrong_is_named_with_file_and_key(project: Path, text: str) -> None:
    path = project / "emuleak.toml"
    path.write_text(text + "\n")
    with pytest.raises(BadOption) as error:
        configfile.read(str(path), command)
    assert str(error.value).startswith(f"{path}: ")
    assert all(word in str(error.value) for word in BAD[text]), str(error.value)


def test_the_user_gets_one_line_and_2(leaky: Path, project: Path) -> None:
    (project / "emuleak.toml").write_text("max-secs = 1\n")
    refused(leaky, project, "error: emuleak.toml: unknown key 'max-secs'; did you mean 'max-seconds'?")
    refused(leaky, project / "build", "error: ../emuleak.toml: unknown key")
    (project / "emuleak.toml").write_bytes(b"\xff\xfe")
    refused(leaky, project, "emuleak.toml: is no TOML")
    (project / "emuleak.toml").unlink()
    (project / "pyproject.toml").write_text("[tool]\nemuleak = 3\n# [tool.emuleak]\n")
    refused(leaky, project, "pyproject.toml: tool.emuleak must be a table")
    (project / "pyproject.toml").write_text("[tool.emuleak]\nsuppressions = ['no.supp']\n")
    refused(leaky, project, "no.supp: cannot read the suppressions")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_no_missing_file(leaky: Path, project: Path) -> None:
    for name in ("emuleak.toml", "pyproject.toml"):
        (project / name).write_text("")
        (project / name).chmod(0)
        refused(leaky, project, f"{name}: cannot be read", "--no-config")
        (project / name).unlink()


VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec="utf-8", categories=["L", "N", "P"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("k"), inner, max_size=1),
    max_leaves=4,
)
KEYS = st.sampled_from([
    "hook", "sysroot", "max-seconds", "max_memory", "error-exitcode", "fail-on", "format", "suppressions", "only-under",
    "show-reachable", "config", "trace", "zzz",
])  # fmt: skip


@given(KEYS, VALUES)
def test_any_value_is_taken_or_refused(tmp_path_factory: pytest.TempPathFactory, key: str, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_text(f"{key} = {toml(value)}\n", encoding="utf-8")
    try:
        defaults = configfile.read(str(path), command)
    except BadOption as error:
        message = str(error)
    else:
        assert defaults is not None
        assert len(defaults) == 1
        return
    assert message.startswith(f"{path}: ")
    assert key in message


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("Infinity", "inf").replace("NaN", "nan")


# ---- what it costs


def test_without_a_file_nothing_is_imported_for_it(leaky: Path, project: Path) -> None:
    (project / "pyproject.toml").write_text("[tool.ruff]\n")
    script = (
        "import sys; from emuleak.cli import emuleak\n"
        f"status = emuleak(['run', {str(leaky)!r}], standalone_mode=False, obj=frozenset())\n"
        "heavy = ['tomllib', 'emuleak.cli.configfile', 'emuleak.findings.suppression', 'emuleak.report.selection',"
        " 'emuleak.report.suppression_text', 'difflib']\n"
        "print(status, [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=project, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "23 []", done.stderr
