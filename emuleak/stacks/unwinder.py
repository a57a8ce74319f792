"""Return addresses by call-frame information.

Every rule is compiled once per return address; the simple ones (the CFA from rsp or rbp, which is nearly all) are also
given to the stub in the guest, which walks most stacks without coming here.
"""

import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from emuleak.arena import Arena
from emuleak.events import NO_STACK, Stack
from emuleak.loader import Module, Process
from emuleak.machine import DWARF_REGISTERS
from emuleak.memory import AddressSpace, Fault
from emuleak.stacks.cfi import RETURN_ADDRESS, BadCallFrameInfo, CallFrameInfo, Kind, Rule, Saved
from emuleak.stacks.expression import evaluate

MAX_FRAMES: Final = 128
_RBP, _RSP, _RIP = 6, 7, RETURN_ADDRESS
_REST_REGISTERS: Final = (3, 12, 13, 14, 15)  # rbx, r12-r15: what the gate saves besides
_CALLEE_SAVED: Final = (3, 6, 12, 13, 14, 15)
# A compiled rule: (CFA counts from rbp, offset of the CFA, offset of the saved rbp or None, next pc must be checked).
_Step = tuple[bool, int, int | None, bool]
_END: Final[_Step] = (False, 0, None, False)
_UNUSUAL: Final[_Step] = (True, 0, None, False)
# Without call-frame information: as if the function had set up a frame pointer, and only into known code.
_FRAME_POINTER: Final[_Step] = (True, 16, -16, True)


class LiveFrame(NamedTuple):
    """One call in progress: its stack words are those from `registers[7]`, its stack pointer, up to `cfa`.

    `pc` is the address to look up; `registers` what is known of them in this frame, by DWARF number; `saved` where it
    keeps its caller's registers, address by number. `cfa` is None where the stack could not be followed further.
    """

    pc: int
    registers: Mapping[int, int]
    cfa: int | None
    saved: Mapping[int, int]


