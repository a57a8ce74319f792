"""C++'s `operator new` and `operator delete`: hooked at their first instruction, wherever the C++ library has them.

That is libstdc++.so or libc++abi.so, or a program or plug-in into which one of them was linked. All calls arrive there:
through stubs, through pointers, from the library itself. So stubs need no hooks, and `new[]` is heard of as `new[]`,
not as the `new` that it calls.

What is made by a hooked operator must be released by a hooked one, or a mismatch would be told where there is none.
So all operators of a process are hooked or none:

- A program may replace any of them, and the library's others call those that it replaced ([new.delete]). Then it has
  its own way, and none are hooked. (operatorcode.py tells a replacement from the library's own.)
- The operators call malloc. Where that is not served, the program has an allocator of its own to which the operators
  belong. An allocator that is served (base.py) may bring all of them along, and then they are part of it.

Where a process has several C++ libraries some of which cannot be seen (a plug-in with a hidden or stripped one), malloc
and free that are called from there may be an operator's: `Unseen` says so, and the heap tells no mismatch.
"""

from functools import partial
from typing import Final

from emuleak.entrypoints import NAMES, OPERATORS
from emuleak.events import Event, Stack, is_operator, return_addresses
from emuleak.hooks.base import definer, is_c_library, search_scope, served_functions
from emuleak.hooks.gate import Gate
from emuleak.loader import Module, Process

# What the library's operators are made of.
_MALLOC: Final = ("malloc", "free", "aligned_alloc", "posix_memalign", "memalign")
# The linker's --wrap leads the operators of a static library to these.
_WRAPPED: Final = tuple(f"__wrap_{name}" for name in NAMES)
# The name of a class that every C++ library defines, as its type information has it: no symbol, so it cannot be
# stripped. Who only uses the library has `_ZTVN10...` among its undefined symbols.
_CXX_LIBRARY: Final = b"\0N10__cxxabiv117__class_type_infoE\0"
_LONGEST: Final = 1 << 10  # bytes of an operator's code where no other function follows it


class Operators:
    """See the module's docstring."""

    def install(self, process: Process, gate: Gate) -> None:
        """See HookStrategy."""

        def hook(added: Module) -> None:
            if not is_c_library(added) and not _operators(added):
                return
            scope = search_scope(process)
            if not _are_hookable(process, scope):
                return
            for module in scope:
                for name, site in _operators(module):
                    if not gate.is_diverted(site):
                        gate.divert_operator(site, partial(_end, module, site), OPERATORS[name])

        process.listeners.append(hook)


class Unseen:
    """Knows where malloc and free may have been called by an operator that is not hooked."""

    def __init__(self, process: Process, gate: Gate) -> None:
        self._process = process
        self._gate = gate
        self._libraries: dict[str, bool] = {}

    def explains(self, event: Event) -> bool:
        """Whether a mismatch is none, since one of the two functions may have been called by such an operator."""
        if event.problem != "mismatched-free" or event.block is None:
            return False
        sides = ((event.block.maker, event.block.stack), (event.op, event.stack))
        return any(not is_operator(op) and self._may_call(stack) for op, stack in sides)

    def _may_call(self, stack: Stack) -> bool:
        """Whether a call with this stack may be that of an operator, as far as its innermost frame tells."""
        caller = next(iter(return_addresses(stack)), 0)
        module = self._process.module_at(caller - 1)
        if module is None:
            return False
        operators = [site for _, site in _operators(module)]
        hooked = [site for site in operators if self._gate.is_diverted(site)]
        if len(hooked) < len(operators):
            return True
        if hooked:  # an original that is running (originals.py)
            return any(site < caller <= _end(module, site) for site in hooked)
        return self._has_library(module.path)

    def _has_library(self, path: str) -> bool:
        """Whether the C++ library is part of a file."""
        if path not in self._libraries:
            with open(path, "rb") as file:
                self._libraries[path] = _CXX_LIBRARY in file.read()
        return self._libraries[path]


def _operators(module: Module) -> list[tuple[str, int]]:
    """The operators that a module defines, by name, and where they are in the guest."""
    functions = module.image.functions
    return [(name, functions[name] + module.bias) for name in OPERATORS if name in functions]


def _end(module: Module, site: int) -> int:
    """Where the code of the function at `site` ends at the latest."""
    start = site - module.bias
    following = (address for address in module.image.functions.values() if address > start)
    return min(min(following, default=start + _LONGEST), start + _LONGEST) + module.bias


def _are_hookable(process: Process, scope: list[Module]) -> bool:
    """Whether all operators that the modules define are a library's own, and call a malloc that is served."""
    for module in scope:
        image = module.image
        replaced = image.replaced_operators and not _is_part_of_allocator(process, module)
        if replaced or (_operators(module) and any(name in image.functions for name in _WRAPPED)):
            return False
    if not any(is_c_library(module) for module in scope):
        return False
    owners = ((name, definer(scope, name)) for name in _MALLOC)
    return all(owner is None or name in served_functions(process, owner) for name, owner in owners)


def _is_part_of_allocator(process: Process, module: Module) -> bool:
    """Whether its operators are those of an allocator that is served: one that has them all."""
    functions = module.image.functions
    if "malloc" not in served_functions(process, module):
        return False
    return all(name in functions for name, op in OPERATORS.items() if not op.partition("aligned")[1])
