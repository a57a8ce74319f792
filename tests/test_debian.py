"""Programs of the distribution as everybody has them: they must run as natively, and count as valgrind counts.

Nothing here is built for the test: stripped programs, other people's code, locales, large libraries. Compared are
stdout, stderr, the exit status, allocs, frees, bytes allocated, and bytes and blocks of every leak kind.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from oracles import judge, system
from oracles.peers import need
from oracles.shapes import Size

# Which byte of a block the only pointer to it holds can hang on where the block lies; then the two kinds count as one.
MIDDLE = frozenset({"possibly-lost", "still-reachable"})
FIND_OBJECT = "_dl_find_object aligns its blocks to cache lines by hand: the pointer it keeps may be one to the middle"

WORDS = ("pear", "apple", "fig", "apple", "date", "cherry", "fig", "banana")
FILES = {
    "words": "".join(f"{word}\n" for word in WORDS * 40),
    "numbers": "".join(f"{n * 7919 % 1000}\n" for n in range(500)),
    "table": "".join(f"{n}:{n * n}\tx{n % 7}\n" for n in range(200)),
    "sorted": "a\nb\nd\nf\n",
    "other": "b\nc\nd\ng\n",
    "sums": "1+1\n2^64\nscale=20\n1/7\na=3\na*a\n",
    "document.json": json.dumps({"items": [{"name": f"n{n}", "price": n * 1.5} for n in range(30)]}),
    "deep/er/file": "apple\n",
}


@dataclass(frozen=True)
class Case:
    """A program of /usr/bin, its arguments, which of FILES it reads as stdin, and why a kind may hang on placement."""

    program: str
    arguments: tuple[str, ...]
    stdin: str = ""
    placement: str = ""

    def __str__(self) -> str:
        return "-".join((self.program, *self.arguments, self.stdin))[:40].replace(" ", "")


def case(program: str, *arguments: str, stdin: str = "", placement: str = "") -> Case:
    return Case(program, arguments, stdin, placement)


COUNT_WORDS = '{ n[$1]++ } END { for (w in n) printf "%-10s %5d\\n", w, n[w] }'
SUM_COLUMNS = '{ s += $2; if ($1 % 50 == 0) print substr($0, 1, 5), length($2) } END { print s, sprintf("%x", s) }'
REPEAT = (
    'local t = {} for i = 1, 2000 do t[#t + 1] = ("x"):rep(i % 50) end print(#table.concat(t), string.format("%q", 7))'
)
TABLE = (
    "create table t(a integer primary key, b text); insert into t(b) values ('x'), ('yy'), ('zzz');"
    "select a, b, length(b) from t order by b desc; select sum(a), group_concat(b) from t;"
)
THREADS = """
import queue, threading
todo, done = queue.Queue(), []
def work():
    while (number := todo.get()) is not None:
        done.append(number * number)
threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads: thread.start()
for number in (*range(100), *[None] * 4): todo.put(number)
for thread in threads: thread.join()
print(sum(done), len(done))
"""
HASH = 'my %h; $h{$_ % 7} .= $_ for 1..100; print join(",", map { "$_=$h{$_}" } sort keys %h), "\\n"'

CASES = (
    case("true"),
    case("false"),
    case("echo", "-n", "hello", "world"),
    case("ls"),
    case("ls", "-l"),
    case("ls", "-la", "/usr"),
    case("ls", "-R", "-1", "--color=always"),
    case("ls", "missing"),
    case("cat", "words"),
    case("cat", stdin="words"),
    case("cat", "-n", "sorted", "missing", "other"),
    case("wc", "words"),
    case("wc", "-l", stdin="words"),
    case("sort", "words"),
    case("sort", "-n", "numbers"),
    case("sort", "-u", "words"),
    case("sort", "-r", stdin="words"),
    case("sort", "-t:", "-k2", "-n", "table"),
    case("sort", "--no-such-option"),
    case("sed", "-n", "-e", "s/a/A/g", "-e", "/A/p", "words"),
    case("sed", "-E", r"s/(.)(.)/\2\1/", stdin="words"),
    case("grep", "apple", "words"),
    case("grep", "-n", "-i", "-E", "^(f|d)", "words"),
    case("grep", "-r", "apple", "."),
    case("grep", "nothing", "words"),
    case("diff", "words", "words"),
    case("diff", "sorted", "other"),
    case("diff", "-u", "sorted", "other"),
    case("gawk", COUNT_WORDS, "words"),
    case("gawk", "-F:", SUM_COLUMNS, "table"),
    case("lua5.4", "-e", REPEAT),
    case("sqlite3", ":memory:", TABLE),
    case("jq", ".items[] | select(.price > 20) | .name", "document.json"),
    case("jq", "-c", "[.items[].price] | add", "document.json"),
    case("bc", stdin="sums"),
    case("xz", "-c", "words"),
    # With threads of their own.
    case("zstd", "-T2", "-q", "-c", "/usr/bin/env"),
    case("sort", "--parallel=4", "-S", "1M", "words"),
    case("python3", "-c", THREADS),
    case("xz", "-9", "-c", "-k", "numbers"),
    case("od", "-c", "sorted"),
    case("od", "-A", "x", "-t", "x1z", "words"),
    case("find", ".", "-name", "*o*"),
    case("find", ".", "-type", "f", "-size", "-10k"),
    case("tr", "a-z", "A-Z", stdin="words"),
    case("cut", "-d:", "-f2", "table"),
    case("cut", "-c1-3", stdin="words"),
    case("head", "-n", "3", "words"),
    case("tail", "-n", "3", "words"),
    case("tail", "-c", "20", stdin="words"),
    case("tac", "words"),
    case("uniq", "-c", "words"),
    case("comm", "sorted", "other"),
    case("paste", "-d,", "sorted", "other"),
    case("expand", "-t4", "table"),
    case("unexpand", "-a", "table"),
    case("factor", "1234567890123456789", "97", "360"),
    case("seq", "1", "3", "100"),
    case("date", "-u", "-d", "@0"),
    case("python3", "-S", "-c", "print(sum(i * i for i in range(1000)), {'a': 1})"),
    case("python3", "-S", "-c", "import json; print(json.dumps({'a': [1, 2]}))", placement=FIND_OBJECT),
    case("perl", "-e", "print(1)"),
    case("perl", "-e", HASH),
    case("perl", "-ne", "print if /an/", stdin="words"),
)


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FILES, in a directory of which the programs may list everything but the times."""
    root = tmp_path_factory.mktemp("debian")
    for name, content in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def leaks(found: dict[str, Size], placement: str) -> dict[str, Size]:
    """The leak kinds to compare: with `placement` those are summed that hang on it."""
    if not placement:
        return found
    kinds = {kind: size for kind, size in found.items() if kind not in MIDDLE}
    middle = [found[kind] for kind in sorted(MIDDLE)]
    kinds["possibly-lost or still-reachable"] = Size(sum(s.bytes for s in middle), sum(s.blocks for s in middle))
    return kinds


@pytest.mark.parametrize("what", CASES, ids=str)
def test_program(what: Case, directory: Path) -> None:
    command = (need(f"/usr/bin/{what.program}"), *what.arguments)
    stdin = directory / what.stdin if what.stdin else None
    wanted = system.natively(command, stdin, directory)
    heap, lost = system.by_valgrind(command, stdin, directory)
    verdict = system.by_emuleak(command, stdin, directory)
    found = verdict.summary
    assert not judge.ends(wanted, found.run)
    assert found.run.stderr == wanted.stderr
    assert not verdict.incomplete
    assert found.heap == heap
    assert leaks(found.totals(), what.placement) == leaks(lost, what.placement)
    assert not [finding for finding in found.findings if finding.kind != "leak"]


def test_how_many_threads_xz_starts_is_a_matter_of_time(directory: Path) -> None:
    """So its blocks are not compared: each thread that it starts has some."""
    command = (need("/usr/bin/xz"), "-T4", "--block-size=4096", "-c", "/usr/bin/env")
    wanted, verdict = system.natively(command, None, directory), system.by_emuleak(command, None, directory)
    assert not judge.ends(wanted, verdict.summary.run)
    assert not verdict.incomplete


def test_the_cases_are_distinct() -> None:
    assert len({str(what) for what in CASES}) == len(CASES) == len(set(CASES))
