"""Where a program comes from: the kind of its file, its language, its C library, by what compilers leave in it."""

import re
from typing import Final

from emuleak.elf import Image
from emuleak.symbols.objectfile import ObjectFile

_RUSTC: Final = re.compile(rb"rustc version (\S+)")
_MOST_COMMENT: Final = 1 << 16


def kind_of(image: Image, file: ObjectFile) -> str:
    """One line: dynamic, static-pie or static; language; C library."""
    linked = "dynamic" if image.interpreter else "static" if image.fixed else "static-pie"
    place = "linked at a fixed address" if image.fixed and image.interpreter else ""
    stripped = "" if image.has_symbol_table else "stripped"
    words = [f"{linked} x86-64 ELF program", language_of(image, file), libc_of(image), place, stripped]
    return ", ".join(word for word in words if word)


def language_of(image: Image, file: ObjectFile) -> str:
    """The language, where its compiler left a mark: `Go`, `Rust 1.63.0`, `C++`, `OCaml`; empty for C and others."""
    if is_go(image, file):
        return "Go"
    if match := _RUSTC.search(file.contents(".comment")[:_MOST_COMMENT]):
        return f"Rust {match[1].decode(errors='replace')}"
    if any(name.startswith(("rust_eh_personality", "__rust_alloc")) for name in image.functions):
        return "Rust"
    if "caml_main" in image.functions or "caml_startup" in image.functions:
        return "OCaml"
    if any(name.startswith(("libstdc++", "libc++")) for name in image.needed):
        return "C++"
    return "C++" if any(name.startswith("_ZNSt") for name in image.functions) else ""


def is_go(image: Image, file: ObjectFile) -> bool:
    """Whether Go's compiler made it."""
    return file.section(".go.buildinfo") is not None or "runtime.mallocgc" in image.functions


def libc_of(image: Image) -> str:
    """The C library that it was linked with, as far as can be seen."""
    if "musl" in image.interpreter:
        return "musl"
    if image.interpreter:
        return "glibc" if "ld-linux" in image.interpreter else f"loaded by {image.interpreter}"
    if "__libc_start_main" in image.functions:
        glibc = {"__libc_malloc", "_IO_puts", "__libc_setup_tls"} & image.functions.keys()
        return "glibc inside" if glibc else "musl inside" if "__init_libc" in image.functions else ""
    return ""
