"""Compare what was promised with what was found, and say the difference so that it can be read."""

from oracles.build import Variant
from oracles.expectations import Expectations
from oracles.shapes import LEAK_KINDS, Key, Run, Size, Summary

Differences = list[str]


def findings(
    promised: Expectations, variant: Variant, summary: Summary, *, except_lines: frozenset[int] = frozenset()
) -> Differences:
    """The program's own findings against its comments; `except_lines` are not looked at."""
    required, allowed = promised.required(variant), promised.allowed(variant)
    found = summary.by_line(promised.source)
    return [
        difference
        for key in sorted(required.keys() | found.keys(), key=lambda key: (key.file, key.line, str(key)))
        if key.line not in except_lines
        and (key in required or key not in allowed)
        and (difference := _finding(key, required.get(key), found.get(key), summary))
    ]


def _finding(key: Key, wanted: Size | None, found: Size | None, summary: Summary) -> str:
    if wanted == found:
        return ""
    if found is None:
        return f"  - missing     {key}{_size(wanted)}"
    if wanted is None:
        return f"  + unexpected  {key}{_size(found)}{_stacks(key, summary)}"
    return f"  ! wrong size  {key}: promised{_size(wanted)}, found{_size(found)}"


def _size(size: Size | None) -> str:
    return f" bytes={size.bytes} blocks={size.blocks}" if size and size.blocks else ""


def _stacks(key: Key, summary: Summary) -> str:
    """The stack of an unexpected finding, as it is most often the explanation."""
    for finding in summary.findings:
        if (finding.kind, finding.leak_kind) == (key.kind, key.leak_kind) and finding.owner == "program":
            lines = [str(frame) for frame in finding.place]
            if key.line == 0 or any(f":{key.line})" in line for line in lines):
                return "".join(f"\n        {'at' if n == 0 else 'by'} {line}" for n, line in enumerate(lines[:8]))
    return ""


def heaps(one: Summary, two: Summary, *, names: tuple[str, str] = ("valgrind", "emuleak")) -> Differences:
    """Heap totals of two judges, then bytes and blocks of every leak kind."""
    differences = []
    for name in one.heap.__dataclass_fields__:
        first, second = getattr(one.heap, name), getattr(two.heap, name)
        if first != second:
            differences.append(f"  ! heap.{name}: {names[0]} {first}, {names[1]} {second}")
    return differences


def totals(one: Summary, two: Summary, *, names: tuple[str, str] = ("valgrind", "emuleak")) -> Differences:
    """Bytes and blocks of every leak kind, those of libraries included."""
    first, second = one.totals(), two.totals()
    return [
        f"  ! {kind}: {names[0]}{_size(first[kind]) or ' none'}, {names[1]}{_size(second[kind]) or ' none'}"
        for kind in LEAK_KINDS
        if first[kind] != second[kind]
    ]


def ends(wanted: Run, found: Run) -> Differences:
    """How the program ended and what it wrote to its standard output."""
    differences = []
    if (wanted.code, wanted.signal) != (found.code, found.signal):
        differences.append(f"  ! ended with {_end(found)}, not with {_end(wanted)}")
    return differences + output("stdout", wanted.stdout, found.stdout)


def output(name: str, wanted: bytes, found: bytes) -> Differences:
    """Two outputs, and where they part."""
    if wanted == found:
        return []
    at = next((n for n, (a, b) in enumerate(zip(wanted, found, strict=False)) if a != b), min(len(wanted), len(found)))
    part = slice(max(0, at - 40), at + 40)
    return [f"  ! {name} differs at byte {at}: {wanted[part]!r} became {found[part]!r}"]


def _end(run: Run) -> str:
    return f"signal {run.signal}" if run.signal is not None else f"status {run.code}"
