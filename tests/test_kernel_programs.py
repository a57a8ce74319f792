"""C programs that ask the kernel many questions, one line each: emuleak must answer as the host's own Linux does."""

import socket
import sys
from pathlib import Path

import pytest
from oracles import emuleak, native
from oracles.build import VARIANTS, build

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")

HERE = Path(__file__).parent / "kernel_programs"


def both(name: str, tmp_path: Path, *arguments: str) -> tuple[native.Run, emuleak.Verdict]:
    """The same program on the host and under emuleak, each in a directory of its own."""
    binary = build(HERE / f"{name}.c", VARIANTS["O0"], ("-pthread",))
    places = tmp_path / "native", tmp_path / "emulated"
    for place in places:
        place.mkdir()
    wanted = native.execute([binary, *arguments], cwd=places[0])
    return wanted, emuleak.check(binary, arguments, cwd=places[1])


@pytest.mark.parametrize("name", ["everyday", "mappings", "sockets", "internet", "protected_blocks", "keys_and_lists"])
def test_every_answer_is_the_hosts(name: str, tmp_path: Path) -> None:
    wanted, verdict = both(name, tmp_path, "shown")
    assert wanted.stdout.count(b"\n") > 10
    assert verdict.summary.run.stdout.decode() == wanted.stdout.decode()
    assert (verdict.summary.run.code, verdict.summary.run.signal) == (wanted.code, wanted.signal) == (0, None)
    assert verdict.incomplete == ()


def test_the_hosts_network_answers_the_same() -> None:
    binary = build(HERE / "internet.c", VARIANTS["O0"], ("-pthread",))
    wanted, verdict = native.execute([binary]), emuleak.check(binary, options=["--net", "host"])
    assert verdict.summary.run.stdout.decode() == wanted.stdout.decode()
    assert verdict.incomplete == ()


def test_a_constructor_meets_the_stderr_of_main(tmp_path: Path) -> None:
    wanted, verdict = both("constructor", tmp_path)
    assert verdict.summary.run.stderr.partition(b"emuleak: ")[0] == wanted.stderr
    assert b"the same 1" in wanted.stderr


REACH = r"""
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    inet_pton(AF_INET, argv[1], &a.sin_addr);
    int failed = connect(socket(AF_INET, SOCK_STREAM, 0), (void *)&a, sizeof a);
    puts(failed ? strerrorname_np(errno) : "connected");
}
"""


@pytest.fixture
def reach(tmp_path: Path) -> Path:
    source = tmp_path / "reach.c"
    source.write_text("#define _GNU_SOURCE\n#include <stdlib.h>\n" + REACH)
    return build(source, VARIANTS["O0"])


def test_there_is_no_way_out_of_the_loopback(reach: Path) -> None:
    verdict = emuleak.check(reach, ["192.0.2.1", "80"])
    assert verdict.summary.run.stdout == b"ENETUNREACH\n"
    assert [text for text in verdict.incomplete if "192.0.2.1 port 80" in text and "--net host" in text]


def test_a_server_of_the_hosts_is_reached_only_where_that_is_allowed(reach: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        assert emuleak.check(reach, ["127.0.0.1", port]).summary.run.stdout == b"ECONNREFUSED\n"
        allowed = emuleak.check(reach, ["127.0.0.1", port], options=["--net", "host"])
        assert allowed.summary.run.stdout == b"connected\n"
        server.settimeout(10)
        server.accept()[0].close()


def test_what_was_stored_in_shared_mappings_is_in_the_files(tmp_path: Path) -> None:
    both("mappings", tmp_path, "shown")
    for name, size in (("shown", 40_000), ("sparse.bin", 1 << 20)):
        files = [tmp_path / place / name for place in ("native", "emulated")]
        start = [file.open("rb").read(size) for file in files]
        assert start[0] == start[1]
        assert any(start[0])
        assert files[0].stat().st_size == files[1].stat().st_size
