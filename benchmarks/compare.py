"""CPU time of `emuleak run` against `valgrind --leak-check=full`, side by side: `make bench`.

Machines differ and are busy with other things: only ratios of times measured one after the other mean anything. So each
round runs a subject natively, under memcheck and under emuleak, in turn, and what counts is the median of the rounds'
ratios. The times are user + system CPU seconds of the whole child, as wait4(2) tells them.
"""

import argparse
import compileall
import datetime as dt
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
# Optimised, but the calls that the source makes are made: no stack merged, no malloc dropped, no strlen inlined.
FLAGS = ("-g", "-O2", "-fno-builtin", "-fno-inline", "-fno-optimize-sibling-calls")
PYTHON = "import json; print(len(json.dumps([{'n': n, 'text': str(n)} for n in range(2000)])))"


@dataclass(frozen=True)
class Subject:
    """One program. `bar` is the highest ratio to memcheck that is good enough, None where there is only a figure."""

    name: str
    what: str
    command: Callable[[Path], Sequence[str]]
    bar: float | None


@dataclass(frozen=True)
class Round:
    """CPU seconds of one round."""

    native: float
    memcheck: float
    emuleak: float

    @property
    def ratio(self) -> float:
        return self.emuleak / self.memcheck


@dataclass(frozen=True)
class Result:
    """All rounds of one subject."""

    subject: Subject
    rounds: tuple[Round, ...]

    @property
    def ratio(self) -> float:
        return statistics.median(one.ratio for one in self.rounds)

    @property
    def over(self) -> bool:
        return self.subject.bar is not None and self.ratio > self.subject.bar

    def seconds(self, way: str) -> float:
        return statistics.median(getattr(one, way) for one in self.rounds)

    def spread(self) -> str:
        ratios = sorted(one.ratio for one in self.rounds)
        return f"{ratios[0]:.2f}-{ratios[-1]:.2f}"


# ---- the subjects


def compiled(name: str) -> Callable[[Path], Sequence[str]]:
    """A program of benchmarks/src."""

    def command(work: Path) -> Sequence[str]:
        target = work / name
        subprocess.run(["gcc", *FLAGS, "-o", str(target), str(HERE / "src" / f"{name}.c")], check=True)
        return (str(target),)

    return command


def xz(work: Path) -> Sequence[str]:
    """Compress 1 MB of words."""
    choose = random.Random(1).choices
    words = ["".join(choose("etaoinshrdlu", k=length)) for length in range(2, 10) for _ in range(400)]
    text = work / "words.txt"
    text.write_text(" ".join(choose(words, k=170_000))[: 1 << 20], encoding="ascii")
    return (found("xz"), "-T1", "-k", "-c", str(text))


def jq(work: Path) -> Sequence[str]:
    """Filter 10,000 records."""
    numbers = random.Random(2)
    records = [{"id": n, "name": f"name {n}", "value": numbers.random(), "tags": ["a", "b"]} for n in range(10_000)]
    document = work / "records.json"
    document.write_text(json.dumps(records), encoding="ascii")
    return (found("jq"), "[.[] | select(.value > 0.5) | {id, name}] | length", str(document))


def python(_work: Path) -> Sequence[str]:
    """The interpreter's start, and a little work."""
    return ("/usr/bin/python3.11", "-I", "-c", PYTHON)


def found(name: str) -> str:
    """A program of the host."""
    return shutil.which(name) or f"/usr/bin/{name}"


SUBJECTS = (
    Subject("hello", "start-up", compiled("hello"), 0.5),
    Subject("integers", "arithmetic in a loop", compiled("integers"), 1.0),
    Subject("tree", "150,000 nodes built, searched, freed", compiled("tree"), 1.0),
    Subject("strings", "strdup, strcmp, strcat, strstr", compiled("strings"), 1.0),
    Subject("xz", "1 MB compressed", xz, 1.0),
    Subject("jq", "10,000 records filtered", jq, 1.0),
    Subject("python", "/usr/bin/python3.11 -c", python, 1.0),
    Subject("pairs", "500,000 times malloc and free", compiled("pairs"), None),
    Subject("leaks", "100,000 blocks lost from 1,000 stacks", compiled("leaks"), None),
)

# ---- measuring


def ways(command: Sequence[str]) -> dict[str, list[str]]:
    """The three command lines of a subject."""
    emuleak = Path(sys.executable).with_name("emuleak")
    return {
        "native": list(command),
        "memcheck": ["valgrind", "--leak-check=full", *command],
        "emuleak": [str(emuleak), "run", *command],
    }


