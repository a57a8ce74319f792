"""More programs of the distribution: interpreters, compilers, archivers, shells, editors, servers with their clients.

As in test_debian.py they must run as natively and count as valgrind counts. Each runs three times in one and the same
directory, which is made anew each time, since some write there. A quick choice runs always, all of them with
`make test-all`.
"""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from oracles import system
from oracles.peers import absent

T = TypeVar("T")

WORDS = ("pear", "apple", "fig", "apple", "date", "cherry", "fig", "banana")
SHELL = """for i in 1 2 3; do echo $i; done
x=$(echo sub | tr a-z A-Z); echo $x
f() { local a=1; echo f$a$1; }
f 2
case abc in a*) echo m;; esac
(exit 3); echo $?
sleep 0.01 & wait; echo $((3*4)); trap "echo bye" EXIT
echo "a b" | { read x y; echo $y; }
"""
FILES = {
    "words": "".join(f"{word}\n" for word in WORDS * 40),
    "table": "".join(f"{n}:{n * n}\tx{n % 7}\n" for n in range(200)),
    "a.c": '#include <stdio.h>\nstruct p { int x, y; };\nint f(int n) { return n < 2 ? n : f(n - 1) + f(n - 2); }\n'
    'int main(void) { printf("%d\\n", f(10)); }\n',
    "Makefile": "all: out\nout: words\n\tsort -u words > out\n\techo done\n",
    "a.y": "%token N\n%%\ns: e ;\ne: e '+' N | N ;\n%%\n",
    "a.html": "<html><title>x</title><body><p>hello<p>world<ul><li>a<li>b</ul></body></html>\n",
    "a.xml": "<?xml version='1.0'?><r>" + "".join(f"<i n='{n}'>t{n}</i>" for n in range(50)) + "</r>\n",
    "a.ps": "%!PS\n(hello) = 1 2 add = 10 { (x) print } repeat () = quit\n",
    "a.m4": "define(`f',`$1$1')f(ab)\nifelse(eval(2+3),5,yes,no)\nesyscmd(`echo sub')\n",
    "a.1": ".TH X 1\n.SH NAME\nx\n.PP\nhello\n",
    "a.tcl": "set s 0\nfor {set i 0} {$i<100} {incr i} {incr s $i}\nputs $s\nputs [exec echo sub]\n"
    "after 5 {set x 1}\nvwait x\n",
    "a.cmake": "message(STATUS hi)\nexecute_process(COMMAND echo sub)\n",
    "sums": "2 64 ^ p 20 k 2 v p [la1+dsap10>x]sx 0sa lxx f\n",
    "edits": "/cherry/p\n1,3d\n1s/apple/APPLE/\n1,2p\nw out\nq\n",
    "script": SHELL,
}  # fmt: skip
AUTHOR = "-c user.name=a -c user.email=a@b"
REPOSITORY = f"""git init -q r; cd r; cp ../words .; git add words
GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000000 +0000' git {AUTHOR} commit -q -m one; cd ..;"""


@dataclass(frozen=True)
class Case:
    """A program and its arguments, what makes the directory before, which file is stdin; `counted` as by valgrind."""

    command: tuple[str, ...]
    before: str = ""
    stdin: str = ""
    counted: bool = True

    def __str__(self) -> str:
        return "-".join(self.command)[:40].replace(" ", "").replace("/", "_")


def case(*command: str, before: str = "", stdin: str = "", counted: bool = True) -> Case:
    return Case(command, before, stdin, counted)


