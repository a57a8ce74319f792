"""emuleak from Python: what run() takes and gives, and what it leaves behind in the process (nothing)."""

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from oracles.peers import need

import emuleak
from emuleak.session import Options, Session

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples" / "bin"
ARTICLE, DOUBLE_FREE, ERROR_PATH = (EXAMPLES / name for name in ("article", "double_free", "error_path"))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the programs need a Linux libc")

ENDLESS = "int main(void) { volatile int x = 0; for (;;) x++; }"
CRASH = "int main(void) { *(volatile int *)8 = 1; return 0; }"
REACHABLE = "#include <stdlib.h>\nchar *kept;\nint main(void) { kept = malloc(10); return 3; }"
WRITES = """
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    long size = atol(argv[1]);
    for (long i = 0; i < size; i++) {
        putchar('a' + i % 26);
        if (i % 1000 == 0)
            fputc('!', stderr);
    }
    return 0;
}
"""


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    known: dict[str, Path] = {}

    def compile_(source: str) -> Path:
        if source not in known:
            program = tmp_path_factory.mktemp("program") / "program"
            command = [need("gcc"), "-g", "-x", "c", "-", "-o", program]
            subprocess.run(command, input=source.encode(), check=True)
            known[source] = program
        return known[source]

    return compile_


