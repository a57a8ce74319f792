"""Scripts given as programs: their interpreters run, as execve(2) has it, and are what is checked."""

from pathlib import Path

import pytest
from oracles import emuleak, system
from oracles.native import execute
from oracles.peers import need


def script(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("first_line", ["#!/bin/sh", "#! /bin/sh -e", "#!\t/bin/sh"])
def test_a_script_runs_as_natively(tmp_path: Path, first_line: str) -> None:
    program = script(tmp_path / "s.sh", f'{first_line}\necho "$0" "$#" "$@" $-\nfalse\nexit 3\n')
    native, verdict = execute([program, "a b", "c"]), emuleak.check(program, ["a b", "c"])
    assert verdict.summary.run.stdout == native.stdout
    assert verdict.summary.run.code == native.code


def test_the_interpreter_is_what_is_checked(tmp_path: Path) -> None:
    perl = need("/usr/bin/perl")
    program = script(tmp_path / "s.pl", "#!/usr/bin/perl -w\nprint scalar(@ARGV), $0;\n")
    verdict = system.by_emuleak([str(program), "x"], None, tmp_path)
    heap, _ = system.by_valgrind([perl, "-w", str(program), "x"], None, tmp_path)
    assert verdict.summary.heap == heap


def test_a_script_may_name_a_script(tmp_path: Path) -> None:
    inner = script(tmp_path / "inner", '#!/bin/sh\necho inner "$@"\n')
    outer = script(tmp_path / "outer", f"#!{inner} option with blanks\n")
    native, verdict = execute([outer, "x"]), emuleak.check(outer, ["x"])
    assert verdict.summary.run.stdout == native.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("#!/nonexistent/sh\n", "is a script for /nonexistent/sh, which does not exist"),
        ("#!\n", "is a script that names no interpreter"),
        ("#!" + "x" * 300, "is a script that names no interpreter"),
    ],
)
def test_a_script_without_an_interpreter(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(emuleak.EmuleakFailedError) as failed:
        emuleak.check(script(tmp_path / "s", text))
    assert words in str(failed.value)


def test_a_script_that_names_itself(tmp_path: Path) -> None:
    itself = tmp_path / "s"
    with pytest.raises(emuleak.EmuleakFailedError, match="too often"):
        emuleak.check(script(itself, f"#!{itself}\n"))
