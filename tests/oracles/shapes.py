"""The shapes in which every judge answers: frames, findings, heap totals, how a run ended."""

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import PurePath
from typing import NamedTuple

LEAK_KINDS = ("definitely-lost", "indirectly-lost", "possibly-lost", "still-reachable")
MISUSE_KINDS = ("double-free", "invalid-free", "mismatched-free", "invalid-realloc")
# What was written beside or into a block. valgrind sees the write, emuleak its traces, some time later: both know the
# block, so the place of such a finding is the line of the block's allocation.
DAMAGE_KINDS = ("heap-overflow", "heap-underflow", "write-after-free")
# What was asked for wrongly, and the C library answers: the program goes on as it would natively.
REQUEST_KINDS = ("invalid-size", "invalid-alignment", "realloc-zero")
ACCESS_KINDS = ("use-after-free", "overread")


@dataclass(frozen=True)
class Frame:
    """One line of a stack; `file` as the judge spelt it, `object` the file of the program or library."""

    function: str
    file: str | None
    line: int | None
    object: str

    def __str__(self) -> str:
        place = f"{PurePath(self.file).name}:{self.line}" if self.file else PurePath(self.object).name
        return f"{self.function} ({place})"


@dataclass(frozen=True)
class Finding:
    """One defect; `bytes` are direct bytes, zero for what is no leak; `allocated` is known where there is a block."""

    kind: str
    leak_kind: str | None
    bytes: int
    blocks: int
    owner: str
    stack: tuple[Frame, ...]
    allocated: tuple[Frame, ...] = ()

    @property
    def place(self) -> tuple[Frame, ...]:
        """The stack by which the finding is known."""
        return self.allocated if self.kind in DAMAGE_KINDS else self.stack


@dataclass(frozen=True)
class Heap:
    """The totals of a run."""

    allocs: int
    frees: int
    bytes_allocated: int
    in_use_bytes: int
    in_use_blocks: int


@dataclass(frozen=True)
class Run:
    """How a process ended and what it wrote. Exactly one of `code` and `signal` is set."""

    stdout: bytes
    stderr: bytes
    code: int | None
    signal: int | None


class Size(NamedTuple):
    """How much a leak is: direct bytes and blocks."""

    bytes: int
    blocks: int


class Key(NamedTuple):
    """What makes two findings the same for the judge."""

    kind: str
    leak_kind: str | None
    file: str
    line: int

    def __str__(self) -> str:
        what = f"{self.kind} {self.leak_kind}" if self.leak_kind else self.kind
        return f"{self.file}:{self.line} {what}"


NOWHERE = ("?", 0)


def origin(stack: tuple[Frame, ...], source: str) -> tuple[str, int]:
    """The innermost line of the program itself, by the base name of its source; NOWHERE without one."""
    for frame in stack:
        if frame.file and frame.line and PurePath(frame.file).name == source:
            return source, frame.line
    return NOWHERE


@dataclass(frozen=True)
class Summary:
    """All that a checker said of one run. `other` are complaints that have no counterpart here, as text."""

    run: Run
    heap: Heap
    findings: tuple[Finding, ...]
    other: tuple[str, ...] = ()

    def totals(self) -> dict[str, Size]:
        """Bytes and blocks of every leak kind, the libraries' own included."""
        sums = {kind: Size(0, 0) for kind in LEAK_KINDS}
        for finding in self.findings:
            if finding.leak_kind:
                so_far = sums[finding.leak_kind]
                sums[finding.leak_kind] = Size(so_far.bytes + finding.bytes, so_far.blocks + finding.blocks)
        return sums

    def by_line(self, source: str) -> dict[Key, Size]:
        """The program's own findings, summed by kind and line. Misuse is counted by its presence only."""
        size: Counter[Key] = Counter()
        blocks: defaultdict[Key, int] = defaultdict(int)
        for finding in self.findings:
            if finding.owner != "program" or finding.kind == "invalid-access":
                continue
            key = Key(finding.kind, finding.leak_kind, *origin(finding.place, source))
            size[key] += finding.bytes if finding.leak_kind else 0
            blocks[key] += finding.blocks if finding.leak_kind else 0
        return {key: Size(size[key], blocks[key]) for key in blocks}
