"""What memcheck 3.19 calls each finding: the kind that a tool switches on and the sentence that goes with it.

Newer releases of valgrind have kinds of their own for sizes and alignments. Tools written before those fail on a kind
that they do not know, so here such findings are what memcheck 3.19 has for an argument that makes no sense: FishyValue.
"""

from msgspec import UNSET

from emuleak.report.document import Finding, LeakKind
from emuleak.report.verdict import misuse_name

LEAKS: dict[LeakKind, tuple[str, str]] = {
    "definitely-lost": ("Leak_DefinitelyLost", "definitely lost"),
    "indirectly-lost": ("Leak_IndirectlyLost", "indirectly lost"),
    "possibly-lost": ("Leak_PossiblyLost", "possibly lost"),
    "still-reachable": ("Leak_StillReachable", "still reachable"),
}
MISUSE: dict[str, str] = {
    "double-free": "InvalidFree",
    "invalid-free": "InvalidFree",
    "invalid-realloc": "InvalidFree",
    "mismatched-free": "MismatchedFree",
    "use-after-free": "InvalidRead",
    "heap-overflow": "InvalidWrite",
    "heap-underflow": "InvalidWrite",
    "write-after-free": "InvalidWrite",
    "invalid-size": "FishyValue",
    "invalid-alignment": "FishyValue",
    "realloc-zero": "FishyValue",
}
_OTHER = "ClientCheck"
_WHAT = {
    "InvalidFree": "Invalid free() / delete / delete[] / realloc()",
    "MismatchedFree": "Mismatched free() / delete / delete []",
}
_ACCESSES = {"read": "InvalidRead", "write": "InvalidWrite"}
_SIGN = 1 << 63


def kind_of(finding: Finding) -> str:
    """The kind of a misuse; an access is a read or a write whatever it hit."""
    if finding.access is not UNSET:
        return _ACCESSES[finding.access]
    return MISUSE.get(finding.kind, _OTHER)


def what_of(finding: Finding) -> str:
    """The sentence of a misuse."""
    kind = kind_of(finding)
    if kind in _WHAT:
        return _WHAT[kind]
    if kind in {"InvalidRead", "InvalidWrite"}:
        size = f" of size {finding.size}" if finding.size is not UNSET else ""
        return f"Invalid {kind.removeprefix('Invalid').lower()}{size}"
    if kind == "FishyValue":
        return _fishy(finding)
    return misuse_name(finding.kind).capitalize()


def _fishy(finding: Finding) -> str:
    maker = finding.maker if finding.maker is not UNSET else "malloc"
    if finding.kind == "realloc-zero":
        return "Argument 'size' of function realloc has a fishy value: 0"
    if finding.kind == "invalid-alignment":
        return f"Argument 'alignment' of function {maker} has a fishy value"
    asked = finding.size if finding.size is not UNSET else finding.bytes
    signed = asked - 2 * _SIGN if asked >= _SIGN else asked
    return f"Argument 'size' of function {maker} has a fishy (possibly negative) value: {signed}"


def where_of(finding: Finding) -> str:
    """Where the address of a misuse lies, as far as the report knows: the sentence before the block's own stack."""
    address = f"Address {finding.address}" if finding.address is not UNSET else "It"
    state = "free'd" if finding.freed else "alloc'd"
    if not finding.freed and not finding.allocated:
        return finding.why or f"{address} is not stack'd, malloc'd or (recently) free'd"
    return f"{address} is {_offset(finding)} a block of size {finding.bytes:,} {state}"


def _offset(finding: Finding) -> str:
    if finding.kind in {"double-free", "mismatched-free"}:
        return "0 bytes inside"
    position = {"heap-overflow": "after", "heap-underflow": "before"}.get(finding.kind, "inside")
    return position if finding.offset is UNSET else f"{finding.offset:,} bytes {position}"
