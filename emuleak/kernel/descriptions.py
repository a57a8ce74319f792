"""What open(2) makes: the open file description, which owns position and status flags, and how one waits or fails.

A *descriptor* is a small number of the process's; dup(2) makes two of them share one description. All numbers here
are the guest's (abi.py). A kind of file is a class of its own: hostfiles.py, memoryfiles.py, pipes.py, sockets.py.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.hosttree import Place
from emuleak.memory import Fault

_SETTABLE = abi.O_APPEND | abi.O_NONBLOCK | 0o20000 | 0o40000 | 0o1000000  # F_SETFL: O_ASYNC, O_DIRECT, O_NOATIME

Windows = Sequence[memoryview]


class WouldBlock(Exception):
    """The calling thread has to wait; the call changed nothing and is to be made again later.

    After `nanoseconds` - None: never - whoever serves the call stops making it, and its result is what `expire` says.
    `hosts` is what the host can end the waiting with: descriptors of the host's and poll(2) bits.
    """

    def __init__(self, nanoseconds: int | None = None, hosts: Mapping[int, int] | None = None) -> None:
        super().__init__("would block")
        self.nanoseconds = nanoseconds
        self.hosts: Mapping[int, int] = hosts or {}
        self.on_timeout: Callable[[], int] = lambda: 0

    def expire(self) -> int:
        """The time is over: the value for RAX, 0 as for poll(2) unless `on_timeout` is told otherwise."""
        try:
            return self.on_timeout()
        except SyscallError as error:
            return -error.number
        except Fault:
            return -abi.ERRNO["EFAULT"]


class BrokenPipe(SyscallError):
    """EPIPE. Who serves the call also owes the thread a SIGPIPE, see write(2): files know nothing of signals."""

    def __init__(self) -> None:
        super().__init__("EPIPE")


class Description(Protocol):
    """An open file description. What a kind of file leaves as it is here, it cannot do."""

    path: str
    flags: int
    references: int = 0

    def read(self, _size: int, _offset: int | None, /) -> bytes:
        """Up to so many bytes from an offset, or from the position, which then moves on."""
        raise SyscallError("EINVAL")

    def write(self, _data: bytes, _offset: int | None, /) -> int:
        """Store bytes at an offset or at the position; how many were taken."""
        raise SyscallError("EINVAL")

    def readv(self, windows: Windows, offset: int | None) -> int:
        """Fill the windows in turn."""
        data = self.read(sum(map(len, windows)), offset)
        done = 0
        for window in windows:
            piece = data[done : done + len(window)]
            window[: len(piece)] = piece
            done += len(piece)
        return done

    def writev(self, windows: Windows, offset: int | None) -> int:
        """Store the windows in turn."""
        return self.write(b"".join(windows), offset)

    def pread_into(self, window: memoryview, offset: int) -> int:
        """Fill one window from `offset` until the file ends: for mmap(2)."""
        done = 0
        while done < len(window):
            count = self.readv([window[done:]], offset + done)
            if not count:
                break
            done += count
        return done

    def seek(self, _offset: int, _whence: int, /) -> int:
        """Move the position as lseek(2) does; pipes have none."""
        raise SyscallError("ESPIPE")

    def truncate(self, _length: int, /) -> None:
        """Cut or extend the file to a length."""
        raise SyscallError("EINVAL")

    def host_name(self) -> str:
        """The host's file that holds the bytes, for who reads what the guest maps; "" where there is none."""
        return ""

    def sync(self) -> None:
        """Bring the content to the disk."""
        raise SyscallError("EINVAL")

    def stat(self) -> os.stat_result:
        """The file's status as fstat(2) sees it."""
        ...

    def ready(self) -> int:
        """The poll(2) bits that hold now."""
        return abi.READABLE | abi.WRITABLE

    def wakes_in(self) -> int | None:
        """In how many nanoseconds of the guest's time the file becomes ready by itself; None: never."""
        return None

    def pending(self) -> int:
        """How many bytes can be read at once: FIONREAD of ioctl_tty(2)."""
        raise SyscallError("ENOTTY")

    def host_fd(self) -> int | None:
        """The host's descriptor of a file that can keep its reader waiting or is a terminal."""
        return None

    def anchor(self) -> Place:
        """What the host's calls on attributes take: a descriptor or a path; None for what has no host file."""
        return None

    def set_flags(self, flags: int) -> None:
        """Change the status flags that F_SETFL of fcntl(2) may change."""
        self.flags = self.flags & ~_SETTABLE | flags & _SETTABLE

    def close(self) -> None:
        """Called once, when the last descriptor is gone."""
        return


def readable(description: Description) -> bool:
    """Whether open(2) granted reading."""
    return description.flags & abi.O_ACCMODE in {0, abi.O_RDWR} and not description.flags & abi.O_PATH


def writable(description: Description) -> bool:
    """Whether open(2) granted writing."""
    return description.flags & abi.O_ACCMODE in {abi.O_WRONLY, abi.O_RDWR} and not description.flags & abi.O_PATH


def release(description: Description) -> None:
    """Close a description that no descriptor refers to."""
    if description.references == 0:
        description.close()


def data_or_hole(offset: int, whence: int, size: int) -> int:
    """SEEK_DATA and SEEK_HOLE of lseek(2) for a file without holes."""
    if not 0 <= offset < size:
        raise SyscallError("ENXIO")
    return offset if whence == abi.SEEK_DATA else size
