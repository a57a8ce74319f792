"""System calls that wait for files: poll(2), select(2), epoll(7).

Every description says itself what it is ready for. When nothing is, and nothing but the host can change that, the
host waits; when another thread of the guest could, or there is nothing to wait for but the time, WouldBlock leaves
the waiting to the scheduler, which knows the other threads and the clock.
"""

import itertools
import os
import stat
import struct
from collections.abc import Callable

import msgspec

from emuleak.kernel.abi import (
    O_CLOEXEC,
    O_PATH,
    O_RDWR,
    POLLERR,
    POLLHUP,
    POLLNVAL,
    READABLE,
    WRITABLE,
    SyscallError,
    memory_stat,
)
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import Description, WouldBlock
from emuleak.kernel.hostfiles import Directory, poll_host
from emuleak.kernel.sigcalls import under_mask
from emuleak.kernel.table import Int, Pointer, ULong, syscall
from emuleak.memory import WRITE

_NS = 1_000_000_000
_LONGEST_MS = (1 << 31) - 1
_ALWAYS = POLLERR | POLLHUP | POLLNVAL  # told whether asked for or not
_POLLPRI = 2
_POLLFD = struct.Struct("<ihh")
_EPOLL_EVENT = struct.Struct("<IQ")  # packed on x86-64, unlike elsewhere
_EPOLL_ADD, _EPOLL_DEL, _EPOLL_MOD = 1, 2, 3
_EPOLLONESHOT, _EPOLLET = 1 << 30, 1 << 31

_Interest = list[tuple[Description, int]]


