"""What the doctor found: frozen, and the same for the text and for JSON."""

from typing import Final

import msgspec

from emuleak.linking import Library

SCHEMA: Final = "emuleak-doctor/1"


class DebugInfo(msgspec.Struct, frozen=True):
    """Of one file: DWARF's versions; where it is (None: nowhere), and by what it was found when it is separate."""

    object: str
    dwarf: tuple[int, ...] = ()
    file: str | None = None
    found_by: str = ""


class Instructions(msgspec.Struct, frozen=True):
    """Instructions in one file that the emulated CPU does not have.

    `chosen`: the file asks the CPU, or has functions that are chosen when it is loaded, so they may never be reached.
    """

    object: str
    extensions: tuple[str, ...]
    count: int
    first: str
    chosen: bool


class Checkup(msgspec.Struct, frozen=True):
    """All of it. `missing` keeps the program from running as it should, `notes` are worth knowing."""

    program: str
    kind: str
    interpreter: str | None
    libraries: tuple[Library, ...]
    allocator: str
    debug: tuple[DebugInfo, ...]
    instructions: tuple[Instructions, ...]
    system_calls: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    schema: str = SCHEMA
