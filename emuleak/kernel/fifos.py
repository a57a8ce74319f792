"""Named pipes that the guest has made, see fifo(7): the host has the name, the bytes go through a pipe in here.

One that was there before is the host's: whoever is at its other end runs outside.
"""

import os
import stat
from collections.abc import Iterable

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import WouldBlock
from emuleak.kernel.pipes import Pipe, PipeEnd

Key = tuple[int, int]  # device and inode


class Fifo:
    """One named pipe. `opened` counts by end, False for reading, all that were ever opened."""

    def __init__(self) -> None:
        self.pipe = Pipe()
        self.pipe.open = {False: 0, True: 0}
        self.opened = {False: 0, True: 0}
        self.waiting: dict[int, tuple[FifoEnd, int]] = {}  # by thread: its end, and how often the other was opened

    def forget(self, tids: Iterable[int]) -> None:
        """These threads wait no more: their process has ended."""
        for tid in tids:
            if (waiting := self.waiting.pop(tid, None)) is not None:
                waiting[0].close()


class FifoEnd(PipeEnd):
    """What open(2) of a named pipe makes; it counts as open once `opened_by` was called."""

    def __init__(self, fifo: Fifo, path: str, host: str, flags: int) -> None:
        super().__init__(fifo.pipe, flags, 0)
        self.path, self._host, self._fifo = path, host, fifo
        mode = flags & abi.O_ACCMODE
        self._ends = (False, True) if mode == abi.O_RDWR else (mode == abi.O_WRONLY,)

    def opened_by(self, tid: int, *, blocks: bool) -> "FifoEnd":
        """The end that the thread's open(2) gives: waiting for the other end it may have been here before.

        Raises WouldBlock, or SyscallError ENXIO for a writer that does not wait and finds no reader.
        """
        fifo = self._fifo
        if tid in fifo.waiting:
            end, seen = fifo.waiting[tid]
            if not end.has_peer() and fifo.opened[not end.writes] == seen:
                raise WouldBlock
            del fifo.waiting[tid]
            return end
        if not blocks and self._ends == (True,) and not fifo.pipe.open[False]:
            raise SyscallError("ENXIO")
        if not fifo.pipe.open[False] and not fifo.pipe.open[True]:
            fifo.pipe.data.clear()
        self.enter()
        if blocks and not self.has_peer():
            fifo.waiting[tid] = self, fifo.opened[not self.writes]
            raise WouldBlock
        return self

    def enter(self) -> None:
        """Count as open."""
        for side in self._ends:
            self._fifo.pipe.open[side] += 1
            self._fifo.opened[side] += 1

    @property
    def writes(self) -> bool:
        """Whether this end is for writing alone."""
        return self._ends == (True,)

    def has_peer(self) -> bool:
        """Whether the other end is open, too."""
        return len(self._ends) == 2 or self._fifo.pipe.open[not self.writes] > 0

    def stat(self) -> os.stat_result:
        """Of the name, which may be gone."""
        return os.stat(self._host) if os.path.exists(self._host) else super().stat()

    def close(self) -> None:
        """Tell the other end."""
        for end in self._ends:
            self._fifo.pipe.open[end] -= 1


def make(fifos: dict[Key, Fifo], host: str, mode: int) -> None:
    """mkfifo(3) at a path of the host's; it joins those that the guest has made. Raises OSError."""
    os.mkfifo(host, mode)
    status = os.stat(host)
    fifos[status.st_dev, status.st_ino] = Fifo()


def end_of(fifos: dict[Key, Fifo], path: str, host: str, flags: int) -> FifoEnd | None:
    """An end of the guest's own FIFO at a path; None for one of the host's and for whatever else is there."""
    try:
        status = os.stat(host)
    except OSError:
        return None
    fifo = fifos.get((status.st_dev, status.st_ino))
    if fifo is None or flags & abi.O_PATH or not stat.S_ISFIFO(status.st_mode):
        return None
    return FifoEnd(fifo, path, host, flags)


def forget(fifos: dict[Key, Fifo], tids: Iterable[int]) -> None:
    """These threads wait no more: their process has ended."""
    mine = tuple(tids)
    for fifo in fifos.values():
        fifo.forget(mine)
