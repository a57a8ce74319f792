"""System calls on a file's size and on what of it reaches the disk: truncate(2), fallocate(2), fsync(2)."""

import os
import stat

from emuleak.kernel.abi import AT_FDCWD, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import Description, writable
from emuleak.kernel.hostfiles import HostFile
from emuleak.kernel.memoryfiles import MemoryFile
from emuleak.kernel.pipes import PipeEnd
from emuleak.kernel.table import Int, Long, Path, UInt, syscall


@syscall(77)
def ftruncate(kernel: Kernel, fd: Int, length: Long) -> int:
    """ftruncate(2)."""
    description = kernel.files.get(fd)
    if length < 0 or not writable(description):
        raise SyscallError("EINVAL")
    kernel.files.agree(description)
    description.truncate(length)
    return 0


@syscall(76)
def truncate(kernel: Kernel, path: Path, length: Long) -> int:
    """truncate(2)."""
    if length < 0:
        raise SyscallError("EINVAL")
    full = kernel.files.resolve(AT_FDCWD, path)
    if kernel.files.special(full) is not None:
        raise SyscallError("EINVAL")
    kernel.files.tree.truncate(kernel.files.host_path(full), length)
    return 0


@syscall(285)
def fallocate(kernel: Kernel, fd: Int, mode: Int, offset: Long, length: Long) -> int:
    """fallocate(2): the file grows, but nothing is reserved - a host may do that by writing every block."""
    description = kernel.files.get(fd)
    if not writable(description):
        raise SyscallError("EBADF")
    if offset < 0 or length <= 0:
        raise SyscallError("EINVAL")
    if mode & ~1:
        raise SyscallError("EOPNOTSUPP")
    if isinstance(description, PipeEnd):
        raise SyscallError("ESPIPE")
    size = _size_of(description)
    if (offset + length) >> 63:
        raise SyscallError("EFBIG")
    if isinstance(description, HostFile) and offset + length - size > _room(kernel, description):
        raise SyscallError("ENOSPC")
    if not mode and offset + length > size:
        description.truncate(offset + length)
    return 0


def _size_of(description: Description) -> int:
    """The size of a regular file. Raises SyscallError ENODEV for another."""
    if not isinstance(description, HostFile | MemoryFile) or description.host_fd() is not None:
        raise SyscallError("ENODEV")
    return description.stat().st_size


def _room(kernel: Kernel, description: Description) -> int:
    """Bytes free on the disk that holds a file."""
    import shutil  # noqa: PLC0415 - 3 ms that few programs need

    return shutil.disk_usage(os.path.dirname(kernel.files.host_path(description.path))).free


@syscall(74)
def fsync(kernel: Kernel, fd: Int) -> int:
    """fsync(2)."""
    kernel.files.get(fd).sync()
    return 0


@syscall(75)
def fdatasync(kernel: Kernel, fd: Int) -> int:
    """fdatasync(2)."""
    return fsync(kernel, fd)


@syscall(162)
def sync(kernel: Kernel) -> int:
    """sync(2)."""
    del kernel  # the host writes its files in its own time
    return 0


@syscall(277)
def sync_file_range(kernel: Kernel, fd: Int, offset: Long, nbytes: Long, flags: UInt) -> int:
    """sync_file_range(2): advice about files that are the host's."""
    if isinstance(kernel.files.get(fd), PipeEnd):
        raise SyscallError("ESPIPE")
    if offset < 0 or nbytes < 0 or flags & ~7:
        raise SyscallError("EINVAL")
    return 0


@syscall(221)
def fadvise64(kernel: Kernel, fd: Int, _offset: Long, length: Long, advice: Int) -> int:
    """posix_fadvise(2): no advice is needed."""
    if stat.S_ISFIFO(kernel.files.get(fd).stat().st_mode):
        raise SyscallError("ESPIPE")
    if length < 0 or not 0 <= advice <= 5:
        raise SyscallError("EINVAL")
    return 0
