"""System calls of timers: alarm(2), getitimer(2), timer_create(2) and their kin."""

import struct
from typing import TYPE_CHECKING, Final

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.signals import LAST, NUMBERS
from emuleak.kernel.table import Int, Pointer, UInt, syscall
from emuleak.kernel.timers import ITIMER_REAL, Timer, posix_siginfo

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel

_TIMERS_MAX: Final = 31_000  # each takes a place of RLIMIT_SIGPENDING
_NS: Final = 1_000_000_000
_US: Final = 1000
_ITIMER: Final = struct.Struct("<qqqq")  # struct itimerval and itimerspec: interval, then value
_SIGEVENT: Final = struct.Struct("<Qiii")  # sigev_value, signo, notify, thread id
_SIGEV_SIGNAL, _SIGEV_NONE, _SIGEV_THREAD, _SIGEV_THREAD_ID = 0, 1, 2, 4
_TIMER_ABSTIME: Final = 1
_REALTIME_CLOCKS: Final = frozenset((0, 11))  # CLOCK_REALTIME, CLOCK_TAI
_CLOCKS: Final = frozenset((0, 1, 2, 3, 7, 8, 9, 11))
_CPU_CLOCKS: Final = frozenset((2, 3))


def _read(kernel: "Kernel", address: int, unit: int) -> tuple[int, int]:
    """Interval and value in nanoseconds; `unit` is how many of them the small field counts. Raises EINVAL, Fault."""
    times = _ITIMER.unpack(kernel.memory.read(address, _ITIMER.size))
    if any(seconds < 0 or not 0 <= part * unit < _NS for seconds, part in (times[:2], times[2:])):
        raise SyscallError("EINVAL")
    return times[0] * _NS + times[1] * unit, times[2] * _NS + times[3] * unit


def _write(kernel: "Kernel", address: int, timer: tuple[int, int], unit: int) -> None:
    # Rounded up: a timer that runs must not read as one that is disarmed.
    counts = [-(-time // unit) for time in timer]
    per_second = _NS // unit
    fields = [part for count in counts for part in divmod(count, per_second)]
    kernel.memory.write(address, _ITIMER.pack(*fields))


# ---- alarm, setitimer


@syscall(37)
def alarm(kernel: "Kernel", seconds: UInt) -> int:
    """alarm(2): the seconds that were left, rounded to the nearest but never to 0."""
    timer = kernel.timers.interval_timers[ITIMER_REAL]
    left = timer.left(kernel.clock)
    timer.set(timer.now(kernel.clock) + seconds * _NS if seconds else None, 0)
    return max(1, (left + _NS // 2) // _NS) if left else 0


def _interval_timer(kernel: "Kernel", which: int) -> Timer:
    timer = kernel.timers.interval_timers.get(which)
    if timer is None:
        raise SyscallError("EINVAL")
    return timer


@syscall(36)
def getitimer(kernel: "Kernel", which: Int, curr_value: Pointer) -> int:
    """getitimer(2)."""
    timer = _interval_timer(kernel, which)
    _write(kernel, curr_value, (timer.interval, timer.left(kernel.clock)), _US)
    return 0


@syscall(38)
def setitimer(kernel: "Kernel", which: Int, new_value: Pointer, old_value: Pointer) -> int:
    """setitimer(2)."""
    interval, value = _read(kernel, new_value, _US) if new_value else (0, 0)
    timer = _interval_timer(kernel, which)
    old = timer.interval, timer.left(kernel.clock)
    timer.set(timer.now(kernel.clock) + value if value else None, interval)
    if old_value:
        _write(kernel, old_value, old, _US)
    return 0


# ---- timer_create


@syscall(222)
def timer_create(kernel: "Kernel", clockid: Int, sevp: Pointer, timerid: Pointer) -> int:
    """timer_create(2). SIGEV_THREAD is libc's: it asks for a signal to a thread of its own."""
    if clockid >= 0 and clockid not in _CLOCKS:
        raise SyscallError("EINVAL")
    event = _SIGEVENT.unpack(kernel.memory.read(sevp, _SIGEVENT.size)) if sevp else None
    timers = kernel.timers
    if len(timers.posix) >= _TIMERS_MAX:
        raise SyscallError("EAGAIN")
    number = timers.create(Timer(None, of_cpu=clockid < 0 or clockid in _CPU_CLOCKS))
    try:
        timer = timers.posix[number]
        timer.realtime = clockid in _REALTIME_CLOCKS
        _describe(kernel, timer, number, event or (number, NUMBERS["SIGALRM"], _SIGEV_SIGNAL, 0))
        kernel.memory.write(timerid, struct.pack("<i", number))
    except BaseException:
        del timers.posix[number]
        raise
    return 0


def _describe(kernel: "Kernel", timer: Timer, number: int, event: tuple[int, int, int, int]) -> None:
    value, signal, notify, tid = event
    if notify not in {_SIGEV_SIGNAL, _SIGEV_NONE, _SIGEV_THREAD, _SIGEV_THREAD_ID}:
        raise SyscallError("EINVAL")
    if notify == _SIGEV_THREAD_ID:
        if kernel.threads.find(tid) is None:
            raise SyscallError("EINVAL")
        timer.tid = tid
    if notify != _SIGEV_NONE:
        if not 1 <= signal <= LAST:
            raise SyscallError("EINVAL")
        timer.info = posix_siginfo(signal, number, value)


def _posix(kernel: "Kernel", number: int) -> Timer:
    timer = kernel.timers.posix.get(number)
    if timer is None:
        raise SyscallError("EINVAL")
    return timer


@syscall(223)
def timer_settime(kernel: "Kernel", timerid: Int, flags: Int, new_value: Pointer, old_value: Pointer) -> int:
    """timer_settime(2)."""
    if not new_value:
        raise SyscallError("EINVAL")
    interval, value = _read(kernel, new_value, 1)
    timer, clock = _posix(kernel, timerid), kernel.clock
    old = timer.interval, timer.left(clock)
    start = timer.now(clock)
    if flags & _TIMER_ABSTIME:
        start = -clock.start_ns if timer.realtime else 0
    timer.set(start + value if value else None, interval)
    if old_value:
        _write(kernel, old_value, old, 1)
    return 0


@syscall(224)
def timer_gettime(kernel: "Kernel", timerid: Int, curr_value: Pointer) -> int:
    """timer_gettime(2)."""
    timer = _posix(kernel, timerid)
    _write(kernel, curr_value, (timer.interval, timer.left(kernel.clock)), 1)
    return 0


@syscall(225)
def timer_getoverrun(kernel: "Kernel", timerid: Int) -> int:
    """timer_getoverrun(2)."""
    return _posix(kernel, timerid).overrun


@syscall(226)
def timer_delete(kernel: "Kernel", timerid: Int) -> int:
    """timer_delete(2)."""
    _posix(kernel, timerid)
    del kernel.timers.posix[timerid]
    return 0