def status(key: str) -> int:
    """Kilobytes of this process."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def script(text: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", text, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT, **options)


# ---- the report


def test_a_leak_is_a_finding_of_the_report() -> None:
    report = emuleak.run([ARTICLE])
    assert isinstance(report, emuleak.Report)
    assert report.exit.code == 0
    assert [(leak.leak_kind, leak.bytes, leak.stack[0].line) for leak in report.leaks] == [("definitely-lost", 64, 9)]
    assert report.errors == ()
    assert report.heap.allocs == 2


def test_a_misuse_is_an_error_of_the_report() -> None:
    report = emuleak.run([DOUBLE_FREE])
    assert [error.kind for error in report.errors] == ["double-free"]
    assert report.leaks == ()


def test_leaks_are_neither_what_libraries_keep_nor_what_is_reachable(compiled: Callable[[str], Path]) -> None:
    report = emuleak.run([ERROR_PATH])
    assert {finding.owner for finding in report.findings} == {"program", "library"}
    assert [leak.leak_kind for leak in report.leaks] == ["definitely-lost", "indirectly-lost"]
    report = emuleak.run([compiled(REACHABLE)])
    assert [finding.leak_kind for finding in report.findings] == ["still-reachable"]
    assert report.leaks == ()
    assert report.is_clean()
    assert not report.is_clean("still-reachable")


def test_a_clean_run_is_clean() -> None:
    report = emuleak.run(["true"])
    report.assert_clean(fail_on="all")
    assert report.leaks == report.errors == report.counting() == ()


def test_assert_clean_shows_the_text_report() -> None:
    report = emuleak.run([ARTICLE])
    with pytest.raises(AssertionError) as caught:
        report.assert_clean()
    assert isinstance(caught.value, emuleak.LeaksFound)
    assert caught.value.report is report
    assert str(caught.value) == report.text()
    assert report.text().startswith("emuleak: 1 leak: 64 bytes in 1 block definitely lost\n")


@pytest.mark.parametrize(
    ("program", "fail_on", "clean"),
    [
        (ARTICLE, None, False),
        (ARTICLE, "misuse", True),
        (ARTICLE, ["misuse", "definite"], False),
        (ARTICLE, frozenset(), True),
        (ARTICLE, "none", True),
        (DOUBLE_FREE, "definite,possible", True),
        (DOUBLE_FREE, "double-free", False),
    ],
)
def test_fail_on_says_what_counts(program: Path, fail_on: str | None, clean: bool) -> None:
    report = emuleak.run([program])
    assert report.is_clean(fail_on) is clean
    assert bool(report.counting(fail_on)) is not clean


@pytest.mark.parametrize(
    ("allow", "clean"), [(["parse"], True), (["par*"], True), (["pars"], False), (["PARSE"], False), ([], False)]
)
def test_allowed_functions_do_not_count(allow: list[str], clean: bool) -> None:
    assert emuleak.run([ERROR_PATH]).is_clean(allow=allow) is clean


def test_a_crash_is_not_clean(compiled: Callable[[str], Path]) -> None:
    report = emuleak.run([compiled(CRASH)])
    assert report.exit.signal == signal.SIGSEGV
    assert report.findings == ()
    with pytest.raises(emuleak.LeaksFound, match="crashed with SIGSEGV"):
        report.assert_clean("none")


def test_reachable_blocks_are_listed_where_they_count(compiled: Callable[[str], Path]) -> None:
    report = emuleak.run([compiled(REACHABLE)])
    assert "] Still reachable" not in report.text()
    assert "] Still reachable" in report.text(fail_on=["still-reachable"])
    assert report.text(show_reachable=True) == report.text(fail_on="all")


def test_the_document_is_that_of_the_command_line(tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    command = [sys.executable, "-m", "emuleak", "run", "--format", "json", "--output", output, ERROR_PATH]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=ROOT, check=False)
    text = emuleak.run([ERROR_PATH]).to_json()
    assert text == output.read_text(encoding="utf-8")
    assert not {"stdout", "stderr"} & json.loads(text).keys()


def test_a_report_survives_pickling() -> None:
    report = emuleak.run([ERROR_PATH])
    assert pickle.loads(pickle.dumps(report)) == report


# ---- what a run is given


def test_input_and_output_are_bytes() -> None:
    report = emuleak.run(["cat"], stdin=b"\x00\xff\n")
    assert (report.stdout, report.stderr) == (b"\x00\xff\n", b"")


def test_there_is_no_input_unless_it_is_given() -> None:
    assert emuleak.run(["cat"]).stdout == b""


def test_input_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "input").write_bytes(b"from a file")
    assert emuleak.run(["cat"], stdin=tmp_path / "input").stdout == b"from a file"


def test_large_outputs_are_captured_whole(compiled: Callable[[str], Path]) -> None:
    size = 3_000_000
    report = emuleak.run([compiled(WRITES), str(size)])
    assert report.stdout == (bytes(range(ord("a"), ord("z") + 1)) * (size // 26 + 1))[:size]
    assert report.stderr == b"!" * (size // 1000)
    big = emuleak.run(["head", "-c", str(100 << 20), "/dev/zero"])
    assert len(big.stdout) == 100 << 20
    assert not big.stdout.strip(b"\0")


def test_without_capture_the_program_writes_to_ours() -> None:
    text = "import emuleak; r = emuleak.run(['echo', 'hello'], capture=False); assert r.stdout == b''"
    done = script(text)
    assert (done.stdout, done.stderr, done.returncode) == ("hello\n", "", 0)


def test_the_environment_is_replaced() -> None:
    assert emuleak.run(["env"], env={"PATH": "/usr/bin:/bin", "A": "b=c"}).stdout == b"PATH=/usr/bin:/bin\nA=b=c\n"


def test_the_working_directory_is_the_guests(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"here")
    assert emuleak.run(["cat", "file"], cwd=tmp_path).stdout == b"here"
    assert emuleak.run(["pwd"], cwd=tmp_path, env={"PATH": "/usr/bin:/bin"}).stdout == os.fsencode(tmp_path) + b"\n"
    assert Path.cwd() != tmp_path


def test_a_relative_program_starts_from_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    report = emuleak.run(["./article"], cwd=EXAMPLES)
    assert report.program == str(ARTICLE)
    monkeypatch.chdir(EXAMPLES)
    assert emuleak.run(["./article"]).program == "./article"
    assert emuleak.run(["article"]).program == "article"


def test_path_is_that_of_the_guest(tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to(ARTICLE)
    assert emuleak.run(["mine"], env={"PATH": f"/nowhere:{tmp_path}"}).heap.allocs == 2
    with pytest.raises(emuleak.BadProgram, match="no such program, neither here nor in PATH"):
        emuleak.run(["mine"])


def test_a_budget_of_time_stops_the_program(compiled: Callable[[str], Path]) -> None:
    report = emuleak.run([compiled(ENDLESS)], max_seconds=0.3)
    assert report.exit.stopped == "the limit of 0.3 seconds was reached"
    assert report.findings == ()
    assert not report.is_clean()


def test_a_budget_of_memory_stops_the_program() -> None:
    report = emuleak.run(["sort", "/dev/zero"], max_memory=64 << 20)
    assert report.exit.stopped == f"the limit of {64 << 20} bytes of memory was reached"


def test_suppressions_keep_findings_out(tmp_path: Path) -> None:
    file = tmp_path / "known.supp"
    file.write_text("leak:parse\n")
    report = emuleak.run([ERROR_PATH], suppressions=[file])
    assert report.leaks == ()
    assert report.is_clean("all")
    assert [each.name for each in report.suppressed] == ["leak:parse"]


@pytest.mark.parametrize(
    ("args", "options", "error", "message"),
    [
        ([], {}, emuleak.BadOption, "args names no program"),
        ([""], {}, emuleak.BadOption, "args names no program"),
        (["a\0b"], {}, emuleak.BadOption, "NUL"),
        (["no-such-program"], {}, emuleak.BadProgram, "neither here nor in PATH"),
        (["./no-such-program"], {}, emuleak.BadProgram, "no such file"),
        ([__file__], {}, emuleak.BadProgram, "is not an ELF file"),
        ([EXAMPLES], {}, emuleak.BadProgram, "is a directory"),
        (["true"], {"cwd": "/nowhere"}, emuleak.BadOption, "cwd /nowhere: no such directory"),
        (["true"], {"sysroot": "/nowhere"}, emuleak.BadOption, "sysroot /nowhere: no such directory"),
        (["true"], {"stdin": Path("/nowhere")}, emuleak.BadOption, "stdin /nowhere: cannot be read: No such file"),
        (["true"], {"stdin": Path("/")}, emuleak.BadOption, "stdin /: is a directory"),
        (["true"], {"max_seconds": 0}, emuleak.BadOption, "max_seconds is 0"),
        (["true"], {"max_seconds": float("nan")}, emuleak.BadOption, "max_seconds is nan"),
        (["true"], {"max_memory": 0}, emuleak.BadOption, "max_memory is 0"),
        (["true"], {"hook": "magic"}, emuleak.BadOption, "no hooking strategy is called 'magic'"),
        (["true"], {"env": {"A=B": "c"}}, emuleak.BadOption, "'A=B' cannot be a variable"),
        (["true"], {"suppressions": ["/nowhere"]}, emuleak.BadOption, "/nowhere: cannot read the suppressions"),
        ("true", {}, TypeError, "args is a list"),
        (["true"], {"stdin": "text"}, TypeError, "stdin is bytes"),
        (["true"], {"suppressions": "one.supp"}, TypeError, "suppressions is a list"),
    ],
)
def test_what_cannot_be_run_raises(
    args: list[str], options: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        emuleak.run(args, **options)


def test_unknown_kinds_raise_by_the_name_they_have_here() -> None:
    report = emuleak.run(["true"])
    with pytest.raises(emuleak.BadOption, match=r"^fail_on: unknown kind 'leeks'"):
        report.assert_clean("leeks")
    with pytest.raises(TypeError, match="allow is a list"):
        report.is_clean(allow="main")


# ---- what a run leaves behind


@pytest.fixture
def no_collector() -> object:
    """What is freed now is freed by reference counting alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_many_runs_leave_nothing_behind() -> None:
    """Each reserves more than 1 TiB of addresses, of which a process has 128: 120 would be too many."""

    def measured(runs: int) -> tuple[int, int, int]:
        for _ in range(runs):
            emuleak.run([ARTICLE])
        size, files = status("VmSize"), len(os.listdir("/proc/self/fd"))
        gc.collect()  # some small circles are left to it
        return size, status("VmRSS"), files

    size, resident, files = measured(40)  # which make the garbage that is then made again and again
    size_after, resident_after, files_after = measured(90)
    assert size_after - size < 100 << 10
    assert resident_after - resident < 10 << 10  # a run makes at least 3 MiB
    assert files_after == files


