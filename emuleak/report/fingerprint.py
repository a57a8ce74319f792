"""What a finding is called across runs: the same for one mistake in two builds, another for another mistake.

A fingerprint is a hash of what an unrelated edit leaves alone:

- the kind; of a leak its class, since which blocks are definitely and which possibly lost can hang on what the compiler
  keeps in a register; and the owner;
- the functions on each stack with the base names of their files. Where there is no file, the object's base name.

It leaves out what such an edit moves: lines, addresses, directories, sizes, the names of clones (`.constprop.0`), and
of a C++ name all but its last part, because an inlined function is known by that alone. And it leaves out two things
that depend on the input or on the machine:

- **Recursion.** Where a function of the program occurs twice on a stack, all between the two is a detour and is cut
  out: at whatever depth a tree's nodes are allocated, by whatever branch, it is one place. A fixed count of rounds is
  not enough, since mutual recursion hardly ever repeats itself exactly.
- **The insides of libraries.** Of a run of the C or C++ library's frames only the outermost stays, the function that
  the program called: the others change with the library and with its debug information.

So two places in one function have the same fingerprint. `Place.lines` tells them apart within one report, and
difference.py finds out which of them is which in another.
"""

import posixpath
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

from emuleak.report.document import Finding, Frame, LeakKind
from emuleak.report.stacktext import UNKNOWN, above_start, is_system
from emuleak.report.verdict import is_leak, leak_kind
from emuleak.symbols.demangle import strip_clone

# Raised when fingerprints change, for they are kept in other people's files.
_VERSION: Final = "emuleak-fingerprint/1"
_DIGEST_BYTES: Final = 8

LEAK_CLASSES: Final[dict[LeakKind, str]] = {
    "definitely-lost": "lost",
    "possibly-lost": "lost",
    "indirectly-lost": "indirect",
    "still-reachable": "reachable",
}

_STARTS_MAIN: Final = "__libc_start"
_OFFSET: Final = re.compile(r"\+0x[0-9a-f]+$")
_DECORATION: Final = re.compile(r"(?: \[clone [^\]]*\])+$|@@?[A-Z][\w.]*$")
_RUST_HASH: Final = re.compile(r"::h[0-9a-f]{16}$")
_OPERATOR: Final = re.compile(r"\boperator ?(\(\)|\[\]|[-<>=!+*/%&|^~,]+)")
_OPERATOR_NAME: Final = re.compile(r"\boperator\b.*")
_QUALIFIER: Final = re.compile(r"(?: const| volatile| noexcept| ?&&?)+$")
_OPEN, _CLOSE = "<([{", ">)]}"


class Place(msgspec.Struct, frozen=True):
    """Where a finding is: `site` names the functions alone, `lines` one position a frame of the program's own.

    A position is a line, or the address where no line is known. Places of one site have equally many.
    """

    site: str
    lines: tuple[int, ...]


def fingerprint(finding: Finding) -> str:
    """The finding's name across runs, 16 hexadecimal digits."""
    return fingerprint_at(finding, place(finding).site)


def fingerprint_at(finding: Finding, site: str) -> str:
    """The fingerprint of a finding whose site is known already: finding that out is most of the work."""
    kind = LEAK_CLASSES[leak_kind(finding)] if is_leak(finding) else ""
    return _digest((finding.kind, kind, finding.owner, site))


def fingerprints(findings: Sequence[Finding]) -> list[str]:
    """A name for each of a report's findings that tells two places with one fingerprint apart.

    The first in the source bears the fingerprint itself, the others `:2`, `:3` after it, by their lines; such a number
    changes when a finding before it comes or goes. Findings of one place share their name.
    """
    names: list[str] = []
    lines: list[tuple[int, ...]] = []
    for finding in findings:
        where = place(finding)
        names.append(fingerprint_at(finding, where.site))
        lines.append(where.lines)
    of_name: dict[str, set[tuple[int, ...]]] = {}
    for name, own in zip(names, lines, strict=True):
        of_name.setdefault(name, set()).add(own)
    ordinals = {
        (name, own): ordinal for name, all_ in of_name.items() for ordinal, own in enumerate(sorted(all_), start=1)
    }
    numbered = ((name, ordinals[name, own]) for name, own in zip(names, lines, strict=True))
    return [name if ordinal == 1 else f"{name}:{ordinal}" for name, ordinal in numbered]