def _wait(kernel: Kernel, interest: _Interest, nanoseconds: int | None) -> bool:
    """Nothing is ready: wait. True when the host has made something so, False when the time is over.

    Raises WouldBlock when it is not for the host to wait.
    """
    if nanoseconds == 0:
        return False
    due = _soonest([description for description, _ in interest])
    if due is not None:
        nanoseconds = due if nanoseconds is None else min(due, nanoseconds)
    wanted = _hosts(interest)
    if not wanted or not kernel.alone:
        raise WouldBlock(nanoseconds, wanted)
    if nanoseconds is None:
        return bool(poll_host(wanted, None))
    ready = bool(poll_host(wanted, min(-(-nanoseconds // 1_000_000), _LONGEST_MS)))
    if not ready:
        # The guest's clock does not run while the host waits.
        kernel.clock.advance_to(kernel.clock.elapsed_ns + nanoseconds)
    return ready


def _hosts(interest: _Interest) -> dict[int, int]:
    """The host's descriptors among what is waited for, and the poll(2) bits wanted of each."""
    wanted: dict[int, int] = {}
    for description, events in interest:
        host = description.host_fd()
        if host is not None:
            wanted[host] = wanted.get(host, 0) | events
    return wanted


def _soonest(descriptions: list[Description]) -> int | None:
    """When the first of them becomes ready by itself; None: never."""
    times = [description.wakes_in() for description in descriptions]
    return min((time for time in times if time is not None), default=None)


def _until(kernel: Kernel, look: Callable[[], int], interest: _Interest, nanoseconds: int | None) -> int:
    """Look, and while nothing is ready wait and look again."""
    count = look()
    try:
        while not count and _wait(kernel, interest, nanoseconds):
            count = look()
    except WouldBlock as wait:
        wait.on_timeout = look
        raise
    # The time that was waited for may have been a timer's.
    return count if count or nanoseconds == 0 else look()


def _timespec(kernel: Kernel, address: int, unit: int = 1) -> int | None:
    """A relative time in nanoseconds; None, for ever, for NULL. Raises SyscallError, Fault."""
    if not address:
        return None
    seconds, part = struct.unpack("<qq", kernel.memory.read(address, 16))
    if seconds < 0 or not 0 <= part * unit < _NS:
        raise SyscallError("EINVAL")
    return int(seconds) * _NS + int(part) * unit


def _milliseconds(value: int) -> int | None:
    return None if value < 0 else value * 1_000_000


# ---- poll


def _poll(kernel: Kernel, fds: int, nfds: int, nanoseconds: int | None) -> int:
    if nfds > kernel.files.limit:
        raise SyscallError("EINVAL")
    size = _POLLFD.size * nfds
    rows = list(_POLLFD.iter_unpack(kernel.memory.read(fds, size)))
    kernel.memory.check(fds, size, WRITE)
    open_ones = set(kernel.files.descriptors())
    interest = [(kernel.files.get(fd), events & 0xFFFF) for fd, events, _ in rows if fd in open_ones]

    def look() -> int:
        answers = [_answer(kernel, fd, events, known=fd in open_ones) for fd, events, _ in rows]
        packed = b"".join(_POLLFD.pack(fd, events, found) for (fd, events, _), found in zip(rows, answers, strict=True))
        kernel.memory.write(fds, packed)
        return sum(map(bool, answers))

    return _until(kernel, look, interest, nanoseconds)


def _answer(kernel: Kernel, fd: int, events: int, *, known: bool) -> int:
    """`revents` of one pollfd; a negative descriptor is skipped."""
    if fd < 0:
        return 0
    if not known:
        return POLLNVAL
    description = kernel.files.get(fd)
    return POLLNVAL if description.flags & O_PATH else description.ready() & (events | _ALWAYS)


@syscall(7)
def poll(kernel: Kernel, fds: Pointer, nfds: ULong, timeout: Int) -> int:
    """poll(2)."""
    return _poll(kernel, fds, nfds & 0xFFFF_FFFF, _milliseconds(timeout))


@syscall(271)
def ppoll(kernel: Kernel, fds: Pointer, nfds: ULong, tmo_p: Pointer, sigmask: Pointer, sigsetsize: ULong) -> int:
    """ppoll(2)."""
    count, wait = nfds & 0xFFFF_FFFF, _timespec(kernel, tmo_p)
    return under_mask(kernel, sigmask, sigsetsize, wait, lambda left: _poll(kernel, fds, count, left))


# ---- select

_ASKED = (READABLE | POLLHUP | POLLERR, WRITABLE | POLLERR, _POLLPRI)


def _select(kernel: Kernel, nfds: int, sets: tuple[int, ...], nanoseconds: int | None) -> int:
    if nfds < 0:
        raise SyscallError("EINVAL")
    length = min(nfds, _table_size(kernel))
    size = (length + 63) // 64 * 8
    wanted = [_members(kernel, address, size, length) if address else [] for address in sets]
    files = {fd: kernel.files.get(fd) for fd in itertools.chain(*wanted)}
    interest = [(files[fd], asked) for members, asked in zip(wanted, _ASKED, strict=True) for fd in members]

    def store(found: list[list[int]]) -> None:
        for address, members in zip(sets, found, strict=True):
            kernel.memory.write(address, sum(1 << fd for fd in members).to_bytes(size, "little") if address else b"")

    def look() -> int:
        ready = {fd: description.ready() for fd, description in files.items()}
        found = [[fd for fd in members if ready[fd] & asked] for members, asked in zip(wanted, _ASKED, strict=True)]
        if any(found):
            # Not before: a call that is made again must find the sets as the guest filled them.
            store(found)
        return sum(map(len, found))

    def clear() -> int:
        store([[], [], []])
        return 0

    try:
        return _until(kernel, look, interest, nanoseconds) or clear()
    except WouldBlock as wait:
        wait.on_timeout = lambda: look() or clear()
        raise


def _members(kernel: Kernel, address: int, size: int, length: int) -> list[int]:
    """The descriptors in an fd_set."""
    bits = int.from_bytes(kernel.memory.read(address, size), "little") & ((1 << length) - 1)
    return [fd for fd, bit in enumerate(reversed(f"{bits:b}")) if bit == "1"]


def _table_size(kernel: Kernel) -> int:
    """How many descriptors the table has room for: bits behind it are not looked at (alloc_fdtable, fs/file.c).

    The table starts with 64 and grows by powers of two of 128.
    """
    highest = max(kernel.files.descriptors(), default=0)
    return 64 if highest < 64 else 128 << (highest // 128).bit_length()


@syscall(23)
def select(kernel: Kernel, nfds: Int, readfds: Pointer, writefds: Pointer, exceptfds: Pointer, timeout: Pointer) -> int:
    """select(2); the time left is not written back."""
    return _select(kernel, nfds, (readfds, writefds, exceptfds), _timespec(kernel, timeout, 1000))


@syscall(270)
def pselect6(
    kernel: Kernel, nfds: Int, readfds: Pointer, writefds: Pointer, exceptfds: Pointer, timeout: Pointer, sig: Pointer
) -> int:
    """pselect(2); its sixth argument points to the mask's address and size."""
    mask, size = struct.unpack("<QQ", kernel.memory.read(sig, 16)) if sig else (0, 0)
    sets = (readfds, writefds, exceptfds)
    return under_mask(kernel, mask, size, _timespec(kernel, timeout), lambda left: _select(kernel, nfds, sets, left))


# ---- epoll


class _Watch(msgspec.Struct):
    """One entry of an interest list."""

    description: Description
    events: int
    data: int


class Epoll(Description):
    """An epoll instance: its interest list, and whose turn it is when not all that is ready fits."""

    _inodes = itertools.count(1 << 34)

    def __init__(self) -> None:
        self.path, self.flags = "anon_inode:[eventpoll]", O_RDWR
        self.watches: dict[tuple[int, int], _Watch] = {}
        self._inode = next(self._inodes)

    def find(self, limit: int) -> list[tuple[int, int]]:
        """Up to `limit` pairs of events and data that are ready; those reported go to the end of the line.

        EPOLLET is served as level-triggered: a program that empties its descriptors sees no difference.
        """
        self.drop_closed()
        found = []
        for key, watch in list(self.watches.items()):
            events = self._ready(watch)
            if not events:
                continue
            found.append((events, watch.data))
            self.watches[key] = self.watches.pop(key)
            if watch.events & _EPOLLONESHOT:
                watch.events &= _EPOLLONESHOT | _EPOLLET
            if len(found) == limit:
                break
        return found

    def drop_closed(self) -> None:
        """A description that no descriptor refers to any more has left the list, says epoll(7)."""
        self.watches = {key: watch for key, watch in self.watches.items() if watch.description.references}

    @staticmethod
    def _ready(watch: _Watch) -> int:
        asked = watch.events & 0xFFFF
        return watch.description.ready() & (asked | POLLERR | POLLHUP) if asked else 0

    def interest(self) -> _Interest:
        """What a thread that waits here waits for."""
        return [(watch.description, watch.events & 0xFFFF) for watch in self.watches.values()]

    def reaches(self, other: Description) -> bool:
        """Whether `other` is this instance or watched through it."""
        inner = (watch.description for watch in self.watches.values())
        return other is self or any(isinstance(each, Epoll) and each.reaches(other) for each in inner)

    def stat(self) -> os.stat_result:
        """An inode without a type, as anonymous ones are."""
        return memory_stat(stat.S_IRUSR | stat.S_IWUSR, 0, self._inode)

    def wakes_in(self) -> int | None:
        """When the first timer on the list expires."""
        return _soonest([watch.description for watch in self.watches.values()])

    def ready(self) -> int:
        """Readable when something on the list is ready, for an epoll within another."""
        self.drop_closed()
        return READABLE if any(map(self._ready, self.watches.values())) else 0


def _epoll(kernel: Kernel, fd: int) -> Epoll:
    description = kernel.files.get(fd)
    if not isinstance(description, Epoll):
        raise SyscallError("EINVAL")
    return description


@syscall(291)
def epoll_create1(kernel: Kernel, flags: Int) -> int:
    """epoll_create1(2)."""
    if flags & ~O_CLOEXEC:
        raise SyscallError("EINVAL")
    return kernel.files.add(Epoll(), cloexec=bool(flags))


@syscall(213)
def epoll_create(kernel: Kernel, size: Int) -> int:
    """epoll_create(2)."""
    if size <= 0:
        raise SyscallError("EINVAL")
    return epoll_create1(kernel, Int(0))


@syscall(233)
def epoll_ctl(kernel: Kernel, epfd: Int, op: Int, fd: Int, event: Pointer) -> int:
    """epoll_ctl(2)."""
    given = (0, 0) if op == _EPOLL_DEL else _EPOLL_EVENT.unpack(kernel.memory.read(event, _EPOLL_EVENT.size))
    kernel.files.get(epfd)
    description = kernel.files.get(fd)
    if isinstance(description, Directory) or stat.S_ISREG(description.stat().st_mode):
        raise SyscallError("EPERM")
    epoll = _epoll(kernel, epfd)
    if description is epoll or op not in {_EPOLL_ADD, _EPOLL_DEL, _EPOLL_MOD}:
        raise SyscallError("EINVAL")
    if op == _EPOLL_ADD and isinstance(description, Epoll) and description.reaches(epoll):
        raise SyscallError("ELOOP")
    epoll.drop_closed()
    key = (fd, id(description))
    if (key in epoll.watches) == (op == _EPOLL_ADD):
        raise SyscallError("EEXIST" if op == _EPOLL_ADD else "ENOENT")
    if op == _EPOLL_DEL:
        del epoll.watches[key]
    else:
        epoll.watches[key] = _Watch(description, given[0], given[1])
    return 0


def _epoll_wait(kernel: Kernel, epfd: int, events: int, maxevents: int, nanoseconds: int | None) -> int:
    if not 0 < maxevents <= 0x7FFF_FFFF // _EPOLL_EVENT.size:
        raise SyscallError("EINVAL")
    epoll = _epoll(kernel, epfd)

    def look() -> int:
        limit = min(maxevents, len(epoll.watches))
        kernel.memory.check(events, _EPOLL_EVENT.size * limit, WRITE)
        found = epoll.find(limit)
        kernel.memory.write(events, b"".join(_EPOLL_EVENT.pack(*pair) for pair in found))
        return len(found)

    return _until(kernel, look, epoll.interest(), nanoseconds)


@syscall(232)
def epoll_wait(kernel: Kernel, epfd: Int, events: Pointer, maxevents: Int, timeout: Int) -> int:
    """epoll_wait(2)."""
    return _epoll_wait(kernel, epfd, events, maxevents, _milliseconds(timeout))


def _epoll_pwait(
    kernel: Kernel, epfd: int, events: int, maxevents: int, nanoseconds: int | None, mask: tuple[int, int]
) -> int:
    return under_mask(kernel, *mask, nanoseconds, lambda left: _epoll_wait(kernel, epfd, events, maxevents, left))


@syscall(281)
def epoll_pwait(
    kernel: Kernel, epfd: Int, events: Pointer, maxevents: Int, timeout: Int, sigmask: Pointer, size: ULong
) -> int:
    """epoll_pwait(2)."""
    return _epoll_pwait(kernel, epfd, events, maxevents, _milliseconds(timeout), (sigmask, size))


@syscall(441)
def epoll_pwait2(
    kernel: Kernel, epfd: Int, events: Pointer, maxevents: Int, timeout: Pointer, sigmask: Pointer, size: ULong
) -> int:
    """epoll_pwait2(2)."""
    return _epoll_pwait(kernel, epfd, events, maxevents, _timespec(kernel, timeout), (sigmask, size))
