"""System calls that set up an open file: fcntl(2), flock(2), ioctl(2)."""

import os
import struct
import sys
from collections.abc import Callable

from emuleak.kernel import locks
from emuleak.kernel.abi import O_NONBLOCK, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import Description, readable, writable
from emuleak.kernel.locks import Lock
from emuleak.kernel.memoryfiles import MemoryFile
from emuleak.kernel.pipes import PipeEnd
from emuleak.kernel.table import Int, Pointer, UInt, ULong, syscall

try:
    import fcntl as host_fcntl
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

_FD_CLOEXEC = 1


# ---- fcntl

_Control = Callable[[Kernel, int, Description, int], int]
_LOCK = struct.Struct("<hh4xqqi4x")
_LOCK_SH, _LOCK_EX, _LOCK_NB, _LOCK_UN = 1, 2, 4, 8


def _duplicate(kernel: Kernel, argument: int, description: Description, *, cloexec: bool) -> int:
    minimum = argument & 0xFFFF_FFFF
    if minimum >= kernel.files.limit:
        raise SyscallError("EINVAL")
    return kernel.files.add(description, minimum=minimum, cloexec=cloexec)


def _set_descriptor_flags(kernel: Kernel, fd: int, _description: Description, argument: int) -> int:
    kernel.files.set_cloexec(fd, on=bool(argument & _FD_CLOEXEC))
    return 0


