"""Suppressions for what a report found, in the syntax that valgrind and emuleak both read.

    {
       definitely lost in main (article.c:9)
       Memcheck:Leak
       match-leak-kinds: definite
       fun:malloc
       fun:main
    }

Written as valgrind 3.19 would see the same stack: functions by the names of the symbol table, at most 24 lines.
"""

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec import UNSET

from emuleak.findings.suppression import ACCESSES, LEAK_KINDS, MISUSES
from emuleak.findings.suppression_view import SymbolNames, bare_name, no_symbols
from emuleak.report.document import Finding, Frame
from emuleak.report.paper import clean
from emuleak.report.stacktext import UNKNOWN, is_system, own_frame
from emuleak.report.verdict import is_leak, leak_kind, misuse_name

_LONGEST_STACK: Final = 24  # lines of a stack that valgrind reads at most
_SHORT: Final = {name: short for short, name in LEAK_KINDS.items()}
_KIND: Final = {found: kind for kind, kinds in reversed(MISUSES.items()) for found in kinds}
_SIZES: Final = {size: kind for kind, size in ACCESSES.items()}
# The allocator's frames, so that they stand for what valgrind makes of them.
_HEADS: Final = {
    "malloc": ("malloc",),
    "calloc": ("calloc",),
    "realloc": ("realloc",),
    "reallocarray": ("realloc", "..."),
    "memalign": ("memalign",),
    "posix_memalign": ("*memalign", "..."),
    "aligned_alloc": ("memalign",),
    "valloc": ("memalign",),
    "pvalloc": ("memalign",),
    "operator new": ("_Znw*",),
    "operator new[]": ("_Zna*",),
    "free": ("free",),
    "operator delete": ("_Zdl*",),
    "operator delete[]": ("_Zda*",),
}


def suppression_texts(findings: Iterable[Finding], symbol_names: SymbolNames = no_symbols) -> Iterator[str]:
    """One suppression for each finding that can have one; findings of which the same can be said share it."""
    said: set[tuple[str, ...]] = set()
    for finding in findings:
        body = tuple(_body(finding, symbol_names))
        if body and body not in said:
            said.add(body)
            lines = "".join(f"   {line}\n" for line in (_name(finding), *body))
            yield f"{{\n{lines}}}\n"


def _name(finding: Finding) -> str:
    what = leak_kind(finding).replace("-", " ") if is_leak(finding) else misuse_name(finding.kind)
    frame = own_frame(finding.stack)
    if frame is None:
        return clean(what)
    place = frame.file if frame.file is not None else frame.object
    line = f":{frame.line}" if frame.line is not None else ""
    return clean(f"{what} in {frame.function} ({posixpath.basename(place)}{line})")


def _body(finding: Finding, symbol_names: SymbolNames) -> Iterator[str]:
    """The kind and the stack; nothing for a kind that memcheck does not know, or without a stack."""
    kind = _kind(finding)
    stack = _stack(finding, symbol_names)
    if not kind or not any(line != "..." for line in stack):
        return
    yield f"Memcheck:{kind}"
    if is_leak(finding):
        yield f"match-leak-kinds: {_SHORT[leak_kind(finding)]}"
    yield from stack


def _kind(finding: Finding) -> str:
    if is_leak(finding):
        return "Leak"
    if finding.access is not UNSET and finding.size is not UNSET:
        return _SIZES.get(finding.size, "")
    kind = _KIND.get(finding.kind, "")
    return "" if kind == "FishyValue" else kind


def _stack(finding: Finding, symbol_names: SymbolNames) -> list[str]:
    if not finding.stack:
        return []
    lines = [*_head(finding), *(_line(frame, symbol_names) for frame in _told(finding.stack))]
    return lines[:_LONGEST_STACK]


def _head(finding: Finding) -> Sequence[str]:
    """The allocator's own frames."""
    if finding.access is not UNSET:
        return ()
    releasing = finding.kind in MISUSES["Free"] or finding.kind == "realloc-zero"
    function = finding.releaser if releasing else finding.maker
    if function is UNSET:
        return ("fun:*",)
    if releasing and function.startswith("realloc"):
        return ("fun:realloc", *(["..."] if function == "reallocarray" else ()))
    names = _HEADS.get(function.partition("(")[0], ("*",))
    return [name if name == "..." else f"fun:{name}" for name in names]


def _told(stack: Sequence[Frame]) -> Sequence[Frame]:
    """The stack without what the C library does to call main or a thread's function."""
    end = len(stack)
    while end and (stack[end - 1].function == "_start" or is_system(stack[end - 1])):
        end -= 1
    return stack[: end or len(stack)]


def _line(frame: Frame, symbol_names: SymbolNames) -> str:
    if frame.inlined:
        name = bare_name(frame.function)
        template, bracket, _ = name.partition("<")
        return f"fun:{template}<*" if bracket and template and not name.startswith("operator") else f"fun:{name}"
    name = next(iter(symbol_names(frame)), "")
    if name:
        bare, version, _ = name.partition("@")
        return f"fun:{bare}*" if version else f"fun:{bare}"
    known = frame.function != UNKNOWN and "+0x" not in frame.function
    if known:
        return f"fun:{frame.function}"
    return f"obj:*/{posixpath.basename(frame.object)}" if frame.object else "fun:*"
