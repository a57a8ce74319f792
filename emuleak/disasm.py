"""What instructions say. The only import of capstone."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capstone import Cs

_engines: "dict[bool, Cs]" = {}
_IMPLIED = {"push": ("rsp", -8), "call": ("rsp", -8), "pop": ("rsp", 0), "ret": ("rsp", 0), "leave": ("rbp", 0)}


def _engine(*, detail: bool = False) -> "Cs":
    """The disassembler; `detail` tells operands and registers, too. It has no state of its own."""
    if detail not in _engines:
        # Imported late: 70 ms that most runs need not pay.
        from capstone import CS_ARCH_X86, CS_MODE_64, Cs  # noqa: PLC0415

        _engines[detail] = Cs(CS_ARCH_X86, CS_MODE_64)
        _engines[detail].detail = detail
    return _engines[detail]


def instructions(code: bytes, address: int) -> Iterator[tuple[int, int, str, str]]:
    """The instructions of `code`, which lies at `address`, up to what is none: where, bytes, mnemonic, operands."""
    yield from _engine().disasm_lite(code, address)


def direct_jumps(code: bytes, address: int) -> Iterator[tuple[int, int]]:
    """Every jump in `code` (which lies at `address`) whose target is in the instruction: (where, target).

    For `jmp *slot(%rip)` the target is the slot's address.
    """
    for start, size, mnemonic, operands in instructions(code, address):
        target = target_of(operands, start + size) if mnemonic.removeprefix("bnd ").startswith("j") else None
        if target is not None:
            yield start, target


def target_of(operands: str, following: int) -> int | None:
    """Where a call or jump before the address `following` leads, or where the pointer lies that it goes through.

    None where a register decides.
    """
    if operands.startswith("0x"):
        return int(operands, 16)
    if not operands.startswith("qword ptr [rip"):
        return None
    sign, _, offset = operands.partition("rip")[2].strip("]").strip().partition(" ")
    return following + int(f"{sign}{offset}", 16)


def memory_accesses(code: bytes, address: int, register: Callable[[str], int]) -> list[tuple[int, int]]:
    """What the instruction at `address`, whose bytes `code` begins with, may access: (guest address, bytes).

    `register` gives a register's value by its name; it is only asked for 64-bit ones. No instruction: nothing.
    """
    from capstone.x86_const import X86_OP_MEM  # noqa: PLC0415

    engine = _engine(detail=True)
    instruction = next(engine.disasm(code, address, 1), None)
    if instruction is None:
        return []
    found = []
    for operand in instruction.operands:
        if operand.type == X86_OP_MEM:
            memory = operand.mem
            names = [instruction.reg_name(number) for number in (memory.base, memory.index)]
            base, index = (_value(name, address + instruction.size, register) for name in names)
            segment = instruction.reg_name(memory.segment)
            offset = register(f"{segment}_base") if segment in {"fs", "gs"} else 0
            found.append((offset + base + index * memory.scale + memory.disp & (1 << 64) - 1, operand.size))
    implied = _IMPLIED.get(instruction.mnemonic.removeprefix("bnd "))
    if implied is not None:
        found.append((register(implied[0]) + implied[1] & (1 << 64) - 1, 8))
    return found


_CALLER_SAVED = frozenset(("rcx", "rsi", "rdi", "r8", "r9", "r10", "r11"))  # that no function returns a value in
_ARGUMENTS = frozenset(("rax", "rdi", "rsi", "rdx", "rcx", "r8", "r9"))


def dead_registers(code: bytes, address: int) -> frozenset[str]:
    """The general registers whose values nobody will read any more when the CPU stands at `address`.

    Follows the straight line of `code` up to the first jump: what is overwritten before it is read is dead; at a
    return so is what a caller may not rely on (x86-64 psABI, 3.2.1), at a call what is no argument. Everything else is
    taken for alive.
    """
    from capstone import CS_GRP_JUMP, CsError  # noqa: PLC0415

    engine = _engine(detail=True)
    read: set[str] = set()
    dead: set[str] = set()
    for instruction in engine.disasm(code, address):
        mnemonic = instruction.mnemonic.removeprefix("bnd ")
        if mnemonic == "ret":
            return frozenset(dead | (_CALLER_SAVED - read))
        if mnemonic == "call":
            return frozenset(dead | (_CALLER_SAVED - _ARGUMENTS - read))
        if instruction.group(CS_GRP_JUMP):
            break
        try:
            reads, writes = instruction.regs_access()
        except CsError:
            break
        read.update(_whole(instruction.reg_name(number)) for number in reads)
        written = {instruction.reg_name(number) for number in writes}
        dead.update(_whole(name) for name in written if name[0] in "re" and _whole(name) not in read)
    return frozenset(dead)


def red_zone_slots(code: bytes, address: int, rsp: int, rbp: int) -> set[int]:
    """The words below `rsp` that the function in `code` uses: a leaf may keep 128 bytes there (psABI, 3.2.2)."""
    from capstone.x86_const import X86_OP_MEM  # noqa: PLC0415

    engine = _engine(detail=True)
    slots = set()
    for instruction in engine.disasm(code, address):
        for operand in instruction.operands:
            if operand.type == X86_OP_MEM and not operand.mem.index:
                base = {"rsp": rsp, "rbp": rbp}.get(instruction.reg_name(operand.mem.base) or "")
                if base is not None and rsp - 128 <= base + operand.mem.disp < rsp:
                    slots.add(base + operand.mem.disp & -8)
    return slots


def _whole(name: str) -> str:
    """The 64-bit register that a register is a part of."""
    if name[0] == "r" and name[1:2].isdigit():
        return name.rstrip("dwb")
    stem = name.removeprefix("r").removeprefix("e")
    if len(stem) == 2 and stem[1] in "lh":
        stem = stem[0] + "x"
    return "r" + stem.removesuffix("l")


def _value(name: str | None, following: int, register: Callable[[str], int]) -> int:
    """An address's part; with an address-size prefix only the low half of a register counts."""
    if name is None or name in {"riz", "eiz"}:
        return 0
    if name == "rip":
        return following
    if name.startswith("r") and not name.endswith("d"):
        return register(name)
    return register(name.removesuffix("d") if name.startswith("r") else f"r{name[1:]}") & 0xFFFF_FFFF


