"""Files that count: eventfd(2), timerfd_create(2). A timer runs on the guest's clock."""

import itertools
import os
import stat
import struct

from emuleak.kernel.abi import O_CLOEXEC, O_NONBLOCK, O_RDWR, READABLE, WRITABLE, SyscallError, memory_stat
from emuleak.kernel.clock import Clock
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import Description, WouldBlock
from emuleak.kernel.table import Int, Pointer, UInt, syscall
from emuleak.memory import WRITE

_NS = 1_000_000_000
_EFD_SEMAPHORE = 1
_MOST = (1 << 64) - 2  # the largest count of an eventfd
_CLOCK_REALTIME, _CLOCK_MONOTONIC, _CLOCK_BOOTTIME = 0, 1, 7
_TFD_TIMER_ABSTIME, _TFD_TIMER_CANCEL_ON_SET = 1, 2
_ITIMERSPEC = struct.Struct("<4q")


class _Counter(Description):
    """What both have in common: eight bytes are read, and the inode has no type."""

    _inodes = itertools.count(1 << 36)

    def __init__(self, path: str, flags: int) -> None:
        self.path, self.flags = path, O_RDWR | flags
        self._inode = next(self._inodes)

    def stat(self) -> os.stat_result:
        """An inode without a type, as anonymous ones are."""
        return memory_stat(stat.S_IRUSR | stat.S_IWUSR, 0, self._inode)

    def _check(self, size: int, offset: int | None) -> None:
        if offset is not None:
            raise SyscallError("ESPIPE")
        if size < 8:
            raise SyscallError("EINVAL")

    def _block(self, nanoseconds: int | None = None) -> None:
        if self.flags & O_NONBLOCK:
            raise SyscallError("EAGAIN")
        raise WouldBlock(nanoseconds)


class EventCounter(_Counter):
    """An eventfd(2)."""

    def __init__(self, count: int, flags: int, *, semaphore: bool) -> None:
        super().__init__("anon_inode:[eventfd]", flags)
        self.count = count
        self._semaphore = semaphore

    def read(self, size: int, offset: int | None) -> bytes:
        """The count, which is then zero; of a semaphore 1, which is taken from the count."""
        self._check(size, offset)
        if not self.count:
            self._block()
        taken = 1 if self._semaphore else self.count
        self.count -= taken
        return struct.pack("<Q", taken)

    def write(self, data: bytes, offset: int | None) -> int:
        """Add to the count."""
        self._check(len(data), offset)
        (value,) = struct.unpack("<Q", data[:8])
        if value > _MOST:
            raise SyscallError("EINVAL")
        if self.count + value > _MOST:
            self._block()
        self.count += value
        return 8

    def ready(self) -> int:
        """As poll(2) has it."""
        return (READABLE if self.count else 0) | (WRITABLE if self.count < _MOST else 0)


class Timer(_Counter):
    """A timerfd_create(2). `expiry` and `interval` in nanoseconds, the former on the clock's elapsed time."""

    def __init__(self, clock: Clock, flags: int, *, realtime: bool) -> None:
        super().__init__("anon_inode:[timerfd]", flags)
        self.realtime = realtime
        self.expiry: int | None = None
        self.interval = 0
        self._clock = clock

    def wakes_in(self) -> int | None:
        """The time left; 0 when it has expired, None when it is not armed."""
        return None if self.expiry is None else max(0, self.expiry - self._clock.elapsed_ns)

    def read(self, size: int, offset: int | None) -> bytes:
        """How often it expired since the last read."""
        self._check(size, offset)
        left = self.wakes_in()
        if left != 0 or self.expiry is None:
            self._block(left)
        assert self.expiry is not None
        count = 1
        if self.interval:
            count += (self._clock.elapsed_ns - self.expiry) // self.interval
            self.expiry += count * self.interval
        else:
            self.expiry = None
        return struct.pack("<Q", count)

    def ready(self) -> int:
        """Readable once it has expired."""
        return READABLE if self.wakes_in() == 0 else 0

    def setting(self) -> bytes:
        """`struct itimerspec`: the interval and the time left, which is never 0 while it is armed."""
        left = 0 if self.expiry is None else max(self.wakes_in() or 0, 1)
        if self.expiry is not None and self.interval and self.expiry <= self._clock.elapsed_ns:
            left = self.interval - (self._clock.elapsed_ns - self.expiry) % self.interval
        return _ITIMERSPEC.pack(*divmod(self.interval, _NS), *divmod(left, _NS))


@syscall(290)
def eventfd2(kernel: Kernel, count: UInt, flags: Int) -> int:
    """eventfd(2)."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK | _EFD_SEMAPHORE):
        raise SyscallError("EINVAL")
    event = EventCounter(count, flags & O_NONBLOCK, semaphore=bool(flags & _EFD_SEMAPHORE))
    return kernel.files.add(event, cloexec=bool(flags & O_CLOEXEC))


@syscall(284)
def eventfd(kernel: Kernel, count: UInt) -> int:
    """eventfd(2) of old."""
    return eventfd2(kernel, count, Int(0))


def _timer(kernel: Kernel, fd: int) -> Timer:
    description = kernel.files.get(fd)
    if not isinstance(description, Timer):
        raise SyscallError("EINVAL")
    return description


@syscall(283)
def timerfd_create(kernel: Kernel, clockid: Int, flags: Int) -> int:
    """timerfd_create(2); the clocks that wake a machine are a privileged user's."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK) or clockid not in {_CLOCK_REALTIME, _CLOCK_MONOTONIC, _CLOCK_BOOTTIME, 8, 9}:
        raise SyscallError("EINVAL")
    if clockid in {8, 9}:
        raise SyscallError("EPERM")
    timer = Timer(kernel.clock, flags & O_NONBLOCK, realtime=clockid == _CLOCK_REALTIME)
    return kernel.files.add(timer, cloexec=bool(flags & O_CLOEXEC))


@syscall(286)
def timerfd_settime(kernel: Kernel, fd: Int, flags: Int, new: Pointer, old: Pointer) -> int:
    """timerfd_settime(2)."""
    if flags & ~(_TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET):
        raise SyscallError("EINVAL")
    interval, interval_ns, value, value_ns = _ITIMERSPEC.unpack(kernel.memory.read(new, _ITIMERSPEC.size))
    if min(interval, value) < 0 or not (0 <= interval_ns < _NS and 0 <= value_ns < _NS):
        raise SyscallError("EINVAL")
    timer = _timer(kernel, fd)
    if old:
        kernel.memory.check(old, _ITIMERSPEC.size, WRITE)
        kernel.memory.write(old, timer.setting())
    time = value * _NS + value_ns
    timer.interval = interval * _NS + interval_ns
    if not time:
        timer.expiry = None
    elif flags & _TFD_TIMER_ABSTIME:
        timer.expiry = time - kernel.clock.start_ns if timer.realtime else time
    else:
        timer.expiry = kernel.clock.elapsed_ns + time
    return 0


@syscall(287)
def timerfd_gettime(kernel: Kernel, fd: Int, value: Pointer) -> int:
    """timerfd_gettime(2)."""
    kernel.memory.write(value, _timer(kernel, fd).setting())
    return 0
