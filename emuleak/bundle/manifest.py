"""The manifest of a bundle: what is in it, and where each file belongs.

A bundle is a ZIP archive: `manifest.json`, and the bytes of every file once, as `files/` and their SHA-256. Nothing in
it depends on when, where or by whom it was made, so the same files make the same bundle, byte for byte.
"""

import re
from typing import Final, Literal

import msgspec

from emuleak.errors import BadProgram

SCHEMA: Final = "emuleak-bundle/1"
MANIFEST: Final = "manifest.json"
FILES: Final = "files/"
SUFFIX: Final = ".emu"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# What Windows and macOS do not allow in a file's name, or take for something else.
_UNPORTABLE: Final = re.compile(r'[\x00-\x1f<>:"\\|?*]')

Role = Literal["program", "interpreter", "library", "data", "debug", "source"]
"""What a file is for. Those for debugging are read by emuleak, and not shown to the program."""
FOR_REPORTS: Final = frozenset(("debug", "source"))


class Entry(msgspec.Struct, frozen=True):
    """One file: its absolute path for the program, its permissions, its bytes; and what it says of its version."""

    path: str
    role: Role
    mode: int
    size: int
    sha256: str
    build_id: str = ""
    version: str = ""


class Manifest(msgspec.Struct, frozen=True):
    """All of it. `emuleak` is the version that made the bundle; `program` the path of the program in it."""

    program: str
    environment: dict[str, str]
    files: tuple[Entry, ...]
    emuleak: str
    schema: str = SCHEMA


def decoded(raw: bytes, name: str) -> Manifest:
    """The manifest in `raw`, checked: who made the bundle may be anybody. Raises BadProgram."""
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BadProgram(f"{name}: is no bundle of this version of emuleak: {error}") from None
    if manifest.schema != SCHEMA:
        raise BadProgram(f"{name}: is a bundle of another version of emuleak ({manifest.schema}, not {SCHEMA})")
    for entry in manifest.files:
        names = entry.path.split("/")
        sound = entry.path.startswith("/") and not {"", ".", ".."} & set(names[1:]) and "\0" not in entry.path
        if not sound or not _DIGEST.fullmatch(entry.sha256) or entry.size < 0:
            raise BadProgram(f"{name}: is corrupt: it names a file that cannot be; bundle the program again")
        if entry.role in FOR_REPORTS and _UNPORTABLE.search(entry.path):
            raise BadProgram(f"{name}: is corrupt: it names a file that cannot be; bundle the program again")
    if not any(entry.path == manifest.program and entry.role == "program" for entry in manifest.files):
        raise BadProgram(f"{name}: is corrupt: its program is not in it; bundle the program again")
    return manifest


def is_portable(path: str) -> bool:
    """Whether a file of that path can be made on any host."""
    names = path.split("/")
    return not _UNPORTABLE.search(path) and not any(name[-1:] in {".", " "} for name in names)
