"""Threads of the guest: one runs at a time and gives way only where it calls the kernel, so every run switches alike.

The system calls of the family (clone, futex, ...) are in tasks.py; this is the state they share.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from emuleak.kernel.abi import ERRNO
from emuleak.kernel.signals import ThreadSignals
from emuleak.machine import Machine

_SYSCALL_LENGTH = 2  # bytes of the SYSCALL instruction: stepping back over it repeats the call
FUTEX_ANY = 0xFFFF_FFFF


class Thread(msgspec.Struct, eq=False):
    """One thread. `context` holds its registers while it does not run: RIP behind the SYSCALL, RAX still its number."""

    tid: int
    context: Any = None
    clear_tid: int = 0
    futex: int = 0  # the address it waits at, 0 when it does not
    bitset: int = FUTEX_ANY
    deadline: int | None = None  # on the clock's elapsed time, in nanoseconds
    timeout: int = 0  # value for RAX when the deadline comes
    result: int | None = None  # value for RAX at the next switch to it
    robust_list: int = 0
    repeats: bool = False  # makes its system call again when it next runs
    retry_until: int | None = None  # when to stop making a call again that had to wait
    interrupted: bool = False  # was taken out of a wait to look at its signals
    restarts: bool = False  # whether SA_RESTART applies to the call in which it waits
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

    def __init__(self, machine: Machine, first_tid: int) -> None:
        self._machine = machine
        self.current = Thread(first_tid)
        self.runnable: deque[Thread] = deque()
        self.waiting: list[Thread] = []
        self._next_tid = first_tid + 1
        self._switch_wanted = False
        self.ended: list[tuple[int, int]] = []  # of each thread that has: its last stack pointer, its clear_tid
        self.before_switch: Callable[[], None] = lambda: None
        self.after_switch: Callable[[int], None] = lambda _tid: None
        self._newborn: list[tuple[Thread, int, int | None]] = []

    @property
    def alive(self) -> int:
        """How many threads there are, the running one included."""
        return 1 + len(self.runnable) + len(self.waiting)

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

    def new_tid(self) -> int:
        """The next thread id."""
        tid, self._next_tid = self._next_tid, self._next_tid + 1
        return tid

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

    def give_way(self) -> None:
        """Let the others run first; the call in progress returns 0."""
        self.current.result = 0
        self.runnable.append(self.current)
        self._leave()

    def retry(self, *, restarts: bool) -> None:
        """Let the others run first, then make the same system call again; `restarts` as for `park`."""
        self.current.result, self.current.repeats, self.current.restarts = None, True, restarts
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
        self._machine.stop()

    # ---- waking

    def wake(self, address: int, count: int, bitset: int = FUTEX_ANY) -> int:
        """Make up to `count` waiters at `address` runnable, the longest waiting first."""
        woken = [thread for thread in self.waiting if thread.futex == address and thread.bitset & bitset][:count]
        for thread in woken:
            self._unpark(thread, 0)
        return len(woken)

    def requeue(self, source: int, target: int, count: int) -> int:
        """Move up to `count` waiters of `source` to `target` without waking them."""
        moved = [thread for thread in self.waiting if thread.futex == source][:count]
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

    def resume(self) -> None:
        """Put the next runnable thread on the CPU."""
        thread = self.current = self.runnable.popleft()
        self._machine.restore(thread.context)
        self.after_switch(thread.tid)
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


# Marks a thread whose registers are still in the CPU until the run loop saves them.
_LEAVING = object()
