"""Whose malloc the program will use, and whether emuleak will serve it. See hooks/entry.py for who is served."""

import os
from collections.abc import Sequence
from typing import Final

from emuleak.elf import Image
from emuleak.entrypoints import OPERATORS

_KNOWN: Final = {
    "jemalloc": ("mallocx", "je_malloc", "rallocx"),
    "tcmalloc": ("tc_malloc", "MallocExtension_GetStats"),
    "mimalloc": ("mi_malloc",),
}


def allocator_of(program: Image, libraries: Sequence[Image], *, go: bool) -> tuple[str, list[str]]:
    """A line on the allocator, and what is missing because of it."""
    if go:
        return "Go's own: its objects are collected, not freed; only what C code in it allocates is seen", []
    order = (program, *libraries)
    owner = next((image for image in order if "malloc" in image.functions), None)
    if owner is None:
        if program.interpreter:
            return "none of the libraries defines malloc: nothing to check", []
        if program.has_symbol_table:
            return "the program has no malloc: nothing to check", []
        return "unknown", ["a static program without symbols: its malloc cannot be found, and its heap not checked"]
    name = os.path.basename(owner.path)
    if _is_libc(owner, program):
        return f"{_flavour(owner)}'s malloc in {name}: served and checked{_operators(order)}", []
    own = next((brand for brand, marks in _KNOWN.items() if any(mark in owner.functions for mark in marks)), "")
    words = f"{own or 'its own'} malloc in {name}: kept, so blocks that come from it are not checked"
    return words + "; what calls __libc_malloc directly is", []


def _is_libc(image: Image, program: Image) -> bool:
    """libc's malloc has the alias __libc_malloc beside it, in glibc and in musl from 1.2.2 on."""
    names = image.functions
    if image is not program:
        return (image.soname or os.path.basename(image.path)).startswith(("libc.so", "libc.musl", "ld-musl"))
    return "__libc_malloc" in names and names["__libc_malloc"] in {names["malloc"], names.get("__malloc", 0)}


def _flavour(image: Image) -> str:
    glibc = "gnu_get_libc_version" in image.functions or "__libc_enable_secure" in image.functions
    return "glibc" if glibc or image.soname == "libc.so.6" else "musl" if "musl" in image.path else "libc"


def _operators(order: Sequence[Image]) -> str:
    replaced = sorted({name for image in order for name in image.replaced_operators if name in OPERATORS})
    return f"; its own operators new and delete ({len(replaced)}) are kept" if replaced else ""
