"""Files without a disk: bytes kept here, and the devices of mem(4) and random(4)."""

import itertools
import os
import stat
from collections.abc import Callable
from typing import Protocol

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import Description, data_or_hole

_FILE_MAX = 1 << 30  # bytes of a file in memory: a guest must not eat the host's
_PROC_BLOCK = 1024
_SEAL_SHRINK, _SEAL_GROW, _SEAL_WRITE, _SEAL_FUTURE_WRITE = 2, 4, 8, 16


class Quota(Protocol):
    """What bounds the bytes that files in memory take."""

    def take(self, count: int) -> None:
        """Grant so many bytes more, or give back. Raises SyscallError ENOSPC."""


class MemoryFile(Description):
    """A file without a disk: memfd_create(2), what /proc says, standard streams kept by the caller.

    `size` can be larger than what was written: the rest reads as zeros, as a hole does.
    """

    _inodes = itertools.count(1 << 32)

    def __init__(self, path: str, flags: int, content: bytes = b"", mode: int = stat.S_IFREG | 0o444) -> None:
        self.path, self.flags = path, flags
        self.data = bytearray(content)
        self.size = len(content)
        self.position = 0
        self.seals = 0
        self.quota: Quota | None = None
        self._mode = mode
        self._inode = next(self._inodes)

    def read(self, size: int, offset: int | None) -> bytes:
        """From the bytes written, then from the hole behind them."""
        start = self.position if offset is None else offset
        stop = min(start + size, self.size)
        data = bytes(self.data[start:stop])
        data += bytes(max(0, min(stop - start, _FILE_MAX) - len(data)))
        if offset is None:
            self.position += len(data)
        return data

    def write(self, data: bytes, offset: int | None) -> int:
        """At the position, the offset, or the end. Raises SyscallError: EPERM when sealed, EFBIG at the limit."""
        if self.seals & (_SEAL_WRITE | _SEAL_FUTURE_WRITE):
            raise SyscallError("EPERM")
        start = self.position if offset is None else offset
        if self.flags & abi.O_APPEND:
            start = self.size
        end = start + len(data)
        if self.seals & _SEAL_GROW and end > self.size:
            raise SyscallError("EPERM")
        if end > _FILE_MAX:
            raise SyscallError("EFBIG")
        if self.quota is not None:
            self.quota.take(max(0, end - len(self.data)))
        if start > len(self.data):
            self.data += bytes(start - len(self.data))
        self.data[start:end] = data
        self.size = max(self.size, end)
        if offset is None:
            self.position = end
        return len(data)

    def seek(self, offset: int, whence: int) -> int:
        """lseek(2)."""
        if whence in {abi.SEEK_DATA, abi.SEEK_HOLE}:
            offset = data_or_hole(offset, whence, self.size)
        elif whence in {abi.SEEK_CUR, abi.SEEK_END}:
            offset += self.position if whence == abi.SEEK_CUR else self.size
        elif whence != abi.SEEK_SET:
            raise SyscallError("EINVAL")
        if not 0 <= offset < 1 << 63:
            raise SyscallError("EINVAL")
        self.position = offset
        return offset

    def truncate(self, length: int) -> None:
        """ftruncate(2)."""
        if length < 0:
            raise SyscallError("EINVAL")
        if self.seals & (_SEAL_SHRINK if length < self.size else _SEAL_GROW) and length != self.size:
            raise SyscallError("EPERM")
        if self.quota is not None:
            self.quota.take(min(0, length - len(self.data)))
        del self.data[length:]
        self.size = length

    def sync(self) -> None:
        """Nowhere to write it."""

    def stat(self) -> os.stat_result:
        """fstat(2)."""
        return abi.memory_stat(self._mode, self.size, self._inode)

    def close(self) -> None:
        """The bytes go, unless somebody asked for them."""
        if self.quota is not None:
            self.quota.take(-len(self.data))

    def pending(self) -> int:
        """What is left of it."""
        return max(0, self.size - self.position)


class ProcFile(MemoryFile):
    """A file of proc(5): fstat(2) does not know how long it is."""

    def stat(self) -> os.stat_result:
        """An empty file with the blocks of procfs."""
        return abi.memory_stat(stat.S_IFREG | 0o444, 0, self._inode, _PROC_BLOCK)


class Device(Description):
    """A device of mem(4) or random(4): reads come from `source`; writes vanish, or fail when it is full(4)."""

    def __init__(self, path: str, flags: int, source: Callable[[int], bytes]) -> None:
        self.path, self.flags = path, flags
        self._source = source

    def read(self, size: int, _offset: int | None, /) -> bytes:
        """The same at every offset."""
        return self._source(size)

    def write(self, data: bytes, _offset: int | None, /) -> int:
        """Taken and forgotten."""
        if self.path == "/dev/full":
            raise SyscallError("ENOSPC")
        return len(data)

    def seek(self, _offset: int, _whence: int, /) -> int:
        """Accepted, without an effect: null(4)."""
        return 0

    def stat(self) -> os.stat_result:
        """The host's device of that name, if it has one."""
        try:
            return os.stat(self.path)
        except OSError:
            return abi.memory_stat(stat.S_IFCHR | 0o666, 0, 1)
