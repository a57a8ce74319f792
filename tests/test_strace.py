"""`emuleak strace` against the real one: the same calls in the same order, in the same words but for what depends on
the kernel, on addresses and on times.
"""

import functools
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from oracles.commandline import EMULEAK, compiled, run
from oracles.native import environment
from oracles.peers import absent, need

from emuleak.strace.classes import CLASSES
from emuleak.strace.numbers import NAMES
from emuleak.strace.quoting import quoted

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")

# The package that is tested is the one beside the tests, from whatever directory the command is run.
ENVIRONMENT = {"LC_ALL": "C", "PYTHONPATH": str(Path(__file__).parent.parent)}
HERE = Path(__file__).parent / "strace_programs"
# What an emulated kernel and CPU cannot have in common with the host: rseq(2) and clone3(2) are not there, the CPU has
# no glibc-hwcaps (so ld.so needs another amount of memory), and the time is not asked of a vDSO.
DIFFERENT = re.compile(
    r"rseq\(|brk\(|mmap\(NULL, (8192|12288), PROT_READ\|PROT_WRITE, MAP_PRIVATE\|MAP_ANONYMOUS"
    r"|clone3(\(| resumed)|rseq resumed|uname\(|sysinfo\("
    r"|gettimeofday\(|clock_gettime\(|getppid\(|getpgrp\(|^time\("
)
CHANGES = (
    (r"0x[0-9a-f]{6,}", "ADDRESS"),
    (r"(\\x[0-9a-f]{2})+", "RANDOM"),
    (r"(si_utime|si_stime)=\d+( /\*.*?\*/)?", r"\1=TIME"),
    (r"tv_(sec|nsec|usec)=\d+", r"tv_\1=TIME"),
    (r"stx_(mask|attributes)=[^,]*", r"stx_\1=SOME"),
    (r"si_pid=\d+", "si_pid=ID"),
    (r"/tmp/pytest[^>\"]*", "PLACE"),
    (r" +(= \S)", r" \1"),
    (r"(sched_getaffinity\(.*\)) = \d+", r"\1 = SIZE"),  # the kernel's own number of CPUs
)


def tracer() -> str:
    strace = need("strace")
    if subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        absent("strace may not trace here")
    return strace


def comparable(text: str) -> list[str]:
    """The lines, without what differs between any two runs; processes are numbered in the order they appear."""
    first = re.search(r"^(\d+) ", text) or re.search(r"set_tid_address\(\S+\) += (\d+)", text)
    lines = []
    ids: dict[str, str] = {first.group(1): "ID0"} if first else {}
    for match in re.finditer(r"(?:clone|fork|vfork)\(?.* = (\d+)$", text, re.MULTILINE):
        ids.setdefault(match.group(1), f"ID{len(ids)}")
    for line in text.splitlines():
        if not DIFFERENT.search(line):
            changed = functools.reduce(lambda done, change: re.sub(*change, done), CHANGES, line)
            lines.append(re.sub(r"\b\d{3,}\b", lambda found: ids.get(found[0], found[0]), changed))
    return lines


def trace(
    command: Sequence[str], words: Sequence[str | Path], place: Path, stdin: bytes = b""
) -> tuple[list[str], int, bytes]:
    place.mkdir(exist_ok=True)
    out = place.parent / f"{place.name}.trace"
    done = subprocess.run(
        [*command, "-o", str(out), *map(str, words)],
        input=stdin, capture_output=True, env=environment() | ENVIRONMENT, cwd=place, timeout=120, check=False,
    )  # fmt: skip
    return comparable(out.read_text(errors="replace")), done.returncode, done.stdout


def both(words: Sequence[str | Path], tmp_path: Path, *options: str, stdin: bytes = b"") -> list[str]:
    """Trace a command both ways; what was told must be alike. Returns it."""
    wanted, wanted_status, wanted_out = trace([tracer(), *options], words, tmp_path / "a", stdin)
    found, status, out = trace([*EMULEAK, "strace", *options], words, tmp_path / "b", stdin)
    assert found == wanted
    assert out == wanted_out
    assert status == wanted_status or wanted_status < 0
    return found


