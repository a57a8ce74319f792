"""System calls that copy from file to file: sendfile(2), copy_file_range(2)."""

import stat
import struct

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import Description, WouldBlock, readable, writable
from emuleak.kernel.hostfiles import HostFile
from emuleak.kernel.memoryfiles import MemoryFile
from emuleak.kernel.pipes import PipeEnd
from emuleak.kernel.table import Int, Pointer, UInt, ULong, syscall
from emuleak.kernel.transfers import MAX_RW_COUNT
from emuleak.memory import WRITE

_CHUNK = 1 << 20


def _copy(source: Description, target: Description, start: int, at: int | None, count: int) -> int:
    """Copy from `start` to `at`, or to the position; how much was copied before the end or a full pipe."""
    done = 0
    while done < count:
        buffer = bytearray(min(_CHUNK, count - done))
        length = source.readv([memoryview(buffer)], start + done)
        if not length:
            break
        try:
            written = target.writev([memoryview(buffer)[:length]], None if at is None else at + done)
        except (WouldBlock, SyscallError, OSError):
            if done:
                break
            raise
        done += written
        if written < length:
            break
    return done


def _ends(kernel: Kernel, source: int, target: int) -> tuple[Description, Description]:
    read_from, write_to = kernel.files.get(source), kernel.files.get(target)
    if not readable(read_from) or not writable(write_to):
        raise SyscallError("EBADF")
    kernel.files.agree(read_from)
    kernel.files.agree(write_to)
    return read_from, write_to


def _offset(kernel: Kernel, pointer: int) -> int | None:
    """The offset that a call got by reference; None to use the file's own position."""
    if not pointer:
        return None
    (value,) = struct.unpack("<q", kernel.memory.read(pointer, 8))
    kernel.memory.check(pointer, 8, WRITE)
    if value < 0:
        raise SyscallError("EINVAL")
    return int(value)


@syscall(40)
def sendfile(kernel: Kernel, out_fd: Int, in_fd: Int, offset: Pointer, count: ULong) -> int:
    """sendfile(2)."""
    source, target = _ends(kernel, in_fd, out_fd)
    if target.flags & 0o2000:
        raise SyscallError("EINVAL")
    given = _offset(kernel, offset)
    if isinstance(source, PipeEnd) or source.host_fd() is not None:
        raise SyscallError("ESPIPE" if offset else "EINVAL")
    start = source.seek(0, 1) if given is None else given
    done = _copy(source, target, start, None, min(count, MAX_RW_COUNT))
    kernel.files.agree(target)
    if given is None:
        source.seek(start + done, 0)
    else:
        kernel.memory.write(offset, struct.pack("<q", start + done))
    return done


@syscall(326)
def copy_file_range(
    kernel: Kernel, fd_in: Int, off_in: Pointer, fd_out: Int, off_out: Pointer, size: ULong, flags: UInt
) -> int:
    """copy_file_range(2)."""
    source, target = _ends(kernel, fd_in, fd_out)
    given = [_offset(kernel, off_in), _offset(kernel, off_out)]
    for file in (source, target):
        if not isinstance(file, HostFile | MemoryFile) or file.host_fd() is not None:
            raise SyscallError("EISDIR" if stat.S_ISDIR(file.stat().st_mode) else "EINVAL")
    if flags:
        raise SyscallError("EINVAL")
    if target.flags & 0o2000:
        raise SyscallError("EBADF")
    starts = [file.seek(0, 1) if value is None else value for file, value in zip((source, target), given, strict=True)]
    done = _copy(source, target, starts[0], starts[1], min(size, MAX_RW_COUNT))
    kernel.files.agree(target)
    for file, value, start, pointer in zip((source, target), given, starts, (off_in, off_out), strict=True):
        if value is None:
            file.seek(start + done, 0)
        else:
            kernel.memory.write(pointer, struct.pack("<q", start + done))
    return done
