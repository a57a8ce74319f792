"""Whatever the command line is given, the user gets one line and status 2, never a traceback."""

import ast
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from oracles.commandline import EMULEAK, Done, build, compiled, run, shell
from oracles.native import environment
from oracles.peers import need

HELLO = """
#include <stdio.h>
#include <stdlib.h>
int main(void) { char *lost = malloc(10); puts("hello"); lost = malloc(20); free(lost); return 7; }
"""
QUIET = "int main(void) { return 0; }"


def failed(done: Done, *words: str) -> None:
    """One line on stderr that has these words, nothing else, status 2."""
    assert done.err.startswith("emuleak: error: "), done
    assert done.err.endswith("\n")
    assert done.err.count("\n") == 1, done.err
    assert "Traceback" not in done.err
    assert "defect of emuleak" not in done.err
    assert all(word in done.err for word in words), (words, done.err)
    assert done.out == ""
    assert done.status == 2


@pytest.fixture
def hello() -> Path:
    return compiled(HELLO, "-g")


# ---- files that are no program


def _file(directory: Path, content: bytes, mode: int = 0o755) -> Path:
    path = directory / "file"
    path.write_bytes(content)
    path.chmod(mode)
    return path


def _patched(hello: Path, directory: Path, at: int, code: str, *values: int) -> Path:
    content = bytearray(hello.read_bytes())
    struct.pack_into(code, content, at, *values)
    return _file(directory, bytes(content))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    failed(run(tmp_path / "nothing"), str(tmp_path / "nothing"), "no such file")
    failed(run(tmp_path / "nothing" / "below"), "no such file")
    failed(run("no-such-program-anywhere"), "no-such-program-anywhere", "no such file")


def test_directories_and_devices_are_not_read(tmp_path: Path) -> None:
    failed(run(tmp_path), "is a directory")
    failed(run("/dev/zero"), "not a regular file")
    os.mkfifo(tmp_path / "fifo")
    failed(run(tmp_path / "fifo"), "not a regular file")


@pytest.mark.parametrize("mode", [0o644, 0o000])
def test_a_file_that_cannot_be_executed_is_refused_as_execve_does(hello: Path, tmp_path: Path, mode: int) -> None:
    failed(run(_file(tmp_path, hello.read_bytes(), mode)), "permission denied")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x7f", "not an ELF file"),
        (b"\x7fELF", "truncated"),
        (b"\x7fELF\2\1\1" + bytes(56), "truncated"),
        (b"int main(void) {}\n", "not an ELF file"),
        (b"#!/nonexistent/sh\necho hello\n", "script"),
        (b"MZ\x90\0" + bytes(200), "Windows"),
        (b"\xcf\xfa\xed\xfe" + bytes(200), "macOS"),
        (b"!<arch>\n", "archive"),
        (b"\x7fELF\2\1\1" + bytes(57), "machine 0"),
    ],
)
def test_what_is_no_elf_file_is_named_for_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    failed(run(_file(tmp_path, content)), str(tmp_path / "file"), words)


@pytest.mark.parametrize(
    ("at", "code", "values", "words"),
    [
        (4, "B", (1,), "32-bit"),
        (18, "<H", (3,), "32-bit x86"),
        (18, "<H", (183,), "aarch64"),
        (18, "<H", (243,), "RISC-V"),
        (16, "<H", (1,), "object file"),
        (16, "<H", (4,), "core dump"),
        (16, "<H", (77,), "ELF type 77"),
        (54, "<H", (32,), "program header table"),
        (56, "<H", (0,), "program header table"),
        (56, "<H", (0xFFFF,), "program header table"),
        (32, "<Q", (1 << 40,), "program headers lie beyond"),
    ],
)
def test_a_header_for_something_else_is_explained(
    hello: Path, tmp_path: Path, at: int, code: str, values: tuple[int, ...], words: str
) -> None:
    failed(run(_patched(hello, tmp_path, at, code, *values)), words)


