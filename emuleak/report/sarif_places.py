"""Frames and stacks as SARIF's locations: URIs, regions, names of functions."""

import posixpath
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import quote

import msgspec

from emuleak.report.document import Frame
from emuleak.report.paper import clean
from emuleak.report.stacktext import UNKNOWN, above_start, short_path

ROOT = "SRCROOT"
Object = dict[str, object]


def artifact(path: str, cwd: str | None) -> Object:
    """Where a file is: below the working directory relative to it, so that the report fits every checkout."""
    path = posixpath.normpath(path)
    base = (cwd or "").rstrip("/") + "/"
    if cwd and path.startswith(base):
        path = path[len(base) :]
    uri = quote(path.encode("utf-8", "surrogateescape"))
    if path.startswith("/"):
        return {"uri": f"file://{uri}"}
    return {"uri": uri} if path.startswith("..") else {"uri": uri, "uriBaseId": ROOT}


def location(frame: Frame, cwd: str | None) -> Object:
    """The line of a frame, or its address in the program's or library's file where no line is known."""
    physical: Object = {}
    path = frame.file or frame.object
    if path:
        physical["artifactLocation"] = artifact(path, cwd)
    if frame.file is None:
        physical["address"] = {"absoluteAddress": int(frame.pc, 16)}
    elif frame.line:
        physical["region"] = {"startLine": frame.line}
    place: Object = {"physicalLocation": physical}
    if frame.function != UNKNOWN:
        place["logicalLocations"] = [{"fullyQualifiedName": clean(frame.function), "kind": "function"}]
    return place


def stack(frames: Sequence[Frame], text: str, cwd: str | None) -> Object:
    """A stack down to main, innermost first, with what it is the stack of."""
    return {"message": {"text": text}, "frames": [_frame(frame, cwd) for frame in above_start(frames)]}


@lru_cache(maxsize=1 << 14)  # the frames next to main are those of most stacks
def _frame(frame: Frame, cwd: str | None) -> msgspec.Raw:
    module = clean(posixpath.basename(frame.object))
    return msgspec.Raw(msgspec.json.encode({"location": location(frame, cwd), "module": module}))


def program(path: str, cwd: str | None) -> Object:
    """The place of a finding without a stack: the program as a whole."""
    return {"physicalLocation": {"artifactLocation": artifact(path, cwd)}, "message": {"text": short_path(path, cwd)}}
