"""Runs that would never end: a limit or the user ends them, and what was seen until then is still reported."""

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from oracles.commandline import EMULEAK, compiled, run
from oracles.native import environment

# One lost block of 40 bytes, a line that says so on stdout, then the state the argument names, for ever.
ENDLESS = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void *spin(void *unused) { for (volatile int i = 0;; i++) ; return unused; }
static int recurse(int n) { volatile char frame[200]; frame[0] = n; return recurse(n + 1) + frame[0]; }
static void lose(void) { memset(malloc(40), 0, 40); }
static void wipe(void) { volatile char frame[400]; memset((char *)frame, 0, sizeof frame); }

int main(int argc, char **argv) {
    const char *what = argv[1];
    char byte;
    lose();
    wipe();
    write(1, "ready\n", 6);
    if (!strcmp(what, "loop")) spin(0);
    if (!strcmp(what, "syscalls")) for (;;) getppid();
    if (!strcmp(what, "thread")) { pthread_t t; pthread_create(&t, 0, spin, 0); pthread_join(t, 0); }
    if (!strcmp(what, "read")) read(0, &byte, 1);
    if (!strcmp(what, "poll")) { struct pollfd p = {0, POLLIN, 0}; poll(&p, 1, -1); }
    if (!strcmp(what, "fifo")) open(argv[2], O_RDONLY);
    if (!strcmp(what, "churn")) for (;;) free(malloc(24));
    if (!strcmp(what, "sleep")) for (;;) sleep(1000);
    if (!strcmp(what, "output")) for (;;) write(1, argv, 64);
    if (!strcmp(what, "small")) for (;;) malloc(24);
    if (!strcmp(what, "touched")) for (;;) memset(malloc(1 << 20), 1, 1 << 20);
    if (!strcmp(what, "untouched")) while (malloc(1 << 30)) ;
    if (!strcmp(what, "mmap"))
        for (;;) memset(mmap(0, 1 << 20, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 1, 1 << 20);
    if (!strcmp(what, "recursion")) return recurse(0);
    return 0;
}
"""
STATES = ("loop", "syscalls", "thread", "read", "poll", "fifo", "churn", "sleep", "output")
MEMORY = 64 << 20
BASE = 60 << 20  # what emuleak itself takes


@dataclass
class Ended:
    """How a run ended: status, report, seconds of the host's CPU in all, peak resident bytes of the host.

    Time is the CPU's: on a busy host the clock says nothing of emuleak. That it ends at all, `_end` sees to.
    """

    status: int
    report: dict[str, Any]
    seconds: float
    resident: int

    @property
    def lost(self) -> list[tuple[int, int]]:
        return [(f["bytes"], f["blocks"]) for f in self.report["findings"] if f["leak_kind"] == "definitely-lost"]


@pytest.fixture(scope="module")
def endless() -> Path:
    return compiled(ENDLESS, "-g", "-pthread")


@contextmanager
def _started(endless: Path, state: str, directory: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """The run, when the program has got as far as its state; its stdin and, soon, its stdout are pipes that stand."""
    fifo = directory / "fifo"
    if not fifo.exists():
        os.mkfifo(fifo)
    words = [*EMULEAK, "run", "--format", "json", "--output", directory / "report", *options, endless, state, fifo]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
    try:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def _end(process: subprocess.Popen[bytes], directory: Path) -> Ended:
    """Wait for the end, without reading what the program writes."""
    deadline = time.monotonic() + 30
    resident = 0
    while True:
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done or time.monotonic() > deadline:
            break
        resident = _peak(process.pid) or resident
        time.sleep(0.01)
    assert done, "emuleak did not end"
    process.returncode = os.waitstatus_to_exitcode(status)
    report = json.loads((directory / "report").read_text())
    return Ended(process.returncode, report, usage.ru_utime + usage.ru_stime, resident)


def _peak(pid: int) -> int:
    """Most bytes resident until now, 0 for a zombie. (ru_maxrss would be ours, where we were larger at the fork.)"""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:")), 0)


# ---- seconds


@pytest.mark.parametrize("state", STATES)
def test_the_seconds_run_out_in_every_state(endless: Path, tmp_path: Path, state: str) -> None:
    with _started(endless, state, tmp_path, "--max-seconds", "0.8") as process:
        ended = _end(process, tmp_path)
    assert ended.status == 124
    assert ended.report["exit"]["stopped"] == "the limit of 0.8 seconds was reached"
    assert (40, 1) in ended.lost
    assert ended.seconds < 0.8 + 2


def test_what_follows_the_program_s_end_is_not_counted() -> None:
    late = compiled("#include <stdlib.h>\nint main(void) { malloc(10); return 0; }", "-g")
    slow = (
        "import sys, time\nfrom emuleak import cli, session\nbuild = session.build\n"
        "def later(*a, **k):\n    time.sleep(1.2)\n    return build(*a, **k)\n"
        "session.build = later\nsys.argv = ['emuleak', 'run', '--max-seconds', '1', sys.argv[1]]\ncli.main()\n"
    )
    done = subprocess.run([EMULEAK[0], "-c", slow, late], capture_output=True, env=environment(), check=False)
    assert done.returncode == 23, done.stderr


# ---- memory


@pytest.mark.parametrize("state", ["small", "touched", "mmap"])
def test_memory_runs_out(endless: Path, tmp_path: Path, state: str) -> None:
    with _started(endless, state, tmp_path, "--max-memory", str(MEMORY)) as process:
        ended = _end(process, tmp_path)
    assert ended.status == 124
    assert ended.report["exit"]["stopped"] == f"the limit of {MEMORY} bytes of memory was reached"
    assert (40, 1) in ended.lost
    assert ended.resident < BASE + 1.4 * MEMORY
    used = sum(size for size, _ in ended.lost) if state == "touched" else MEMORY
    assert used > 0.8 * MEMORY


def test_memory_that_is_never_touched_costs_nothing(endless: Path, tmp_path: Path) -> None:
    with _started(endless, "untouched", tmp_path, "--max-memory", str(MEMORY)) as process:
        ended = _end(process, tmp_path)
    assert ended.report["exit"]["code"] == 0
    assert sum(size for size, _ in ended.lost) >= 16 << 30
    assert ended.resident < BASE + MEMORY


def test_endless_recursion_is_the_program_s_own_crash(endless: Path, tmp_path: Path) -> None:
    with _started(endless, "recursion", tmp_path, "--max-memory", str(MEMORY)) as process:
        ended = _end(process, tmp_path)
    assert ended.report["exit"]["signal"] == signal.SIGSEGV


def test_even_a_limit_of_nothing_ends_with_a_report(endless: Path) -> None:
    done = run("--max-memory", "1", endless, "loop")
    assert done.status == 124
    assert "limit of 1 bytes of memory" in done.err


# ---- signals


@pytest.mark.parametrize("state", STATES)
def test_ctrl_c_ends_the_program_in_every_state(endless: Path, tmp_path: Path, state: str) -> None:
    with _started(endless, state, tmp_path) as process:
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        ended = _end(process, tmp_path)
    assert ended.status == 130
    assert ended.report["exit"]["stopped"] == "interrupted"
    assert (40, 1) in ended.lost
    assert ended.seconds < 2


@pytest.mark.parametrize("state", ["loop", "read"])
def test_sigterm_ends_the_program_likewise(endless: Path, tmp_path: Path, state: str) -> None:
    with _started(endless, state, tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        ended = _end(process, tmp_path)
    assert ended.status == 143
    assert ended.report["exit"]["stopped"] == "terminated"
    assert ended.seconds < 2


def test_one_order_may_come_twice_at_once(endless: Path, tmp_path: Path) -> None:
    with _started(endless, "loop", tmp_path) as process:
        process.send_signal(signal.SIGTERM)  # as timeout(1) does it
        process.send_signal(signal.SIGTERM)
        ended = _end(process, tmp_path)
    assert ended.status == 143
    assert (40, 1) in ended.lost


_SLOW_REPORT = """
import sys, time
from emuleak import cli, session
def never(*a, **k):
    print("reporting", flush=True)
    time.sleep(60)
session.build = never
sys.argv = ["emuleak", "run", *sys.argv[1:]]
cli.main()
"""


def _slow_report(endless: Path, state: str) -> subprocess.Popen[bytes]:
    words = [EMULEAK[0], "-c", _SLOW_REPORT, endless, state]
    return subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )


def test_a_second_ctrl_c_does_not_wait_for_the_report(endless: Path) -> None:
    with _slow_report(endless, "loop") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == b"reporting\n"
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, b"")


def test_ctrl_c_when_the_program_has_ended_does_not_wait_for_the_report(endless: Path) -> None:
    with _slow_report(endless, "nothing") as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(2)] == [b"ready\n", b"reporting\n"]
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, b"")


# ---- exit statuses

ENDINGS = r"""
#include <signal.h>
#include <stdlib.h>
#include <string.h>
static void *kept[1], *inner;
int main(int argc, char **argv) {
    const char *how = argv[1];
    if (strstr(how, "lost")) memset(malloc(10), 0, 10);
    if (strstr(how, "kept")) kept[0] = malloc(10);
    if (strstr(how, "inner")) inner = (char *)malloc(100) + 50;
    if (strstr(how, "twice")) { void *p = malloc(5); free(p); free(p); }
    volatile char frame[400];
    memset((char *)frame, 0, sizeof frame);
    if (strstr(how, "abort")) abort();
    if (strstr(how, "term")) raise(SIGTERM);
    return atoi(argv[2]);
}
"""


@pytest.mark.parametrize(
    ("options", "how", "status"),
    [
        ((), "clean", 7),
        ((), "lost", 23),
        ((), "inner", 23),
        ((), "twice", 23),
        ((), "kept", 7),
        ((), "abort", 134),
        ((), "term", 143),
        ((), "lost abort", 23),
        (("--error-exitcode", "99"), "lost", 99),
        (("--error-exitcode", "0"), "lost", 0),
        (("--error-exitcode", "99"), "clean", 7),
        (("--fail-on", "none"), "lost twice", 7),
        (("--fail-on", "misuse"), "lost", 7),
        (("--fail-on", "double-free"), "twice", 23),
        (("--fail-on", "definite"), "inner", 7),
        (("--fail-on", "possible"), "inner", 23),
        (("--fail-on", "reachable"), "kept", 23),
        (("--fail-on", "all"), "kept", 23),
    ],
)
def test_the_exit_status_says_what_was_found(options: tuple[str, ...], how: str, status: int) -> None:
    done = run(*options, compiled(ENDINGS, "-g"), how, "7")
    assert done.status == status, done.err
    assert re.search(r"^HEAP SUMMARY$", done.err, re.MULTILINE)
