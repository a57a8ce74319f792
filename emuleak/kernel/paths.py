"""System calls on paths: stat(2), access(2), rename(2), chdir(2), getdents(2), statfs(2) and their kin.

The calls of old are their *at twins with the current directory filled in, as in the kernel itself: see `short`.
"""

import os
import stat

from emuleak.kernel.abi import (
    AT_FDCWD,
    SyscallError,
    pack_dirent,
    pack_stat,
    pack_statx,
)
from emuleak.kernel.core import Kernel
from emuleak.kernel.hostfiles import Directory
from emuleak.kernel.hosttree import Place
from emuleak.kernel.pathcalls import (
    AT_EMPTY_PATH,
    AT_SYMLINK_FOLLOW,
    AT_SYMLINK_NOFOLLOW,
    allow,
    host_path,
    short,
)
from emuleak.kernel.statx import complete
from emuleak.kernel.table import Int, Path, Pointer, UInt, ULong, syscall

_AT_REMOVEDIR, _AT_EACCESS, _AT_NO_AUTOMOUNT, _AT_STATX_SYNC = 0x200, 0x200, 0x800, 0x6000
_STAT_FLAGS = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | _AT_NO_AUTOMOUNT
_RENAME_NOREPLACE = 1


# ---- status


def _status(kernel: Kernel, dirfd: int, path: str, flags: int) -> os.stat_result:
    """What stat(2) sees. Raises SyscallError, OSError."""
    files = kernel.files
    if not path and flags & AT_EMPTY_PATH and dirfd != AT_FDCWD:
        return files.get(dirfd).stat()
    full = files.resolve(dirfd, path, empty=bool(flags & AT_EMPTY_PATH))
    return files.stat(full, follow=not flags & AT_SYMLINK_NOFOLLOW)


@syscall(262)
def newfstatat(kernel: Kernel, dirfd: Int, pathname: Path, statbuf: Pointer, flags: Int) -> int:
    """fstatat(2)."""
    allow(flags, _STAT_FLAGS)
    kernel.memory.write(statbuf, pack_stat(_status(kernel, dirfd, pathname, flags)))
    return 0


@syscall(5)
def fstat(kernel: Kernel, fd: Int, statbuf: Pointer) -> int:
    """fstat(2)."""
    kernel.memory.write(statbuf, pack_stat(kernel.files.get(fd).stat()))
    return 0


@syscall(332)
def statx(kernel: Kernel, dirfd: Int, pathname: Path, flags: Int, mask: UInt, statxbuf: Pointer) -> int:
    """statx(2)."""
    allow(flags, _STAT_FLAGS | _AT_STATX_SYNC)
    if mask >> 31 or flags & _AT_STATX_SYNC == _AT_STATX_SYNC:
        raise SyscallError("EINVAL")
    packed = pack_statx(_status(kernel, dirfd, pathname, flags))
    place, follow = _place(kernel, dirfd, pathname), not flags & AT_SYMLINK_NOFOLLOW
    kernel.memory.write(statxbuf, complete(packed, place, mask, follow=follow))
    return 0


def _place(kernel: Kernel, dirfd: int, path: str) -> Place:
    """The host's file that a path, or an empty one and a descriptor, name."""
    if not path and dirfd != AT_FDCWD:
        return kernel.files.get(dirfd).anchor()
    full = kernel.files.resolve(dirfd, path, empty=True)
    return None if kernel.files.special(full) else kernel.files.host_path(full)


@syscall(439)
def faccessat2(kernel: Kernel, dirfd: Int, pathname: Path, mode: Int, flags: Int) -> int:
    """faccessat2(2)."""
    if mode & ~7:
        raise SyscallError("EINVAL")
    allow(flags, _AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)
    status = _status(kernel, dirfd, pathname, flags)
    full = kernel.files.resolve(dirfd, pathname, empty=True)
    if kernel.files.special(full) is not None:
        granted = status.st_mode >> 6 & mode == mode
    else:
        granted = stat.S_ISLNK(status.st_mode) or kernel.files.tree.access(kernel.files.host_path(full), mode)
    if not granted:
        raise SyscallError("EACCES")
    return 0


