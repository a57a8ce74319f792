"""What each thread waits for when all of them wait: a deadlock, told by the names of locks and who holds them.

What a futex is part of is known by the function of libc in which the thread stands; where it lies in the lock are the
structures of glibc (bits/struct_mutex.h, bits/thread-shared-types.h), which are part of its binary interface.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from emuleak.events import block_of
from emuleak.findings.finding import Frame
from emuleak.findings.frames import Symbolizer
from emuleak.findings.holders import Holders, RunningThread
from emuleak.findings.owner import is_library
from emuleak.findings.phrases import block
from emuleak.findings.reachability import Root
from emuleak.kernel.core import Kernel
from emuleak.kernel.table import TABLE
from emuleak.kernel.threads import Thread
from emuleak.loader import Process
from emuleak.machine import DWARF_REGISTERS
from emuleak.memory import Fault
from emuleak.report.document import WaitingThread
from emuleak.stacks.unwinder import Unwinder, dwarf_numbered

if TYPE_CHECKING:
    from emuleak.events import Log

_RAX, _RDI = DWARF_REGISTERS.index("rax"), DWARF_REGISTERS.index("rdi")
_FUTEX: Final = 202
_MUTEX_OWNER: Final = 8  # where a pthread_mutex_t names the thread that holds it, by its id
_RWLOCK_WRITER: Final = 24
_TID_MASK: Final = 0x3FFF_FFFF  # of a futex that holds its owner's id, see futex(2)
# Calls whose first argument is a file descriptor.
_OF_DESCRIPTOR: Final = frozenset((
    *("read", "write", "readv", "writev", "recvfrom", "recvmsg", "sendto", "sendmsg", "accept", "accept4", "connect"),
    *("pread64", "pwrite64", "flock", "fcntl", "epoll_wait", "epoll_pwait"),
))  # fmt: skip


class _Sort(NamedTuple):
    """A sort of lock: by what part of a function's name it is known, and where the futex lies in it."""

    pattern: re.Pattern[str]
    name: str
    base: int  # bytes from the lock's start to the futex, rounded down to a multiple of 8


_SORTS: Final = (
    _Sort(re.compile("cond_|cnd_|condition_variable"), "condition variable", 40),
    _Sort(re.compile("rwlock"), "read-write lock", 8),
    _Sort(re.compile("mutex|mtx_"), "mutex", 0),
    _Sort(re.compile("barrier"), "barrier", 0),
    _Sort(re.compile("^_*sem_"), "semaphore", 0),
    _Sort(re.compile("_once|call_once"), "once-flag", 0),
)
_JOIN: Final = re.compile("join")


def standstill(
    kernel: Kernel, process: Process, log: "Log", unwinder: Unwinder, symbolizer: Symbolizer
) -> Iterator[WaitingThread]:
    """Every live thread of a program in a deadlock, by number."""
    machine, first = kernel.machine, kernel.identity.pid
    threads = kernel.threads.every()
    running = []
    for thread in threads:
        own = thread is kernel.threads.current
        registers = machine.registers() if own else machine.registers_of(thread.context)
        pointer = machine.get("fs_base") if own else machine.thread_pointer_of(thread.context)
        frames = unwinder.frames(dwarf_numbered(registers), exact=False)
        running.append((thread, registers, RunningThread(thread.tid - first, (), pointer, frames)))
    holders = Holders(process, symbolizer, [known for _, _, known in running], kernel.memory)
    words = _Words(kernel, log, symbolizer, holders)
    for thread, registers, known in running:
        stack = symbolizer.stack([frame.pc for frame in known.frames])
        waits_for = words.of(thread, registers, stack)
        yield WaitingThread(thread=known.number, waits_for=waits_for, stack=stack)


class _Words:
    """Puts into words what a thread waits for."""

    def __init__(self, kernel: Kernel, log: "Log", symbolizer: Symbolizer, holders: Holders) -> None:
        self._kernel = kernel
        self._log = log
        self._symbolizer = symbolizer
        self._holders = holders

    def of(self, thread: Thread, registers: Sequence[int], stack: Sequence[Frame]) -> str:
        """`the mutex `a` (deadlock.c:5), which thread 1 holds`."""
        if thread.futex:
            return self._futex(thread.futex, _entered(stack))
        if registers[_RAX] == _FUTEX:  # a lock with priority inheritance
            return self._futex(registers[_RDI], _entered(stack))
        handler = TABLE.get(registers[_RAX])
        name = "" if handler is None else handler.name
        of = f" of descriptor {registers[_RDI] & 0xFFFF_FFFF}" if name in _OF_DESCRIPTOR else ""
        return f"the end of the system call {name}{of}"

    def _futex(self, address: int, entered: str) -> str:
        if _JOIN.search(entered):
            return self._join(address)
        sort = next((each for each in _SORTS if each.pattern.search(entered)), None)
        if sort is None:
            return f"a wake-up at {self._place(address)}"
        start = (address & -8) - sort.base
        return f"the {sort.name} {self._place(start)}{self._held(sort.name, start)}"

    def _join(self, address: int) -> str:
        number = self._thread_of(self._word(address))
        return f"the end of {number}" if number else "the end of a thread"

    def _held(self, sort: str, start: int) -> str:
        offset = {"mutex": _MUTEX_OWNER, "read-write lock": _RWLOCK_WRITER}.get(sort)
        if offset is None:
            return ""
        owner = self._word(start + offset) & _TID_MASK
        thread = self._thread_of(owner)
        if thread:
            return f", which {thread} holds"
        return ", which was held by a thread that has ended" if owner and sort == "mutex" else ""

    def _thread_of(self, tid: int) -> str:
        thread = self._kernel.threads.find(tid)
        return "" if thread is None else f"thread {tid - self._kernel.identity.pid}"

    def _word(self, address: int) -> int:
        try:
            return int.from_bytes(self._kernel.memory.read(address, 4), "little")
        except Fault:
            return 0

    def _place(self, address: int) -> str:
        """The variable at an address, or the block, or the address itself."""
        for record in self._log.live.values():
            found = block_of(record)
            if found.address <= address < found.address + found.size:
                stack = self._symbolizer.call(found.stack, found.maker)
                return f"at {address:#x}, in a {block(found.size, stack)}"
        region = self._kernel.memory.region_at(address)
        if region is None:
            return f"at {address:#x}"
        static = self._holders.static(address)
        holder = static or self._holders.name(Root("stack", "", address, b""), 0)
        return (
            holder.text.removeprefix("the global ").removeprefix("the ") if "`" in holder.text else f"at {address:#x}"
        )


def _entered(stack: Sequence[Frame]) -> str:
    """The function of libc that the program called: the outermost of those in which the thread stands."""
    entered = ""
    for frame in stack:
        if not is_library(frame.object):
            break
        entered = frame.function
    return entered
