"""What a reader should know of whose blocks the report speaks of: allocators that are not the C library's."""

from collections.abc import Iterator
from typing import Final

from emuleak.entrypoints import NAMES
from emuleak.hooks.base import allocator_kind, is_c_library, served_functions
from emuleak.layout import PAGE, WRITE, Region
from emuleak.loader import Module, Process
from emuleak.memory import AddressSpace

_WORTH_A_REMARK: Final = 128 << 10  # bytes that a program mapped itself
_MANY_TIMES: Final = 4  # ... and so many times more than it asked malloc for
_SHOWN: Final = ("malloc", "calloc", "realloc", "free")


def remarks(process: Process, memory: AddressSpace, bytes_allocated: int) -> tuple[str, ...]:
    """One line for each allocator of the program's own, and for memory that none is known to manage."""
    if not process.is_checked:
        return ()
    found = [remark for module in process.modules if (remark := _of_module(process, module))]
    if any(module.image.is_go for module in process.modules):
        found.append(
            "a Go program: its runtime has an allocator of its own (runtime.mallocgc), whose blocks are collected and "
            "not checked here; what its C code asks malloc for is"
        )
    elif not found:
        found.extend(_unmanaged(process, memory, bytes_allocated))
    return tuple(found)


def _of_module(process: Process, module: Module) -> str:
    kind = allocator_kind(process, module)
    if kind not in {"whole", "wrapper"}:
        return ""
    functions = [name for name in _SHOWN if name in module.image.functions]
    whose = f"{module.name} has an allocator of its own ({', '.join(functions)})"
    if served_functions(process, module).keys() & NAMES.keys() >= set(functions):
        return f"{whose}: emuleak's heap served in its place; --own-malloc keep lets it serve"
    if kind == "wrapper":
        return (
            f"{module.name} defines {', '.join(functions)} in terms of the C library's, and was called: "
            "what is seen is what it asked the C library for; --own-malloc serve replaces it"
        )
    return f"{whose}, which served the program: its blocks were not seen, nor what was done to them"


def _unmanaged(process: Process, memory: AddressSpace, bytes_allocated: int) -> Iterator[str]:
    image = process.program.image
    if not image.interpreter and not image.has_symbol_table:
        yield (
            "a static program without a symbol table: its malloc cannot be told from other code, so none of its blocks "
            "was seen; strip -g would have kept the names"
        )
        return
    size = sum(_in_use(memory, region) for region in memory.regions() if _is_own(process, region))
    least = _WORTH_A_REMARK if any(is_c_library(module) for module in process.modules) else PAGE
    if size >= max(least, _MANY_TIMES * bytes_allocated):
        yield (
            f"the program keeps {size:,} bytes in memory that it got from the kernel itself (mmap, brk), not from "
            "malloc: blocks in there are not seen"
        )


def _is_own(process: Process, region: Region) -> bool:
    """Whether the program may keep blocks in a region: not what belongs to a module, nor a stack."""
    if region.kind not in {"anonymous", "brk"} or region.prot & WRITE == 0:
        return False
    return process.module_at(region.start) is None


def _in_use(memory: AddressSpace, region: Region) -> int:
    """Bytes in those pages of a region that were touched."""
    pages = range(region.start // PAGE, region.end // PAGE)
    if len(pages) < len(memory.pages):
        return PAGE * sum(page in memory.pages for page in pages)
    return PAGE * sum(page in pages for page in memory.pages)