@syscall(138)
def fstatfs(kernel: Kernel, fd: Int, buf: Pointer) -> int:
    """fstatfs(2): what is kept in memory counts as being on the root's file system."""
    tree, place = kernel.files.tree, kernel.files.host_path(kernel.files.get(fd).path)
    kernel.memory.write(buf, tree.pack_statfs(place if tree.exists(place) else "/"))
    return 0


@syscall(137)
def statfs(kernel: Kernel, path: Path, buf: Pointer) -> int:
    """statfs(2)."""
    full = kernel.files.resolve(AT_FDCWD, path)
    place = "/" if kernel.files.special(full) else kernel.files.host_path(full)
    kernel.memory.write(buf, kernel.files.tree.pack_statfs(place))
    return 0


# ---- links, directories, names


@syscall(267)
def readlinkat(kernel: Kernel, dirfd: Int, pathname: Path, buf: Pointer, bufsiz: Int) -> int:
    """readlinkat(2): not terminated, and cut when it is too long."""
    if bufsiz <= 0:
        raise SyscallError("EINVAL")
    target = os.fsencode(kernel.files.readlink(kernel.files.resolve(dirfd, pathname, empty=dirfd != AT_FDCWD)))
    target = target[:bufsiz]
    kernel.memory.write(buf, target)
    return len(target)


@syscall(258)
def mkdirat(kernel: Kernel, dirfd: Int, pathname: Path, mode: UInt) -> int:
    """mkdirat(2)."""
    place = host_path(kernel, dirfd, pathname)
    with kernel.files.creating() as left_out:
        kernel.files.tree.mkdir(place, mode & 0o1777 & ~left_out)
    return 0


@syscall(263)
def unlinkat(kernel: Kernel, dirfd: Int, pathname: Path, flags: Int) -> int:
    """unlinkat(2)."""
    allow(flags, _AT_REMOVEDIR)
    tree = kernel.files.tree
    (tree.rmdir if flags else tree.unlink)(host_path(kernel, dirfd, pathname))
    return 0


@syscall(316)
def renameat2(kernel: Kernel, olddirfd: Int, oldpath: Path, newdirfd: Int, newpath: Path, flags: UInt) -> int:
    """renameat2(2), without RENAME_EXCHANGE."""
    allow(flags, _RENAME_NOREPLACE)
    old, new = host_path(kernel, olddirfd, oldpath), host_path(kernel, newdirfd, newpath)
    kernel.files.tree.rename(old, new, replaces=not flags)
    return 0


@syscall(265)
def linkat(kernel: Kernel, olddirfd: Int, oldpath: Path, newdirfd: Int, newpath: Path, flags: Int) -> int:
    """linkat(2)."""
    allow(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH)
    old = host_path(kernel, olddirfd, oldpath, empty=bool(flags & AT_EMPTY_PATH))
    new = host_path(kernel, newdirfd, newpath)
    kernel.files.tree.link(old, new, follow=bool(flags & AT_SYMLINK_FOLLOW))
    return 0


@syscall(266)
def symlinkat(kernel: Kernel, target: Path, newdirfd: Int, linkpath: Path) -> int:
    """symlinkat(2)."""
    if not target:
        raise SyscallError("ENOENT")
    kernel.files.tree.symlink(target, host_path(kernel, newdirfd, linkpath))
    return 0