def place(finding: Finding) -> Place:
    """Where the finding is, whatever its kind: by this a block that was reachable and is lost now is known again."""
    stacks = [_path(stack) for stack in (finding.stack, finding.freed, finding.allocated)]
    site = _digest([finding.kind, *("\n".join(_name(frame) for frame in stack) for stack in stacks)])
    return Place(site, tuple(_position(frame) for stack in stacks for frame in stack))


def _digest(parts: Iterable[str]) -> str:
    text = "\0".join((_VERSION, *parts))
    return blake2b(text.encode(errors="surrogateescape"), digest_size=_DIGEST_BYTES).hexdigest()


# ---- stacks


def _path(stack: Sequence[Frame]) -> list[Frame]:
    """The stack, innermost first, without libc's part below main, the insides of libraries, and detours."""
    return _without_detours(_without_insides(above_start(stack)))


def _without_insides(stack: Sequence[Frame]) -> list[Frame]:
    """Of each run of library frames the outermost; all where there is nothing else."""
    kept: list[Frame] = []
    for frame in stack:
        system = _is_system(frame)
        if system and bare_name(frame.function).startswith(_STARTS_MAIN):
            break  # a program without a symbol for main
        if system and kept and _is_system(kept[-1]):
            kept.pop()
        kept.append(frame)
    return kept if any(not _is_system(frame) for frame in kept) else list(stack)


def _without_detours(stack: Sequence[Frame]) -> list[Frame]:
    """The stack with each function of the program's own at most once: of two the inner, which led to the end."""
    path: list[tuple[object, Frame]] = []  # outermost first
    at: dict[object, int] = {}
    for frame in reversed(stack):
        key = None if _is_system(frame) else _identity(frame)
        if key in at:
            start = at[key]
            for detour, _ in path[start:]:
                at.pop(detour, None)
            del path[start:]
        if key is not None:
            at[key] = len(path)
        path.append((key, frame))
    return [frame for _, frame in reversed(path)]


def _identity(frame: Frame) -> object:
    """What tells whether two frames of one stack are of one function; without symbols only the address does."""
    unknown = frame.function in {UNKNOWN, ""} or _OFFSET.search(frame.function) is not None
    return (frame.object, frame.pc) if unknown else _name(frame)


def _position(frame: Frame) -> int:
    if _is_system(frame):
        return 0
    if frame.line is not None:
        return frame.line
    try:
        return int(frame.pc, 16)
    except ValueError:
        return 0


# ---- names


def _name(frame: Frame) -> str:
    return _naming(frame.function, frame.file, frame.object)[0]


def _is_system(frame: Frame) -> bool:
    return _naming(frame.function, frame.file, frame.object)[1]


@lru_cache(maxsize=1 << 14)
def _naming(function: str, file: str | None, object_: str) -> tuple[str, bool]:
    """What stands for a frame, and whether it is a library's; those next to main are on most stacks."""
    bare = bare_name(function)
    if is_system(Frame("", function, file, None, object_)):
        return bare.lstrip("_") or bare, True
    return f"{bare} {posixpath.basename(file or object_)}", False


@lru_cache(maxsize=1 << 14)
def bare_name(function: str) -> str:
    """The last part of a function's name, without parameters, template arguments and what compilers append.

    `mk` for `long* (anonymous namespace)::mk<long>(int) [clone .part.0]`: that is all a name in .debug_info says.
    """
    name = _RUST_HASH.sub("", strip_clone(_DECORATION.sub("", _OFFSET.sub("", function))))
    if not name.isidentifier():
        name = _last_part(name) or name
    return name


def _last_part(name: str) -> str:
    spelled = _OPERATOR.sub(lambda found: "operator" + "".join(f" {ord(char)}" for char in found[1]), name)
    depth, outside = 0, []
    for char in spelled:
        if char in _OPEN:
            depth += 1
        elif char in _CLOSE:
            depth = max(0, depth - 1)
        elif depth == 0:
            outside.append(char)
    parts = [part for part in _QUALIFIER.sub("", "".join(outside)).split("::") if part.strip()]
    if not parts:
        return ""
    operator = _OPERATOR_NAME.search(parts[-1])
    return operator[0].strip() if operator else parts[-1].split()[-1]
