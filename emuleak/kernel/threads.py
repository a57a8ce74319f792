"""Threads of the guest: one runs at a time and gives way where it calls the kernel or its slice is over.

Slices are counted in instructions (preemption.py), so every run switches alike. The system calls of the family (clone,
futex, ...) are in tasks.py; this is the state they share.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import msgspec

from emuleak.kernel.abi import ERRNO
from emuleak.kernel.preemption import Preemption
from emuleak.kernel.signals import ThreadSignals
from emuleak.machine import Machine

if TYPE_CHECKING:
    from random import Random

_SYSCALL_LENGTH = 2  # bytes of the SYSCALL instruction: stepping back over it repeats the call
FUTEX_ANY = 0xFFFF_FFFF


class Thread(msgspec.Struct, eq=False):
    """One thread. `context` holds its registers while it does not run.

    In a system call RIP is behind the SYSCALL and RAX still its number. Where it was preempted `result` is None.
    """

    tid: int
    number: int = 0  # counts the threads of its process
    context: Any = None
    clear_tid: int = 0
    futex: int = 0  # the address it waits at (in shared memory the physical one), 0 when it does not
    bitset: int = FUTEX_ANY
    deadline: int | None = None  # on the clock's elapsed time, in nanoseconds
    timeout: int = 0  # value for RAX when the deadline comes
    result: int | None = None  # value for RAX at the next switch to it
    robust_list: int = 0
    repeats: bool = False  # makes its system call again when it next runs
    retry_until: int | None = None  # when to stop making a call again that had to wait
    seen: int = -1  # what had happened when that call was last made in vain (`System.progress`)
    hosts: Mapping[int, int] = msgspec.field(
        default_factory=dict
    )  # events by descriptor of the host's that it waits for
    interrupted: bool = False  # was taken out of a wait to look at its signals
    restarts: bool = False  # whether SA_RESTART applies to the call in which it waits
    always_again: bool = False  # no handler ends the call in which it waits
    remaining_at: int = 0  # where a sleep that a signal ends writes the time left, or 0
    gone: bool = False  # has ended
    signals: ThreadSignals = msgspec.field(default_factory=ThreadSignals)

    @property
    def in_call(self) -> bool:
        """Whether it stands in a system call that is not over yet."""
        return self.repeats or self.interrupted

    def leave_call(self) -> None:
        """The call in which it waited is over, or is made again from the start."""
        self.futex, self.deadline, self.remaining_at, self.retry_until = 0, None, 0, None
        self.repeats = self.interrupted = False
        self.signals.awaited = 0


class Scheduler:
    """Owner of the threads: the running one, those that could run, those that wait."""

    def __init__(
        self, machine: Machine, first_tid: int, new_id: Callable[[], int], chance: "Random | None" = None
    ) -> None:
        self._machine = machine
        self.current = Thread(first_tid)
        self.new_tid = new_id
        self.runnable: deque[Thread] = deque()
        self.waiting: list[Thread] = []
        self._numbers = count(1)
        self._switch_wanted = False
        self.ended: list[tuple[int, int]] = []  # of each thread that has: its last stack pointer, its clear_tid
        self.before_switch: Callable[[], None] = lambda: None
        self.after_switch: Callable[[int], None] = lambda _number: None
        self.preemption = Preemption(machine, chance)
        self._newborn: list[tuple[Thread, int, int | None]] = []

    def begin(self, thread: Thread | None = None) -> None:
        """Start with one thread, which has its registers or, where it is the one on the CPU, gets them now."""
        if thread is None:
            thread = self.current
            thread.context = self._machine.save()
        self.current = thread
        self.runnable.append(thread)

    @property
    def alive(self) -> int:
        """How many threads there are, the running one included."""
        return 1 + len(self.runnable) + len(self.waiting)

    @property
    def had_several(self) -> bool:
        """Whether the process has more than one thread, or had."""
        return len(self.every()) + len(self.ended) > 1

    def others(self) -> list[Thread]:
        """Every live thread but the running one, by thread id."""
        parked = [thread for thread in (*self.runnable, *self.waiting) if thread is not self.current]
        return sorted(parked, key=lambda thread: thread.tid)

    def every(self) -> list[Thread]:
        """Every live thread, by thread id."""
        live = {thread.tid: thread for thread in (self.current, *self.runnable, *self.waiting) if not thread.gone}
        return [live[tid] for tid in sorted(live)]

    def first(self) -> Thread:
        """The thread the process began with, or the oldest that is left."""
        return min((self.current, *self.runnable, *self.waiting), key=lambda thread: (thread.gone, thread.tid))

    def find(self, tid: int) -> Thread | None:
        """The live thread of that id."""
        return next((thread for thread in self.every() if thread.tid == tid), None)

    def make(self, mask: int) -> Thread:
        """A new thread of the process, which blocks the signals of `mask`; to be started."""
        return Thread(self.new_tid(), next(self._numbers), signals=ThreadSignals(mask=mask))

    # ---- giving way; each is called from a handler, which then returns None

    def wait_futex(self, address: int, bitset: int, deadline: int | None) -> None:
        """Park the running thread until `wake` or its deadline."""
        self.current.futex, self.current.bitset = address, bitset
        self.park(deadline, timeout=-ERRNO["ETIMEDOUT"], restarts=deadline is None)

    def park(self, deadline: int | None, *, timeout: int = 0, restarts: bool = False) -> None:
        """Take the running thread off the CPU until it is woken, a signal comes, or `deadline`: then RAX is `timeout`.

        `restarts`: the call may be made again after a signal's handler (SA_RESTART); else it ends with EINTR.
        """
        thread = self.current
        thread.deadline, thread.timeout, thread.restarts = deadline, timeout, restarts
        self._park()

    def give_way(self, result: int = 0) -> None:
        """Let the others run first; the call in progress returns `result`."""
        self.current.result = result
        self.preemption.gave_way(self.current.tid)
        self.runnable.append(self.current)
        self._leave()

    def retry(self, *, restarts: bool) -> None:
        """Let the others run first, then make the same system call again; `restarts` as for `park`."""
        self.current.result, self.current.repeats, self.current.restarts = None, True, restarts
        self.runnable.append(self.current)
        self._leave()

    def preempt(self) -> None:
        """Let the others run first: the running thread stands between two instructions, in no system call."""
        self.current.result = None
        self.preemption.gave_way(self.current.tid)
        self.runnable.append(self.current)
        self._leave()

    def finish(self) -> None:
        """End the running thread."""
        self.current.context, self.current.gone = None, True
        self._leave()

    def start(self, thread: Thread, stack: int, tls: int | None) -> None:
        """Make a new thread runnable: a copy of the running one with another stack and thread pointer."""
        # The CPU's state is whole only when it stands still: inside the call RIP is not yet behind it.
        self._newborn.append((thread, stack, tls))
        self.preemption.begin()
        self._machine.stop()

    def pause(self, *, last: bool = False) -> None:
        """The running thread stays where it is: it is the first to go on when the process does, or the last."""
        self.current.result = None
        (self.runnable.append if last else self.runnable.appendleft)(self.current)
        self._leave()

    def show(self) -> None:
        """Put the current thread's registers on the CPU, which another process may have used since."""
        if self.current.context not in {None, _LEAVING}:
            self._machine.restore(self.current.context)

    # ---- waking

    def wake(self, address: int, limit: int, bitset: int = FUTEX_ANY) -> int:
        """Make up to `limit` waiters at `address` runnable, the longest waiting first."""
        woken = [thread for thread in self.waiting if thread.futex == address and thread.bitset & bitset][:limit]
        for thread in woken:
            self._unpark(thread, 0)
        return len(woken)

    def requeue(self, source: int, target: int, limit: int) -> int:
        """Move up to `limit` waiters of `source` to `target` without waking them."""
        moved = [thread for thread in self.waiting if thread.futex == source][:limit]
        for thread in moved:
            thread.futex = target
        return len(moved)

    def interrupt(self, thread: Thread) -> None:
        """If the thread waits, let it look at its signals; what it waits for is kept in case there are none."""
        if thread in self.waiting:
            self.waiting.remove(thread)
            thread.interrupted, thread.result = True, None
            self.runnable.append(thread)

    def wait_on(self) -> None:
        """Park the running thread again: it was taken out of its wait for nothing."""
        self.current.interrupted = False
        self._park()

    def hosts(self) -> Iterator[tuple[int, int]]:
        """What threads wait for of the host's: descriptors and events."""
        for thread in self.runnable:
            if thread.repeats:
                yield from thread.hosts.items()

    def deadlines(self) -> list[int]:
        """All the times that some thread waits for."""
        every = [self.current, *self.runnable, *self.waiting]
        times = [thread.deadline for thread in every] + [thread.retry_until for thread in every]
        return [time for time in times if time is not None]

    # ---- switching

    @property
    def switch_wanted(self) -> bool:
        """Whether the running thread gave way and another must be put on the CPU."""
        return self._switch_wanted

    def settle(self) -> None:
        """Do what had to wait until the CPU stood still: give new threads their registers."""
        for thread, stack, tls in self._newborn:
            parent = self._machine.save()
            self._machine.set("rsp", stack)
            if tls is not None:
                self._machine.set("fs_base", tls)
            thread.context, thread.result = self._machine.save(), 0
            self._machine.restore(parent)
            self.runnable.append(thread)
        self._newborn.clear()

    def leave(self) -> None:
        """Keep the registers of the thread that gave way."""
        self._switch_wanted = False
        self.before_switch()
        if self.current.context is _LEAVING:
            self.current.context = self._machine.save()

    def expire(self, now: int) -> None:
        """Make those runnable whose deadline has come; `now` is the clock's elapsed time in nanoseconds."""
        for thread in [each for each in self.waiting if each.deadline is not None and each.deadline <= now]:
            self._unpark(thread, thread.timeout)

    def ready(self, progress: int, now: int) -> bool:
        """Whether a thread could use the CPU: one that made its call in vain need not, as long as nothing happens."""
        return any(_may_run(thread, progress, now) for thread in self.runnable)

    def resume(self, progress: int, now: int) -> None:
        """Put the next such thread on the CPU."""
        ready = [thread for thread in self.runnable if _may_run(thread, progress, now)]
        thread = self.current = ready[self.preemption.chosen([thread.tid for thread in ready])]
        self.runnable.remove(thread)
        self._machine.restore(thread.context)
        self.after_switch(thread.number)
        if thread.result is not None:
            self._machine.set("rax", thread.result & 0xFFFF_FFFF_FFFF_FFFF)

    def call_again(self) -> None:
        """Make the running thread, whose registers are those behind a system call, repeat the call."""
        self._machine.set("rip", self._machine.get("rip") - _SYSCALL_LENGTH)

    def _park(self) -> None:
        self.waiting.append(self.current)
        self._leave()

    def _leave(self) -> None:
        if not self.current.gone:
            self.current.context = _LEAVING
        self._switch_wanted = True
        self._machine.stop()

    def _unpark(self, thread: Thread, result: int) -> None:
        self.waiting.remove(thread)
        thread.leave_call()
        thread.result = result
        self.runnable.append(thread)


def _may_run(thread: Thread, progress: int, now: int) -> bool:
    if not thread.repeats or thread.seen != progress or thread.signals.notified:
        return True
    return thread.retry_until is not None and thread.retry_until <= now


# Marks a thread whose registers are still in the CPU until the run loop saves them.
_LEAVING = object()
