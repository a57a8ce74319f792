"""The protocol of a hooking strategy, and whose the allocator's functions are."""

from typing import Protocol

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