def test_a_big_endian_file_is_told_by_its_machine(hello: Path, tmp_path: Path) -> None:
    content = bytearray(hello.read_bytes())
    content[5] = 2
    content[16:20] = struct.pack(">HH", 2, 20)
    failed(run(_file(tmp_path, bytes(content))), "PowerPC")


def test_a_file_cut_short_is_truncated_wherever_it_was_cut(hello: Path, tmp_path: Path) -> None:
    content = hello.read_bytes()
    for length in (4, 16, 63, 64, 100, 0x1000, 0x2800):
        failed(run(_file(tmp_path, content[:length])), "truncated")


def test_libraries_and_object_files_are_no_programs() -> None:
    library = compiled("int f(void) { return 1; }", "-shared", "-fPIC", name="libsome.so")
    failed(run(library), "shared library")
    failed(run(compiled(QUIET, "-c", name="some.o")), "object file")


def test_a_path_that_is_no_utf8_is_run_all_the_same(hello: Path, tmp_path: Path) -> None:
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")
    shutil.copy(hello, path)
    assert run(path).status == 23
    os.truncate(path, 10)
    failed(run(path), "truncated")


def test_a_name_cannot_write_control_sequences_to_the_terminal() -> None:
    done = run("\x1b[31mred")
    failed(done, "\\x1b[31mred")
    assert "\x1b" not in done.err


# ---- damage: whatever it does to the program, emuleak ends in order

# Runs the command on damaged copies, each in a process of its own, forked from one that has imported everything.
_DAMAGED = """
import os, random, signal, sys
from emuleak import cli
import emuleak.cli.run
source, path, count, seed = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
content, choice = open(source, "rb").read(), random.Random(seed)
for number in range(count):
    damaged = bytearray(content)
    for _ in range(1 if number % 2 else choice.randint(2, 16)):
        damaged[choice.randrange(0x300 if choice.random() < 0.5 else len(damaged))] = choice.randrange(256)
    with open(path, "wb") as file:
        file.write(damaged)
    child = os.fork()
    if not child:
        signal.alarm(30)
        os.dup2(os.open(path + ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.argv = ["emuleak", "run", "--max-seconds", "2", "--max-memory", "256M", path]
        try:
            cli.main()
        except SystemExit as end:
            sys.stderr.flush()
            os._exit(end.code)
    _, status, usage = os.wait4(child, 0)
    text = open(path + ".err", "rb").read().decode(errors="replace")
    print(repr((os.waitstatus_to_exitcode(status), usage.ru_maxrss, text)))
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_a_damaged_program_is_refused_or_reported(tmp_path: Path, seed: int) -> None:
    small = compiled(HELLO, "-s", "-Wl,-z,noseparate-code,-z,norelro")
    path = tmp_path / "damaged"
    path.touch(mode=0o755)
    words = [EMULEAK[0], "-c", _DAMAGED, small, path, "16", str(seed)]
    extra = {"EMULEAK_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(words, capture_output=True, text=True, env=environment() | extra, check=True)
    endings = [ast.literal_eval(line) for line in done.stdout.splitlines()]
    assert len(endings) == 16
    for status, resident, text in endings:
        assert "HEAP SUMMARY" in text or (status == 2 and text.startswith("emuleak: error: ")), (status, text)
        assert status != 2 or "HEAP SUMMARY" in text or text.count("\n") == 1
        assert "Traceback" not in text
        assert "defect of emuleak" not in text
        assert resident < 400 << 10
    assert any(status == 2 for status, _, _ in endings)
    assert any(status != 2 for status, _, _ in endings)


# ---- interpreters and libraries that are not there


@pytest.mark.parametrize(
    ("interpreter", "words"),
    [("/nowhere/ld.so", "does not exist"), ("/tmp", "is a directory"), ("/etc/passwd", "not an ELF file")],
)
def test_a_bad_interpreter_is_named(interpreter: str, words: str) -> None:
    failed(run(compiled(QUIET, f"-Wl,--dynamic-linker={interpreter}")), interpreter, words)


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A program that needs version V1 of `some` in libsome.so, which lies beside it."""
    (tmp_path / "some.c").write_text("int some(void) { return 3; }")
    (tmp_path / "main.c").write_text("int some(void); int main(void) { return some(); }")
    _library(tmp_path, "some.c", "V1 { some; };")
    flags = (f"-L{tmp_path}", "-lsome", "-Wl,-z,now")
    build(need("gcc"), ("-o", str(tmp_path / "prog"), str(tmp_path / "main.c"), *flags))
    return tmp_path / "prog"


