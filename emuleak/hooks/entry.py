"""Strategy `entry`: the first instruction of the allocator's own functions, in whichever module defines them.

It sees every call that reaches the library's allocator: through stubs, through pointers, from -fno-plt code, from the
library itself, in static programs. What it cannot see is which way the call came. C++'s operators are hooked with it
(operators.py).
"""

from emuleak.entrypoints import NAMES
from emuleak.events import Op
from emuleak.hooks.base import is_c_library, served_functions
from emuleak.hooks.gate import Gate
from emuleak.hooks.operators import Operators
from emuleak.loader import Module, Process


class Entry:
    """See the module's docstring."""

    name = "entry"

    def install(self, process: Process, gate: Gate) -> None:
        """See HookStrategy."""

        def hook(module: Module) -> None:
            if is_c_library(module) and (location := module.address_of("__errno_location")):
                gate.errno_location(location)
            # Aliases share an address; the first name in NAMES is the public one and says what the function is.
            sites: dict[int, Op] = {}
            for name, site in served_functions(process, module).items():
                sites.setdefault(site, NAMES[name])
            for site, op in sites.items():
                gate.divert(site, op)

        process.listeners.append(hook)
        for module in process.modules:
            hook(module)
        Operators().install(process, gate)
