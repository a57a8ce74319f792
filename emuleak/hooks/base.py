"""The protocol of a hooking strategy, and whose the allocator's functions are."""

from typing import Literal, Protocol

from emuleak.entrypoints import NAMES
from emuleak.hooks.gate import Gate
from emuleak.loader import Module, Process


class HookStrategy(Protocol):
    """Where the guest is stopped: installed once, then told of every module."""

    name: str

    def install(self, process: Process, gate: Gate) -> None:
        """Hook what is mapped and what will be: a strategy adds itself to `process.listeners`."""


def search_scope(process: Process) -> list[Module]:
    """The modules in the order in which ld.so searches them for a name.

    glibc's ld.so, which comes last, is left out: what it defines libc defines before it. A plug-in comes after all
    that was there before: what `dlopen` keeps apart is not known here.
    """
    return [module for module in process.modules if module is not process.interpreter or is_c_library(module)]


def definer(scope: list[Module], name: str) -> Module | None:
    """The module whose definition of `name` ld.so binds to."""
    return next((module for module in scope if name in module.image.functions), None)


def is_c_library(module: Module) -> bool:
    """Whether the module holds the C library: a libc.so, musl's ld.so, or a program linked statically with one."""
    return "__libc_start_main" in module.image.functions


def served_functions(process: Process, module: Module) -> dict[str, int]:
    """The allocator functions of a module that emuleak's heap takes over, by name, at guest addresses.

    They are the C library's, and those of an allocator that the program brings along (jemalloc, tcmalloc, mimalloc, its
    own), as valgrind has it. One that is made of another malloc is the program's own business, and is called: what it
    asks the C library for is served. `process.own_malloc` may say otherwise.
    """
    functions = module.image.functions
    own = {name: functions[name] + module.bias for name in NAMES if name in functions}
    kind = allocator_kind(process, module)
    if kind == "library" or (kind == "whole" and process.own_malloc != "keep"):
        return own
    if kind == "wrapper" and process.own_malloc == "serve":
        return own
    if is_c_library(module):  # a static program that defines malloc itself: the other names are the library's
        return {name: address for name, address in own.items() if name.startswith("__libc_")}
    return {}


AllocatorKind = Literal["", "library", "whole", "wrapper"]


def allocator_kind(process: Process, module: Module) -> AllocatorKind:
    """Whose malloc a module defines: none, the C library's, one of its own, or one that calls another malloc.

    A static program may define malloc itself beside the library's. glibc's brings an alias __libc_malloc along, which
    lies elsewhere then; musl's is a function that only jumps on, and has a local name besides.
    """
    functions = module.image.functions
    if is_c_library(module):
        if module is not process.program or module.image.soname:
            return "library"
        malloc, alias = functions.get("malloc"), functions.get("__libc_malloc")
        if malloc == alias or malloc == functions.get("default_malloc"):
            return "library"
        return "whole" if alias is None else "wrapper"
    if module is process.interpreter or "malloc" not in functions or "free" not in functions:
        return ""
    return "wrapper" if module.image.wraps_malloc else "whole"
