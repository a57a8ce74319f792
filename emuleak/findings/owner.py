"""Whose block is it: the program's, or one that the C or C++ library keeps for itself?

A block that the library allocated, keeps in its own data and never hands out is no leak of the program's: stdout's
buffer, the exception pool, a loaded locale. A block that the program asked the library for is the program's.
"""

import posixpath
from collections.abc import Sequence
from typing import Final

from emuleak.findings.finding import Frame, Owner

_LIBRARIES: Final = (
    *("libc.so", "libc-2", "ld-linux", "ld-2", "ld-musl", "libpthread", "libdl.so", "libm.so", "librt.so", "libgcc_s"),
    *("libstdc++.so", "libc++.so", "libc++abi.so", "libresolv", "libnss_", "libunwind"),
    *("libjemalloc.so", "libtcmalloc", "libmimalloc.so"),
)
# What the library allocates for itself, by the function that calls malloc. In a static program nothing else tells.
_OWN_FUNCTIONS: Final = frozenset((
    *("_IO_file_doallocate", "_IO_wfile_doallocate", "_IO_default_doallocate", "__new_exitfn", "allocate_dtv"),
    *("_dl_allocate_tls", "_dl_new_object", "_dl_map_object_deps", "_dl_init_paths"),
    *("__tzset_parse_tz", "__tzfile_read"),
    *("_nl_load_locale_from_archive", "_nl_make_l10nflist", "_nl_intern_locale_data", "__add_to_environ", "setenv"),
))  # fmt: skip
_OWN_PREFIXES: Final = ("_dl_", "__gconv", "_nl_", "__nss_", "(anonymous namespace)::pool::", "_GLOBAL__sub_I_eh_alloc")
# Library functions whose blocks are the caller's to give back, though the library keeps a pointer to them as well.
_HANDED_OUT: Final = frozenset((
    *("fopen", "fopen64", "_IO_new_fopen", "__fopen_internal", "fdopen", "_IO_new_fdopen", "freopen", "freopen64"),
    *("popen", "_IO_new_popen", "tmpfile", "tmpfile64", "open_memstream", "open_wmemstream", "fmemopen", "fopencookie"),
    *("hcreate", "hcreate_r", "opendir", "fdopendir", "tsearch", "getline", "getdelim", "_IO_getdelim", "__getdelim"),
    *("strdup", "__strdup", "strndup", "__strndup", "asprintf", "vasprintf", "__asprintf", "__vasprintf_internal"),
))  # fmt: skip


def is_library(path: str) -> bool:
    """Whether a file is the C or C++ runtime, by its name."""
    return posixpath.basename(path).startswith(_LIBRARIES)


def owner_of(frames: Sequence[Frame], *, lost: bool, kept_by_library: bool) -> Owner:
    """Who owns the block allocated at `frames`; `kept_by_library`: a library's own data holds it, by its start."""
    if not frames:
        return "program"
    library = [frame for frame in frames if _of_library(frame)]
    if len(library) == len(frames) or _for_itself(frames[0]):
        return "library"
    if lost:
        return "program"
    handed_out = any(frame.function in _HANDED_OUT for frame in library)
    if kept_by_library and _of_library(frames[0]) and not handed_out:
        return "library"
    return "program"


def _of_library(frame: Frame) -> bool:
    return is_library(frame.object)


def _for_itself(frame: Frame) -> bool:
    if frame.file is not None and not _of_library(frame):
        return False  # a function of the program's that happens to have such a name
    return is_for_itself(frame.function, frame.object)


def is_for_itself(function: str, path: str) -> bool:
    """Whether a library's function, of the file at `path`, is one in which it allocates for itself."""
    if posixpath.basename(path).startswith(("ld-linux", "ld-2")):
        return True
    return function in _OWN_FUNCTIONS or function.startswith(_OWN_PREFIXES)