class Unwinder:
    """Takes stacks of the guest. Rules are compiled once per return address."""

    def __init__(self, memory: AddressSpace, process: Process) -> None:
        self._memory = memory
        self._process = process
        self._steps: dict[int, _Step] = {}
        self._files: dict[str, CallFrameInfo | None] = {}
        process.listeners.append(self._module_added)

    def copy_for(self, memory: AddressSpace, process: Process) -> "Unwinder":
        """For a process that has a copy of this one's memory: what was compiled and read so far holds there, too."""
        copy = Unwinder(memory, process)
        copy._steps.update(self._steps)
        copy._files.update(self._files)
        return copy

    def capture(self, sp: int, bp: int, rest: Callable[[], tuple[int, ...]]) -> Stack:
        """The stack at the first instruction of a function: [sp] is its return address.

        `rest` gives rbx and r12-r15, which hardly any frame needs.
        """
        arena = next((arena for arena in self._memory.arenas if arena.base <= sp < arena.end and not sp & 7), None)
        if arena is None:
            return NO_STACK
        stack = self._walk_simple(sp, bp, arena)
        if stack is None:
            stack = [address + 1 for address in self._walk_any(sp, bp, arena, rest)]
        return struct.pack(f"<{len(stack)}Q", *stack)

    def rule(self, return_address: int) -> tuple[bool, int, int] | None:
        """(CFA is from rbp, its offset, offset of the saved rbp or 0) if the rule is as simple as that."""
        step = self._steps.get(return_address) or self._compile(return_address)
        if step is _END or step is _UNUSUAL or step[3]:
            return None
        return step[0], step[1], step[2] or 0

    def outermost(self, return_address: int) -> bool:
        """Whether the stack ends with this return address."""
        return (self._steps.get(return_address) or self._compile(return_address)) is _END

    def walk(self, registers: Mapping[int, int], *, exact: bool) -> tuple[int, ...]:
        """The addresses to look up, innermost first, from the given registers (16 is RIP), by every rule there is.

        `exact`: RIP is the instruction that was executing, not a return address.
        """
        return tuple(pc for pc, _ in self._frames(registers, exact=exact))

    def frames(self, registers: Mapping[int, int], *, exact: bool) -> list[LiveFrame]:
        """The calls in progress, innermost first; the arguments are those of `walk`."""
        found = list(self._frames(registers, exact=exact))
        cfas: list[int | None] = [*(known[_RSP] for _, known in found[1:]), None]
        return [
            LiveFrame(pc, known, cfa, self._save_area(pc, cfa)) for (pc, known), cfa in zip(found, cfas, strict=True)
        ]

    def _frames(self, registers: Mapping[int, int], *, exact: bool) -> Iterator[tuple[int, dict[int, int]]]:
        """Of each frame the address to look up and the registers."""
        known = dict(registers)
        for number in range(MAX_FRAMES):
            pc = known[_RIP] if exact else known[_RIP] - 1
            yield pc, known
            step = self._step_out(known, pc, innermost=number == 0)
            if step is None:
                return
            known, exact = step

    def _save_area(self, pc: int, cfa: int | None) -> dict[int, int]:
        rule = None if cfa is None else self._rule(pc)
        if rule is None or cfa is None:
            return {}
        return {
            register: cfa + value
            for register, kind, value in rule.saved
            if kind is Kind.OFFSET and isinstance(value, int)
        }

    # ---- the fast way: rules over rsp and rbp alone

    def _walk_simple(self, sp: int, bp: int, arena: Arena) -> list[int] | None:
        """The return addresses, or None if one needs an unusual rule. The stub does the same (stub.S, `walk`)."""
        words, base, end = arena.words, arena.base, arena.end
        pc = words[(sp - base) >> 3]
        cfa, stack = sp + 8, [pc]
        while len(stack) < MAX_FRAMES:
            step = self._steps.get(pc) or self._compile(pc)
            if step is _END:
                break
            if step is _UNUSUAL:
                return None
            from_bp, offset, bp_offset, check = step
            above = (bp if from_bp else cfa) + offset
            if not cfa < above <= end - 8 or above & 7:
                break
            pc = words[(above - 8 - base) >> 3]
            if pc == 0 or (check and self._process.module_at(pc - 1) is None):
                break
            if bp_offset is not None:
                bp = words[(above + bp_offset - base) >> 3]
            cfa = above
            stack.append(pc)
        return stack

    def _compile(self, pc: int) -> _Step:
        """The rule of a return address as a step, or why it is none."""
        step = self._steps[pc] = _compiled(self._rule(pc - 1))
        return step

    def _walk_any(self, sp: int, bp: int, arena: Arena, rest: Callable[[], tuple[int, ...]]) -> tuple[int, ...]:
        registers = dict(zip(_REST_REGISTERS, rest(), strict=True))
        registers |= {_RBP: bp, _RSP: sp + 8, _RIP: arena.words[(sp - arena.base) >> 3]}
        return self.walk(registers, exact=False)

    # ---- the general way

    def _step_out(self, known: dict[int, int], pc: int, *, innermost: bool) -> tuple[dict[int, int], bool] | None:
        """The caller's registers and whether its pc is exact; None at the end of the stack."""
        rule = self._rule(pc)
        try:
            if rule is None:
                return self._without_rule(known, pc, innermost=innermost)
            if rule.outermost:
                return None
            caller = self._apply(rule, known)
        except (BadCallFrameInfo, Fault, KeyError):
            # Corrupt rules, a corrupt stack, or a register nobody saved: what was found so far is true.
            return None
        if caller[_RIP] == 0 or caller[_RSP] <= known[_RSP]:
            return None
        return caller, rule.signal_frame

    def _without_rule(self, known: dict[int, int], pc: int, *, innermost: bool) -> tuple[dict[int, int], bool] | None:
        word, sp, bp = self._memory.word, known[_RSP], known.get(_RBP, 0)
        if innermost and self._process.module_at(pc) is None:
            # A call through a wild pointer: the caller's return address was pushed just now.
            caller = {**known, _RIP: word(sp), _RSP: sp + 8}
        elif bp >= sp and not bp & 7:
            caller = {_RIP: word(bp + 8), _RSP: bp + 16, _RBP: word(bp)}
        else:
            return None
        return (caller, False) if self._process.module_at(caller[_RIP] - 1) else None

    def _apply(self, rule: Rule, known: dict[int, int]) -> dict[int, int]:
        word = self._memory.word
        if rule.cfa_expression is not None:
            cfa = evaluate(rule.cfa_expression, known, word, None)
        else:
            cfa = known[rule.cfa_register] + rule.cfa_offset
        caller: dict[int, int] = {register: known[register] for register in _CALLEE_SAVED if register in known}
        caller[_RSP] = cfa
        if rule.return_address is not None:
            caller[_RIP] = word(cfa + rule.return_address)
        for saved in rule.saved:
            if saved.kind is Kind.UNDEFINED:
                caller.pop(saved.register, None)
            else:
                caller[saved.register] = self._recover(saved, known, cfa)
        return caller

    def _recover(self, saved: Saved, known: dict[int, int], cfa: int) -> int:
        """The caller's value of one register."""
        word, value = self._memory.word, saved.value
        if isinstance(value, bytes):
            found = evaluate(value, known, word, cfa)
            return word(found) if saved.kind is Kind.EXPRESSION else found
        if saved.kind is Kind.OFFSET:
            return word(cfa + value)
        if saved.kind is Kind.VAL_OFFSET:
            return cfa + value
        return known[saved.register if saved.kind is Kind.SAME_VALUE else value]

    def _rule(self, pc: int) -> Rule | None:
        module = self._process.module_at(pc)
        table = None if module is None else self._table_of(module)
        if module is None or table is None:
            return None
        try:
            return table.rule(pc - module.bias)
        except BadCallFrameInfo:
            return None

    def _table_of(self, module: Module) -> CallFrameInfo | None:
        if module.path not in self._files:
            try:
                self._files[module.path] = CallFrameInfo.open(module.path)
            except BadCallFrameInfo:
                self._files[module.path] = None
        return self._files[module.path]

    def _module_added(self, _module: Module) -> None:
        """Addresses may mean something else now: a library was unloaded and another took its place."""
        self._steps.clear()


def _compiled(rule: Rule | None) -> _Step:
    if rule is None:
        return _FRAME_POINTER
    if rule.outermost:
        return _END
    bp_offset: int | None = None
    for register, kind, value in rule.saved:
        if register == _RBP and kind is Kind.OFFSET and isinstance(value, int):
            bp_offset = value
        elif register == _RBP and kind is not Kind.SAME_VALUE:
            return _UNUSUAL
    if rule.cfa_register not in {_RBP, _RSP} or rule.return_address != -8 or rule.signal_frame:
        return _UNUSUAL
    return (rule.cfa_register == _RBP, rule.cfa_offset, bp_offset, False)


def dwarf_numbered(registers: tuple[int, ...]) -> dict[int, int]:
    """The machine's register tuple as a mapping by DWARF number."""
    return dict(zip(range(len(DWARF_REGISTERS)), registers, strict=True))


__all__ = ["MAX_FRAMES", "LiveFrame", "Unwinder", "dwarf_numbered"]
