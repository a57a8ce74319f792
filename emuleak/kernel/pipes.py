"""Pipes between threads and processes of the guest, see pipe(7)."""

import itertools
import os
import stat

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import BrokenPipe, Description, WouldBlock

_PIPE_BUF = 4096


class Pipe:
    """The buffer between two ends, see pipe(7)."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.capacity = 65536
        self.open = {False: 1, True: 1}  # how often the reading and the writing end are open


class PipeEnd(Description):
    """One end of a pipe inside the process. Raises WouldBlock where a thread would sleep."""

    _inodes = itertools.count(1 << 33)

    def __init__(self, pipe: Pipe, flags: int, inode: int) -> None:
        self.path, self.flags = f"pipe:[{inode}]", flags
        self.pipe = pipe
        self._writing = bool(flags & abi.O_WRONLY)
        self._inode = inode

    @classmethod
    def pair(cls, flags: int) -> tuple["PipeEnd", "PipeEnd"]:
        """The reading and the writing end of a new pipe."""
        pipe, inode = Pipe(), next(cls._inodes)
        return cls(pipe, flags, inode), cls(pipe, flags | abi.O_WRONLY, inode)

    def _wait(self) -> None:
        if self.flags & abi.O_NONBLOCK:
            raise SyscallError("EAGAIN")
        raise WouldBlock

    def read(self, size: int, offset: int | None) -> bytes:
        """What is there; nothing, the end of the file, once no writer is left."""
        if offset is not None:
            raise SyscallError("ESPIPE")
        if size and not self.pipe.data and self.pipe.open[True]:
            self._wait()
        data = bytes(self.pipe.data[:size])
        del self.pipe.data[:size]
        return data

    def write(self, data: bytes, offset: int | None) -> int:
        """All of it, or what O_NONBLOCK finds room for. Raises BrokenPipe without a reader.

        A blocking write larger than PIPE_BUF is taken whole as soon as there is any room: since a call that
        waits is made again from the start, it must not have written a part.
        """
        if offset is not None:
            raise SyscallError("ESPIPE")
        if not self.pipe.open[False]:
            raise BrokenPipe
        room = max(0, self.pipe.capacity - len(self.pipe.data))
        if data and room < (len(data) if len(data) <= _PIPE_BUF else 1):
            self._wait()
        if self.flags & abi.O_NONBLOCK:
            data = data[:room]
        self.pipe.data += data
        return len(data)

    def stat(self) -> os.stat_result:
        """fstat(2)."""
        return abi.memory_stat(stat.S_IFIFO | 0o600, 0, self._inode)

    def ready(self) -> int:
        """As poll(2) has it for pipes."""
        pipe = self.pipe
        if self._writing:
            room = abi.WRITABLE if pipe.capacity - len(pipe.data) >= _PIPE_BUF else 0
            return room if pipe.open[False] else room | abi.POLLERR
        some = abi.READABLE if pipe.data else 0
        return some if pipe.open[True] else some | abi.POLLHUP

    def held(self) -> int:
        """Bytes that wait in the pipe."""
        return len(self.pipe.data)

    def pending(self) -> int:
        """What was written and not read yet."""
        return len(self.pipe.data)

    def close(self) -> None:
        """Tell the other end."""
        self.pipe.open[self._writing] -= 1
