"""System calls on a file's mode, owner and times: chmod(2), chown(2), utimensat(2)."""

import os
import stat
import struct

from emuleak.kernel.abi import AT_FDCWD, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.hosttree import Place
from emuleak.kernel.pathcalls import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, allow, behind, host_path, short
from emuleak.kernel.table import Int, Path, Pointer, UInt, syscall

_UTIME_NOW, _UTIME_OMIT = 0x3FFF_FFFF, 0x3FFF_FFFE
_NS = 1_000_000_000


@syscall(452)
def fchmodat2(kernel: Kernel, dirfd: Int, pathname: Path, mode: UInt, flags: UInt) -> int:
    """fchmodat2(2): the mode of a link cannot be changed."""
    allow(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    path = host_path(kernel, dirfd, pathname, empty=bool(flags & AT_EMPTY_PATH))
    if flags & AT_SYMLINK_NOFOLLOW and stat.S_ISLNK(kernel.files.tree.stat(path, follow=False).st_mode):
        raise SyscallError("EOPNOTSUPP")
    kernel.files.tree.chmod(path, mode & 0o7777)
    return 0


@syscall(91)
def fchmod(kernel: Kernel, fd: Int, mode: UInt) -> int:
    """fchmod(2)."""
    place = behind(kernel, fd)
    if place is not None:
        kernel.files.tree.chmod(place, mode & 0o7777)
    return 0


def _change_owner(kernel: Kernel, place: Place, owner: int, group: int, *, follow: bool = True) -> int:
    """chown(2); all ones leave an id as it is."""
    if place is not None:
        unchanged = 0xFFFF_FFFF
        ids = (-1 if owner == unchanged else owner, -1 if group == unchanged else group)
        kernel.files.tree.chown(place, *ids, follow=follow)
    return 0


@syscall(260)
def fchownat(kernel: Kernel, dirfd: Int, pathname: Path, owner: UInt, group: UInt, flags: Int) -> int:
    """fchownat(2)."""
    allow(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    path = host_path(kernel, dirfd, pathname, empty=bool(flags & AT_EMPTY_PATH))
    return _change_owner(kernel, path, owner, group, follow=not flags & AT_SYMLINK_NOFOLLOW)


@syscall(93)
def fchown(kernel: Kernel, fd: Int, owner: UInt, group: UInt) -> int:
    """fchown(2)."""
    return _change_owner(kernel, behind(kernel, fd), owner, group)


def _set_times(kernel: Kernel, place: Place, times: list[tuple[int, int]] | None, *, follow: bool = True) -> int:
    """Set access and modification time, seconds and nanoseconds or UTIME_NOW, UTIME_OMIT of utimensat(2)."""
    tree = kernel.files.tree
    if place is None:
        return 0
    if times is None or all(ns == _UTIME_NOW for _seconds, ns in times):
        tree.utime(place, None, follow=follow)
        return 0
    status = tree.stat(place, follow=follow)
    exact = []
    for (seconds, ns), before in zip(times, (status.st_atime_ns, status.st_mtime_ns), strict=True):
        if ns == _UTIME_NOW:
            exact.append(kernel.clock.realtime())
        elif ns == _UTIME_OMIT:
            exact.append(before)
        elif 0 <= ns < _NS:
            exact.append(seconds * _NS + ns)
        else:
            raise SyscallError("EINVAL")
    tree.utime(place, (exact[0], exact[1]), follow=follow)
    return 0


def _two_times(kernel: Kernel, address: int, unit: int) -> list[tuple[int, int]] | None:
    """Two timespecs (unit 1) or timevals (unit 1000) at `address`; None for NULL, which is now. Raises Fault."""
    if not address:
        return None
    pairs = struct.iter_unpack("<qq", kernel.memory.read(address, 32))
    times = [(seconds, part * unit if unit > 1 else part) for seconds, part in pairs]
    if unit > 1 and not all(0 <= ns < _NS for _seconds, ns in times):
        raise SyscallError("EINVAL")
    return times


@syscall(280)
def utimensat(kernel: Kernel, dirfd: Int, pathname: Pointer, times: Pointer, flags: Int) -> int:
    """utimensat(2); without a path it is futimens(3)."""
    exact = _two_times(kernel, times, 1)
    if exact is not None and all(ns == _UTIME_OMIT for _seconds, ns in exact):
        return 0
    if not pathname and dirfd != AT_FDCWD:
        allow(flags, 0)
        return _set_times(kernel, behind(kernel, dirfd), exact)
    allow(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    path = os.fsdecode(kernel.memory.cstring(pathname))
    host = host_path(kernel, dirfd, path, empty=bool(flags & AT_EMPTY_PATH))
    return _set_times(kernel, host, exact, follow=not flags & AT_SYMLINK_NOFOLLOW)


@syscall(261)
def futimesat(kernel: Kernel, dirfd: Int, pathname: Path, times: Pointer) -> int:
    """futimesat(2)."""
    return _set_times(kernel, host_path(kernel, dirfd, pathname), _two_times(kernel, times, 1000))


@syscall(132)
def utime(kernel: Kernel, filename: Path, times: Pointer) -> int:
    """utime(2): whole seconds."""
    seconds = struct.unpack("<qq", kernel.memory.read(times, 16)) if times else None
    exact = None if seconds is None else [(seconds[0], 0), (seconds[1], 0)]
    return _set_times(kernel, host_path(kernel, AT_FDCWD, filename), exact)


# ---- the calls of old, and those without flags

short(90, "chmod", fchmodat2, dirfd=AT_FDCWD, flags=0)
short(268, "fchmodat", fchmodat2, flags=0)
short(92, "chown", fchownat, dirfd=AT_FDCWD, flags=0)
short(94, "lchown", fchownat, dirfd=AT_FDCWD, flags=AT_SYMLINK_NOFOLLOW)
short(235, "utimes", futimesat, dirfd=AT_FDCWD)
