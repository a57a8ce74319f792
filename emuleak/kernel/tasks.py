"""System calls that make, end and synchronise threads: clone(2), futex(2), exit(2) and their kin."""

import struct

from emuleak.deadstack import clear_below
from emuleak.kernel import owned
from emuleak.kernel.abi import ERRNO, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.futexes import key, wake
from emuleak.kernel.table import Int, Pointer, UInt, ULong, syscall
from emuleak.kernel.threads import FUTEX_ANY

_CLONE_VM, _CLONE_SIGHAND = 0x100, 0x800
_RLIMIT_NPROC, _THREADS_MAX = 6, 31_000
_CLONE_THREAD = 0x10000
_ROBUST_LIST_HEAD = 24  # bytes of `struct robust_list_head`
_CLONE_SETTLS = 0x80000
_CLONE_PARENT_SETTID = 0x100000
_CLONE_CHILD_CLEARTID = 0x200000
_CLONE_CHILD_SETTID = 0x1000000

_FUTEX_WAIT, _FUTEX_WAKE, _FUTEX_REQUEUE, _FUTEX_CMP_REQUEUE = 0, 1, 3, 4
_FUTEX_WAKE_OP, _FUTEX_WAIT_BITSET, _FUTEX_WAKE_BITSET = 5, 9, 10
_FUTEX_PRIVATE, _FUTEX_CLOCK_REALTIME = 128, 256
_TIMESPEC = struct.Struct("<qq")
_NS = 1_000_000_000


def read_timespec(kernel: Kernel, address: int) -> int:
    """A struct timespec in nanoseconds. Raises EINVAL as the kernel does."""
    seconds, nanoseconds = _TIMESPEC.unpack(kernel.memory.read(address, _TIMESPEC.size))
    if seconds < 0 or not 0 <= nanoseconds < _NS:
        raise SyscallError("EINVAL")
    return int(seconds) * _NS + int(nanoseconds)


@syscall(56)
def clone(kernel: Kernel, flags: ULong, stack: Pointer, ptid: Pointer, ctid: Pointer, tls: ULong) -> int:
    """clone(2)."""
    lacks_memory = flags & _CLONE_SIGHAND and not flags & _CLONE_VM
    if lacks_memory or (flags & _CLONE_THREAD and not flags & _CLONE_SIGHAND):
        raise SyscallError("EINVAL")
    if not flags & _CLONE_THREAD:
        from emuleak.kernel.forking import clone_process  # noqa: PLC0415 - most programs make no process

        return clone_process(kernel, flags, stack, ptid, ctid, tls)
    threads = kernel.threads
    if threads.alive >= kernel.identity.limits.get(_RLIMIT_NPROC, (_THREADS_MAX, 0))[0]:
        kernel.note(f"the limit of {threads.alive} threads was reached: the program was told EAGAIN")
        return -ERRNO["EAGAIN"]
    thread = threads.make(threads.current.signals.mask)
    tid = struct.pack("<i", thread.tid)
    if flags & _CLONE_PARENT_SETTID:
        kernel.memory.write(ptid, tid)
    if flags & _CLONE_CHILD_SETTID:
        kernel.memory.write(ctid, tid)
    if flags & _CLONE_CHILD_CLEARTID:
        thread.clear_tid = ctid
    threads.start(thread, stack, tls if flags & _CLONE_SETTLS else None)
    return thread.tid


@syscall(435)
def clone3(_kernel: Kernel, _args: Pointer, _size: ULong) -> int:
    """clone3(2): a kernel before 5.3 has none, and glibc then calls clone."""
    return -ERRNO["ENOSYS"]


@syscall(60)
def exit_(kernel: Kernel, status: Int) -> int | None:
    """_exit(2) of one thread: the last one's ends the process."""
    thread, threads = kernel.threads.current, kernel.threads
    if threads.alive == 1:
        kernel.end(code=status & 0xFF)
        return None
    owned.release(kernel, thread)
    _clear_stack(kernel)
    if thread.clear_tid and kernel.memory.region_at(thread.clear_tid):
        kernel.memory.write(thread.clear_tid, bytes(4))
        wake(kernel, thread.clear_tid, 1)
    threads.finish()
    return None


