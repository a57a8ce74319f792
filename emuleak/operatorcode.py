"""Is an `operator new` or `operator delete` the C++ library's own, or one that does something else?

Who may define them is anybody, and a static program's symbols do not say who did. But it does not matter either: an
operator that takes its memory from malloc, asks `std::get_new_handler` when there is none, throws what the standard
wants thrown, stores nothing and calls nothing else *does* what the library's does, and one call of the heap may stand
for it. So the code is read: from its first instruction along every jump, and the first one that may do anything else
makes it a replacement.
"""

from collections.abc import Callable, Mapping
from typing import Final

from emuleak.disasm import instructions, target_of
from emuleak.entrypoints import NAMES, OPERATORS
from emuleak.events import OPS, RELEASES_BY_CODE

_MAKERS: Final = frozenset(name for name, op in NAMES.items() if op not in {"free", "malloc_usable_size"})
_FREES: Final = frozenset(name for name, op in NAMES.items() if op == "free")
_NEWS: Final = frozenset(name for name, op in OPERATORS.items() if not RELEASES_BY_CODE[OPS.index(op)])
_DELETES: Final = frozenset(OPERATORS) - _NEWS
_HANDLER: Final = frozenset(("_ZSt15get_new_handlerv",))
_EXCEPTION: Final = frozenset(("__cxa_allocate_exception", "_ZNSt9bad_allocC1Ev", "_ZNSt9bad_allocC2Ev"))
_ENDS: Final = frozenset((
    *("__cxa_throw", "_ZSt17__throw_bad_allocv", "_Unwind_Resume", "__clang_call_terminate", "_ZSt9terminatev"),
    *("abort", "__stack_chk_fail"),
    *("_ZNSt3__117__throw_bad_allocEv", "_ZSt28__throw_bad_array_new_lengthv", "__cxa_throw_bad_array_new_length"),
))  # fmt: skip
_CALLED_BY_NEW: Final = (
    _MAKERS | _NEWS | _HANDLER | _EXCEPTION | {"__popcountdi2", "__cxa_begin_catch", "__cxa_end_catch"}
)

# Registers and flags alone: what else may stand in such a function.
_HARMLESS: Final = frozenset((
    *("endbr64", "nop", "mov", "movabs", "movzx", "movsxd", "lea", "push", "pop", "test", "cmp", "leave", "cdqe"),
    *("xor", "or", "and", "add", "sub", "adc", "sbb", "neg", "not", "inc", "dec", "shl", "shr", "sar", "popcnt", "bsr"),
    *("bsf", "lzcnt", "tzcnt", "andn", "blsr"),
))  # fmt: skip
_NO_STORE: Final = frozenset(("test", "cmp", "nop", "push"))
_GUARD: Final = "fs:[0x28]"  # what the stack protector compares
_LONGEST: Final = 400  # instructions
_WINDOW: Final = 1 << 10  # bytes that are read at a time
_END_OF_CODE: Final = frozenset(("ret", "ud2", "hlt", "int3"))

Read = Callable[[int, int], bytes]
"""The bytes that a file has at a link-time address, at most so many."""


def replacements(functions: Mapping[str, int], names: Mapping[int, frozenset[str]], read: Read) -> tuple[str, ...]:
    """Those of the operators among `functions` that do anything but what the library's do.

    `names` are all the names by which code may call or jump to an address: functions, stubs; or read a pointer there.
    One that the linker made one with another function, since their code is the same, counts among them: who calls
    there may mean either.
    """
    return tuple(
        name
        for name, address in functions.items()
        if name in OPERATORS and not (_is_alone(name, names[address]) and _Reader(name, names, read).own(address))
    )


def _is_alone(name: str, names: frozenset[str]) -> bool:
    return all(OPERATORS.get(other) == OPERATORS[name] for other in names)


