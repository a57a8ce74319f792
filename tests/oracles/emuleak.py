"""Ask emuleak, from outside: run its command line and parse the JSON it promises."""

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oracles.native import execute
from oracles.shapes import Finding, Frame, Heap, Run, Summary

SCHEMA = "emuleak-report/1"


class EmuleakFailedError(Exception):
    """No report came, or not one of the schema that is understood here."""


@dataclass(frozen=True)
class Verdict:
    """A summary with the status emuleak itself ended with, and what it could not emulate."""

    summary: Summary
    status: int
    incomplete: tuple[str, ...]


def check(
    program: Path,
    arguments: Sequence[str] = (),
    *,
    stdin: Path | None = None,
    options: Sequence[str] = (),
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Verdict:
    """What emuleak says of one run of the program."""
    return read(*report(program, arguments, stdin=stdin, options=options, cwd=cwd, env=env))


def report(
    program: Path,
    arguments: Sequence[str] = (),
    *,
    stdin: Path | None = None,
    options: Sequence[str] = (),
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[dict[str, Any], Run]:
    """The document that emuleak writes of one run of the program, and how emuleak itself ended."""
    with tempfile.TemporaryDirectory(prefix="emuleak-report-") as name:
        output = Path(name, "report.json")
        words = [sys.executable, "-m", "emuleak", "run", "--format", "json", "--output", output, *options]
        run = execute([*words, program, *arguments], stdin, cwd=cwd, env=env)
        text = output.read_text(encoding="utf-8") if output.exists() else ""
    if not text or run.code is None:
        said = run.stderr.decode(errors="replace")[-3000:]
        raise EmuleakFailedError(f"emuleak ended with {run.code} (signal {run.signal}) and no report:\n{said}")
    return json.loads(text), run


def read(document: dict[str, Any], run: Run) -> Verdict:
    """A verdict from the document and the run that wrote it; the exit is the guest's, not emuleak's."""
    if document.get("schema") != SCHEMA:
        raise EmuleakFailedError(f"schema {document.get('schema')!r}, not {SCHEMA!r}")
    ended = document["exit"]
    guest = Run(run.stdout, run.stderr, ended["code"], ended["signal"])
    totals = document["heap"]
    heap = Heap(**{name: totals[name] for name in Heap.__dataclass_fields__})
    findings = tuple(_finding(finding) for finding in document["findings"])
    return Verdict(Summary(guest, heap, findings), run.code or 0, tuple(document["incomplete"]))


def _finding(finding: dict[str, Any]) -> Finding:
    stack, allocated = _frames(finding["stack"]), _frames(finding.get("allocated", ()))
    leak_kind = finding.get("leak_kind")
    return Finding(finding["kind"], leak_kind, finding["bytes"], finding["blocks"], finding["owner"], stack, allocated)


def _frames(stack: Sequence[dict[str, Any]]) -> tuple[Frame, ...]:
    return tuple(Frame(frame["function"], frame["file"], frame["line"], frame["object"]) for frame in stack)