def _set_status_flags(_kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
    description.set_flags(argument & 0xFFFF_FFFF)
    return 0


def _lock(kernel: Kernel, description: Description, argument: int, *, of_process: bool) -> Lock:
    """The `struct flock` at an address. Raises SyscallError EINVAL."""
    kind, whence, start, length, _pid = _LOCK.unpack(kernel.memory.read(argument, _LOCK.size))
    if kind not in {locks.READ, locks.WRITE, locks.NONE} or whence not in {0, 1, 2}:
        raise SyscallError("EINVAL")
    if whence:
        start += description.stat().st_size if whence == 2 else description.seek(0, 1)
    first, end = (start, start + length) if length >= 0 else (start + length, start)
    if first < 0:
        raise SyscallError("EINVAL")
    return Lock(description, kernel.files if of_process else None, kind, first, end if length else locks.END)


def _get_lock(*, of_process: bool) -> _Control:
    def get(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
        wanted = _lock(kernel, description, argument, of_process=of_process)
        if wanted.kind == locks.NONE:
            raise SyscallError("EINVAL")
        found = locks.blocker(kernel.files.locks, locks.key_of(description), wanted)
        if found is None:
            kernel.memory.write(argument, struct.pack("<h", locks.NONE))
            return 0
        length = 0 if found.end == locks.END else found.end - found.start
        pid = -1 if found.files is None else found.files.pid
        kernel.memory.write(argument, _LOCK.pack(found.kind, 0, found.start, length, pid))
        return 0

    return get


def _set_lock(*, of_process: bool, waits: bool) -> _Control:
    def set_(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
        wanted = _lock(kernel, description, argument, of_process=of_process)
        may = readable(description) if wanted.kind == locks.READ else writable(description)
        if wanted.kind != locks.NONE and not may:
            raise SyscallError("EBADF")
        locks.place(kernel.files.locks, locks.key_of(description), wanted, waits=waits)
        return 0

    return set_


def _get_pipe_size(_kernel: Kernel, _fd: int, description: Description, _argument: int) -> int:
    if not isinstance(description, PipeEnd):
        raise SyscallError("EBADF")
    return description.pipe.capacity


def _set_pipe_size(kernel: Kernel, fd: int, description: Description, argument: int) -> int:
    """F_SETPIPE_SZ: a power of two of at least a page, as much as an ordinary user may have."""
    _get_pipe_size(kernel, fd, description, argument)
    assert isinstance(description, PipeEnd)
    wanted = argument & 0xFFFF_FFFF
    if wanted > 1 << 20:
        raise SyscallError("EINVAL" if wanted >> 31 else "EPERM")
    size = max(4096, 1 << max(0, wanted - 1).bit_length())
    if size < len(description.pipe.data):
        raise SyscallError("EBUSY")
    description.pipe.capacity = size
    return size


def _get_seals(_kernel: Kernel, _fd: int, description: Description, _argument: int) -> int:
    if not isinstance(description, MemoryFile):
        raise SyscallError("EINVAL")
    return description.seals


def _add_seals(kernel: Kernel, fd: int, description: Description, argument: int) -> int:
    if _get_seals(kernel, fd, description, argument) & 1 or not writable(description):
        raise SyscallError("EPERM")
    if argument & ~0x3F:
        raise SyscallError("EINVAL")
    assert isinstance(description, MemoryFile)
    description.seals |= argument
    return 0


_FCNTL: dict[int, _Control] = {
    0: lambda kernel, _fd, description, argument: _duplicate(kernel, argument, description, cloexec=False),
    1: lambda kernel, fd, _description, _argument: int(kernel.files.cloexec(fd)),
    2: _set_descriptor_flags,
    3: lambda _kernel, _fd, description, _argument: description.flags,
    4: _set_status_flags,
    5: _get_lock(of_process=True),
    6: _set_lock(of_process=True, waits=False),
    7: _set_lock(of_process=True, waits=True),
    8: lambda *_: 0,  # F_SETOWN: no signal is ever sent for a file
    9: lambda *_: 0,
    10: lambda *_: 0,
    11: lambda *_: 0,
    36: _get_lock(of_process=False),  # F_OFD_GETLK
    37: _set_lock(of_process=False, waits=False),
    38: _set_lock(of_process=False, waits=True),
    1024: lambda *_: 0,  # F_SETLEASE
    1025: lambda *_: locks.NONE,
    1030: lambda kernel, _fd, description, argument: _duplicate(kernel, argument, description, cloexec=True),
    1031: _set_pipe_size,
    1032: _get_pipe_size,
    1033: _add_seals,
    1034: _get_seals,
}
_FOR_O_PATH = frozenset((0, 1, 2, 3, 1030))


@syscall(72)
def fcntl(kernel: Kernel, fd: Int, cmd: Int, arg: ULong) -> int:
    """fcntl(2); leases are granted."""
    description = kernel.files.get(fd)
    if description.flags & 0o10000000 and cmd not in _FOR_O_PATH:
        raise SyscallError("EBADF")
    handler = _FCNTL.get(cmd)
    if handler is None:
        raise SyscallError("EINVAL")
    return handler(kernel, fd, description, arg)


@syscall(73)
def flock(kernel: Kernel, fd: Int, operation: Int) -> int:
    """flock(2)."""
    description = kernel.files.get(fd)
    kind = {_LOCK_SH: locks.READ, _LOCK_EX: locks.WRITE, _LOCK_UN: locks.NONE}.get(operation & ~_LOCK_NB)
    if kind is None:
        raise SyscallError("EINVAL")
    wanted = Lock(description, None, kind, whole=True)
    locks.place(kernel.files.locks, locks.key_of(description), wanted, waits=not operation & _LOCK_NB)
    return 0


# ---- ioctl

_TERMIOS = struct.Struct("<4IB19s")
_COOKED = (0x4500, 0x5, 0xBF, 0x8A3B, 0, bytes((3, 28, 127, 21, 4, 0, 1, 0, 17, 19, 26, 0, 18, 15, 23, 22, 0, 0, 0)))


def _terminal(description: Description) -> int:
    """The host's descriptor of a terminal. Raises SyscallError ENOTTY."""
    fd = description.host_fd()
    if fd is None or not os.isatty(fd):
        raise SyscallError("ENOTTY")
    return fd


def _get_termios(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
    """The host terminal's settings; a cooked terminal where the host's bits are not Linux's."""
    fd = _terminal(description)
    fields = _COOKED
    if termios is not None and sys.platform == "linux":
        flags = termios.tcgetattr(fd)
        characters = b"".join(c if isinstance(c, bytes) else bytes((c,)) for c in flags[6])
        fields = (flags[0], flags[1], flags[2], flags[3], 0, characters[:19])
    kernel.memory.write(argument, _TERMIOS.pack(*fields))
    return 0


def _set_termios(when: int) -> _Control:
    """TCSETS, TCSETSW, TCSETSF: elsewhere than on Linux the terminal stays as it is."""

    def change(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
        fd = _terminal(description)
        *flags, _line, characters = _TERMIOS.unpack(kernel.memory.read(argument, _TERMIOS.size))
        if termios is not None and sys.platform == "linux":
            now = termios.tcgetattr(fd)
            termios.tcsetattr(fd, when, [*flags, *now[4:6], [bytes((c,)) for c in characters.ljust(32, b"\0")]])
        return 0

    return change


def _get_size(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
    columns, lines = os.get_terminal_size(_terminal(description))
    kernel.memory.write(argument, struct.pack("<4H", lines, columns, 0, 0))
    return 0


def _get_group(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
    """tcgetpgrp(3): the group in the foreground is the first process's, until somebody sets another."""
    _terminal(description)
    kernel.memory.write(argument, struct.pack("<i", kernel.system.foreground))
    return 0


def _set_group(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
    """tcsetpgrp(3): remembered here; the host's terminal stays with the emulator."""
    _terminal(description)
    (group,) = struct.unpack("<i", kernel.memory.read(argument, 4))
    if not any(each.identity.pgid == group for each in kernel.system.table.values()):
        raise SyscallError("EPERM" if group >= 0 else "EINVAL")
    kernel.system.foreground = group
    return 0


def _get_session(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
    """tcgetsid(3)."""
    _terminal(description)
    kernel.memory.write(argument, struct.pack("<i", kernel.system.first.identity.sid))
    return 0


def _pending(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
    fd = description.host_fd()
    if fd is None or termios is None:
        count = description.pending()
    else:
        (count,) = struct.unpack("i", host_fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    kernel.memory.write(argument, struct.pack("<i", min(count, 0x7FFF_FFFF)))
    return 0


def _set_nonblocking(kernel: Kernel, _fd: int, description: Description, argument: int) -> int:
    on = kernel.memory.read(argument, 4) != bytes(4)
    description.set_flags(description.flags | O_NONBLOCK if on else description.flags & ~O_NONBLOCK)
    return 0


def _on_terminal(_kernel: Kernel, _fd: int, description: Description, _argument: int) -> int:
    """Granted, and without an effect, on a terminal."""
    _terminal(description)
    return 0


_IOCTL: dict[int, _Control] = {
    0x5401: _get_termios,
    0x5402: _set_termios(0),
    0x5403: _set_termios(1),
    0x5404: _set_termios(2),
    0x5409: _on_terminal,  # TCSBRK, which is tcdrain(3)
    0x540B: _on_terminal,  # TCFLSH
    0x540E: _on_terminal,  # TIOCSCTTY
    0x540F: _get_group,
    0x5410: _set_group,
    0x5413: _get_size,
    0x5414: _on_terminal,  # TIOCSWINSZ
    0x541B: _pending,
    0x5421: _set_nonblocking,
    0x5429: _get_session,
    0x5450: lambda kernel, fd, description, _argument: _set_descriptor_flags(kernel, fd, description, 0),
    0x5451: lambda kernel, fd, description, _argument: _set_descriptor_flags(kernel, fd, description, _FD_CLOEXEC),
}


@syscall(16)
def ioctl(kernel: Kernel, fd: Int, request: UInt, argp: Pointer) -> int:
    """ioctl(2): terminals (ioctl_tty(2)) and what every file knows; ENOTTY for the rest."""
    description = kernel.files.get(fd)
    if description.flags & 0o10000000:
        raise SyscallError("EBADF")
    handler = _IOCTL.get(request)
    if handler is None:
        raise SyscallError("ENOTTY")
    return handler(kernel, fd, description, argp)
