"""Which findings count, the exit status, and the sentence that says precisely what holds."""

import pytest

from emuleak.errors import BadOption
from emuleak.report.document import Exit, Finding, HeapSummary, Report
from emuleak.report.verdict import (
    FAIL_ON_DEFAULT,
    LEAK_KINDS,
    SENTENCE_WIDTH,
    counting,
    counts,
    exit_status,
    parse_fail_on,
    sentence,
    totals,
)


def leak(kind: str, size: int = 8, blocks: int = 1, owner: str = "program") -> Finding:
    return Finding(kind="leak", leak_kind=kind, bytes=size, blocks=blocks, owner=owner)


def misuse(kind: str, owner: str = "program") -> Finding:
    return Finding(kind=kind, bytes=8, blocks=1, owner=owner)


def report(*findings: Finding, in_use: int = 0, allocs: int = 12, incomplete=(), **exit_: object) -> Report:
    exit_ = {"code": 0, "signal": None} | exit_
    figures = {"allocs": allocs, "frees": allocs - in_use, "bytes_allocated": 99, "peak_bytes": 99}
    heap = HeapSummary(**figures, in_use_bytes=in_use * 8, in_use_blocks=in_use)
    return Report(program="prog", exit=Exit(**exit_), heap=heap, findings=findings, incomplete=incomplete)


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (leak("definitely-lost"), True),
        (leak("possibly-lost"), True),
        (leak("indirectly-lost"), False),
        (leak("still-reachable"), False),
        (leak("definitely-lost", owner="library"), False),
        (misuse("double-free"), True),
        (misuse("double-free", owner="library"), True),
        (misuse("invalid-size"), True),
        (misuse("realloc-zero"), False),
        (misuse("a-kind-of-tomorrow"), True),
    ],
)
def test_what_counts_by_default(finding, expected):
    assert counts(finding) is expected
    assert list(counting(report(finding))) == [finding] * expected
    assert exit_status(report(finding)) == (23 if expected else 0)


def test_exit_status_of_the_guest_and_of_a_run_cut_short():
    lost = leak("definitely-lost")
    assert exit_status(report(code=7)) == 7
    assert exit_status(report(code=None, signal=11)) == 139
    assert exit_status(report(lost, code=None, signal=11)) == 23
    assert exit_status(report(lost, code=None, stopped="10 s were used up")) == 124
    assert exit_status(report(lost), error_exitcode=99) == 99
    assert exit_status(report(lost, code=3), fail_on=frozenset()) == 3


def test_fail_on():
    assert parse_fail_on("definite,possible, misuse") == FAIL_ON_DEFAULT
    assert parse_fail_on("all") == {*LEAK_KINDS, "misuse"}
    assert parse_fail_on("none") == frozenset()
    assert parse_fail_on("still-reachable,double-free") == {"still-reachable", "double-free"}
    assert counts(misuse("double-free"), parse_fail_on("double-free"))
    assert not counts(misuse("invalid-free"), parse_fail_on("double-free"))
    with pytest.raises(BadOption, match="unknown kind 'leeks'; choose from definitely-lost") as error:
        parse_fail_on("leeks")
    assert "\n" not in str(error.value)


def test_realloc_to_no_bytes_counts_where_it_is_named_itself():
    """The C library defines it, and programs rely on it."""
    finding = misuse("realloc-zero")
    assert not counts(finding, parse_fail_on("all"))
    assert not counts(finding, parse_fail_on("misuse"))
    assert counts(finding, parse_fail_on("misuse,realloc-zero"))
    assert totals([finding]).misuse == {"realloc-zero": 1}, "it is told all the same"


def test_totals():
    sums = totals(
        [
            misuse("invalid-free"),
            leak("definitely-lost", 40, 2),
            leak("definitely-lost", 2, 1),
            leak("indirectly-lost", 100, 5),
            leak("still-reachable", 72704, 1, owner="library"),
            misuse("double-free"),
            misuse("invalid-free"),
        ]
    )
    assert list(sums.misuse.items()) == [("invalid-free", 2), ("double-free", 1)]
    assert (sums.leaks["definitely-lost"].bytes, sums.leaks["definitely-lost"].blocks) == (42, 3)
    assert (sums.lost.findings, sums.lost.bytes, sums.lost.blocks) == (2, 142, 8)
    assert sums.library.bytes == 72704
    assert sums.leaks["still-reachable"].findings == 0


REACHABLE, LIBRARY = leak("still-reachable"), leak("still-reachable", owner="library")
CRASH = {"code": None, "signal": 11, "signal_name": "SIGSEGV"}
SENTENCES = [
    (report(), "no leaks, no misuse of the heap: all 12 blocks were freed"),
    (report(allocs=1), "no leaks, no misuse of the heap: the only block was freed"),
    (report(allocs=0), "no leaks, no misuse of the heap: the program allocated nothing"),
    (report(REACHABLE, in_use=1), "no leaks, no misuse of the heap: 8 bytes in 1 block still reachable"),
    (
        report(REACHABLE, LIBRARY, in_use=2),
        "no leaks, no misuse of the heap: 8 bytes in 1 block still reachable, libraries kept 1 block",
    ),
    (
        report(LIBRARY, in_use=1),
        "no leaks, no misuse of the heap: the program freed every block, its libraries kept 1 block",
    ),
    (report(in_use=2), "no leaks, no misuse of the heap: 2 blocks still in use"),
    (report(misuse("double-free")), "1 double free; no leaks: all 12 blocks were freed"),
    (
        report(misuse("use-after-free"), misuse("use-after-free"), in_use=1),
        "2 uses after free; no leaks: 1 block still in use",
    ),
    (report(misuse("odd-thing"), misuse("odd-thing")), "2 odd things; no leaks: all 12 blocks were freed"),
    (report(leak("definitely-lost", 1), in_use=1), "1 leak: 1 byte in 1 block definitely lost"),
    (report(leak("indirectly-lost"), in_use=1), "1 leak: 8 bytes in 1 block indirectly lost"),
    (
        report(leak("definitely-lost", 1240, 7), leak("indirectly-lost")),
        "1 leak: 1,240 bytes in 7 blocks definitely lost, 8 bytes in 1 block indirectly lost",
    ),
    (
        report(leak("definitely-lost", 1240, 7), *map(leak, LEAK_KINDS[1:]), misuse("double-free")),
        "2 leaks: 1,240 bytes definitely, 8 indirectly, 8 possibly lost; 1 double free",
    ),
    (report(**CRASH), "crashed with SIGSEGV; until then no leaks, no misuse: all 12 blocks were freed"),
    (
        report(code=None, signal=15, signal_name="SIGTERM", allocs=0),
        "ended by SIGTERM; until then no leaks, no misuse: the program allocated nothing",
    ),
    (report(leak("definitely-lost"), **CRASH), "crashed with SIGSEGV; 1 leak: 8 bytes in 1 block definitely lost"),
    (report(incomplete=("x",)), "no leaks, no misuse of the heap: all 12 blocks were freed; emulation incomplete"),
]


@pytest.mark.parametrize(("document", "expected"), SENTENCES, ids=[text[:30] for _, text in SENTENCES])
def test_sentence(document, expected):
    assert sentence(document) == "emuleak: " + expected
    assert len(sentence(document)) <= SENTENCE_WIDTH
