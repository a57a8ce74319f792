"""Processes in the sandbox: children and other programs stay within the walls, and within the limits."""

import shutil
import sys
from pathlib import Path

import pytest
from oracles.build import VARIANTS, build
from oracles.peers import need

import emuleak
from emuleak.errors import BadProgram

PROGRAMS = Path(__file__).parent / "sandbox_programs"
pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="compiles for Linux"), pytest.mark.peer("gcc")]


def compiled(directory: Path, text: str) -> Path:
    source = directory / "program.c"
    source.write_text(text)
    return build(source, VARIANTS["O0"])


def test_children_and_programs_see_the_same_tree() -> None:
    program = build(PROGRAMS / "processes.c", VARIANTS["O0"])
    files = {name: Path(shutil.which(name) or "/missing") for name in ("true", "echo")}
    report = emuleak.run([program], sandbox=True, files=files)
    assert report.stderr == b""
    assert report.stdout.decode().splitlines() == [
        "child 3 tmpfs / tmpfs rw 0 0",
        "file from the child",
        f"again x /home/user/{program.name} 0",
        "self 7",
        "shell 1",
        "granted 0",
        "of ./script x",
        "script 0",
        "written 1",
        "fifo 0 through",
    ]
    assert report.exit.code == 0
    assert any("execve of a file that the program wrote itself" in each for each in report.incomplete)
    assert [(each.bytes, each.leak_kind) for each in report.leaks] == [(21, "definitely-lost")]
    assert {"/home/user/child.txt", "/home/user/script", "/home/user/written"} == set(report.written)


def test_a_shell_runs_what_was_granted() -> None:
    shell = Path(need("sh")).resolve()
    grants = {"/bin/sh": shell, "/bin/cat": Path(need("cat")), "/bin/seq": Path(need("seq"))}
    script = b"PATH=/bin; seq 3 | cat > out; cat out; (exit 5); echo $?; cat /etc/shadow || echo walled"
    report = emuleak.run([shell], stdin=script, sandbox=True, files=grants)
    assert report.stdout == b"1\n2\n3\n5\nwalled\n", report.stderr
    assert report.written == {"/home/user/out": b"1\n2\n3\n"}


def test_a_script_needs_its_interpreter_granted(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\necho $1\n")
    script.chmod(0o755)
    with pytest.raises(BadProgram, match="which the sandbox lacks: add --file /bin/sh"):
        emuleak.run([script, "x"], sandbox=True)
    granted = emuleak.run([script, "x"], sandbox=True, files={"/bin/sh": Path(need("sh")).resolve()})
    assert granted.stdout == b"x\n"


def test_a_fork_bomb_is_refused_and_told(tmp_path: Path) -> None:
    source = """
#include <stdio.h>
#include <unistd.h>
int main(void) {
    int made = 0;
    for (;;) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) { pause(); _exit(0); }
        made++;
    }
    printf("%d\\n", made > 10 && made < 1000);
    return 0;
}
"""
    report = emuleak.run([compiled(tmp_path, source)], sandbox=True, max_seconds=60)
    assert report.stdout == b"1\n"
    assert any("processes at a time" in each for each in report.incomplete), report.incomplete


def test_pipes_of_all_processes_count_together(tmp_path: Path) -> None:
    source = """
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
static char block[1 << 20];
int main(void) {
    int refused = 0, status;
    for (int each = 0; each < 4; each++) {
        pid_t child = fork();
        if (child == 0) {
            int made = 0;
            for (int pipes = 0; pipes < 24; pipes++) {
                int ends[2];
                if (pipe(ends)) break;
                if (write(ends[1], block, sizeof block) < 0 && errno == ENOMEM) made = 1;
            }
            if (made) _exit(1);
            pause();
        }
        usleep(1000);
    }
    while (waitpid(-1, &status, WNOHANG) > 0) refused += WEXITSTATUS(status);
    printf("%d\\n", refused > 0);
    return 0;
}
"""
    report = emuleak.run([compiled(tmp_path, source)], sandbox=True, max_seconds=60)
    assert report.stdout == b"1\n"
    assert any("bytes in pipes and sockets" in each for each in report.incomplete)


def test_source_outside_of_the_programs_directory_is_not_quoted(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    source = outside / "secret.c"
    words = f"private words of {tmp_path}"  # of this directory alone: builds are kept by their content
    source.write_text(f"#include <stdlib.h>\nint main(void) {{ malloc(5); return 0; }} // {words}\n")
    program = build(source, VARIANTS["O0"])
    moved = inside / "program"
    shutil.copy(program, moved)
    assert "private words" in emuleak.run([moved]).text()
    walled = emuleak.run([moved], sandbox=True, cwd=inside)
    assert "private words" not in walled.text()
    assert walled.leaks[0].stack[0].file == str(source)
