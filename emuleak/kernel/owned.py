"""Futexes that name their owner: locks with priority inheritance, and the robust locks of a thread that ended.

The word holds the owner's thread id, and two bits: somebody waits; the owner ended without unlocking. All threads have
one priority here, so none is ever inherited. Sources: futex(2), set_robust_list(2), kernel/futex/core.c of Linux 6.1.
"""

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from emuleak.kernel.abi import ERRNO, SyscallError
from emuleak.kernel.descriptions import WouldBlock
from emuleak.kernel.futexes import wake
from emuleak.kernel.table import Int, Pointer, syscall
from emuleak.memory import Fault

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel
    from emuleak.kernel.threads import Thread

_WAITERS, _OWNER_DIED, _TID_MASK = 0x8000_0000, 0x4000_0000, 0x3FFF_FFFF
_LOCK, _UNLOCK, _TRY_LOCK, _LOCK_ON_CLOCK = 6, 7, 8, 13
OPERATIONS: Final = frozenset((_LOCK, _UNLOCK, _TRY_LOCK, _LOCK_ON_CLOCK))
_CLOCK_REALTIME: Final = 256
_HEAD: Final = struct.Struct("<QqQ")  # struct robust_list_head: first entry, offset of the futex, entry in the making
_WORD: Final = struct.Struct("<I")
_POINTER: Final = struct.Struct("<Q")
_LONGEST_LIST: Final = 2048  # ROBUST_LIST_LIMIT: a list may be a ring that never comes back to its head


def futex(kernel: "Kernel", uaddr: int, op: int, deadline: Callable[[], int | None]) -> int:
    """FUTEX_LOCK_PI and its kin; `deadline` reads the absolute time given, in nanoseconds, None for none."""
    command, thread = op & 0x7F, kernel.threads.current
    thread.always_again = False
    if uaddr % 4:
        raise SyscallError("EINVAL")
    if command == _UNLOCK:
        return _unlock(kernel, uaddr)
    if _taken(kernel, uaddr):
        return 0
    if command == _TRY_LOCK:
        raise SyscallError("EAGAIN")
    until = deadline()
    if until is not None:
        realtime = command == _LOCK or op & _CLOCK_REALTIME
        until = max(0, until - kernel.clock.elapsed_ns - (kernel.clock.start_ns if realtime else 0))
    _write(kernel, uaddr, _read(kernel, uaddr) | _WAITERS)
    # No handler ends this call with EINTR: libc would take that for success.
    thread.always_again = True
    wait = WouldBlock(until)
    wait.on_timeout = lambda: _too_late(thread)
    raise wait


def _too_late(thread: "Thread") -> int:
    thread.always_again = False
    return -ERRNO["ETIMEDOUT"]


def _taken(kernel: "Kernel", uaddr: int) -> bool:
    """Make the running thread the owner if nobody is. Raises SyscallError where that can never be."""
    word, tid = _read(kernel, uaddr), kernel.threads.current.tid
    owner = word & _TID_MASK
    if owner == tid:
        raise SyscallError("EDEADLK")
    if not owner:
        _write(kernel, uaddr, word & (_WAITERS | _OWNER_DIED) | tid)
        return True
    if all(process.threads.find(owner) is None for process in kernel.system.alive()):
        raise SyscallError("ESRCH")
    return False


def _unlock(kernel: "Kernel", uaddr: int) -> int:
    """The next to own it is who asks first: the waiters ask again, the longest waiting first."""
    if _read(kernel, uaddr) & _TID_MASK != kernel.threads.current.tid:
        raise SyscallError("EPERM")
    _write(kernel, uaddr, 0)
    return 0


@syscall(274)
def get_robust_list(kernel: "Kernel", pid: Int, head: Pointer, size: Pointer) -> int:
    """get_robust_list(2)."""
    thread = kernel.threads.find(pid) if pid else kernel.threads.current
    if thread is None:
        raise SyscallError("ESRCH")
    kernel.memory.write(size, _POINTER.pack(_HEAD.size))
    kernel.memory.write(head, _POINTER.pack(thread.robust_list))
    return 0


def release(kernel: "Kernel", thread: "Thread") -> None:
    """A thread ends: whoever waits for a robust lock of its shall hear that the owner died."""
    if not thread.robust_list:
        return
    try:
        _release(kernel, thread)
    except Fault:
        return  # a list that leads nowhere is the program's own affair: Linux goes no further either


def _release(kernel: "Kernel", thread: "Thread") -> None:
    head = thread.robust_list
    entry, offset, pending = _HEAD.unpack(kernel.memory.read(head, _HEAD.size))
    for _ in range(_LONGEST_LIST):
        if entry & -2 == head:
            break
        following = _POINTER.unpack(kernel.memory.read(entry & -2, _POINTER.size))[0]
        if entry != pending:  # which may be in the list already, and comes last
            _owner_died(kernel, thread, entry, offset)
        entry = following
    if pending:
        _owner_died(kernel, thread, pending, offset)


def _owner_died(kernel: "Kernel", thread: "Thread", entry: int, offset: int) -> None:
    """Bit 0 of an entry says that its lock inherits priorities: who waits for one asks again by itself."""
    address = (entry & -2) + offset
    word = _read(kernel, address)
    if word & _TID_MASK != thread.tid:
        return
    _write(kernel, address, word & _WAITERS | _OWNER_DIED)
    if word & _WAITERS and not entry & 1:
        wake(kernel, address, 1)


def _read(kernel: "Kernel", address: int) -> int:
    return int(_WORD.unpack(kernel.memory.read(address, _WORD.size))[0])


def _write(kernel: "Kernel", address: int, word: int) -> None:
    kernel.memory.write(address, _WORD.pack(word))
