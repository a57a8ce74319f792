"""What holds a block, by the name that a programmer knows: a global, a thread's variable, a local of a running call.

Only what is certain is named; where the debug information does not tell, the name stays as broad as what is known: the
frame of a function, the data of a file.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from emuleak.findings.owner import is_library
from emuleak.findings.phrases import called, sited
from emuleak.findings.reachability import Root
from emuleak.findings.trail import occurrences

if TYPE_CHECKING:
    from emuleak.findings.frames import Symbolizer
    from emuleak.loader import Module, Process
    from emuleak.memory import AddressSpace
    from emuleak.stacks.unwinder import LiveFrame
    from emuleak.symbols.variables import Variable

_RBP, _RSP = 6, 7
_CALLEE_SAVED: Final = frozenset((3, 6, 12, 13, 14, 15))
_CONTROL_BLOCK: Final = 2304  # bytes of glibc's struct pthread (2.36), which starts at the thread pointer
# How a call ends without returning (longjmp, an exception, the end of its thread), by what a program has to import.
_JUMPS: Final = frozenset((
    *("longjmp", "_longjmp", "siglongjmp", "__longjmp_chk", "setcontext", "swapcontext", "pthread_exit", "thrd_exit"),
    *("pthread_cancel", "__cxa_throw", "__cxa_rethrow", "_Unwind_Resume", "_Unwind_ForcedUnwind"),
))  # fmt: skip
_LARGEST_FRAME: Final = 1 << 20  # bytes; what lies in a larger one is not searched for
_NUMBERED: Final = re.compile(r"\.\d+$")  # what compilers append to the name of a static local


class RunningThread(NamedTuple):
    """A thread at the end: its number from 0, the registers of its root in their order, its calls, innermost first."""

    number: int
    registers: Sequence[int]
    thread_pointer: int
    frames: "Sequence[LiveFrame]"


class Held(NamedTuple):
    """In which call a local lies: the thread's place in the list, the frame's in the thread."""

    thread: int
    frame: int


class Holder(NamedTuple):
    """A name for what holds a block.

    `text` tells all ("the local `p` of main() (a.c:7)"), `short` names the variable again ("`p`") or is the same.
    `pointee` is the type that the variable points to, as `Variables.in_block` takes it.
    """

    text: str
    short: str
    held: Held | None = None
    pointee: Any = None
    module: "Module | None" = None


class Holders:
    """Names the words of roots."""

    def __init__(
        self,
        process: "Process",
        symbolizer: "Symbolizer",
        threads: Sequence[RunningThread],
        memory: "AddressSpace",
    ) -> None:
        self._memory = memory
        self._process = process
        self._symbolizer = symbolizer
        self.threads = threads

    def name(self, root: Root, offset: int) -> Holder:
        """What the word at an offset in a root belongs to."""
        if root.holder == "registers":
            return self._register(root.address, offset // 8, root.data[offset : offset + 8])
        address = root.address + offset
        if root.holder == "data" and (module := self._process.module_at(address)) is not None:
            return self._static(module, address)
        return self._of_thread(address) or self._elsewhere(root, address)

    def local_with(self, value: int) -> Holder | None:
        """The innermost local variable that has the value: a better name than the register or frame found first."""
        wanted = value.to_bytes(8, "little")
        for place, thread in enumerate(self.threads):
            for number, frame in enumerate(thread.frames):
                start = frame.registers[_RSP]
                for at in occurrences(self._frame_words(frame), wanted):
                    found = self._local(Held(place, number), frame, start + at)
                    if found is not None:
                        return found
        return None

    def _frame_words(self, frame: "LiveFrame") -> bytes:
        """The bytes of a frame; none where a stack pointer gone wild makes it no part of a stack."""
        start, end = frame.registers[_RSP], frame.cfa
        region = self._memory.region_at(start)
        if region is None or end is None or not start < end <= min(region.end, start + _LARGEST_FRAME):
            return b""
        return bytes(self._memory.peek(start, end - start))

    def function(self, held: Held) -> str:
        """The function of a call."""
        return self._symbolizer.frames_at(self.threads[held.thread].frames[held.frame].pc)[-1].function

    def is_library(self, held: Held) -> bool:
        """Whether it is one of the C or C++ library's."""
        return is_library(self._symbolizer.frames_at(self.threads[held.thread].frames[held.frame].pc)[-1].object)

    def function_start(self, pc: int) -> tuple[str, int] | None:
        """Which function an address of code belongs to: its file and where it starts."""
        module = self._process.module_at(pc)
        if module is None:
            return None
        found = self._symbolizer.symbols(module).function_range(pc - module.bias)
        return None if found is None else (module.path, found[1])

    @cached_property
    def only_returns(self) -> bool:
        """Whether a call can end by returning alone: nothing of the program's jumps, throws or ends a thread."""
        modules = [module for module in self._process.modules if not is_library(module.path)]
        linked = self._process.interpreter is not None  # of a static program nobody says what it uses of its libc
        return linked and not any(_JUMPS & self._symbolizer.symbols(module).imported for module in modules)

    # ---- static data

    def static(self, address: int) -> Holder | None:
        """The global or static variable at an address."""
        module = self._process.module_at(address)
        return None if module is None else self._static(module, address)

    def _static(self, module: "Module", address: int) -> Holder:
        if is_library(module.path):
            return _plain(f"data of {module.name}", module)
        symbols = self._symbolizer.symbols(module)
        symbol = symbols.data_symbol(address - module.bias)
        variable = None if symbols.variables is None else symbols.variables.static(address - module.bias)
        if variable is not None:
            # The symbol knows the namespaces.
            return _variable(variable, "global", symbol and symbol[0], module)
        if symbol is None:
            return _plain(f"static data of {module.name}", module)
        return _symbol(symbol, "static variable" if _NUMBERED.search(symbol[0]) else "global", "", module)

    # ---- what belongs to a thread

    def _of_thread(self, address: int) -> Holder | None:
        for place, thread in enumerate(self.threads):
            name = self._thread_local(thread, address)
            if name is not None:
                return name
            frame = _frame_around(thread.frames, address)
            if frame is not None:
                return self._in_frame(Held(place, frame), address)
        return None

    def _thread_local(self, thread: RunningThread, address: int) -> Holder | None:
        below = thread.thread_pointer - address
        if -_CONTROL_BLOCK < below <= 0:
            return _plain(f"the C library's own record of {_thread(thread)}")
        sizes = [self._symbolizer.symbols(module).thread_local_size for module in self._process.modules]
        if not 0 < below <= sum(sizes):
            return None
        whose = f" of {_thread(thread)}"
        program = self._process.program
        if below > sizes[self._process.modules.index(program)]:
            return _plain(f"thread-local storage{whose}")
        symbols = self._symbolizer.symbols(program)
        offset = symbols.thread_local_size - below
        variable = None if symbols.variables is None else symbols.variables.thread_local(offset)
        symbol = symbols.thread_local_symbol(offset)
        if variable is not None:
            return _variable(variable, "thread-local variable", symbol and symbol[0], program, whose)
        if symbol is None:
            return _plain(f"thread-local storage{whose}", program)
        return _symbol(symbol, "thread-local variable", whose, program)

    def _register(self, place: int, number: int, word: bytes) -> Holder:
        thread = self.threads[place]
        if number >= len(thread.registers):
            return self._frame(Held(place, 0))  # a word of a leaf function's red zone
        register = thread.registers[number]
        value = int.from_bytes(word, "little")
        owner = 0 if register not in _CALLEE_SAVED else self._user_of(register, value, thread.frames, 0)
        if owner is None:
            return _plain(f"a register of {_thread(thread)}")
        return self._in_register(Held(place, owner))

    def _in_frame(self, held: Held, address: int) -> Holder:
        thread = self.threads[held.thread]
        frame = thread.frames[held.frame]
        saved = next((register for register, slot in frame.saved.items() if slot == address), None)
        if saved is not None and saved in _CALLEE_SAVED:
            user = self._user_of(saved, self._memory.word(address), thread.frames, held.frame + 1)
            return self._frame(held) if user is None else self._in_register(Held(held.thread, user))
        return self._local(held, frame, address) or self._frame(held)

    def _local(self, held: Held, frame: "LiveFrame", address: int) -> Holder | None:
        module = self._process.module_at(frame.pc)
        if module is None or frame.cfa is None or self.is_library(held):
            return None
        variables = self._symbolizer.symbols(module).variables
        if variables is None:
            return None
        rbp = frame.registers.get(_RBP)
        found = variables.local(frame.pc - module.bias, address - frame.cfa, None if rbp is None else rbp - frame.cfa)
        if found is None:
            return None
        name = _variable(found, "local", None, module, self._in_which(held), self.function(held))
        return name._replace(held=held)

    def _user_of(self, register: int, value: int, frames: "Sequence[LiveFrame]", first: int) -> int | None:
        """Which call, from `first` outwards, put `value` into a callee-saved register, if that is certain.

        It had to save what was there before. Where that is the same value, it may not have come to use the register,
        and the value is a caller's in any case, which will find it again.
        """
        for number in range(first, len(frames)):
            slot = frames[number].saved.get(register)
            if slot is not None and self._memory.word(slot) != value:
                return number
        return None

    def _in_register(self, held: Held) -> Holder:
        text = f"a register of {self._function_text(held)}"
        return Holder(text, text, held)

    def _frame(self, held: Held) -> Holder:
        text = f"the stack frame of {self._function_text(held)}"
        return Holder(text, text, held)

    def _function_text(self, held: Held) -> str:
        frame = self._symbolizer.frames_at(self.threads[held.thread].frames[held.frame].pc)[-1]
        library = self._process.module_at(int(frame.pc, 16)) if self.is_library(held) else None
        of = f" in {library.name}" if library is not None else ""
        return f"{called(frame.function)}{of}{self._in_which(held)}"

    def _in_which(self, held: Held) -> str:
        number = self.threads[held.thread].number
        return f" in thread {number}" if number else ""

    # ---- the rest

    def _elsewhere(self, root: Root, address: int) -> Holder:
        if root.holder == "mapping":
            return _plain("memory that the program mapped itself")
        if address >= self._process.stack_pointer:
            return _plain("the program's arguments and environment")
        return _plain("a stack")