def _library(directory: Path, source: str, versions: str) -> None:
    (directory / "versions").write_text(versions)
    words = ("-shared", "-fPIC", "-o", str(directory / "libsome.so"), str(directory / source))
    build(need("gcc"), (*words, f"-Wl,--version-script={directory / 'versions'}"))


def test_what_keeps_ld_so_from_starting_the_program_is_said_in_its_words(linked: Path) -> None:
    beside = {"LD_LIBRARY_PATH": str(linked.parent)}
    failed(run(linked), str(linked), "libsome.so: cannot open shared object file", "LD_LIBRARY_PATH")
    assert run(linked, env=beside).status == 3
    _library(linked.parent, "some.c", "V2 { some; };")
    failed(run(linked, env=beside), "version `V1' not found")
    (linked.parent / "other.c").write_text("int other(void) { return 3; }")
    _library(linked.parent, "other.c", "V1 { other; };")
    failed(run(linked, env=beside), "undefined symbol: some")
    (linked.parent / "libsome.so").write_bytes(b"garbage")
    failed(run(linked, env=beside), "file too short")


def test_a_warning_of_ld_so_reaches_the_program_s_stderr(hello: Path) -> None:
    done = run(hello, env={"LD_PRELOAD": "/nowhere.so"})
    assert "'/nowhere.so' from LD_PRELOAD cannot be preloaded" in done.err
    assert done.out == "hello\n"
    assert done.status == 23