@pytest.mark.usefixtures("no_collector")
def test_failing_runs_leave_nothing_behind(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(ARTICLE.read_bytes()[:5000])
    broken.chmod(0o755)

    def measured(runs: int) -> tuple[int, int]:
        for _ in range(runs):
            with pytest.raises(emuleak.BadProgram):
                emuleak.run([broken], stdin=ARTICLE)
        return status("VmSize"), len(os.listdir("/proc/self/fd"))

    size, files = measured(2)
    size_after, files_after = measured(20)
    assert size_after - size < 100 << 10
    assert files_after == files


def test_nothing_is_left_open() -> None:
    """Python complains of a file that is freed without having been closed."""
    done = script("import emuleak\nfor name in ('error_path', 'shapes'): emuleak.run([f'examples/bin/{name}'])",
                  env={**os.environ, "PYTHONWARNINGS": "always::ResourceWarning"})  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_session_is_closed_once_and_for_all() -> None:
    session = Session(Options(program=str(ARTICLE), argv=["article"], stdin=b"", capture=True))
    arena = session.memory.arenas[0]
    session.run()
    session.close()
    session.close()
    with pytest.raises(ValueError, match="released"):
        bytes(arena.view[:1])
    with pytest.raises(AttributeError):
        session.run()


# ---- threads and signals


def test_threads_run_programs_at_the_same_time() -> None:
    programs = [ARTICLE, DOUBLE_FREE, ERROR_PATH] * 4
    expected = {program: emuleak.run([program]) for program in set(programs)}
    with ThreadPoolExecutor(4) as pool:
        reports = list(pool.map(lambda program: emuleak.run([program]), programs))
    assert reports == [expected[program] for program in programs]
    assert gc.isenabled()


def test_files_made_by_two_threads_have_the_guests_modes(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda n: emuleak.run(["touch", *(f"{n}-{m}" for m in range(50))], cwd=tmp_path), range(8)))
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


