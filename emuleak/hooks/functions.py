"""Functions that emuleak gives to the guest: those of LeakSanitizer's interface.

A program that is linked without LeakSanitizer imports them weakly or defines empty ones. An import is resolved before
ld.so looks at it: the module's own symbol table is made to say that the symbol is local to the module, and where it
lies (glibc: elf/dl-machine.h; musl: do_relocs; both ask a local symbol nothing more). So every relocation comes out
right, in whatever way the module was linked. A definition gets a breakpoint on its first instruction.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Final

from emuleak.hooks.breakpoints import Breakpoints
from emuleak.loader import Module
from emuleak.machine import PAGE_FAULT, Machine
from emuleak.memory import EXEC, PAGE, READ, AddressSpace, Fault, Region

_UNDEFINED: Final = bytes(2)
_LOCAL_FUNCTION: Final = 2  # STB_LOCAL, STT_FUNC
_HIDDEN: Final = 2  # STV_HIDDEN: a lazy call, too, looks no further
_ANY_SECTION: Final = 1
_ENTRY: Final = struct.Struct("<BBHQ")  # of an Elf64_Sym, what follows the name
_SPACING: Final = 16
_MASK: Final = (1 << 64) - 1

Function = Callable[[int, int], int | None]
"""Gets the first two arguments; returns what goes into RAX, or None to leave that as it is."""


class Functions:
    """Owner of the page with the entries of the functions, by name; `page`: where a copy of a memory has it, or 0."""

    def __init__(
        self,
        breakpoints: Breakpoints,
        machine: Machine,
        memory: AddressSpace,
        functions: Mapping[str, Function],
        page: int = 0,
    ) -> None:
        self._breakpoints = breakpoints
        self._machine = machine
        self._memory = memory
        self._functions = functions
        if not page:
            page = memory.find_hole(PAGE)
            memory.map(Region(page, page + PAGE, READ | EXEC, "gate"))
        self.page = page
        self._entries = {name: page + _SPACING * number for number, name in enumerate(functions)}
        for name, entry in self._entries.items():
            breakpoints.always(entry, self._called(functions[name]))

    def provide(self, module: Module) -> None:
        """Give them to a module that was mapped just now, or that has them in a copy of a memory."""
        if not self._breakpoints.hooks_in_place:
            self._resolve(module)
        for name, function in self._functions.items():
            if (site := module.address_of(name)) is not None:
                self._breakpoints.always(site, self._called(function))

    def _resolve(self, module: Module) -> None:
        for name, place in module.image.lsan_imports.items():
            symbol, entry = place + module.bias, self._entries.get(name)
            if entry is not None and bytes(self._memory.peek(symbol + 6, 2)) == _UNDEFINED:
                value = entry - module.bias & _MASK
                self._memory.poke(symbol + 4, _ENTRY.pack(_LOCAL_FUNCTION, _HIDDEN, _ANY_SECTION, value))

    def _called(self, function: Function) -> Callable[[], None]:
        def called() -> None:
            machine = self._machine
            stack = machine.get("rsp")
            try:
                back = self._memory.word(stack)
            except Fault as fault:
                machine.raise_exception(PAGE_FAULT, fault.address, "read")
                return
            result = function(machine.get("rdi"), machine.get("rsi"))
            if result is not None:
                machine.set("rax", result & _MASK)
            machine.set("rsp", stack + 8)
            machine.set("rip", back)

        return called
