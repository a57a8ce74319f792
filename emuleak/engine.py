"""Unicorn's C library, called without its Python binding: one x86-64 CPU. Nothing else touches the package unicorn.

The binding serves every architecture and every callback with classes of its own; to import it takes 35 ms, a fifth of a
small run, of which we used a dozen functions. So the library is found beside it and opened as it would open it; where
that fails, the binding is asked. The numbers are those of unicorn's headers (unicorn.h, x86.h) and the same in every
2.1; tests/test_engine.py compares them with the binding's.
"""

import ctypes
import os
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from typing import Final

from emuleak.errors import MachineFailure

VERSION: Final = (2, 1)

_ARCH_X86, _MODE_64, _CPU_EPYC = 4, 8, 35
INS_SYSCALL: Final = 699
HOOK_INTR, HOOK_INSN, HOOK_CODE, HOOK_BLOCK, HOOK_EDGE_GENERATED, HOOK_TLB_FILL = 1, 2, 4, 8, 1 << 15, 1 << 17
MEM_READ, MEM_WRITE, MEM_FETCH = 16, 17, 18
ERR_OK, ERR_READ_UNMAPPED, ERR_WRITE_UNMAPPED, ERR_FETCH_UNMAPPED = 0, 6, 7, 8
ERR_INSN_INVALID, ERR_FETCH_PROT, ERR_EXCEPTION = 10, 14, 21

# uc_ctl requests, as the C macros UC_CTL_WRITE(type, count) build them.
_WRITE, _COUNT_SHIFT = 1 << 30, 26
CTL_TB_FLUSH: Final = _WRITE | 10
CTL_TLB_FLUSH: Final = _WRITE | 11
_CTL_CPU_MODEL: Final = _WRITE | 1 << _COUNT_SHIFT | 7
_CTL_TLB_TYPE: Final = _WRITE | 1 << _COUNT_SHIFT | 12
_TLB_VIRTUAL: Final = 1

REGISTERS: Final[dict[str, int]] = {
    "rax": 35, "rbp": 36, "rbx": 37, "rcx": 38, "rdi": 39, "rdx": 40, "rip": 41, "rsi": 43, "rsp": 44,
    **{f"r{n}": 98 + n for n in range(8, 16)},
    "eflags": 25, "fs_base": 250, "gs_base": 251, "mxcsr": 249, "fpcw": 246, "fpsw": 31, "fptag": 247,
    **{f"fp{n}": 82 + n for n in range(8)},  # physical ones, 80 bits; st(0) is fp<TOP>
    **{f"xmm{n}": 122 + n for n in range(16)},
}  # fmt: skip
_LARGEST: Final = 16  # bytes of a register

_FILES: Final = {"linux": "libunicorn.so.2", "darwin": "libunicorn.2.dylib"}
_POINTER, _INT, _U64 = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint64
# Only what must be converted: a pointer or a 64-bit number would be passed as an int, and what a C function with `...`
# takes beyond its named arguments is passed in another way on some machines.
_PROTOTYPES: Final = {
    "uc_ctl": (_POINTER, _INT),
    "uc_hook_add": (_POINTER, _POINTER, _INT, _POINTER, _POINTER, _U64, _U64),
    "uc_mem_map_ptr": (_POINTER, _U64, _U64, _INT, _POINTER),
    "uc_emu_start": (_POINTER, _U64, _U64, _U64, ctypes.c_size_t),
    "uc_vmem_translate": (_POINTER, _U64, _INT, _POINTER),
}


def _open() -> ctypes.CDLL:
    """The library, from the place where the binding keeps its own. Raises ImportError."""
    found = PathFinder.find_spec("unicorn")
    if found is None:
        raise ImportError("unicorn is not installed", name="unicorn")
    if sys.platform in _FILES and not os.environ.get("LIBUNICORN_PATH"):
        for directory in found.submodule_search_locations or ():
            path = os.path.join(directory, "lib", _FILES[sys.platform])
            if os.path.isfile(path):
                return ctypes.CDLL(path)
    from unicorn.unicorn_py3.unicorn import uclib  # noqa: PLC0415 - see above

    return ctypes.CDLL(uclib._name)  # noqa: SLF001 - its own view of the library has other prototypes