def static(name: str) -> Path:
    return compiled((HERE / f"{name}.c").read_text(), "-static", "-pthread", "-O1")


@pytest.mark.parametrize("name", ["files", "waiting", "signals"])
def test_calls_are_told_as_strace_tells_them(name: str, tmp_path: Path) -> None:
    assert len(both([static(name)], tmp_path)) > 40


@pytest.mark.parametrize("how", ["s", "a", "k", "t", "f"])
def test_deadly_signals(how: str, tmp_path: Path) -> None:
    lines = both([static("signals"), how], tmp_path)
    assert lines[-1].startswith("+++ killed by SIG")


COMMANDS = (
    ["/bin/echo", "a", "b c"],
    ["/bin/cat", "/etc/passwd", "/absent"],
    ["/bin/ls", "/etc/apt"],
    ["/usr/bin/head", "-c", "5"],
    ["/usr/bin/wc"],
    ["/usr/bin/md5sum", "/etc/passwd"],
    ["/usr/bin/uniq", "-c"],
    ["/bin/mkdir", "-p", "a/b/c"],
    ["/usr/bin/tee", "copy"],
    ["/bin/ln", "-s", "/etc/passwd", "link"],
    ["/usr/bin/tr", "a-z", "A-Z"],
    ["/bin/sed", "-n", "s/a/b/p", "/etc/group"],
    ["/bin/dash", "-c", "x=1; echo $((x+1)) >out; read y <out; echo $y; umask; cd /; exit 3"],
)


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words)[:30])
def test_programs_of_the_host(words: list[str], tmp_path: Path) -> None:
    if shutil.which(words[0]) is None:
        absent(f"{words[0]} is not here")
    both(words, tmp_path, stdin=b"some lines\nof input\n")


@pytest.mark.parametrize(
    "expression", ["trace=%file", "trace=%desc", "trace=!%file,%desc", "open,openat,/^mm", "trace=%memory"]
)
def test_filters(expression: str, tmp_path: Path) -> None:
    assert both([static("files")], tmp_path, "-e", expression)


def test_signals_can_be_left_out(tmp_path: Path) -> None:
    lines = both([static("signals")], tmp_path, "-e", "signal=!SIGUSR1", "-e", "trace=pause")
    assert [line[:12] for line in lines if line.startswith("---")] == ["--- SIGURG {", "--- SIGALRM "]


@pytest.mark.parametrize("size", ["2", "5", "200"])
def test_the_length_of_strings(size: str, tmp_path: Path) -> None:
    both([static("files")], tmp_path, "-s", size)


# ---- children


def by_process(lines: list[str]) -> dict[str, list[str]]:
    """Who did what: when two run at a time, their order is their own affair, and so is what cuts a line in two."""
    found: dict[str, list[str]] = {}
    for line in lines:
        who, _, what = line.partition(" ")
        mine = found.setdefault(who, [])
        what = what.strip()
        if match := re.match(r"<\.\.\. \w+ resumed>", what):
            mine[-1] = mine[-1].removesuffix(" <unfinished ...>") + what[match.end() :]
        else:
            mine.append(what)
    return {
        who: [re.sub(r",? = ", " = ", each) for each in told if "SIGCHLD {" not in each] for who, told in found.items()
    }


def test_children_and_threads(tmp_path: Path) -> None:
    program = static("processes")
    wanted, _, _ = trace([tracer(), "-f"], [program], tmp_path / "a")
    found, status, _ = trace([*EMULEAK, "strace", "-f"], [program], tmp_path / "b")
    assert status == 0
    # A thread is made by clone3(2) there and by clone(2) here.
    told = {
        who: [each for each in lines if not each.startswith("clone(child_stack=A")]
        for who, lines in by_process(found).items()
    }
    assert list(told.values()) == list(by_process(wanted).values())
    assert len(told) == 5