INTERRUPTED = """
import os, signal, sys, threading, emuleak
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    emuleak.run([sys.argv[1]], stdin=None)
except KeyboardInterrupt:
    print("interrupted")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert signal.set_wakeup_fd(-1) == -1
assert emuleak.run(["examples/bin/article"]).heap.allocs == 2
"""


@pytest.mark.parametrize("delay", [0.3, 0.6])
def test_ctrl_c_ends_a_program_that_never_calls_the_kernel(compiled: Callable[[str], Path], delay: float) -> None:
    done = script(INTERRUPTED, compiled(ENDLESS), delay)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_ctrl_c_ends_a_program_that_waits_for_input() -> None:
    reader, writer = os.pipe()
    try:
        start = time.monotonic()
        done = script(INTERRUPTED, "cat", 0.5, stdin=reader)
        assert time.monotonic() - start < 20
    finally:
        os.close(reader)
        os.close(writer)
    assert (done.stdout, done.stderr) == ("interrupted\n", "")


def test_a_program_with_its_own_handler_keeps_it() -> None:
    heard = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: heard.set())
    try:
        handler = signal.getsignal(signal.SIGINT)
        emuleak.run(["true"])
        assert signal.getsignal(signal.SIGINT) is handler
        signal.raise_signal(signal.SIGINT)
        assert heard.is_set()
    finally:
        signal.signal(signal.SIGINT, before)


# ---- the package


def test_public_names_are_there_and_no_others() -> None:
    for name in emuleak.__all__:
        assert getattr(emuleak, name) is not None
        assert name in dir(emuleak)
    assert issubclass(emuleak.BadProgram, emuleak.EmuleakError)
    assert emuleak.errors.BadProgram is emuleak.BadProgram
    assert not hasattr(emuleak, "nothing_of_the_kind")


def test_importing_the_package_imports_nothing_of_ours() -> None:
    done = script("import sys, emuleak; print(sorted(name for name in sys.modules if name.startswith('emuleak')))")
    assert done.stdout.strip() == "['emuleak']"


def test_the_command_line_does_without_the_api() -> None:
    text = (
        "import sys\nfrom emuleak.cli import main\nsys.argv = ['emuleak', 'run', 'true']\ntry: main()\n"
        "finally: print([name for name in ('emuleak.api', 'emuleak.interrupts') if name in sys.modules])"
    )
    assert script(text).stdout.strip() == "[]"


def test_types_of_public_names_are_known(tmp_path: Path) -> None:
    text = (
        "import emuleak\nreport = emuleak.run(['true'])\nreveal_type(emuleak.run)\nreveal_type(report)\n"
        "reveal_type(report.leaks)\nreveal_type(report.stdout)\nreveal_type(emuleak.errors.BadProgram)\n"
    )
    pytest.importorskip("mypy")
    (tmp_path / "program.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", ROOT / ".mypy_cache"]
    done = subprocess.run([*command, "program.py"], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout
    assert 'Revealed type is "emuleak.api.RunReport"' in done.stdout
    assert 'Revealed type is "bytes"' in done.stdout.replace("builtins.", "")
    assert "Any" not in done.stdout
