"""Instructions that the emulated CPU does not have: AVX and its kin, found by reading a file's code from end to end."""

import os
import re
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from emuleak.disasm import instructions
from emuleak.doctor.document import Instructions
from emuleak.elf import Image
from emuleak.memory import EXEC
from emuleak.symbols.objectfile import SHF_EXECINSTR, ObjectFile

# Bytes of code that are read of one file, and of all: a MiB takes about a second.
MOST_CODE: Final = 4 << 20
MOST_OF_ALL: Final = 8 << 20
_CPUID: Final = b"\x0f\xa2"
_STT_GNU_IFUNC: Final = 10
_SYMBOL_SIZE: Final = 24
_ASKS: Final = frozenset(("__cpu_model", "__cpu_indicator_init", "__cpu_features2", "__x86_get_cpuid_feature_leaf"))
# What the emulated CPU lacks, by mnemonic: SHA, and all of VEX and EVEX but BMI's instructions on general registers.
_SHA: Final = ("sha1", "sha256")
_FMA: Final = re.compile(r"vfn?m(add|sub)")
_MASK: Final = re.compile(r"\bzmm|\{k[0-7]\}|^k(mov|or|and|xor|not|shift|test|unpck|add)")
_NO_VECTOR: Final = frozenset(
    ("verr", "verw", "vmcall", "vmclear", "vmfunc", "vmlaunch", "vmread", "vmwrite", "vmxoff")
)
# GNU_PROPERTY_X86_ISA_1_NEEDED (x86-64 psABI, 5.1.1.2): glibc refuses a program whose level the CPU has not.
_PROPERTY_NEEDED: Final = 0xC000_8002
_LEVELS: Final = {4: "x86-64-v3", 8: "x86-64-v4"}


class Scan:
    """Looks at one file after the other; `left` is how many bytes of code may still be read, `cut` what was not."""

    def __init__(self) -> None:
        self.left = MOST_OF_ALL
        self.cut: list[str] = []

    def foreign(self, image: Image, *, unless_chosen: bool) -> Instructions | None:
        """The file's instructions that the CPU lacks; None where there are none.

        `unless_chosen`: those of a file that asks the CPU are no news, and the file is not read.
        """
        with closing(ObjectFile.open(image.path)) as file:
            chosen = _asks(file, image)
            if chosen and unless_chosen:
                return None
            code = list(self._code(file, image))
            return _scan(code, image, chosen=chosen)

    def _code(self, file: ObjectFile, image: Image) -> Iterator[tuple[int, bytes]]:
        """Executable code and where it lies, up to the limits."""
        budget = min(MOST_CODE, self.left)
        for address, offset, size in _places(file, image):
            if size > budget and image.path not in self.cut:
                self.cut.append(image.path)
            yield address, file.read(offset, min(size, budget))
            self.left -= min(size, budget)
            budget -= min(size, budget)


def required_level(file: ObjectFile) -> str:
    """The level of x86-64 that the file says it needs, where the emulated CPU has not got it."""
    notes = file.contents(".note.gnu.property")
    at = notes.find(_PROPERTY_NEEDED.to_bytes(4, "little"))
    if at < 0:
        return ""
    needed = int.from_bytes(notes[at + 8 : at + 12], "little")
    return next((name for bit, name in sorted(_LEVELS.items(), reverse=True) if needed & bit), "")


def _scan(codes: list[tuple[int, bytes]], image: Image, *, chosen: bool) -> Instructions | None:
    extensions: dict[str, int] = {}
    first = ""
    for address, code in codes:
        for where, size, mnemonic, operands in _decoded(code, address):
            extension = _extension(mnemonic, operands)
            if extension == "SHA" or (extension and _is_vex(code, where - address, size)):
                extensions[extension] = extensions.get(extension, 0) + 1
                first = first or f"{mnemonic} {operands}".strip() + f" at {_place(image, where)}"
    if not extensions:
        return None
    name = os.path.basename(image.path)
    return Instructions(name, tuple(sorted(extensions)), sum(extensions.values()), first, chosen)


def _asks(file: ObjectFile, image: Image) -> bool:
    """Whether the file asks the CPU what it can: itself, by the compiler's library, or in functions chosen late."""
    if _ASKS & {*image.slots, *image.stubs, *image.functions} or _has_ifuncs(file):
        return True
    return any(_CPUID in file.read(offset, size) for _, offset, size in _places(file, image))


def _places(file: ObjectFile, image: Image) -> list[tuple[int, int, int]]:
    """Address, offset and size of executable sections, or of segments where there is no section table."""
    places = [(each.address, each.offset, each.size) for each in file.sections if each.flags & SHF_EXECINSTR]
    return places or [(each.address, each.offset, each.file_size) for each in image.segments if each.prot & EXEC]


def _decoded(code: bytes, address: int) -> Iterator[tuple[int, int, str, str]]:
    """The instructions, going on behind what is none: data among the code, what the disassembler does not know."""
    at = 0
    while at < len(code):
        end = at
        for where, size, mnemonic, operands in instructions(code[at:], address + at):
            yield where, size, mnemonic, operands
            end = where - address + size
        at = end + 1


def _is_vex(code: bytes, at: int, size: int) -> bool:
    """Whether a prefix of VEX or EVEX is really there: 66, F2 and F3 may not precede it, segments and 67 may."""
    for byte in code[at : at + size]:
        if byte in {0xC4, 0xC5, 0x62}:
            return True
        if byte not in {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x67}:
            return False
    return False


def _extension(mnemonic: str, operands: str) -> str:
    if mnemonic.startswith(_SHA):
        return "SHA"
    if _MASK.search(operands) or _MASK.search(mnemonic):
        return "AVX-512"
    if not mnemonic.startswith("v") or mnemonic in _NO_VECTOR:
        return ""
    if _FMA.match(mnemonic):
        return "FMA"
    return "AVX2" if mnemonic.startswith(("vp", "vinserti", "vextracti")) and "ymm" in operands else "AVX"


def _has_ifuncs(file: ObjectFile) -> bool:
    """Whether some function is chosen when the file is loaded."""
    for name in (".dynsym", ".symtab"):
        table = file.contents(name)
        kinds = table[4::_SYMBOL_SIZE]
        if any(kind & 0xF == _STT_GNU_IFUNC for kind in kinds):
            return True
    return False


def _place(image: Image, address: int) -> str:
    """The function an address is in, as far as the symbols tell."""
    below = [(value, name) for name, value in image.functions.items() if value <= address]
    return max(below)[1] + "()" if below else f"{address:#x}"
