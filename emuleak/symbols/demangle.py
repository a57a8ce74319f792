"""Readable names for C++ and Rust symbols; C names stay as they are.

Written here rather than borrowed from the host's libstdc++, so that a report reads the same on every host and a hostile
symbol table meets no C code.
"""

import re
from functools import lru_cache

# What gcc and clang append to the name of a function of which they keep only a part or a variant.
CLONE = re.compile(
    r"(?:\.(?:cold|localalias|part|isra|constprop|lto_priv|clone|llvm|warm|hot|unlikely|__uniq|resolver)\b(?:\.\d+)*)+$"
)
RUST_HASH = re.compile(r"17h[0-9a-f]{16}E$")
RUST_ESCAPES = {
    "$SP$": "@", "$BP$": "*", "$RF$": "&", "$LT$": "<", "$GT$": ">", "$LP$": "(", "$RP$": ")", "$C$": ",",
}  # fmt: skip


def strip_clone(name: str) -> str:
    """Take `.cold`, `.part.0`, `.isra.0`, `.constprop.0` and the like off a symbol's name."""
    return CLONE.sub("", name) if "." in name else name


@lru_cache(maxsize=4096)
def demangle(name: str) -> str:
    """Give `Foo::bar(int)` for `_ZN3Foo3barEi`. A name that cannot be read comes back unchanged.

    The spelling is that of `addr2line -C` (GNU). Clone suffixes are dropped: `_Z3foov.cold` is `foo()`.
    Rust's legacy scheme loses its hash, and its v0 scheme (`_R...`) those of crates.
    """
    bare = strip_clone(name)
    if bare.startswith("_R"):
        return _rust_v0(bare)
    if not bare.startswith("_Z"):
        return bare
    if RUST_HASH.search(bare):
        rust = _rust(bare)
        if rust is not None:
            return rust
    from emuleak.symbols.itanium import Parser, Unreadable  # noqa: PLC0415 - C programs need no parser

    try:
        return Parser(bare).symbol()
    except (Unreadable, RecursionError):
        return bare


def _rust_v0(name: str) -> str:
    from emuleak.symbols.rustv0 import UnreadableRust, demangle_v0  # noqa: PLC0415 - for Rust programs only

    try:
        return demangle_v0(name.partition(".")[0])  # what follows a dot is the compiler's
    except (UnreadableRust, RecursionError):
        return name


def _rust(name: str) -> str | None:
    """Read `_ZN<length><identifier>...17h<hash>E`."""
    at, parts = 3, []
    while (digits := re.compile(r"\d{1,5}").match(name, at)) is not None:
        at = digits.end() + int(digits[0])
        parts.append(name[digits.end() : at])
    if name[at:] != "E" or len(parts) < 2:
        return None
    return "::".join(_rust_identifier(part) for part in parts[:-1])


def _rust_identifier(text: str) -> str:
    text = text.removeprefix("_") if text.startswith("_$") else text
    for escape, plain in RUST_ESCAPES.items():
        text = text.replace(escape, plain)
    text = re.sub(r"\$u([0-9a-f]{1,6})\$", lambda found: chr(min(int(found[1], 16), 0x10FFFF)), text)
    return text.replace("..", "::")