library: Final = _open()
library.uc_strerror.restype = ctypes.c_char_p
for _function, _arguments in _PROTOTYPES.items():
    getattr(library, _function).argtypes = _arguments


def explain(status: int) -> str:
    """Unicorn's words for a status."""
    text: bytes = library.uc_strerror(status)
    return text.decode()


def _check(status: int) -> None:
    if status != ERR_OK:
        raise MachineFailure(f"Unicorn failed: {explain(status)}")


class Context:
    """The state of a CPU at one moment, without its memory."""

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self.pointer = ctypes.c_void_p()
        _check(library.uc_context_alloc(handle, ctypes.byref(self.pointer)))

    def read(self, register: str) -> int:
        """The value that a register had."""
        value = ctypes.create_string_buffer(_LARGEST)
        _check(library.uc_context_reg_read(self.pointer, REGISTERS[register], value))
        return int.from_bytes(value.raw, "little")

    def __del__(self, free: Callable[[ctypes.c_void_p], int] = library.uc_context_free) -> None:
        if self.pointer:
            free(self.pointer)


class Engine:
    """A CPU of the model EPYC whose addresses are translated by a page table of ours. Raises MachineFailure."""

    def __init__(self) -> None:
        self.handle = ctypes.c_void_p()
        _check_version()
        _check(library.uc_open(_ARCH_X86, _MODE_64, ctypes.byref(self.handle)))
        _check(library.uc_ctl(self.handle, _CTL_CPU_MODEL, ctypes.c_int(_CPU_EPYC)))
        _check(library.uc_ctl(self.handle, _CTL_TLB_TYPE, ctypes.c_uint(_TLB_VIRTUAL)))

    def __del__(self, close: Callable[[ctypes.c_void_p], int] = library.uc_close) -> None:
        if self.handle:
            close(self.handle)

    def map(self, address: int, size: int, prot: int, host: int) -> None:
        """Show `size` bytes of the host's memory at an address."""
        _check(library.uc_mem_map_ptr(self.handle, address, size, prot, host))

    def read(self, register: str) -> int:
        """The value of a register, whatever its width."""
        value = ctypes.create_string_buffer(_LARGEST)
        _check(library.uc_reg_read(self.handle, REGISTERS[register], value))
        return int.from_bytes(value.raw, "little")

    def write(self, register: str, value: int) -> None:
        """Write a register; the bits that it has not are dropped."""
        content = (value & (1 << 8 * _LARGEST) - 1).to_bytes(_LARGEST, "little")
        _check(library.uc_reg_write(self.handle, REGISTERS[register], content))

    def save(self) -> Context:
        """The state as it is now."""
        context = Context(self.handle)
        _check(library.uc_context_save(self.handle, context.pointer))
        return context

    def restore(self, context: Context) -> None:
        """Go back to a state."""
        _check(library.uc_context_restore(self.handle, context.pointer))

    def start(self, address: int, until: int, instructions: int = 0) -> int:
        """Run from one address to another, until stopped, or for so many instructions if any; Unicorn's status."""
        status: int = library.uc_emu_start(self.handle, address, until, 0, instructions)
        return status

    def stop(self) -> None:
        """Make `start` return; from a callback or another thread."""
        library.uc_emu_stop(self.handle)

    def hook(self, kind: int, callback: object, *extra: object, data: int | None = None) -> None:
        """Have a raw callback called everywhere, `data` its last argument; who made it must keep it."""
        hook = ctypes.c_size_t()
        # begin > end: everywhere
        status = library.uc_hook_add(self.handle, ctypes.byref(hook), kind, callback, data, 1, 0, *extra)
        if status != ERR_OK:
            raise MachineFailure(f"Unicorn refused a hook of kind {kind}: {explain(status)}; is it 2.1.4 or later?")


def _check_version() -> None:
    major, minor = ctypes.c_uint(), ctypes.c_uint()
    library.uc_version(ctypes.byref(major), ctypes.byref(minor))
    if (major.value, minor.value) != VERSION:
        raise MachineFailure(f"Unicorn {major.value}.{minor.value} is installed; emuleak works with 2.1: install that")
