"""A finding as valgrind would have seen it: with the allocator's frames on top and the names of symbol tables.

valgrind calls functions what the symbol table calls them, C++ mangled; a function that was inlined by its name alone,
without its class and parameters. Its replacement of the allocator is a frame of its own, and some of its functions call
one another.
"""

import os
import posixpath
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from msgspec import UNSET

from emuleak.findings.finding import Finding, Frame
from emuleak.findings.suppression import FrameView, View

SymbolNames = Callable[[Frame], tuple[str, ...]]
"""All names that the symbol table has for the function at a frame, the one that valgrind would choose first."""

_WRAPPER: Final = "/usr/libexec/valgrind/vgpreload_memcheck-amd64-linux.so"
_BELOW_MAIN: Final = ("__libc_start_main", "__libc_start_call_main", "generic_start_main")

_NEW: Final = ("_Znwm", "_ZnwmRKSt9nothrow_t", "_ZnwmSt11align_val_t", "_ZnwmSt11align_val_tRKSt9nothrow_t",
               "__builtin_new", "builtin_new")  # fmt: skip
_NEW_ARRAY: Final = ("_Znam", "_ZnamRKSt9nothrow_t", "_ZnamSt11align_val_t", "_ZnamSt11align_val_tRKSt9nothrow_t",
                     "__builtin_vec_new", "builtin_vec_new")  # fmt: skip
_DELETE: Final = ("_ZdlPv", "_ZdlPvm", "_ZdlPvRKSt9nothrow_t", "_ZdlPvSt11align_val_t", "_ZdlPvmSt11align_val_t",
                  "_ZdlPvSt11align_val_tRKSt9nothrow_t", "__builtin_delete")  # fmt: skip
_DELETE_ARRAY: Final = ("_ZdaPv", "_ZdaPvm", "_ZdaPvRKSt9nothrow_t", "_ZdaPvSt11align_val_t",
                        "_ZdaPvmSt11align_val_t", "_ZdaPvSt11align_val_tRKSt9nothrow_t",
                        "__builtin_vec_delete")  # fmt: skip

# What stands above the caller in valgrind's stack, innermost first, each frame with its names. A function whose
# last act is to call another one may leave no frame.
_Heads = tuple[tuple[tuple[str, ...], ...], ...]
_MAKERS: Final[dict[str, _Heads]] = {
    "malloc": ((("malloc",),),),
    "calloc": ((("calloc",),),),
    "realloc": ((("realloc",),),),
    "reallocarray": ((("realloc",),), (("realloc",), ("reallocarray",))),
    "posix_memalign": ((("posix_memalign",),), (("memalign",), ("posix_memalign",))),
    **{
        name: (((name,),), (("memalign",),), (("memalign",), (name,)))  # memcheck's versions differ
        for name in ("aligned_alloc", "valloc", "pvalloc")
    },
    "memalign": ((("memalign",),),),
    "operator new": ((("operator new", *_NEW),),),
    "operator new[]": ((("operator new[]", *_NEW_ARRAY),),),
}
_RELEASERS: Final[dict[str, _Heads]] = {
    "free": ((("free", "cfree"),),),
    "realloc": ((("realloc",),),),
    "reallocarray": ((("realloc",),), (("realloc",), ("reallocarray",))),
    "operator delete": ((("operator delete", *_DELETE),),),
    "operator delete[]": ((("operator delete[]", *_DELETE_ARRAY),),),
}
_ANY_MAKER: Final = tuple(dict.fromkeys(head for heads in _MAKERS.values() for head in heads))
_FREES: Final = tuple(head for name, heads in _RELEASERS.items() if "alloc" not in name for head in heads)
_ANY_REALLOC: Final = (*_RELEASERS["realloc"], *_RELEASERS["reallocarray"])


def no_symbols(_frame: Frame) -> tuple[str, ...]:
    """For a report whose program is not at hand: there are no names but those in the report."""
    return ()


def view(finding: Finding, symbol_names: SymbolNames = no_symbols) -> View:
    """The finding as suppressions see it."""
    callers = tuple(_frame(frame, symbol_names) for frame in finding.stack)
    heads = [tuple(FrameView(names, (_WRAPPER,)) for names in head) for head in _heads(finding)]
    return View(finding, tuple((*head, *callers) for head in heads))


def _heads(finding: Finding) -> _Heads:
    """The frames of the allocator that valgrind may have above the finding's stack."""
    match finding.kind:
        case "leak" | "invalid-size" | "invalid-alignment":
            return _MAKERS.get(_plain(finding.maker), _ANY_MAKER)
        case "invalid-realloc" | "realloc-zero":
            return _RELEASERS.get(_plain(finding.releaser), _ANY_REALLOC)
        case "double-free" | "invalid-free" | "mismatched-free":
            return _RELEASERS.get(_plain(finding.releaser), _FREES)
    return ((),)


def _plain(function: object) -> str:
    """`operator new` for `operator new(unsigned long)`; the empty text where nothing is known."""
    return "" if function is UNSET else str(function).partition("(")[0].removeprefix("__libc_")


def _frame(frame: Frame, symbol_names: SymbolNames) -> FrameView:
    names = [frame.function]
    if frame.inlined:
        names.append(bare_name(frame.function))
    else:
        names += symbol_names(frame)
    if any(name.startswith(_BELOW_MAIN) for name in names):
        names.append("(below main)")
    files = [] if frame.file is None else [posixpath.basename(frame.file), frame.file]
    if frame.line is not None:
        files += [f"{file}:{frame.line}" for file in files]
    return FrameView(tuple(dict.fromkeys(names)), _objects(frame.object), tuple(files))


@lru_cache(maxsize=256)
def _objects(path: str) -> tuple[str, ...]:
    """An object under its own name and under that by which valgrind knows it: absolute, without symbolic links."""
    return tuple(dict.fromkeys((path, os.path.abspath(path), os.path.realpath(path)))) if path else ()


# ---- the name of an inlined function

_OPENING: Final = {"(": ")", "<": ">", "{": "}", "[": "]"}


def bare_name(function: str) -> str:
    """`bar` for `ns::Foo<int>::bar(char) const`, `min<int>` for `int const& std::min<int>(int const&, int const&)`.

    It is the name that DWARF gives a function beside its class, its parameters and its result.
    """
    level, start, end = 0, 0, len(function)
    position = 0
    while position < end:
        if level == 0 and function.startswith("operator", position) and _starts_a_word(function, position):
            return function[position : _end_of_operator(function, position + len("operator"))]
        character = function[position]
        if level == 0 and character == "(" and not function.startswith("(anonymous", position):
            return function[start:position]
        if character in _OPENING:
            level += 1
        elif level and character in _OPENING.values():
            level -= 1
        elif level == 0 and character in ": ":
            start = position + 1
        position += 1
    return function[start:]


def _starts_a_word(text: str, position: int) -> bool:
    return position == 0 or not (text[position - 1].isalnum() or text[position - 1] == "_")


def _end_of_operator(function: str, position: int) -> int:
    """Where the parameters of an operator begin: its own name may be `()` or have brackets."""
    if function.startswith("()", position):
        return position + 2
    found = function.find("(", position)
    return found if found >= 0 else len(function)
