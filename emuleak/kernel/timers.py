"""Timers of the process: alarm(2), setitimer(2), timer_create(2). They expire when the guest's clock reaches them.

A sleeping process gets them in order, since the clock is then moved from one deadline to the next. Timers of the CPU's
time stand still meanwhile.
"""

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from emuleak.kernel.clock import Clock
from emuleak.kernel.signals import NUMBERS, SI_KERNEL, SI_TIMER, Siginfo, send

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel

ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF = range(3)
_ITIMER_SIGNALS: Final = {ITIMER_REAL: "SIGALRM", ITIMER_VIRTUAL: "SIGVTALRM", ITIMER_PROF: "SIGPROF"}
_DETAILS: Final = struct.Struct("<iiQ")  # si_tid (the timer's id), si_overrun, si_value


class Timer(msgspec.Struct, eq=False):
    """One timer; times in nanoseconds of its clock, `due` is None while it is disarmed."""

    info: Siginfo | None  # what it sends, or nothing
    of_cpu: bool
    realtime: bool = False  # absolute times count from the Epoch
    tid: int | None = None  # the thread it is for, or the process
    due: int | None = None
    interval: int = 0
    overrun: int = 0
    queued: Siginfo | None = None

    def now(self, clock: Clock) -> int:
        """The time on the timer's clock."""
        return clock.cpu_ns if self.of_cpu else clock.elapsed_ns

    def left(self, clock: Clock) -> int:
        """Nanoseconds until it expires; 0 when it is disarmed, else at least 1."""
        return 0 if self.due is None else max(1, self.due - self.now(clock))

    def set(self, due: int | None, interval: int) -> None:
        """Arm it, or with None disarm it."""
        self.due, self.interval, self.overrun, self.queued = due, interval, 0, None


class Timers:
    """Owner of the process's timers: the three of setitimer(2), and those of timer_create(2) by their ids."""

    def __init__(self) -> None:
        self.interval_timers = {
            which: Timer(Siginfo(NUMBERS[name], SI_KERNEL), of_cpu=which != ITIMER_REAL)
            for which, name in _ITIMER_SIGNALS.items()
        }
        self.posix: dict[int, Timer] = {}
        self._next_id = 0

    def create(self, timer: Timer) -> int:
        """Add a POSIX timer; its id."""
        number, self._next_id = self._next_id, self._next_id + 1
        self.posix[number] = timer
        return number

    def armed(self) -> Iterator[Timer]:
        """All that will expire."""
        for timer in (*self.interval_timers.values(), *self.posix.values()):
            if timer.due is not None:
                yield timer

    def deadlines(self) -> list[int]:
        """The times, on the clock's elapsed time, that come even while every thread waits."""
        return [timer.due for timer in self.armed() if timer.due is not None and not timer.of_cpu]

    def expire(self, kernel: "Kernel") -> None:
        """Send the signals of all timers whose time has come, the longest due first."""
        clock = kernel.clock
        due = [(timer.due, timer) for timer in self.armed() if timer.due is not None and timer.due <= timer.now(clock)]
        for _, timer in sorted(due, key=lambda pair: pair[0]):
            _fire(kernel, timer)


def posix_siginfo(number: int, timer_id: int, value: int) -> Siginfo:
    """What a POSIX timer sends."""
    return Siginfo(number, SI_TIMER, _DETAILS.pack(timer_id, 0, value))


def _fire(kernel: "Kernel", timer: Timer) -> None:
    assert timer.due is not None
    times = 1
    if timer.interval:
        times += (timer.now(kernel.clock) - timer.due) // timer.interval
        timer.due += times * timer.interval
    else:
        timer.due = None
    if timer.info is None:
        return
    thread = kernel.threads.find(timer.tid) if timer.tid is not None else None
    if timer.tid is not None and thread is None:
        return
    pending = thread.signals.pending if thread else kernel.signals.pending
    if timer.info.code != SI_TIMER:
        send(kernel, timer.info, thread)
        return
    again = timer.queued is not None and pending.holds(timer.queued)
    timer.overrun = timer.overrun + times if again else times - 1
    number, _, value = _DETAILS.unpack(timer.info.details)
    info = replace(timer.info, details=_DETAILS.pack(number, timer.overrun, value))
    if again and timer.queued is not None:
        pending.replace(timer.queued, info)
    else:
        send(kernel, info, thread)
    timer.queued = info
