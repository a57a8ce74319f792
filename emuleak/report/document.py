"""The report as a document: frozen, without a method that decides anything, the same for every writer.

`emuleak-report/1` history
    1   the first: program, exit, heap, incomplete, findings
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

SCHEMA = "emuleak-report/1"

LeakKind = Literal["definitely-lost", "indirectly-lost", "possibly-lost", "still-reachable"]
Owner = Literal["program", "library"]


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One line of a stack, innermost first.

    `pc` is the address looked up (a call's return address less one) as the guest saw it, in hexadecimal; `function`
    is never empty (`???` where not even the module has a symbol); `file` is None without debug information.
    """

    pc: str
    function: str
    file: str | None
    line: int | None
    object: str
    inlined: bool = False


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One defect: `bytes` and `blocks` count what it concerns, `stack` says where it happened or was allocated.

    `why` is the sentence that a student reads. `allocated` and `freed` are empty where they do not apply. `address` is
    given for misuse: the pointer handed to free or realloc, in hexadecimal.
    """

    kind: str
    leak_kind: LeakKind | UnsetType = UNSET
    access: Literal["read", "write"] | UnsetType = UNSET
    size: int | UnsetType = UNSET
    address: str | UnsetType = UNSET
    bytes: int
    blocks: int
    owner: Owner = "program"
    why: str = ""
    stack: tuple[Frame, ...] = ()
    allocated: tuple[Frame, ...] = ()
    freed: tuple[Frame, ...] = ()


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How the guest ended. `code` is None for a guest ended by a signal or by emuleak's own budget.

    A crash names the signal, the address whose access failed (hexadecimal) and the stack at that moment.
    `stopped` is set when emuleak ended the run: which budget ran out, or that the user interrupted it.
    """

    code: int | None
    signal: int | None
    signal_name: str | UnsetType = UNSET
    address: str | UnsetType = UNSET
    stopped: str | UnsetType = UNSET
    stack: tuple[Frame, ...] | UnsetType = UNSET


class HeapSummary(msgspec.Struct, frozen=True, kw_only=True):
    """The heap's figures, counted as valgrind does with its exit-time frees off. All sizes in bytes as requested."""

    allocs: int
    frees: int
    bytes_allocated: int
    peak_bytes: int
    in_use_bytes: int
    in_use_blocks: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a run found. Two runs of the same program on the same input give the same bytes."""

    schema: str = SCHEMA
    program: str
    arguments: tuple[str, ...] = ()
    exit: Exit
    heap: HeapSummary
    incomplete: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
