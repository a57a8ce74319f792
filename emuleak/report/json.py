"""The report as JSON, `emuleak-report/1`: written finding by finding, read back with one-line errors.

Keys stand in the order of the structs in document.py. `stack`, `allocated` and `freed` are always lists; `leak_kind`,
`access`, `size` and `address` are there only when they apply.
"""

import re
from pathlib import Path
from typing import TextIO

import msgspec
from msgspec import UNSET

from emuleak.errors import BadOption
from emuleak.report.document import SCHEMA, Finding, Report

_INDENT = 2
_FAMILY, _, _version = SCHEMA.partition("/")
_VERSION = int(_version)
_SURROGATE = re.compile("[\ud800-\udfff]")


class _Head(msgspec.Struct):
    """The part that every version of every document of ours has."""

    schema: str


def write(report: Report, out: TextIO) -> None:
    """Write the document. Only one finding at a time exists as text."""
    separator = "{\n"
    for name in Report.__struct_fields__:  # and not those that a subclass has besides
        value = getattr(report, name)
        if value is UNSET:
            continue
        out.write(f'{separator}  "{name}": ')
        separator = ",\n"
        if name == "findings":
            _write_findings(report.findings, out)
        else:
            out.write(indented(value, depth=1))
    out.write("\n}\n")


def _write_findings(findings: tuple[Finding, ...], out: TextIO) -> None:
    if not findings:
        out.write("[]")
        return
    separator = "[\n    "
    for finding in findings:
        out.write(separator)
        out.write(indented(finding, depth=2))
        separator = ",\n    "
    out.write("\n  ]")


def indented(value: object, depth: int) -> str:
    """The value as JSON whose lines after the first stand `depth` levels deep."""
    """A value as JSON whose lines after the first are indented for their place `depth` levels down."""
    try:
        compact = msgspec.json.encode(value)
    except UnicodeEncodeError:
        compact = msgspec.json.encode(_printable(msgspec.to_builtins(value)))
    text = msgspec.json.format(compact, indent=_INDENT).decode()
    # Inside a JSON string a line break is written \n, so each one here is layout.
    return text.replace("\n", "\n" + " " * (_INDENT * depth))


def _printable(value: object) -> object:
    """A file name need not be UTF-8; a JSON document must be. The odd bytes are written as \\xNN."""
    if isinstance(value, str):
        return _SURROGATE.sub(lambda match: f"\\x{ord(match[0]) & 0xFF:02x}", value)
    if isinstance(value, dict):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value


def read(path: str | Path) -> Report:
    """Read a report that `write` wrote, of this version or one that only added fields."""
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadOption(f"{path}: cannot read the report: {reason}") from None
    try:
        _check_schema(path, msgspec.json.decode(data, type=_Head).schema)
        return msgspec.json.decode(data, type=Report)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).partition("\n")[0]
        raise BadOption(f"{path}: not an emuleak report: {reason}") from None


def _check_schema(path: str | Path, schema: str) -> None:
    family, _, version = schema.partition("/")
    if family != _FAMILY or not version.isascii() or not version.isdigit():
        raise BadOption(f"{path}: not an emuleak report: its schema is {schema[:60]!r}, not {SCHEMA!r}")
    if int(version[:9]) > _VERSION:
        raise BadOption(f"{path}: written by a newer emuleak ({schema[:60]}; this one reads {SCHEMA}): upgrade emuleak")