# ---- options


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument 'PROG'"),
        (["--nonsense", "prog"], "No such option"),
        (["--max-seconds"], "requires an argument"),
        (["--max-seconds", "soon", "prog"], "'soon' is no number of seconds"),
        (["--max-seconds", "-1", "prog"], "more than 0"),
        (["--max-seconds", "nan", "prog"], "more than 0"),
        (["--max-seconds", "inf", "prog"], "more than 0"),
        (["--max-memory", "lots", "prog"], "'lots' is no size"),
        (["--max-memory", "0", "prog"], "more than 0"),
        (["--max-memory", "1e999", "prog"], "no size"),
        (["--max-memory", "", "prog"], "no size"),
        (["--error-exitcode", "256", "prog"], "0 to 255"),
        (["--error-exitcode", "-1", "prog"], "0 to 255"),
        (["--error-exitcode", "x", "prog"], "0 to 255"),
        (["--fail-on", "everything", "prog"], "unknown kind 'everything'"),
        (["--fail-on", "", "prog"], "--fail-on"),
        (["--format", "pdf", "prog"], "'pdf'"),
        (["--output", "/nowhere/report", "prog"], "no directory /nowhere"),
        (["--output", "/tmp", "prog"], "is a directory"),
        (["--output", "/tmp/one", "--output", "/tmp/two", "prog"], "more outputs than formats"),
        (["--stdin", "/nowhere", "prog"], "--stdin /nowhere: no such file"),
        (["--stdin", "/tmp", "prog"], "is a directory"),
        (["--sysroot", "/nowhere", "prog"], "no such directory"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(words: list[str], said: str) -> None:
    failed(run(*words), said)


def test_an_unknown_strategy_is_refused(hello: Path) -> None:
    failed(run("--hook", "magic", hello), "magic")


def test_a_report_that_cannot_be_written_is_said_after_the_run(hello: Path) -> None:
    done = run("--output", "/dev/full", hello)
    assert done.out == "hello\n"
    assert done.err == "emuleak: error: --output /dev/full: the report cannot be written: No space left on device\n"
    assert done.status == 2


def test_stdin_may_be_anything_that_can_be_read() -> None:
    cat = compiled("int main(void) { char b[9]; return read(0, b, 9); }")
    assert shell('"$@"', "--stdin", "/dev/null", cat).status == 0
    assert shell('"${@:1:$#-1}" --stdin <(printf abc) "${@:$#}"', cat).status == 3


# ---- the streams


def test_a_closed_stdout_is_closed_for_the_program_too() -> None:
    teller = compiled('int main(void) { return write(1, "x", 1) == 1; }')
    assert shell('"$@"', teller).status == 1
    done = shell('"$@" >&-', teller)
    assert done.status == 0
    assert "no leaks" in done.err


@pytest.mark.parametrize("closing", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_leave_the_verdict(hello: Path, closing: str) -> None:
    done = shell(f'"$@" {closing}', hello)
    assert done.status == 23
    assert done.err == ""
    assert shell(f'"$@" {closing}', "/nowhere").status == 2


def test_a_full_stdout_is_the_program_s_affair(hello: Path) -> None:
    done = shell('"$@" >/dev/full', hello)
    assert done.status == 23
    assert done.err.startswith("emuleak: 1 leak")


def test_a_full_stderr_is_a_failure_without_a_traceback(hello: Path) -> None:
    done = shell('"$@" 2>/dev/full', hello)
    assert (done.status, done.out, done.err) == (2, "hello\n", "")


def test_a_reader_may_leave_before_the_report_is_read(hello: Path) -> None:
    done = shell('"$@" 2>&1 >/dev/null | head -1', hello)
    assert done.status == 23
    assert done.out.count("\n") == 1
    assert done.err == ""
    done = shell('{ "$@" 2>&1 >/dev/null; echo $? >&2; } | true', hello)
    assert done.err == "23\n"


# ---- the command itself


def test_without_a_verb_help_is_given() -> None:
    bare = run(verb="")
    assert bare.status == 0
    assert bare.out.startswith("Usage: emuleak")
    assert bare.err == ""
    assert run("--help", verb="").out == bare.out
    assert "run " in bare.out


def test_help_and_version() -> None:
    usage = run("--help")
    assert (usage.status, usage.err) == (0, "")
    assert "--max-seconds" in usage.out
    assert "emuleak" in run("--version", verb="").out
    assert run("--help", verb="").err == ""


def test_a_word_that_is_no_verb_is_explained(hello: Path) -> None:
    failed(run(verb="nosuchverb"), "no command 'nosuchverb'", "run")
    failed(run(verb=str(hello)), f"emuleak run {hello}")


def test_help_onto_a_full_device_is_one_line() -> None:
    done = shell('"$@" >/dev/full', "--help")
    failed(done, "No space left on device")


def test_too_little_address_space_is_said(hello: Path) -> None:
    failed(shell('ulimit -v 3000000; "$@"', hello), "ulimit -v")


_BROKEN = """
import sys
from emuleak import cli, session
def fail(self): raise KeyError("what no one expects")
session.Session.run = fail
sys.argv = ["emuleak", "run", sys.argv[1]]
cli.main()
"""


@pytest.mark.parametrize("debug", [False, True])
def test_a_defect_of_emuleak_s_own_is_one_line(hello: Path, debug: bool) -> None:
    extra = {"EMULEAK_DEBUG": "1"} if debug else {}
    done = subprocess.run(
        [EMULEAK[0], "-c", _BROKEN, hello], capture_output=True, text=True, env=environment() | extra, check=False
    )
    *before, last = done.stderr.splitlines()
    assert last.startswith("emuleak: error: KeyError: 'what no one expects'")
    assert "defect of emuleak" in last
    assert bool(before) is debug
    assert ("Traceback" in done.stderr) is debug
    assert done.returncode == 2