def _clear_stack(kernel: Kernel) -> None:
    """Clear what the ending thread's functions left on its stack.

    glibc keeps the mapping for the next thread, so the pointers of functions long gone would keep blocks alive.
    """
    pointer = kernel.machine.get("rsp")
    kernel.threads.ended.append((pointer, kernel.threads.current.clear_tid))
    clear_below(kernel.memory, pointer)


@syscall(231)
def exit_group(kernel: Kernel, status: Int) -> int | None:
    """exit_group(2): the end of the process."""
    kernel.end(code=status & 0xFF)
    return None


@syscall(218)
def set_tid_address(kernel: Kernel, tidptr: Pointer) -> int:
    """set_tid_address(2)."""
    kernel.threads.current.clear_tid = tidptr
    return kernel.threads.current.tid


@syscall(273)
def set_robust_list(kernel: Kernel, head: Pointer, length: ULong) -> int:
    """set_robust_list(2): kept until the thread ends, see owned.py."""
    if length != _ROBUST_LIST_HEAD:
        raise SyscallError("EINVAL")
    kernel.threads.current.robust_list = head
    return 0


@syscall(334)
def rseq(_kernel: Kernel, _rseq: Pointer, _length: UInt, _flags: Int, _signature: UInt) -> int:
    """rseq(2): a kernel before 4.18 has none, and glibc does without."""
    return -ERRNO["ENOSYS"]


@syscall(186)
def gettid(kernel: Kernel) -> int:
    """gettid(2)."""
    return kernel.threads.current.tid


@syscall(24)
def sched_yield(kernel: Kernel) -> int | None:
    """sched_yield(2)."""
    if not kernel.others_may_run():
        return 0
    kernel.threads.give_way()
    return None


@syscall(202)
def futex(
    kernel: Kernel, uaddr: Pointer, op: Int, val: UInt, timeout: Pointer, uaddr2: Pointer, val3: UInt
) -> int | None:
    """futex(2)."""
    command = op & 0x7F
    if command in {_FUTEX_WAIT, _FUTEX_WAIT_BITSET}:
        bitset = val3 if command == _FUTEX_WAIT_BITSET else FUTEX_ANY
        _futex_wait(kernel, uaddr, op, val, timeout, bitset)
        return None
    if command in {_FUTEX_WAKE, _FUTEX_WAKE_BITSET}:
        return wake(kernel, uaddr, val, val3 if command == _FUTEX_WAKE_BITSET else FUTEX_ANY)
    if command in {_FUTEX_REQUEUE, _FUTEX_CMP_REQUEUE}:
        if command == _FUTEX_CMP_REQUEUE and _load(kernel, uaddr) != val3:
            raise SyscallError("EAGAIN")
        woken = wake(kernel, uaddr, val)
        # The fourth argument is a count here, not a pointer.
        return woken + kernel.threads.requeue(key(kernel, uaddr), key(kernel, uaddr2), timeout & 0x7FFF_FFFF)
    if command == _FUTEX_WAKE_OP:
        return _futex_wake_op(kernel, uaddr, val, timeout & 0x7FFF_FFFF, uaddr2, val3)
    if command in owned.OPERATIONS:
        return owned.futex(kernel, uaddr, op, lambda: read_timespec(kernel, timeout) if timeout else None)
    kernel.note(f"futex operation {command} is not emulated: the program was told ENOSYS")
    return -ERRNO["ENOSYS"]


def _load(kernel: Kernel, address: int) -> int:
    if address % 4:
        raise SyscallError("EINVAL")
    return int.from_bytes(kernel.memory.read(address, 4), "little")


def _futex_wait(kernel: Kernel, uaddr: int, op: int, val: int, timeout: int, bitset: int) -> None:
    if _load(kernel, uaddr) != val:
        raise SyscallError("EAGAIN")
    deadline = None
    if timeout:
        deadline = read_timespec(kernel, timeout)
        if op & 0x7F == _FUTEX_WAIT:
            deadline += kernel.clock.elapsed_ns
        elif op & _FUTEX_CLOCK_REALTIME:
            deadline -= kernel.clock.start_ns
    kernel.threads.wait_futex(key(kernel, uaddr), bitset, deadline)


