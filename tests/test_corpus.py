"""Every program of `programs/` under emuleak: it must run as natively, and be judged as its comments promise.

All are built plainly (-O0, position independent), where the heap's figures must be valgrind's to the byte; a few
other ways to build rotate over the programs. EMULEAK_CORPUS=all tries every program in every variant.
"""

import os
from pathlib import Path

import pytest
from oracles import corpus, emuleak, judge
from oracles.build import Variant
from oracles.corpus import PLAIN, PROGRAMS

ROTATING = len(corpus.OTHERS) if os.environ.get("EMULEAK_CORPUS") == "all" else 2
NEVER_COUNT = ("still-reachable", "indirectly-lost", "realloc-zero")

PLAIN_CASES = [pytest.param(program, PLAIN, id=program.name) for program in PROGRAMS]
OTHER_CASES = [
    pytest.param(program, variant, id=f"{program.name}-{variant.name}")
    for program in PROGRAMS
    for variant in corpus.rotation(program, ROTATING)
]


def judge_run(program: Path, variant: Variant) -> tuple[emuleak.Verdict, list[str]]:
    """Run emuleak and gather all that differs from what it should be."""
    verdict = emuleak.check(corpus.binary(program, variant), stdin=corpus.stdin_of(program))
    summary, wanted = verdict.summary, corpus.reference(program, variant)
    differences = judge.ends(wanted, summary.run)
    if not corpus.promises(program).misuses(variant):  # there valgrind's own words are in stderr
        differences += judge.output("stderr", wanted.stderr, summary.run.stderr)
    differences += judge.findings(corpus.promises(program), variant, summary)
    differences += [f"  ! could not be emulated: {what}" for what in verdict.incomplete]
    differences += status(verdict)
    return verdict, differences


def status(verdict: emuleak.Verdict) -> list[str]:
    """The status of emuleak itself: 23 when something counts, else the program's own."""
    run = verdict.summary.run
    own = run.code if run.signal is None else 128 + run.signal
    counts = any(
        finding.owner == "program" and (finding.leak_kind or finding.kind) not in NEVER_COUNT
        for finding in verdict.summary.findings
    )
    wanted = 23 if counts else own
    return [] if verdict.status == wanted else [f"  ! emuleak ended with {verdict.status}, not with {wanted}"]


def fail_with(program: Path, variant: Variant, differences: list[str]) -> None:
    if differences:
        title = f"{program.name} in variant {variant.name} (- promised, + found, ! different):"
        pytest.fail("\n".join([title, *differences]), pytrace=False)


@pytest.mark.parametrize(("program", "variant"), PLAIN_CASES)
def test_program(program: Path, variant: Variant) -> None:
    promised = corpus.promises(program)
    verdict, differences = judge_run(program, variant)
    if not promised.valgrind_cannot:
        peer = corpus.ask_valgrind(program)
        if not promised.differing_totals:
            differences += judge.heaps(peer, verdict.summary)
            if not promised.differing_lines:
                differences += judge.totals(peer, verdict.summary)
    fail_with(program, variant, differences)


@pytest.mark.parametrize(("program", "variant"), OTHER_CASES)
def test_program_built_otherwise(program: Path, variant: Variant) -> None:
    fail_with(program, variant, judge_run(program, variant)[1])