def test_lines_of_several_name_their_process() -> None:
    done = run("-f", static("processes"), verb="strace")
    assert "strace: Process 4712 attached" in done.err
    assert re.search(r"^\[pid  4712\] write\(4, \"from the child\", 14\) = 14$", done.err, re.MULTILINE)
    assert re.search(r"^\[pid  4712\] \+\+\+ exited with 3 \+\+\+$", done.err, re.MULTILINE)
    assert re.search(
        r"^(\[pid  4711\] )?<\.\.\. wait4 resumed>\[\{WIFEXITED\(s\) && WEXITSTATUS\(s\) == 3\}\]",
        done.err,
        re.MULTILINE,
    )


def test_without_f_children_are_not_told() -> None:
    done = run(static("processes"), verb="strace")
    assert "from the child" not in done.err.replace('read(3, "from the child"', "")
    assert "--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=4712" in done.err
    assert "attached" not in done.err


# ---- the command


def test_the_summary_counts_as_the_trace_tells() -> None:
    told = run(static("files"), verb="strace")
    counted = run("-c", static("files"), verb="strace")
    lines = [re.match(r"(\w+)\((.*)", line) for line in told.err.splitlines()]
    names = [match.group(1) for match in lines if match and match.group(1) != "exit_group"]
    table = {line.split()[-1]: line.split()[:-1] for line in counted.err.splitlines()[2:-2]}
    assert {name: int(numbers[0]) for name, numbers in table.items() if name != "exit_group"} == {
        name: names.count(name) for name in set(names)
    }
    failed = [line for line in told.err.splitlines() if re.match(r"close\(.* = -1 ", line)]
    assert table["close"][1:] == [str(len(failed))]


def test_descriptors_with_their_files(tmp_path: Path) -> None:
    done = run(
        "-y", "-e", "trace=read,openat,close", "/bin/cat", "/etc/passwd", verb="strace", cwd=tmp_path, env=ENVIRONMENT
    )
    assert f'openat(AT_FDCWD<{tmp_path}>, "/etc/passwd", O_RDONLY) = 3</etc/passwd>\n' in done.err
    assert "read(3</etc/passwd>, " in done.err
    assert "close(3</etc/passwd>) " in done.err


def test_a_trace_is_the_same_twice() -> None:
    first, second = (run("-f", static("processes"), verb="strace") for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-e", "trace=nonsense", "/bin/true"], "there is no such system call"),
        (["-e", "signal=SIGNONE", "/bin/true"], "there is no such signal"),
        (["-e", "fault=read", "/bin/true"], "only trace= and signal= are known"),
        (["-o", "/absent/file", "/bin/true"], "there is no directory"),
        (["/absent"], "no such file"),
        (["--sysroot", "/absent", "/bin/true"], "no such directory"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str) -> None:
    done = run(*words, verb="strace")
    assert done.status == 2
    assert done.err.startswith("emuleak: error: ")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_the_exit_status_is_the_programs() -> None:
    assert run(static("files"), verb="strace").status == 7
    assert run(static("signals"), "t", verb="strace").status == 128 + 15


def test_ctrl_c_ends_the_guest(tmp_path: Path) -> None:
    out = tmp_path / "trace"
    command = [*EMULEAK, "strace", "-o", str(out), "/bin/cat"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment() | ENVIRONMENT)
    deadline = time.monotonic() + 30
    while "read(0, " not in (out.read_text() if out.exists() else "") and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 143
    assert out.read_text().endswith("read(0,  <unfinished ...>)              = ?\n")


# ---- the parts


def test_numbers_are_those_of_the_headers() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        absent("no kernel headers")
    wanted = {int(number): name for name, number in re.findall(r"__NR_(\w+) (\d+)", header.read_text())}
    assert {number: NAMES.get(number) for number in wanted} == wanted


def test_classes_hold_calls_that_there_are() -> None:
    for name, members in CLASSES.items():
        assert members <= set(NAMES.values()), name


@pytest.mark.parametrize(
    ("data", "text"),
    [(b"\0", r'"\0"'), (b"\x019", r'"\0019"'), (b"\x01a", r'"\1a"'), (b'"\\\n', r'"\"\\\n"'), (b"\xff", r'"\377"')],
)
def test_quoting(data: bytes, text: str) -> None:
    assert quoted(data) == text
