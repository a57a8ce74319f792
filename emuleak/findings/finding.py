"""Frame and Finding: what a detector says, frozen, the same for every writer."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

LeakKind = Literal["definitely-lost", "indirectly-lost", "possibly-lost", "still-reachable"]
Owner = Literal["program", "library"]
Standing = Literal["new", "grown", "changed", "known"]


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
    given for misuse: the pointer handed to free or realloc, in hexadecimal. `offset` is for a damaged block: bytes from
    its end (overflow) or its start (underflow, write after free) to the first changed byte. `maker` names the function
    that made the block (`malloc`, `operator new[]`), `releaser` the one that was to release it; `thread` counts from 0
    and is given where the program had more than one. `chain` leads from a root to a block that is still reachable.
    `process` is given for a finding of another process than the first: its id, and how it came to be.
    `baseline` is given where the run was compared with an older report; `changed` there means a worse kind of leak.
    """

    kind: str
    leak_kind: LeakKind | UnsetType = UNSET
    access: Literal["read", "write"] | UnsetType = UNSET
    size: int | UnsetType = UNSET
    address: str | UnsetType = UNSET
    offset: int | UnsetType = UNSET
    maker: str | UnsetType = UNSET
    releaser: str | UnsetType = UNSET
    thread: int | UnsetType = UNSET
    process: str | UnsetType = UNSET
    bytes: int
    blocks: int
    owner: Owner = "program"
    why: str = ""
    chain: tuple[str, ...] | UnsetType = UNSET
    baseline: Standing | UnsetType = UNSET
    stack: tuple[Frame, ...] = ()
    allocated: tuple[Frame, ...] = ()
    freed: tuple[Frame, ...] = ()
