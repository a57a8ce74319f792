"""What the processes of a run share: the clock, the numbers of processes and threads, the table, and whose turn it is.

One process runs at a time and gives way where it waits, ends or asks for it, and after slices of an exact number of
system calls or of instructions (preemption.py). So every run switches alike. When nobody can go on, the host is waited
for, or time passes, or it is a deadlock.
"""

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, Literal, Protocol

from emuleak.kernel.clock import Clock
from emuleak.kernel.hostfiles import poll_host

if TYPE_CHECKING:
    from random import Random

    from emuleak.kernel.core import Kernel
    from emuleak.kernel.sockets import Socket
    from emuleak.loader import Process
    from emuleak.sharing import SharedMemory

# Each process reserves more than 1 TiB of the host's addresses, of which there are 128.
MOST_ALIVE: Final = 96
MOST_PROCESSES: Final = 4096  # with those that ended and were not waited for
_MILLISECOND: Final = 1_000_000
# What the program leaves behind may go on for so long on the guest's clock, which leaps where everybody sleeps.
_AFTERLIFE_NS: Final = 60_000_000_000
DEADLOCK: Final = "deadlock: "  # how the reason begins for which a run was stopped
Net = Literal["none", "loopback", "host"]
"""Whom sockets of ip(7) reach: nobody (there are none), other processes of the run, or whatever the host reaches."""
INIT: Final = 1  # who gets the children of a process that ended


class Observer(Protocol):
    """Who keeps books on processes: told at the moments when their memory is made, replaced, or about to go."""

    def forked(self, parent: "Kernel", child: "Kernel", /) -> None:
        """`child` has a copy of its parent's memory, or shows the very same."""

    def leaving(self, kernel: "Kernel", /) -> None:
        """The program is about to be replaced by another: its memory is there for the last time."""

    def executed(self, kernel: "Kernel", process: "Process", /) -> None:
        """A new program is in place and has not run yet."""

    def ended(self, kernel: "Kernel", /) -> None:
        """The process has ended (`kernel.ending` says how); its memory is there for the last time."""


class Nobody:
    """An observer who keeps no books."""

    def forked(self, parent: "Kernel", child: "Kernel", /) -> None:
        """See Observer."""

    def leaving(self, kernel: "Kernel", /) -> None:
        """See Observer."""

    def executed(self, kernel: "Kernel", process: "Process", /) -> None:
        """See Observer."""

    def ended(self, kernel: "Kernel", /) -> None:
        """See Observer."""