QUICK = (
    case("tclsh", stdin="a.tcl"),
    case("tcc", "-run", "a.c", counted=False),  # it keeps the length of its own temporary names
    case("as", "a.s", "-o", "a.o", before="gcc -S a.c -o a.s"),
    case("objdump", "-d", "a.o", before="gcc -g -c a.c -o a.o"),
    case("unzip", "-p", "a.zip", before="zip -q a.zip words table"),
    case("bzip2", "-dc", "words.bz2", before="bzip2 -k words"),
    case("zstd", "-q", "-T2", "-19", "-c", "table"),
    case("tar", "xvf", "a.tgz", before="tar czf a.tgz words table; rm words table"),
    case("mksh", "script"),
    case("busybox", "awk", "{n[$1]++} END {for(i in n) print i,n[i]}", "words"),
    case("vim", "-es", "-u", "NONE", "-c", "%s/apple/X/g", "-c", "1,3p", "-c", "wq! out", "words"),
    case("ed", "-s", "words", stdin="edits"),
    case("git", "-C", "r", "log", "--stat", before=REPOSITORY),
    case("git", "-C", "r", "status", "--short", before=REPOSITORY + "cp table r"),
    case("make"),
    case("sqlite3", "f.db", "pragma journal_mode=wal; create table t(a); insert into t values(1); select * from t"),
    case("openssl", "dgst", "-sha256", "words"),
    case("m4", "a.m4"),
    case("mawk", '{n[$1]++} END {for(i in n) print i,n[i] | "sort"}', "words"),
    case("xmllint", "--format", "a.xml"),
    case("curl", "-sS", "http://127.0.0.1:1/"),
    case(
        "bash",
        "-c",
        "nc -l -N 127.0.0.1 18766 > got < words & sleep 0.5; nc -N 127.0.0.1 18766 < table > too; wait; cksum got too",
        counted=False,
    ),
)
SLOW = (
    case("php", "-n", "-r", 'echo json_encode(array_map(fn($x)=>$x*$x, range(1,10))),"\\n";'),
    case(
        "ruby", "-e", 'require "json"; puts({a: 1}.to_json); Thread.new { puts "t" }.join; puts `echo s`', counted=False
    ),
    case("guile", "--no-auto-compile", "-c", "(display (+ 1 2))", counted=False),
    case("node", "-e", 'console.log([1,2,3].map(x => x * x)); setTimeout(() => console.log("t"), 5)', counted=False),
    case("ocaml", "-version", counted=False),
    case("gcc", "-O2", "-S", "a.c", "-o", "-"),
    case("ld", "a.o", "-o", "out", "-shared", before="gcc -fPIC -c a.c -o a.o"),
    case("ld.gold", "a.o", "-o", "out", "-shared", before="gcc -fPIC -c a.c -o a.o"),
    case("readelf", "-a", "-w", "a.o", before="gcc -g -c a.c -o a.o"),
    case("strip", "a.o", "-o", "b.o", before="gcc -g -c a.c -o a.o"),
    case("7za", "x", "-so", "o.7z", before="7za a o.7z words table", counted=False),
    case("cpio", "-i", "--quiet", "-t", stdin="a.cpio", before="printf 'words\\ntable\\n' | cpio -o --quiet > a.cpio"),
    case("bzip2", "-c", "words"),
    case("gzip", "-9nc", "words"),
    case("lz4", "-q", "-c", "words"),
    case("zsh", "-f", "script", counted=False),
    case("ksh", "script", counted=False),
    case("dash", "script"),
    case("fish", "--no-config", "-c", "for i in 1 2; echo $i; end; math 3 x 4", counted=False),
    case("busybox", "sh", "script", counted=False),
    case("emacs", "-Q", "--batch", "--eval", "(princ (+ 1 2))", counted=False),
    case("git", "init", "-q", "r"),
    case("git", "-C", "r", "add", "table", before=REPOSITORY + "cp table r"),
    case("git", "-C", "r", "diff", before=REPOSITORY + "echo x >> r/words"),
    case("git", "-C", "r", "gc", "-q", before=REPOSITORY),
    case("cmake", "-P", "a.cmake"),
    case("rsync", "-a", "words", "table", "d/", counted=False),
    case("openssl", "enc", "-aes-128-cbc", "-K", "0" * 32, "-iv", "1" * 32, "-in", "words", "-base64"),
    case("dc", stdin="sums"),
    case("units", "-t", "3 miles", "km"),
    case("bison", "-o", "o.c", "a.y"),
    case("tidy", "-q", "a.html"),
    case("gs", "-q", "-dNODISPLAY", "-dBATCH", "a.ps"),
    case("groff", "-Tascii", "-man", "a.1"),
    case("file", "words", "a.c", "a.xml"),
    case("find", ".", "-name", "w*", "-exec", "wc", "{}", ";"),
    case("infocmp", "xterm"),
    case(
        "bash",
        "-c",
        "python3 -m http.server 18765 --bind 127.0.0.1 >/dev/null 2>&1 & P=$!;"
        " for i in 1 2 3 4 5 6 7 8; do curl -s http://127.0.0.1:18765/words -o got && break; sleep 0.3; done;"
        " kill $P; cksum got",
        counted=False,
    ),
    case(
        "bash",
        "-c",
        "redis-server --port 18767 --save '' >/dev/null & for i in 1 2 3 4 5 6 7 8; do"
        " redis-cli -p 18767 set a 5 2>/dev/null && break; sleep 0.3; done;"
        " redis-cli -p 18767 incr a; redis-cli -p 18767 shutdown nosave; wait",
        counted=False,
    ),
)


def in_a_new_directory(directory: Path, what: Case, judge: Callable[[tuple[str, ...], Path | None, Path], T]) -> T:
    """What a judge says of the program in a directory with FILES and what is made before."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    for name, content in FILES.items():
        (directory / name).write_text(content)
    subprocess.run(["sh", "-ec", what.before], check=True, capture_output=True, cwd=directory)
    path = shutil.which(what.command[0], path="/usr/bin:/bin")
    if path is None:
        absent(f"{what.command[0]} is not installed")
    return judge((path, *what.command[1:]), directory / what.stdin if what.stdin else None, directory)


def check(what: Case, directory: Path) -> None:
    wanted = in_a_new_directory(directory, what, system.natively)
    verdict = in_a_new_directory(directory, what, system.by_emuleak)
    found = verdict.summary
    assert found.run.stdout == wanted.stdout
    assert found.run.stderr == wanted.stderr
    assert (found.run.code, found.run.signal) == (wanted.code, wanted.signal)
    assert not [text for text in verdict.incomplete if "--trace-children" not in text]
    if what.counted:
        heap, _ = in_a_new_directory(directory, what, system.by_valgrind)
        assert found.heap == heap


@pytest.mark.parametrize("what", QUICK, ids=str)
def test_program(what: Case, tmp_path: Path) -> None:
    check(what, tmp_path / "dir")


@pytest.mark.slow
@pytest.mark.parametrize("what", SLOW, ids=str)
def test_another_program(what: Case, tmp_path: Path) -> None:
    check(what, tmp_path / "dir")
