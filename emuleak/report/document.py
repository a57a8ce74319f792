"""The report as a document: frozen, without a method that decides anything, the same for every writer.

`emuleak-report/1` history
    1   the first: program, exit, heap, incomplete, findings;
        later: remarks, growth, suppressed, unused_suppressions, baseline; of a finding offset, maker, releaser, thread,
        chain, baseline, process; of the exit threads; schedule_seed
"""

import msgspec
from msgspec import UNSET, UnsetType

from emuleak.findings.finding import Finding, Frame, LeakKind, Owner, Standing

SCHEMA = "emuleak-report/1"

__all__ = [
    "SCHEMA",
    "Baseline",
    "Exit",
    "Finding",
    "Frame",
    "HeapSummary",
    "LeakKind",
    "Owner",
    "Report",
    "Sample",
    "Standing",
    "Suppressed",
    "WaitingThread",
]


class WaitingThread(msgspec.Struct, frozen=True, kw_only=True):
    """A thread in a deadlock, counted from 0: what it waits for, in words, and where."""

    thread: int
    waits_for: str
    stack: tuple[Frame, ...]


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How the guest ended. `code` is None for a guest ended by a signal or by emuleak's own budget.

    A crash names the signal, the address whose access failed (hexadecimal) and the stack at that moment.
    `stopped` is set when emuleak ended the run: which budget ran out, or that the user interrupted it.
    `threads` are those of a program in a deadlock.
    """

    code: int | None
    signal: int | None
    signal_name: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    stopped: str | UnsetType = UNSET
    stack: tuple[Frame, ...] | UnsetType = UNSET
    threads: tuple[WaitingThread, ...] | UnsetType = UNSET


class HeapSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The heap's figures, counted as valgrind does with its exit-time frees off. All sizes in bytes as requested."""

    allocs: int
    frees: int
    bytes_allocated: int
    peak_bytes: int
    in_use_bytes: int
    in_use_blocks: int


class Sample(msgspec.Struct, frozen=True, gc=False):
    """The heap at one moment: the tick (events of the heap so far), bytes and blocks in use."""

    tick: int
    bytes: int
    blocks: int


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """What one suppression kept out of the findings."""

    name: str
    findings: int
    bytes: int
    blocks: int


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """How a run compares with an older report: places, by what became of them. Each finding says which it is."""

    file: str
    new: int
    grown: int
    changed: int
    known: int
    gone: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run found. Two runs of the same program on the same input give the same bytes.

    `schedule_seed` is there where threads were switched by chance.
    """

    schema: str = SCHEMA
    program: str
    arguments: tuple[str, ...] = ()
    schedule_seed: int | UnsetType = UNSET
    exit: Exit
    heap: HeapSummary
    incomplete: tuple[str, ...] = ()
    remarks: tuple[str, ...] | UnsetType = UNSET
    growth: tuple[Sample, ...] | UnsetType = UNSET
    suppressed: tuple[Suppressed, ...] | UnsetType = UNSET
    unused_suppressions: tuple[str, ...] | UnsetType = UNSET
    baseline: Baseline | UnsetType = UNSET
    findings: tuple[Finding, ...] = ()