class System:
    """Owner of the processes. `progress` counts what happened that someone who waits may have waited for.

    `chance` switches threads and processes, where the run was given a `schedule_seed` other than 0.
    """

    first: "Kernel"
    running: "Kernel"

    def __init__(self, clock: Clock, first_id: int = 4711, seed: int = 0, schedule_seed: int = 0) -> None:
        self.clock = clock
        self.chance = _chance(schedule_seed) if schedule_seed else None
        self.seed = seed
        self.table: dict[int, Kernel] = {}  # by pid, in the order of their birth; with those not waited for yet
        self.incomplete: dict[str, int] = {}
        self.progress = 0
        self.shared: SharedMemory | None = None
        self.observer: Observer = Nobody()
        self.stopped = ""
        self.foreground = first_id  # the process group that has the terminal
        self.net: Net = "none"
        self.ports: dict[tuple[int, int], list[Socket]] = {}  # who has a port, by type and number
        self.next_port = 40000
        self.hostname = b"emuleak"
        self.page_limit = 1 << 40  # of all processes together
        self._next_id = first_id
        self._turns: deque[Kernel] = deque()
        self._afterlife_ends: int | None = None

    def add(self, kernel: "Kernel") -> None:
        """Enter a new process; its first is the program."""
        if not self.table:
            self.first = self.running = kernel
        self.table[kernel.identity.pid] = kernel
        self._turns.append(kernel)

    def remove(self, kernel: "Kernel") -> None:
        """Forget a process that was waited for."""
        self.table.pop(kernel.identity.pid, None)

    def new_id(self) -> int:
        """The next process or thread id."""
        number, self._next_id = self._next_id, self._next_id + 1
        return number

    def alive(self) -> "list[Kernel]":
        """The processes that have not ended, in the order of their birth."""
        return [kernel for kernel in self.table.values() if not kernel.gone]

    def children(self, pid: int) -> "Iterator[Kernel]":
        """The children of a process, those included that ended and were not waited for."""
        return (kernel for kernel in tuple(self.table.values()) if kernel.identity.ppid == pid)

    def note(self, what: str) -> None:
        """Remember something that could not be emulated, for the report's `incomplete`."""
        self.incomplete[what] = self.incomplete.get(what, 0) + 1

    def stop(self, reason: str) -> None:
        """End the run; from any thread or from a signal handler. The first reason is reported."""
        if not self.stopped:
            self.stopped = reason
            self.first.cut_short(reason)
        self.running.machine.stop()

    def close(self) -> None:
        """Give everything back to the host: what is left of processes that ended, and those that did not."""
        left = {id(each): each for each in (self.first, *self.alive())}.values()
        for kernel in left:
            if not kernel.gone:
                kernel.files.close_all()
        memories = {id(each.memory): each.memory for each in left}.values()
        # The CPU goes before the memory it runs in, and both before what some of them show.
        for kernel in left:
            vars(kernel.machine).clear()
        for memory in memories:
            memory.close()
        if self.shared is not None:
            self.shared.close()
        for kernel in left:
            vars(kernel).clear()
        self.table.clear()
        self._turns.clear()

    # ---- whose turn it is

    def turn(self) -> "Kernel | None":
        """The process that goes on; None where there was none, and something was done about it."""
        self.expire()
        if self.chance is not None and len(self._turns) > 1:
            self._turns.rotate(int(self.chance.random() * len(self._turns)))
        for _ in range(len(self._turns)):
            kernel = self._turns[0]
            self._turns.rotate(-1)
            if kernel.gone:
                self._turns.remove(kernel)
            elif kernel.may_run():
                self.running = kernel
                return kernel
        self._idle()
        return None

    def others_may_run(self, kernel: "Kernel") -> bool:
        """Whether another process could use the CPU now."""
        return len(self._turns) > 1 and any(each.may_run() for each in self._turns if each is not kernel)

    def times(self, but: "Kernel | None" = None) -> list[int]:
        """The times, on the clock's elapsed time, that processes wait for, all or those of all but one."""
        alive = [kernel for kernel in self.alive() if kernel.ending is None and not kernel.stopped_by]
        return [
            time
            for kernel in alive
            if kernel is not but
            for time in (*kernel.threads.deadlines(), *kernel.timers.deadlines())
        ]

    def expire(self) -> None:
        """Let those hear of it whose time has come."""
        for kernel in self._turns:
            if not kernel.gone:
                kernel.timers.expire(kernel)
                kernel.threads.expire(self.clock.elapsed_ns)

    def _idle(self) -> None:
        """Everyone waits: for the host, for a time, or for nothing."""
        alive = [kernel for kernel in self.alive() if kernel.ending is None and not kernel.stopped_by]
        times = self.times()
        hosts: dict[int, int] = {}
        for kernel in alive:
            for fd, events in kernel.threads.hosts():
                hosts[fd] = hosts.get(fd, 0) | events
        if self.first.gone:
            self._outlive(times)
        elif hosts:
            self._ask_host(hosts, min(times, default=None))
        elif times:
            self.clock.advance_to(min(times))
        else:
            many = "process" if len(self.alive()) > 1 else "thread"
            self.stop(f"{DEADLOCK}every {many} waits for another")

    def _ask_host(self, hosts: dict[int, int], until: int | None) -> None:
        left = None if until is None else max(0, -(-(until - self.clock.elapsed_ns) // _MILLISECOND))
        try:
            ready = poll_host(hosts, left)
        except InterruptedError:
            return  # the run is over
        if ready:
            self.progress += 1
        elif until is not None:
            self.clock.advance_to(until)

    def _outlive(self, times: list[int]) -> None:
        """The program has ended: what it left behind goes on as long as it has something to do."""
        if self._afterlife_ends is None:
            self._afterlife_ends = self.clock.elapsed_ns + _AFTERLIFE_NS
        if times and min(times) <= self._afterlife_ends:
            self.clock.advance_to(min(times))
            return
        if times:
            self.note("processes that the program left behind slept on and on: they were ended")
        for kernel in self.alive():
            kernel.end(signal=9)


def _chance(seed: int) -> "Random":
    from random import Random  # noqa: PLC0415 - 3 ms that most runs need not pay

    return Random(seed)