@syscall(259)
def mknodat(kernel: Kernel, dirfd: Int, pathname: Path, mode: UInt, _dev: UInt) -> int:
    """mknodat(2): a regular file, a named pipe, or what else the tree makes; for a device it lacks privilege."""
    place = host_path(kernel, dirfd, pathname)
    kind = stat.S_IFMT(mode) or stat.S_IFREG
    if kind == stat.S_IFIFO:
        kernel.files.make_fifo(place, mode & 0o7777)
        return 0
    if kind not in kernel.files.tree.makes:
        raise SyscallError("EPERM")
    with kernel.files.creating() as left_out:
        kernel.files.tree.mknod(place, kind | mode & 0o7777 & ~left_out)
    return 0


# ---- the process's place


@syscall(95)
def umask(kernel: Kernel, mask: UInt) -> int:
    """umask(2)."""
    before, kernel.files.umask = kernel.files.umask, mask & 0o777
    return before


@syscall(80)
def chdir(kernel: Kernel, path: Path) -> int:
    """chdir(2)."""
    kernel.files.change_directory(kernel.files.resolve(AT_FDCWD, path))
    return 0


@syscall(81)
def fchdir(kernel: Kernel, fd: Int) -> int:
    """fchdir(2)."""
    description = kernel.files.get(fd)
    if not isinstance(description, Directory):
        raise SyscallError("ENOTDIR")
    kernel.files.change_directory(kernel.files.resolve(fd, "", empty=True))
    return 0


@syscall(79)
def getcwd(kernel: Kernel, buf: Pointer, size: ULong) -> int:
    """getcwd(2): the length with the NUL, as the system call has it."""
    path = os.fsencode(kernel.files.current_directory()) + b"\0"
    if size < len(path):
        raise SyscallError("ERANGE")
    kernel.memory.write(buf, path)
    return len(path)


def _entries(kernel: Kernel, fd: int, buffer: int, count: int, *, wide: bool) -> int:
    """As many entries as fit. Raises SyscallError: EINVAL when not even one does."""
    directory = kernel.files.get(fd)
    if not isinstance(directory, Directory):
        raise SyscallError("ENOTDIR")
    out = bytearray()
    entries = directory.entries()
    position = directory.position
    while position < len(entries):
        inode, kind, name = entries[position]
        record = pack_dirent(inode, position + 1, kind, os.fsencode(name), wide)
        if len(out) + len(record) > count:
            break
        out += record
        position += 1
    if not out and position < len(entries):
        raise SyscallError("EINVAL")
    kernel.memory.write(buffer, out)
    directory.position = position
    return len(out)


@syscall(217)
def getdents64(kernel: Kernel, fd: Int, dirp: Pointer, count: UInt) -> int:
    """getdents64(2)."""
    return _entries(kernel, fd, dirp, count, wide=True)


@syscall(78)
def getdents(kernel: Kernel, fd: Int, dirp: Pointer, count: UInt) -> int:
    """getdents(2)."""
    return _entries(kernel, fd, dirp, count, wide=False)


# ---- the calls of old, and those without flags

short(4, "stat", newfstatat, dirfd=AT_FDCWD, flags=0)
short(6, "lstat", newfstatat, dirfd=AT_FDCWD, flags=AT_SYMLINK_NOFOLLOW)
short(21, "access", faccessat2, dirfd=AT_FDCWD, flags=0)
short(269, "faccessat", faccessat2, flags=0)
short(82, "rename", renameat2, olddirfd=AT_FDCWD, newdirfd=AT_FDCWD, flags=0)
short(264, "renameat", renameat2, flags=0)
short(83, "mkdir", mkdirat, dirfd=AT_FDCWD)
short(84, "rmdir", unlinkat, dirfd=AT_FDCWD, flags=_AT_REMOVEDIR)
short(86, "link", linkat, olddirfd=AT_FDCWD, newdirfd=AT_FDCWD, flags=0)
short(87, "unlink", unlinkat, dirfd=AT_FDCWD, flags=0)
short(88, "symlink", symlinkat, newdirfd=AT_FDCWD)
short(89, "readlink", readlinkat, dirfd=AT_FDCWD)
short(133, "mknod", mknodat, dirfd=AT_FDCWD)
