"""Extended attributes: xattr(7)."""

import os
from collections.abc import Callable

from emuleak.kernel.abi import AT_FDCWD, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.hosttree import Place
from emuleak.kernel.pathcalls import allow, behind, host_path
from emuleak.kernel.table import Int, Path, Pointer, ULong, syscall

_XATTR_CREATE, _XATTR_REPLACE = 1, 2
_XATTR_SIZE_MAX = 65536


def _attribute(kernel: Kernel, pointer: int) -> str:
    """The name of an attribute. Raises SyscallError ERANGE, Fault."""
    name = kernel.memory.cstring(pointer)
    if not 0 < len(name) <= 255:
        raise SyscallError("ERANGE")
    return os.fsdecode(name)


def _hand_out(kernel: Kernel, data: bytes, buffer: int, size: int) -> int:
    """Store a list or a value; with size 0 only its length is told."""
    if size:
        if len(data) > size:
            raise SyscallError("ERANGE")
        kernel.memory.write(buffer, data)
    return len(data)


def _supported(place: Place) -> str | int:
    if not isinstance(place, str | int) or not hasattr(os, "getxattr"):
        raise SyscallError("EOPNOTSUPP")
    return place


def _get(kernel: Kernel, place: Place, name: Pointer, value: Pointer, size: ULong, *, follow: bool) -> int:
    attribute = _attribute(kernel, name)
    supported = _supported(place)
    data = os.getxattr(supported, attribute, follow_symlinks=follow)
    return _hand_out(kernel, data, value, size)


def _list(kernel: Kernel, place: Place, names: Pointer, size: ULong, *, follow: bool) -> int:
    supported = _supported(place)
    found = os.listxattr(supported, follow_symlinks=follow)
    return _hand_out(kernel, b"".join(os.fsencode(name) + b"\0" for name in found), names, size)


def _set(kernel: Kernel, place: Place, name: Pointer, value: Pointer, size: ULong, flags: Int, *, follow: bool) -> int:
    allow(flags, _XATTR_CREATE | _XATTR_REPLACE)
    attribute = _attribute(kernel, name)
    if size > _XATTR_SIZE_MAX:
        raise SyscallError("E2BIG")
    data = kernel.memory.read(value, size)
    supported = _supported(place)
    host = (os.XATTR_CREATE if flags & _XATTR_CREATE else 0) | (os.XATTR_REPLACE if flags & _XATTR_REPLACE else 0)
    os.setxattr(supported, attribute, data, host, follow_symlinks=follow)
    return 0


def _remove(kernel: Kernel, place: Place, name: Pointer, *, follow: bool) -> int:
    supported = _supported(place)
    os.removexattr(supported, _attribute(kernel, name), follow_symlinks=follow)
    return 0


def _three_ways(number: int, name: str, serve: Callable[..., int]) -> None:
    """Register a call as xattr(7) has them: on a path, on a path without following a last link, on a descriptor."""

    def by_path(kernel: Kernel, path: Path, *rest: object) -> int:
        return serve(kernel, host_path(kernel, AT_FDCWD, path), *rest, follow=True)

    def by_link(kernel: Kernel, path: Path, *rest: object) -> int:
        return serve(kernel, host_path(kernel, AT_FDCWD, path), *rest, follow=False)

    def by_descriptor(kernel: Kernel, fd: Int, *rest: object) -> int:
        return serve(kernel, behind(kernel, fd), *rest, follow=True)

    rest = {key: kind for key, kind in serve.__annotations__.items() if key not in {"kernel", "place", "follow"}}
    ways: tuple[tuple[str, Callable[..., int], object], ...] = (
        ("", by_path, Path),
        ("l", by_link, Path),
        ("f", by_descriptor, Int),
    )
    for step, (prefix, call, first) in enumerate(ways):
        call.__name__ = prefix + name
        call.__annotations__ = {"first": first, **rest}
        syscall(number + step)(call)


_three_ways(188, "setxattr", _set)
_three_ways(191, "getxattr", _get)
_three_ways(194, "listxattr", _list)
_three_ways(197, "removexattr", _remove)
