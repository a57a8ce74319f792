"""System calls that make, copy and close descriptors: open(2), close(2), dup(2), pipe(2), memfd_create(2)."""

import os
import stat
import struct

from emuleak.kernel.abi import (
    AT_FDCWD,
    O_CLOEXEC,
    O_CREAT,
    O_NONBLOCK,
    O_RDWR,
    O_TRUNC,
    O_WRONLY,
    SyscallError,
)
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import Description
from emuleak.kernel.memoryfiles import MemoryFile
from emuleak.kernel.pipes import PipeEnd
from emuleak.kernel.table import Int, Path, Pointer, UInt, ULong, syscall
from emuleak.memory import WRITE

_O_DIRECT = 0o40000
_S_IFREG = stat.S_IFREG


@syscall(257)
def openat(kernel: Kernel, dirfd: Int, pathname: Path, flags: Int, mode: UInt) -> int:
    """openat(2)."""
    path = kernel.files.resolve(dirfd, pathname)
    kernel.files.lowest()
    description = kernel.files.open(path, flags, mode)
    if kernel.files.fifos:
        description = _opened(kernel, description, flags)
    return kernel.files.add(description, cloexec=bool(flags & O_CLOEXEC))


_RESOLVE_DONE = 2 | 4 | 8  # RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH


def _opened(kernel: Kernel, description: Description, flags: int) -> Description:
    """What was opened, and of a named pipe both ends. Raises WouldBlock, SyscallError."""
    from emuleak.kernel.fifos import FifoEnd  # noqa: PLC0415

    if not isinstance(description, FifoEnd):
        return description
    return description.opened_by(kernel.threads.current.tid, blocks=not flags & O_NONBLOCK)


_OPEN_HOW = struct.Struct("<3Q")


@syscall(437)
def openat2(kernel: Kernel, dirfd: Int, pathname: Path, how: Pointer, size: ULong) -> int:
    """openat2(2), without RESOLVE_NO_XDEV and RESOLVE_IN_ROOT."""
    if size < _OPEN_HOW.size:
        raise SyscallError("EINVAL")
    given = kernel.memory.read(how, size)
    flags, mode, resolve = _OPEN_HOW.unpack_from(given)
    if any(given[_OPEN_HOW.size :]):
        raise SyscallError("E2BIG")
    if flags >> 32 or resolve & ~0x3F or (mode and not flags & O_CREAT) or mode & ~0o7777:
        raise SyscallError("EINVAL")
    if resolve & ~_RESOLVE_DONE:
        kernel.note("RESOLVE_NO_XDEV and RESOLVE_IN_ROOT of openat2(2) are not emulated: the program was told ENOSYS")
        raise SyscallError("ENOSYS")
    kernel.files.check_resolution(dirfd, pathname, resolve)
    return openat(kernel, dirfd, pathname, Int(flags), UInt(mode))


@syscall(2)
def open_(kernel: Kernel, pathname: Path, flags: Int, mode: UInt) -> int:
    """open(2)."""
    return openat(kernel, Int(AT_FDCWD), pathname, flags, mode)


@syscall(85)
def creat(kernel: Kernel, pathname: Path, mode: UInt) -> int:
    """creat(2)."""
    return openat(kernel, Int(AT_FDCWD), pathname, Int(O_CREAT | O_WRONLY | O_TRUNC), mode)


@syscall(3)
def close(kernel: Kernel, fd: Int) -> int:
    """close(2)."""
    kernel.files.close(fd)
    return 0


@syscall(436)
def close_range(kernel: Kernel, first: UInt, last: UInt, flags: UInt) -> int:
    """close_range(2)."""
    if flags & ~6 or first > last:
        raise SyscallError("EINVAL")
    for fd in kernel.files.descriptors():
        if first <= fd <= last:
            if flags & 4:
                kernel.files.set_cloexec(fd, on=True)
            else:
                kernel.files.close(fd)
    return 0


@syscall(32)
def dup(kernel: Kernel, oldfd: Int) -> int:
    """dup(2)."""
    return kernel.files.add(kernel.files.get(oldfd))


@syscall(292)
def dup3(kernel: Kernel, oldfd: Int, newfd: Int, flags: Int) -> int:
    """dup3(2)."""
    if flags & ~O_CLOEXEC or oldfd == newfd:
        raise SyscallError("EINVAL")
    if not 0 <= newfd < kernel.files.limit:
        raise SyscallError("EBADF")
    kernel.files.place(newfd, kernel.files.get(oldfd), cloexec=bool(flags))
    return newfd


@syscall(33)
def dup2(kernel: Kernel, oldfd: Int, newfd: Int) -> int:
    """dup2(2)."""
    if oldfd == newfd:
        kernel.files.get(oldfd)
        return newfd
    return dup3(kernel, oldfd, newfd, Int(0))


@syscall(293)
def pipe2(kernel: Kernel, pipefd: Pointer, flags: Int) -> int:
    """pipe2(2)."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK | _O_DIRECT):
        raise SyscallError("EINVAL")
    kernel.memory.check(pipefd, 8, WRITE)
    ends = PipeEnd.pair(flags & ~O_CLOEXEC)
    fds = kernel.files.add_pair(ends, cloexec=bool(flags & O_CLOEXEC))
    kernel.memory.write(pipefd, struct.pack("<ii", *fds))
    return 0


@syscall(22)
def pipe(kernel: Kernel, pipefd: Pointer) -> int:
    """pipe(2)."""
    return pipe2(kernel, pipefd, Int(0))


@syscall(319)
def memfd_create(kernel: Kernel, name: Path, flags: UInt) -> int:
    """memfd_create(2), without huge pages."""
    if flags & ~0x1F or len(os.fsencode(name)) > 249:
        raise SyscallError("EINVAL")
    file = MemoryFile(f"/memfd:{name} (deleted)", O_RDWR | 0o100000, mode=_S_IFREG | 0o777)
    file.seals = 0 if flags & 2 else 1  # MFD_ALLOW_SEALING, F_SEAL_SEAL
    return kernel.files.add(file, cloexec=bool(flags & 1))
