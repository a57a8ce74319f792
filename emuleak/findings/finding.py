"""Frame and Finding: what a detector says, frozen, the same for every writer."""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

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
