"""System calls that move bytes between files and memory: read(2), write(2), readv(2), pread(2), lseek(2).

Data goes between the host and guest memory without a copy where the host allows it. As copy_to_user does, a transfer
stops at the first page that cannot be used: it is short then, and EFAULT only when nothing was moved.
"""

import struct

from emuleak.kernel.abi import O_NONBLOCK, POLLERR, POLLHUP, POLLIN, POLLOUT, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import Description, WouldBlock, readable, writable
from emuleak.kernel.table import Int, Long, Pointer, ULong, syscall
from emuleak.memory import READ, WRITE, AddressSpace, Fault

MAX_RW_COUNT = 0x7FFF_F000
_TASK_SIZE = (1 << 47) - 4096
_IOV_MAX = 1024
_RWF_HINTS = 0xF  # RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT


def _reach(memory: AddressSpace, address: int, length: int, prot: int) -> int:
    """How many of `length` bytes the kernel can move before it meets a page it may not use."""
    if address + length > _TASK_SIZE:
        raise Fault(address)
    end, stop = address, address + length
    while end < stop:
        region = memory.region_at(end)
        if region is None or region.prot & prot != prot:
            break
        end = region.end
    return min(end, stop) - address


def windows(memory: AddressSpace, ranges: list[tuple[int, int]], prot: int) -> list[memoryview]:
    """Windows on the guest's buffers, together at most MAX_RW_COUNT long. Raises Fault when nothing can be moved."""
    found: list[memoryview] = []
    left = MAX_RW_COUNT
    for address, length in ranges:
        wanted = min(length, left)
        if not wanted:
            continue
        usable = min(_reach(memory, address, length, prot), wanted)
        if usable:
            found.append((memory.writable if prot == WRITE else memory.peek)(address, usable))
            left -= usable
        if usable < wanted:
            if not found:
                raise Fault(address)
            break
    return found


def vector(memory: AddressSpace, address: int, count: int) -> list[tuple[int, int]]:
    """The buffers of a `struct iovec[count]`, see readv(2). Raises SyscallError, Fault."""
    if not 0 <= count <= _IOV_MAX:
        raise SyscallError("EINVAL")
    ranges = list(struct.iter_unpack("<QQ", memory.read(address, 16 * count)))
    if any(length >> 63 for _start, length in ranges):
        raise SyscallError("EINVAL")
    return [(start, length) for start, length in ranges]


def _wait_for_host(kernel: Kernel, description: Description, event: int) -> None:
    """Let the others run while the host keeps one waiting. Raises WouldBlock."""
    if kernel.alone:
        return
    host = description.host_fd()
    blocks = host is not None and not description.flags & O_NONBLOCK
    if blocks and host is not None and not description.ready() & (event | POLLHUP | POLLERR):
        raise WouldBlock(hosts={host: event})


def _move_in(kernel: Kernel, fd: int, ranges: list[tuple[int, int]], offset: int | None = None) -> int:
    """From a file to the guest's buffers."""
    description = kernel.files.get(fd)
    if not readable(description):
        raise SyscallError("EBADF")
    if offset is not None and offset < 0:
        raise SyscallError("EINVAL")
    kernel.files.agree(description)
    _wait_for_host(kernel, description, POLLIN)
    try:
        return description.readv(windows(kernel.memory, ranges, WRITE), offset)
    except WouldBlock as wait:
        if wait.nanoseconds is not None:
            wait.on_timeout = lambda: description.readv(windows(kernel.memory, ranges, WRITE), offset)
        raise


def _move_out(kernel: Kernel, fd: int, ranges: list[tuple[int, int]], offset: int | None = None) -> int:
    """From the guest's buffers to a file."""
    description = kernel.files.get(fd)
    if not writable(description):
        raise SyscallError("EBADF")
    if offset is not None and offset < 0:
        raise SyscallError("EINVAL")
    kernel.files.agree(description)
    kernel.files.admit(description)
    _wait_for_host(kernel, description, POLLOUT)
    count = description.writev(windows(kernel.memory, ranges, READ), offset)
    kernel.files.agree(description)
    return count


@syscall(0)
def read(kernel: Kernel, fd: Int, buf: Pointer, count: ULong) -> int:
    """read(2)."""
    return _move_in(kernel, fd, [(buf, count)])


@syscall(1)
def write(kernel: Kernel, fd: Int, buf: Pointer, count: ULong) -> int:
    """write(2)."""
    return _move_out(kernel, fd, [(buf, count)])


@syscall(17)
def pread64(kernel: Kernel, fd: Int, buf: Pointer, count: ULong, offset: Long) -> int:
    """pread(2)."""
    return _move_in(kernel, fd, [(buf, count)], offset)


@syscall(18)
def pwrite64(kernel: Kernel, fd: Int, buf: Pointer, count: ULong, offset: Long) -> int:
    """pwrite(2)."""
    return _move_out(kernel, fd, [(buf, count)], offset)


@syscall(19)
def readv(kernel: Kernel, fd: Int, iov: Pointer, iovcnt: Int) -> int:
    """readv(2)."""
    kernel.files.get(fd)
    return _move_in(kernel, fd, vector(kernel.memory, iov, iovcnt))


@syscall(20)
def writev(kernel: Kernel, fd: Int, iov: Pointer, iovcnt: Int) -> int:
    """writev(2)."""
    kernel.files.get(fd)
    return _move_out(kernel, fd, vector(kernel.memory, iov, iovcnt))


@syscall(295)
def preadv(kernel: Kernel, fd: Int, iov: Pointer, iovcnt: Int, offset: Long) -> int:
    """preadv(2): on x86-64 the low half of the offset is all of it."""
    kernel.files.get(fd)
    return _move_in(kernel, fd, vector(kernel.memory, iov, iovcnt), offset)


@syscall(296)
def pwritev(kernel: Kernel, fd: Int, iov: Pointer, iovcnt: Int, offset: Long) -> int:
    """pwritev(2)."""
    kernel.files.get(fd)
    return _move_out(kernel, fd, vector(kernel.memory, iov, iovcnt), offset)


def _plain(flags: int) -> None:
    """The RWF_* flags of preadv2(2) are hints or done anyway, but for RWF_APPEND. Raises SyscallError."""
    if flags & ~_RWF_HINTS:
        raise SyscallError("EOPNOTSUPP")


@syscall(327)
def preadv2(kernel: Kernel, fd: Int, iov: Pointer, iovcnt: Int, offset: Long, _high: Long, flags: Int) -> int:
    """preadv2(2): at offset -1 it is readv."""
    _plain(flags)
    kernel.files.get(fd)
    return _move_in(kernel, fd, vector(kernel.memory, iov, iovcnt), None if offset == -1 else offset)


@syscall(328)
def pwritev2(kernel: Kernel, fd: Int, iov: Pointer, iovcnt: Int, offset: Long, _high: Long, flags: Int) -> int:
    """pwritev2(2): at offset -1 it is writev."""
    _plain(flags)
    kernel.files.get(fd)
    return _move_out(kernel, fd, vector(kernel.memory, iov, iovcnt), None if offset == -1 else offset)


@syscall(8)
def lseek(kernel: Kernel, fd: Int, offset: Long, whence: Int) -> int:
    """lseek(2)."""
    return kernel.files.get(fd).seek(offset, whence)
