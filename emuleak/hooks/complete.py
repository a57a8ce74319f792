"""Strategy `auto`, the default: PLT stubs of every module, and the allocator's entry for what passes by them."""

from emuleak.hooks.entry import Entry
from emuleak.hooks.gate import Gate
from emuleak.hooks.plt import Plt
from emuleak.loader import Process


class Complete:
    """See the module's docstring."""

    name = "auto"

    def install(self, process: Process, gate: Gate) -> None:
        """See HookStrategy."""
        Entry().install(process, gate)
        Plt().install(process, gate)