def avx_instruction(code: bytes, address: int) -> tuple[int, int] | None:
    """The first instruction with a VEX prefix that is not of BMI1 or BMI2 in a block of code: where, how many bytes.

    A block ends with the first jump, call, return or trap. Instructions that capstone does not know, of which there are
    some with such a prefix, count as 4 bytes long.
    """
    import capstone  # noqa: PLC0415

    engine = _engine(detail=True)
    ends = (capstone.CS_GRP_JUMP, capstone.CS_GRP_CALL, capstone.CS_GRP_RET, capstone.CS_GRP_INT, capstone.CS_GRP_IRET)
    offset = 0
    while offset < len(code):
        instruction = next(engine.disasm(code[offset : offset + 15], address + offset, 1), None)
        if is_avx(code[offset : offset + 4]):
            return address + offset, 4 if instruction is None else instruction.size
        if instruction is None or any(group in ends for group in instruction.groups):
            break
        offset += instruction.size
    return None


def is_avx(code: bytes) -> bool:
    """Whether an instruction begins with a VEX prefix, and is not one of BMI1 or BMI2 (Intel SDM, volume 2, 2.3.5)."""
    if len(code) < 4 or code[0] not in {0xC4, 0xC5}:
        return False
    space, opcode = code[1] & 0x1F, code[3]
    return code[0] == 0xC5 or not ((space == 2 and 0xF2 <= opcode <= 0xF7) or (space == 3 and opcode == 0xF0))


def instruction_at(code: bytes, address: int) -> str:
    """The instruction that `code` begins with, in Intel's syntax; "" if it is none."""
    found = next(instructions(code, address), None)
    return "" if found is None else f"{found[2]} {found[3]}".rstrip()
