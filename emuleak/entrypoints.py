"""The names under which a program's symbols offer the allocator: the C library's functions, C++'s operators."""

from typing import Final

from emuleak.events import OPS, Op, is_operator

NAMES: Final[dict[str, Op]] = {
    **{op: op for op in OPS if not is_operator(op)},
    "cfree": "free",
    "__libc_malloc": "malloc",
    "__libc_calloc": "calloc",
    "__libc_realloc": "realloc",
    "__libc_free": "free",
    "__libc_memalign": "memalign",
    "__libc_reallocarray": "reallocarray",
    "__libc_valloc": "valloc",
    "__libc_pvalloc": "pvalloc",
    "__posix_memalign": "posix_memalign",
    "__malloc_usable_size": "malloc_usable_size",
}
"""Every name that a C library has for its allocator, with what it does (glibc: malloc/malloc.c, last section)."""

OPERATORS: Final[dict[str, Op]] = {
    "_Znwm": "operator new",
    "_ZnwmRKSt9nothrow_t": "operator new",
    "_Znam": "operator new[]",
    "_ZnamRKSt9nothrow_t": "operator new[]",
    "_ZnwmSt11align_val_t": "aligned operator new",
    "_ZnwmSt11align_val_tRKSt9nothrow_t": "aligned operator new",
    "_ZnamSt11align_val_t": "aligned operator new[]",
    "_ZnamSt11align_val_tRKSt9nothrow_t": "aligned operator new[]",
    "_ZdlPv": "operator delete",
    "_ZdlPvRKSt9nothrow_t": "operator delete",
    "_ZdaPv": "operator delete[]",
    "_ZdaPvRKSt9nothrow_t": "operator delete[]",
    "_ZdlPvm": "sized operator delete",
    "_ZdaPvm": "sized operator delete[]",
    "_ZdlPvSt11align_val_t": "aligned operator delete",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t": "aligned operator delete",
    "_ZdaPvSt11align_val_t": "aligned operator delete[]",
    "_ZdaPvSt11align_val_tRKSt9nothrow_t": "aligned operator delete[]",
    "_ZdlPvmSt11align_val_t": "sized aligned operator delete",
    "_ZdaPvmSt11align_val_t": "sized aligned operator delete[]",
}
"""The replaceable operators of C++ ([new.delete]) as the Itanium ABI mangles them on x86-64."""

_ALL: Final = (*NAMES.items(), *OPERATORS.items())
NAMES_OF: Final[dict[Op, frozenset[str]]] = {
    op: frozenset(name for name, does in _ALL if does == op or (op == "malloc" and "realloc" in does)) for op in OPS
}
"""The names of the functions that do an operation; realloc of NULL is a malloc."""
