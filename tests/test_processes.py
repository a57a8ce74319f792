"""Programs that make processes: what they print and how they end is as on the host, and what their children lose is
told as valgrind tells it, but for what a child only has from its parent.
"""

import json
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from oracles import emuleak
from oracles.build import VARIANTS, build
from oracles.native import execute
from oracles.peers import need

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")

HERE = Path(__file__).parent / "process_programs"
ALIKE = ("fork_tree", "pipes", "statuses", "sigchld", "spawning", "shared", "families", "files", "threads", "raw")
IN_ONE_PLACE = ("leaks", "bomb")


def compiled(name: str, variant: str = "O0") -> Path:
    return build(HERE / f"{name}.c", VARIANTS[variant], ("-pthread", "-fno-builtin"))


def both(words: Sequence[str | Path], tmp_path: Path, *options: str, stdin: bytes = b"") -> emuleak.Verdict:
    """Run a command on the host and under emuleak, each in a directory of its own; output and status must be alike."""
    places = tmp_path / "native", tmp_path / "emulated"
    for place in places:
        place.mkdir(exist_ok=True)
    given = tmp_path / "stdin"
    given.write_bytes(stdin)
    wanted = execute(list(words), given, cwd=places[0])
    program, *arguments = words
    verdict = emuleak.check(
        Path(program), [str(each) for each in arguments], stdin=given, cwd=places[1], options=options
    )
    run = verdict.summary.run
    assert run.stdout.decode() == wanted.stdout.decode()
    assert (run.code, run.signal) == (wanted.code, wanted.signal)
    return verdict


def document(program: Path, *arguments: str, options: Sequence[str] = ()) -> dict:
    report, _ = emuleak.report(program, arguments, options=options)
    return report


# ---- as on the host


def test_every_program_is_tried() -> None:
    assert {path.stem for path in HERE.glob("*.c")} == {*ALIKE, *IN_ONE_PLACE}


@pytest.mark.parametrize("name", ALIKE)
def test_processes_do_what_they_do_on_the_host(name: str, tmp_path: Path) -> None:
    verdict = both([compiled(name)], tmp_path)
    assert verdict.summary.run.stdout.count(b"\n") >= 4
    assert all("execve" in line for line in verdict.incomplete), verdict.incomplete


@pytest.mark.parametrize("name", ["fork_tree", "pipes", "shared"])
def test_static_programs_fork_too(name: str, tmp_path: Path) -> None:
    both([compiled(name, "static")], tmp_path)


SCRIPTS = (
    "mkfifo p; cat p >out & echo hi >p; wait; cat out; timeout 1 cat p; echo $?; rm p",
    "echo a | sort | uniq -c; x=$(date +%Y); test $x -gt 2000 && echo year",
    "seq 1 20000 | tail -1; yes | head -2",
    "(exit 3); echo $?; false | true; echo $?; ! true; echo $?; exit 9",
    "for i in 1 2 3; do (echo sub $i) & wait; done; cat <<X | tr a-z A-Z\nhere\nX\n",
    "trap 'echo bye' EXIT; sleep 1 & wait $!; kill -0 $$ && echo alive",
    "sh -c 'kill -9 $$'; echo $?; kill -TERM $$",
    "x=$(echo $(echo $(echo deep))); echo $x; echo out >f; cat f f >g; wc -l <g",
    "find /etc -maxdepth 1 -name 'pass*' -exec basename {} ';'",
    "seq 9 | xargs -n4 echo; seq 4 | xargs -P2 -n2 echo | sort",
    "(sleep 1; echo late) & echo first",
    "read x; echo got $x; cat | wc -c",
    "exec 3>log; echo one >&3; (echo two >&3); exec 3>&-; cat log; exec cat log",
    "no-such-command; echo $?; ./log; echo $?",
)
BASH_ALONE = (
    "diff <(printf 'a\\nb\\n') <(printf 'a\\nc\\n'); echo ${PIPESTATUS[*]}",
    "coproc { read x; echo got $x; }; echo hi >&${COPROC[1]}; read y <&${COPROC[0]}; echo $y",
    "set -o pipefail; false | cat; echo $?; a=(x y); for i in ${a[@]}; do (echo $i); done; echo $BASHPID | grep -c .",
)


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_shell_scripts(shell: str, script: str, tmp_path: Path) -> None:
    need(shell)
    both([f"/bin/{shell}", "-c", script], tmp_path, "--fail-on", "none", stdin=b"line\nrest of it\n")


@pytest.mark.parametrize("script", BASH_ALONE)
def test_what_only_bash_does(script: str, tmp_path: Path) -> None:
    need("bash")
    both(["/bin/bash", "-c", script], tmp_path, "--fail-on", "none")


def test_make_runs_its_recipes(tmp_path: Path) -> None:
    need("make")
    makefile = tmp_path / "Makefile"
    makefile.write_text(
        "all: one two\n\t@cat a | tr a-z A-Z\n"
        "one:\n\t@echo first > a; sleep 1\n\t-@false\n"
        "two: one\n\t@test -f a && echo two\n"
    )
    both(["/usr/bin/make", "-s", "-f", makefile], tmp_path, "--fail-on", "none")


PYTHON = """
import os, subprocess
print(subprocess.run(["echo", "hi"], capture_output=True).stdout)
print(subprocess.check_output("echo a | tr a b", shell=True))
cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
print(len(cat.communicate(b"x" * 100000)[0]), cat.returncode)
try:
    subprocess.run(["/no/such/program"])
except OSError as error:
    print(error)
if not (child := os.fork()):
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    subprocess.run(["sleep", "100"], timeout=1)
except subprocess.TimeoutExpired:
    print("timeout")
"""