def cpu_seconds(command: Sequence[str]) -> float:
    """Run to the end, output thrown away; user + system seconds of the child and of its children."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        actions = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in range(3)]
        child = os.posix_spawnp(command[0], list(command), os.environ, file_actions=actions)
        _, status, usage = os.wait4(child, 0)
    finally:
        os.close(null)
    code = os.waitstatus_to_exitcode(status)
    # 23: emuleak found something, as it must in `leaks`.
    if code not in {0, 23}:
        raise SystemExit(f"{' '.join(command)}\nended with {code}: nothing to compare")
    return usage.ru_utime + usage.ru_stime


def measure(subject: Subject, rounds: int, work: Path) -> Result:
    """One unmeasured run under emuleak (it fills emuleak's caches), then the rounds."""
    commands = ways(subject.command(work))
    cpu_seconds(commands["emuleak"])
    measured = [{way: cpu_seconds(command) for way, command in commands.items()} for _ in range(rounds)]
    return Result(subject, tuple(Round(**times) for times in measured))


def missing(subjects: Iterable[Subject]) -> list[str]:
    """The programs that the chosen subjects need and the host has not."""
    needed = {"valgrind", "gcc"} | {subject.name for subject in subjects} & {"xz", "jq"}
    absent = sorted(name for name in needed if shutil.which(name) is None)
    if any(subject.name == "python" for subject in subjects) and not Path("/usr/bin/python3.11").exists():
        absent.append("/usr/bin/python3.11")
    return absent


# ---- telling


def table(results: Sequence[Result]) -> str:
    """The results in Markdown."""
    rows = [("subject", "what it does", "native s", "memcheck s", "emuleak s", "ratio", "from-to", "bar", "")]
    for result in results:
        seconds = [f"{result.seconds(way):.3f}" for way in ("native", "memcheck", "emuleak")]
        bar = "none" if result.subject.bar is None else f"{result.subject.bar:.1f}"
        verdict = "" if result.subject.bar is None else "over" if result.over else "good"
        subject = result.subject
        rows.append((subject.name, subject.what, *seconds, f"{result.ratio:.2f}", result.spread(), bar, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]

    def line(cells: Sequence[str]) -> str:
        left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
        right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
        return f"| {' | '.join(left + right)} |"

    rule = ["-" * width for width in widths[:2]] + [
        "-" * (width - 1) + ":" for width in (max(w, 2) for w in widths[2:])
    ]
    return "\n".join([line(rows[0]), line(rule), *(line(row) for row in rows[1:])])


def host() -> str:
    """What was measured on what, in a sentence."""
    valgrind = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    gcc = subprocess.run(["gcc", "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()
    libc = "-".join(platform.libc_ver())
    return f"{valgrind}, gcc {gcc}, {libc}, Python {platform.python_version()}, {os.cpu_count()} processors"


def results_page(results: Sequence[Result], rounds: int) -> str:
    """benchmarks/RESULTS.md."""
    today = dt.datetime.now(tz=dt.UTC).date()
    return f"""# Measured

{today}, {host()}; {rounds} rounds. Written by `make bench WRITE=1`.

CPU seconds (user + system), medians. *ratio* is the median of emuleak's time divided by memcheck's in the same round,
*from-to* the lowest and the highest of them. Ratios carry over to another machine, seconds do not.

{table(results)}

`hello` has the stricter bar, because most programs of a test suite or of a course are no bigger. `pairs` has none: a
call of malloc that comes to Python cannot be as fast as one that stays in the machine. `leaks` has none either: it is
there for its seconds.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write where asked. 1 with --check when a bar was missed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="SUBJECT", help="which to measure (all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often (5)")
    parser.add_argument("--write", action="store_true", help="write benchmarks/RESULTS.md")
    parser.add_argument("--check", action="store_true", help="fail when a ratio is over its bar")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - {subject.name for subject in SUBJECTS}
    if unknown:
        parser.error(f"no such subject: {', '.join(sorted(unknown))}")
    chosen = [subject for subject in SUBJECTS if not options.names or subject.name in options.names]
    if absent := missing(chosen):
        parser.error(f"not installed: {', '.join(absent)}")
    # As `pip install` leaves it: where PYTHONDONTWRITEBYTECODE is set, each run would compile what was edited since.
    compileall.compile_dir(HERE.parent / "emuleak", quiet=1)
    results = []
    with tempfile.TemporaryDirectory(prefix="emuleak-bench-") as work:
        for subject in chosen:
            print(f"{subject.name} ...", file=sys.stderr, flush=True)
            results.append(measure(subject, options.rounds, Path(work)))
    print(table(results))
    if options.write:
        RESULTS.write_text(results_page(results, options.rounds), encoding="utf-8")
    return int(options.check and any(result.over for result in results))


if __name__ == "__main__":
    sys.exit(main())