class _Reader:
    """Follows the code of one operator."""

    def __init__(self, name: str, names: Mapping[int, frozenset[str]], read: Read) -> None:
        self._start = 0
        self._releases = name in _DELETES
        self._names = names
        self._read = read
        self._seen: set[int] = set()
        self._reached: set[str] = set()
        self._exception = False  # whether one is at hand to be filled in
        self._open: list[tuple[int, bool]] = []  # where to go on, and whether an exception is at hand there

    def own(self, address: int) -> bool:
        """Whether the code at `address` does what the library's does."""
        self._start = address
        self._open.append((address, False))
        while self._open:
            if not self._follow(*self._open.pop()):
                return False
        if self._releases:
            return bool(self._reached & (_FREES | _DELETES))
        # Only the library, or what is written exactly as it is, asks for the handler where there is no memory.
        return bool(self._reached & _NEWS) or bool(self._reached & _HANDLER and self._reached & _MAKERS)

    def _follow(self, address: int, exception: bool) -> bool:
        """One straight line of code up to where it ends; False when it does something else."""
        self._exception = exception
        for start, size, mnemonic, operands in instructions(self._read(address, _WINDOW), address):
            if start in self._seen:
                return True
            self._seen.add(start)
            plain = mnemonic.removeprefix("bnd ").removeprefix("notrack ")
            leads_on = plain == "call" or plain.startswith("j")
            verdict = self._instruction(plain, operands, target_of(operands, start + size) if leads_on else None)
            if verdict is not None:
                return verdict and len(self._seen) <= _LONGEST
        return False

    def _instruction(self, mnemonic: str, operands: str, target: int | None) -> bool | None:
        """True where the line ends with an instruction, False where it does something else, None where it goes on."""
        if mnemonic in _END_OF_CODE:
            return True
        if mnemonic == "call":
            called = self._called(target)
            self._exception = bool(called & _EXCEPTION)
            return True if called & _ENDS else None if self._may_call(operands, called) else False
        if mnemonic.startswith("j"):
            possible = self._may_jump(mnemonic, target)
            return None if possible and mnemonic != "jmp" else possible
        return None if _is_harmless(mnemonic, operands, self._exception) else False

    def _called(self, target: int | None) -> frozenset[str]:
        return frozenset() if target is None else self._names.get(target, frozenset())

    def _may_call(self, operands: str, called: frozenset[str]) -> bool:
        if not called:  # the new-handler, by a register
            return not self._releases and "[" not in operands and not operands.startswith("0x")
        self._reached |= called
        return bool(called & (_FREES | _DELETES if self._releases else _CALLED_BY_NEW))

    def _may_jump(self, mnemonic: str, target: int | None) -> bool:
        """A jump within the function, to its cold part, or the call of another one as the last act."""
        called = self._called(target)
        if mnemonic == "jmp" and called and not any(name.endswith(".cold") for name in called):
            return bool(called & _ENDS) or target == self._start or self._may_call("", called)
        if target is None:
            return False
        self._open.append((target, self._exception))
        return True


def _is_harmless(mnemonic: str, operands: str, exception: bool) -> bool:
    """Whether an instruction changes nothing but registers and the stack, or fills in the exception."""
    if mnemonic not in _HARMLESS and not mnemonic.startswith(("cmov", "set")):
        return False
    first = operands.partition(",")[0]
    if "[" not in first or mnemonic in _NO_STORE:
        return "fs:" not in operands.replace(_GUARD, "") and "gs:" not in operands
    return "[rsp" in first or "[rbp" in first or (exception and "rip" not in first)


def code_reader(segments: list[tuple[int, int, int]], data: bytes) -> Read:
    """A Read over a file's bytes; `segments` are (address, offset, bytes in the file)."""

    def read(address: int, size: int) -> bytes:
        for start, offset, length in segments:
            if start <= address < start + length:
                at = offset + address - start
                return data[at : min(at + size, offset + length)]
        return b""

    return read