def _frame_around(frames: "Sequence[LiveFrame]", address: int) -> int | None:
    for number, frame in enumerate(frames):
        if frame.cfa is not None and frame.registers[_RSP] <= address < frame.cfa:
            return number
    return None


def _thread(thread: RunningThread) -> str:
    return f"thread {thread.number}"


def _plain(text: str, module: "Module | None" = None) -> Holder:
    return Holder(text, text, None, None, module)


def _variable(
    found: "Variable", kind: str, qualified: str | None, module: "Module", whose: str = "", function: str = ""
) -> Holder:
    function = function or found.function
    name = found.name if function or qualified is None else qualified
    if found.function and kind == "global":
        kind = "static local"
    short = f"`{name}{found.part.path}`"
    of = f" of {called(function)}" if function and kind != "thread-local variable" else ""
    text = f"the {kind} {short}{of}{whose}{sited(found.file, found.line)}"
    return Holder(text, short, None, found.part.pointee, module)


def _symbol(symbol: tuple[str, int], kind: str, whose: str, module: "Module") -> Holder:
    name, offset = symbol
    short = f"`{_NUMBERED.sub('', name)}`"
    behind = f", {offset} bytes behind its start" if offset else ""
    return Holder(f"the {kind} {short}{whose}{behind}", short, None, None, module)