def test_pythons_subprocess(tmp_path: Path) -> None:
    python = Path("/usr/bin/python3")
    if not python.exists():
        pytest.skip("needs the distribution's Python")
    both([python, "-S", "-c", PYTHON], tmp_path, "--fail-on", "none")


# ---- limits


def test_more_processes_than_there_may_be_are_refused(tmp_path: Path) -> None:
    verdict = emuleak.check(compiled("bomb"), cwd=tmp_path)
    assert verdict.summary.run.stdout == b"refused 1, some 1, all waited for 1\nagain 1\n"
    assert any("EAGAIN" in line for line in verdict.incomplete)


def test_a_deadlock_of_all_processes_is_told() -> None:
    verdict = document(Path("/bin/sh"), "-c", "sh -c 'kill -STOP $$'; echo never")
    assert verdict["exit"]["stopped"] == "deadlock: every process waits for another"


def test_the_time_is_that_of_all_processes() -> None:
    start = time.monotonic()
    report = document(Path("/bin/sh"), "-c", "sh -c 'while :; do :; done'; echo no", options=["--max-seconds", "2"])
    assert report["exit"]["stopped"] == "the limit of 2 seconds was reached"
    assert time.monotonic() - start < 60


def test_the_memory_is_that_of_all_processes() -> None:
    script = "x=$(head -c 3000000 /dev/zero | tr '\\0' x); for i in 1 2 3 4 5 6 7 8; do (sleep 9; : $x) & done; wait"
    report = document(Path("/bin/sh"), "-c", script, options=["--max-memory", "30M"])
    assert "bytes of memory was reached" in report["exit"]["stopped"]


def test_who_sleeps_for_ever_does_not_outlive_the_program_for_long() -> None:
    report = document(Path("/bin/sh"), "-c", "while :; do sleep 1; done & exit 3")
    assert report["exit"]["code"] == 3
    assert any("left behind" in line for line in report["incomplete"])


# ---- what children lose


def valgrinds(program: Path, tmp_path: Path) -> list[Counter[tuple[str, str, int]]]:
    """Of each process valgrind's findings: kind, function and line. The first process comes first."""
    need("valgrind")
    options = ["--trace-children=yes", "--child-silent-after-fork=no", "--leak-check=full", "--xml=yes"]
    subprocess.run(["valgrind", *options, f"--xml-file={tmp_path}/%p.xml", program], check=True, capture_output=True)
    found = []
    for path in sorted(tmp_path.glob("*.xml"), key=lambda path: int(path.stem)):
        root = ET.parse(path).getroot()
        counts: Counter[tuple[str, str, int]] = Counter()
        for error in root.iter("error"):
            frames = [frame for frame in error.find("stack").iter("frame") if frame.find("line") is not None]
            counts[error.findtext("kind"), frames[0].findtext("fn"), int(frames[0].findtext("line"))] += 1
        found.append(counts)
    return found


def test_children_lose_what_valgrind_says_but_for_what_they_inherited(tmp_path: Path) -> None:
    program = compiled("leaks")
    first, *children = valgrinds(program, tmp_path)
    lost = {
        ("leak", fn, line) for counts in (first, *children) for kind, fn, line in counts if kind.startswith("Leak_")
    }
    freed = {("double-free", fn, line) for counts in children for kind, fn, line in counts if kind == "InvalidFree"}
    report = document(program)
    mine = {
        (finding["kind"], finding["stack"][0]["function"], finding["stack"][0]["line"]): finding
        for finding in report["findings"]
    }
    overflows = {key for key in mine if key[0] == "heap-overflow"}
    assert mine.keys() - overflows == lost | freed
    assert len(overflows) == 2
    assert all(("process" in finding) is (key[1] != "lose_in_parent") for key, finding in mine.items())
    leak = next(finding for key, finding in mine.items() if key[:2] == ("leak", "lose_in_child"))
    assert (leak["bytes"], leak["blocks"], leak["process"]) == (66, 2, "4712, forked by 4711, and 1 other")
    assert leak["process"] in leak["why"]
    heap = report["heap"]
    assert (heap["allocs"], heap["frees"], heap["in_use_bytes"]) == (3, 2, 55)


def test_a_program_that_a_child_runs_is_checked_only_where_it_is_asked(tmp_path: Path) -> None:
    leaks, script = compiled("leaks"), tmp_path / "script"
    script.write_text(f"#!/bin/sh\n{leaks}\n{leaks}\ntrue\n")
    words = "/bin/sh", str(script)
    assert not any(finding["kind"] == "double-free" for finding in document(Path(words[0]), words[1])["findings"])
    report = document(Path(words[0]), words[1], options=["--trace-children"])
    double = [finding for finding in report["findings"] if finding["kind"] == "double-free"]
    assert [finding["blocks"] for finding in double] == [2]
    assert "forked by" in double[0]["process"]
    lost = {f["stack"][0]["function"]: f for f in report["findings"] if f["kind"] == "leak" and f["bytes"] in {55, 110}}
    assert "running" in lost["lose_in_parent"]["process"]


def test_two_runs_are_alike() -> None:
    program = compiled("leaks")
    one, other = (document(program) for _ in range(2))
    assert json.dumps(one) == json.dumps(other)
    script = "for i in 1 2 3; do (echo $i $$; date +%s >/dev/null; exit $i) & done; wait; ls /proc/self/fd | wc -l"
    runs = [emuleak.check(Path("/bin/bash"), ["-c", script]).summary.run.stdout for _ in range(2)]
    assert runs[0] == runs[1]