def _futex_wake_op(kernel: Kernel, uaddr: int, count: int, count2: int, uaddr2: int, encoded: int) -> int:
    """FUTEX_WAKE_OP: change the word at uaddr2, wake at uaddr, and at uaddr2 when its old value compares."""
    operation, comparison = encoded >> 28 & 0xF, encoded >> 24 & 0xF
    operand, limit = encoded >> 12 & 0xFFF, encoded & 0xFFF
    if operation & 8:
        operand = 1 << (operand & 31)
    old = _load(kernel, uaddr2)
    changes = (operand, old + operand, old | operand, old & ~operand, old ^ operand)
    if operation & 7 >= len(changes) or comparison > 5:
        raise SyscallError("ENOSYS")
    kernel.memory.write(uaddr2, (changes[operation & 7] & 0xFFFF_FFFF).to_bytes(4, "little"))
    holds = (old == limit, old != limit, old < limit, old <= limit, old > limit, old >= limit)[comparison]
    woken = wake(kernel, uaddr, count)
    return woken + (wake(kernel, uaddr2, count2) if holds else 0)


@syscall(35)
def nanosleep(kernel: Kernel, req: Pointer, rem: Pointer) -> None:
    """nanosleep(2): time passes at once when no other thread wants the CPU."""
    _sleep_until(kernel, kernel.clock.elapsed_ns + read_timespec(kernel, req), rem)


@syscall(230)
def clock_nanosleep(kernel: Kernel, clockid: Int, flags: Int, req: Pointer, rem: Pointer) -> None:
    """clock_nanosleep(2)."""
    wanted = read_timespec(kernel, req)
    if not flags & 1:
        wanted += kernel.clock.elapsed_ns
    else:
        rem = Pointer(0)
        if clockid == 0:
            wanted -= kernel.clock.start_ns
    _sleep_until(kernel, wanted, rem)


def _sleep_until(kernel: Kernel, deadline: int, remaining_at: int) -> None:
    kernel.threads.current.remaining_at = remaining_at
    kernel.threads.park(deadline)


@syscall(203)
def sched_setaffinity(_kernel: Kernel, _pid: Int, _size: ULong, _mask: Pointer) -> int:
    """sched_setaffinity(2): accepted; there is one CPU whatever the mask says."""
    return 0


@syscall(145)
def sched_getscheduler(_kernel: Kernel, _pid: Int) -> int:
    """sched_getscheduler(2): SCHED_OTHER."""
    return 0


@syscall(143)
def sched_getparam(kernel: Kernel, _pid: Int, param: Pointer) -> int:
    """sched_getparam(2)."""
    kernel.memory.write(param, bytes(4))
    return 0


@syscall(144)
def sched_setscheduler(_kernel: Kernel, _pid: Int, _policy: Int, _param: Pointer) -> int:
    """sched_setscheduler(2): accepted and without effect."""
    return 0


def _priority(policy: int, of_real_time: int) -> int:
    """SCHED_FIFO and SCHED_RR have priorities; SCHED_OTHER, BATCH, IDLE and DEADLINE have 0 alone."""
    if policy not in {0, 1, 2, 3, 5, 6}:
        raise SyscallError("EINVAL")
    return of_real_time if policy in {1, 2} else 0


@syscall(146)
def sched_get_priority_max(_kernel: Kernel, policy: Int) -> int:
    """sched_get_priority_max(2)."""
    return _priority(policy, 99)


@syscall(147)
def sched_get_priority_min(_kernel: Kernel, policy: Int) -> int:
    """sched_get_priority_min(2)."""
    return _priority(policy, 1)


@syscall(324)
def membarrier(_kernel: Kernel, cmd: Int, _flags: UInt, _cpu: Int) -> int:
    """membarrier(2): one thread runs at a time, so memory is always in order."""
    return 0 if cmd else 0x1F


@syscall(309)
def getcpu(kernel: Kernel, cpu: Pointer, node: Pointer) -> int:
    """getcpu(2)."""
    for pointer in (cpu, node):
        if pointer:
            kernel.memory.write(pointer, bytes(4))
    return 0
