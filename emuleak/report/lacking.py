"""A program that died of an instruction which the emulated CPU does not have: which it was, where, and how to avoid it.

The CPU tells programs that it has none of them (CPUID); what was built to need them does not ask.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from emuleak.disasm import instruction_at
from emuleak.findings.finding import Frame
from emuleak.memory import PAGE, Fault

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel

_LONGEST: Final = 15
_IMPLY_AVX2: Final = "-march=haswell, -march=native, -march=x86-64-v3"
# By what an instruction's name begins with; what is not here and has a VEX or EVEX prefix is AVX, AVX2 or AVX-512.
_BY_NAME: Final = (
    (("vfmadd", "vfmsub", "vfnmadd", "vfnmsub"), "FMA", "-mfma", _IMPLY_AVX2),
    (("vcvtph2ps", "vcvtps2ph"), "F16C", "-mf16c", _IMPLY_AVX2),
    (("sha1", "sha256"), "SHA", "-msha", "-march=native"),
    (("vaes", "vpclmul"), "VAES", "-mvaes or -mvpclmulqdq", "-march=native"),
    (("gf2p8",), "GFNI", "-mgfni", "-march=native"),
    (("rdpid", "clwb", "movdir", "tpause", "umonitor", "umwait", "xsavec", "xsaves"), "", "", "-march=native"),
)
# AVX2 alone has these with the registers of 256 bits, and these at all.
_AVX2_ONLY: Final = ("vpbroadcast", "vpgather", "vgather", "vpermd", "vpermq", "vpermps", "vpermpd", "vpsllv", "vpsrlv",
                     "vpsrav", "vpmask", "vpblendd", "vinserti128", "vextracti128", "vperm2i128")  # fmt: skip
_OF_FLOATS_OR_MOVES: Final = ("vptest", "vperm2f128", "vpermil")


def lacking(kernel: "Kernel", stack: Sequence[Frame]) -> str:
    """One line for a process that SIGILL ended; "" where its instruction is none of any CPU's, or meant to fail."""
    rip = kernel.machine.get("rip")
    code = kernel.machine.withheld.get(rip) or _code(kernel, rip)
    instruction = instruction_at(code, rip)
    name = instruction.partition(" ")[0]
    extension, flag, implying = _extension(name, instruction, code)
    if not implying:
        return ""
    if not instruction:
        instruction = code[:4].hex(" ") + " ..."
    what = f"the emulated CPU has no {extension}: " if extension else "the emulated CPU lacks an instruction: "
    options = (
        f"{flag}, or an option that implies it ({implying})" if flag else f"the option that allows it ({implying})"
    )
    return f"{what}`{instruction}`{_place(stack)} ended the program; build it without {options}"


def _extension(name: str, operands: str, code: bytes) -> tuple[str, str, str]:
    """Its name, the compiler's flag and what implies that; all empty where the CPU is not to blame."""
    for beginnings, extension, flag, implying in _BY_NAME:
        if name.startswith(beginnings):
            return extension, flag, implying
    if code[:1] == b"\x62":
        return "AVX-512", "-mavx512f", "-march=native, -march=x86-64-v4"
    if code[:1] not in {b"\xc4", b"\xc5"}:
        return "", "", ""
    wide_integers = name.startswith("vp") and not name.startswith(_OF_FLOATS_OR_MOVES) and "ymm" in operands
    if wide_integers or name.startswith(_AVX2_ONLY):
        return "AVX2", "-mavx2", _IMPLY_AVX2
    return "AVX", "-mavx", f"-mavx2, -mfma, {_IMPLY_AVX2}"


def _code(kernel: "Kernel", address: int) -> bytes:
    for length in (_LONGEST, -address % PAGE):
        try:
            return bytes(kernel.memory.peek(address, length))
        except Fault:
            continue
    return b""


def _place(stack: Sequence[Frame]) -> str:
    """` in sum (sums.c:12)`."""
    if not stack:
        return ""
    frame = stack[0]
    where = f"{frame.file.rpartition('/')[2]}:{frame.line}" if frame.file and frame.line else frame.object
    return f" in {frame.function or frame.pc} ({where})"
