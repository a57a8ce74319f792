"""Threads: small programs must write the same and end the same way as on the host; races are lost by chance alone."""

import json
import shutil
import sys
from pathlib import Path

import pytest
from oracles import emuleak
from oracles.build import VARIANTS, build
from oracles.native import execute

from emuleak.session import Options, Session

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("gcc") is None, reason="compares with the host's own Linux"
)

DIRECTORY = Path(__file__).parent / "thread_programs"
# These have tests of their own: each run may end in another way, or they end in none.
APART = ("race_lost_update", "race_double_free", "race_lock_order", "deadlock", "thread_local_library")
ALONE = sorted(path.stem for path in DIRECTORY.glob("*.c*") if path.stem not in APART)
FLAGS = {"openmp": ("-fopenmp",), "standard": ("-std=c++20",)}
INTERRUPTED = (
    "mutex_shared",
    "spinlocks",
    "mutex_inherit",
    "rwlocks",
    "conditions",
    "cancellation",
    "standard",
    "barriers",
)
SEEDS = range(1, 51)


def program(name: str) -> Path:
    source = next(DIRECTORY.glob(f"{name}.c*"))
    # build() caches by the text of the program alone, not by that of what it includes.
    header = (DIRECTORY / "check.h").read_bytes()
    flags = (f"-I{DIRECTORY}", f"-DHEADER={hash_of(header)}", "-pthread", *FLAGS.get(name, ()))
    return build(source, VARIANTS["O0"], flags)


def hash_of(text: bytes) -> int:
    return int.from_bytes(text, "little") % (1 << 61)


def arguments(name: str) -> list[str]:
    if name != "thread_local":
        return []
    library = build(DIRECTORY / "thread_local_library.c", VARIANTS["O0"], ("-shared", "-fPIC"))
    return [str(library)]


def compare(name: str, *options: str) -> emuleak.Verdict:
    binary, words = program(name), arguments(name)
    native, verdict = execute([binary, *words]), emuleak.check(binary, words, options=options)
    emulated = verdict.summary.run
    assert emulated.stdout.decode() == native.stdout.decode()
    assert (emulated.code, emulated.signal) == (native.code, native.signal)
    assert not verdict.incomplete
    return verdict


@pytest.mark.parametrize("name", ALONE)
def test_as_natively(name: str) -> None:
    compare(name)


@pytest.mark.parametrize("name", INTERRUPTED)
def test_as_natively_when_switched_by_chance(name: str) -> None:
    compare(name, "--schedule-seed", "7")


def test_a_block_that_a_thread_loses_is_found() -> None:
    lost = [finding for finding in compare("loses_a_block").summary.findings if finding.leak_kind == "definitely-lost"]
    assert [(finding.bytes, finding.stack[0].function) for finding in lost] == [(33, "loses")]


# ---- by chance


def shown(name: str, seed: int) -> str:
    """What a run under a seed shows of the program's race; "" if it did not come to that."""
    options = Options(
        str(program(name)), (name,), stdin=b"", capture=True, schedule_seed=seed, start_ns=0, max_seconds=60
    )
    with Session(options) as session:
        report = session.run()
        if report.exit.threads:
            return "deadlock"
        kinds = [finding.kind for finding in report.findings if finding.kind != "leak"]
        return kinds[0] if kinds else session.files.output(1).decode().strip()


@pytest.mark.parametrize(
    ("name", "bug", "fine"),
    [("lost_update", "lost", "all"), ("double_free", "double-free", ""), ("lock_order", "deadlock", "4")],
)
def test_a_race_is_lost_under_some_seed_and_under_it_every_time(name: str, bug: str, fine: str) -> None:
    seen = {seed: shown(f"race_{name}", seed) for seed in SEEDS}
    assert set(seen.values()) == {bug, fine}
    loser = next(seed for seed, text in seen.items() if text == bug)
    assert shown(f"race_{name}", loser) == bug
    assert shown(f"race_{name}", 0) == fine


def test_the_same_seed_gives_the_same_report() -> None:
    binary = program("conditions")
    documents = [emuleak.report(binary, options=("--schedule-seed", "5"))[0] for _ in range(2)]
    assert documents[0] == documents[1]
    assert documents[0]["schedule_seed"] == 5
    assert "schedule_seed" not in emuleak.report(binary)[0]


# ---- deadlocks


def test_a_deadlock_tells_who_waits_for_whom() -> None:
    document, run = emuleak.report(program("deadlock"))
    assert run.code == 124
    threads = document["exit"]["threads"]
    told = [each["waits_for"].partition(" (")[0] for each in threads]
    assert [each["thread"] for each in threads] == [0, 1, 2, 3, 4, 5, 6]
    assert told[:4] == [
        "the end of thread 1",
        "the mutex `left`",
        "the mutex `right`",
        "the condition variable `never`",
    ]
    assert threads[1]["waits_for"].endswith("which thread 2 holds")
    assert threads[2]["waits_for"].endswith("which thread 1 holds")
    assert "in a block of 48 bytes from main()" in threads[4]["waits_for"]
    assert threads[4]["waits_for"].endswith("which thread 4 holds")
    assert told[5:] == ["the end of the system call read of descriptor 3", "the end of the system call pause"]
    assert all(any(frame["function"] in {"main", "start_thread"} for frame in each["stack"]) for each in threads)


@pytest.mark.parametrize("form", ["text", "sarif", "html", "valgrind-xml", "junit"])
def test_every_form_tells_of_a_deadlock(form: str, tmp_path: Path) -> None:
    output = tmp_path / "report"
    words = [sys.executable, "-m", "emuleak", "run", "--format", form, "--output", output, program("deadlock")]
    assert execute(words).code == 124
    assert "deadlock" in output.read_text(encoding="utf-8")
    if form == "sarif":
        json.loads(output.read_text(encoding="utf-8"))
