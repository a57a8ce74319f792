"""Strategy `plt`: the stubs in the procedure linkage table through which a module calls another module's function.

A stub is hooked only when the symbol it leads to is the C library's: ld.so binds a name to the first definition in the
order in which modules were loaded, so a program (or a preloaded library) that defines malloc itself keeps its stubs.
"""

from emuleak.entrypoints import NAMES
from emuleak.hooks.base import definer, is_c_library
from emuleak.hooks.gate import Gate
from emuleak.loader import Module, Process


class Plt:
    """See the module's docstring."""

    name = "plt"

    def install(self, process: Process, gate: Gate) -> None:
        """See HookStrategy."""
        scope: list[Module] = []
        served: set[str] = set()

        def hook(module: Module) -> None:
            if module is process.interpreter and not is_c_library(module):
                return  # glibc's ld.so comes last in the search order, whatever the order of mapping
            scope.append(module)
            if is_c_library(module):
                served.update(name for name in NAMES if definer(scope, name) is module)
                for earlier in scope:
                    _divert_stubs(earlier, served, gate)
            else:
                _divert_stubs(module, served, gate)

        process.listeners.append(hook)
        for module in process.modules:
            hook(module)


def _divert_stubs(module: Module, served: set[str], gate: Gate) -> None:
    for name in sorted(served):
        for stub in module.image.stubs.get(name, ()):
            gate.divert(stub + module.bias, NAMES[name])
