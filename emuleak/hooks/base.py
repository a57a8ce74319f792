"""The protocol of a hooking strategy, and what the C library calls its allocator."""

from typing import Final, Protocol

from emuleak.events import OPS, Op
from emuleak.hooks.gate import Gate
from emuleak.loader import Module, Process

# Every name under which a C library offers its allocator, with what it does (glibc: malloc/malloc.c, last section).
NAMES: Final[dict[str, Op]] = {
    **{op: op for op in OPS},
    "cfree": "free",
    "__libc_malloc": "malloc",
    "__libc_calloc": "calloc",
    "__libc_realloc": "realloc",
    "__libc_free": "free",
    "__libc_memalign": "memalign",
    "__libc_reallocarray": "reallocarray",
    "__libc_valloc": "valloc",
    "__libc_pvalloc": "pvalloc",
    "__posix_memalign": "posix_memalign",
    "__malloc_usable_size": "malloc_usable_size",
}


class HookStrategy(Protocol):
    """Where the guest is stopped: installed once, then told of every module."""

    name: str

    def install(self, process: Process, gate: Gate) -> None:
        """Hook what is mapped and what will be: a strategy adds itself to `process.listeners`."""


def is_c_library(module: Module) -> bool:
    """Whether the module holds the C library: a libc.so, musl's ld.so, or a program linked statically with one."""
    return "__libc_start_main" in module.image.functions


def served_functions(module: Module) -> dict[str, int]:
    """The allocator functions of a C library by name, at guest addresses.

    A static program may define malloc itself beside the library's __libc_malloc: then the public names are the
    program's own, and only the `__libc_` ones are the library's. A static program that has `malloc` but no
    `__libc_malloc` defined it, too: the library's would have brought its alias along.
    """
    functions = module.image.functions
    own = {name: functions[name] + module.bias for name in NAMES if name in functions}
    if module.image.soname:
        return own
    if functions.get("malloc") == functions.get("__libc_malloc"):
        return own
    return {name: address for name, address in own.items() if name.startswith("__libc_")}
