"""Files and directories of the host's: only these speak to the host, in the host's own terms."""

import os
import select
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

from emuleak.host import flag
from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import BrokenPipe, Description, Windows, data_or_hole
from emuleak.kernel.hosttree import Place

_POLL_NAMES = ("POLLIN", "POLLOUT", "POLLERR", "POLLHUP", "POLLNVAL", "POLLRDNORM", "POLLWRNORM")


def poll_host(wanted: Mapping[int, int], milliseconds: int | None) -> dict[int, int]:
    """Which of these host descriptors are ready for the poll(2) bits wanted of them; None waits for ever."""
    if not hasattr(select, "poll"):
        return dict(wanted)
    names = [(getattr(abi, name), getattr(select, name, 0)) for name in _POLL_NAMES]
    poller = select.poll()
    for fd, events in wanted.items():
        poller.register(fd, sum(host for bit, host in names if events & bit))
    return {
        fd: sum(bit for bit, host in names if happened & host) for fd, happened in poller.poll(milliseconds) if happened
    }


class HostFile(Description):
    """A file of the host's, by a descriptor of the host's."""

    owned = True

    def __init__(self, fd: int, path: str, flags: int, host_name: str = "") -> None:
        self.path = path
        self._host_name = host_name
        self.flags = flags
        self._fd = fd
        self._regular = stat.S_ISREG(os.fstat(fd).st_mode)

    def host_name(self) -> str:
        """Where it was opened."""
        return self._host_name

    def read(self, size: int, offset: int | None) -> bytes:
        """For hosts without readv(2)."""
        if offset is None:
            return os.read(self._fd, size)
        with self._elsewhere(offset):
            return os.read(self._fd, size)

    def write(self, data: bytes, offset: int | None) -> int:
        """For hosts without writev(2)."""
        if offset is None:
            return os.write(self._fd, data)
        with self._elsewhere(offset):
            return os.write(self._fd, data)

    @contextmanager
    def _elsewhere(self, offset: int) -> Iterator[None]:
        back = os.lseek(self._fd, 0, os.SEEK_CUR)
        os.lseek(self._fd, offset, os.SEEK_SET)
        try:
            yield
        finally:
            os.lseek(self._fd, back, os.SEEK_SET)

    def readv(self, windows: Windows, offset: int | None) -> int:
        """Straight into guest memory where the host can."""
        self._wait_not(abi.POLLIN)
        if not hasattr(os, "preadv"):
            return super().readv(windows, offset)
        return os.readv(self._fd, windows) if offset is None else os.preadv(self._fd, windows, offset)

    def writev(self, windows: Windows, offset: int | None) -> int:
        """Straight from guest memory where the host can. Raises BrokenPipe."""
        self._wait_not(abi.POLLOUT)
        try:
            if not hasattr(os, "pwritev"):
                return super().writev(windows, offset)
            return os.writev(self._fd, windows) if offset is None else os.pwritev(self._fd, windows, offset)
        except BrokenPipeError:
            raise BrokenPipe from None

    def _wait_not(self, event: int) -> None:
        """EAGAIN for O_NONBLOCK. It is kept here: set on the host's terminal it would outlive the run."""
        if self.flags & abi.O_NONBLOCK and not self._regular and not self.ready() & (event | abi.POLLHUP | abi.POLLERR):
            raise SyscallError("EAGAIN")

    def seek(self, offset: int, whence: int) -> int:
        """lseek(2); a host without SEEK_HOLE has files without holes."""
        names = ("SEEK_SET", "SEEK_CUR", "SEEK_END", "SEEK_DATA", "SEEK_HOLE")
        if not 0 <= whence < len(names):
            raise SyscallError("EINVAL")
        known: int | None = getattr(os, names[whence], None)
        if known is not None:
            return os.lseek(self._fd, offset, known)
        return os.lseek(self._fd, data_or_hole(offset, whence, os.fstat(self._fd).st_size), os.SEEK_SET)

    def truncate(self, length: int) -> None:
        """ftruncate(2)."""
        os.ftruncate(self._fd, length)

    def sync(self) -> None:
        """fsync(2)."""
        os.fsync(self._fd)

    def stat(self) -> os.stat_result:
        """fstat(2)."""
        return os.fstat(self._fd)

    def ready(self) -> int:
        """A regular file always is; the others are asked for."""
        if self._regular:
            return super().ready()
        return poll_host({self._fd: abi.READABLE | abi.WRITABLE}, 0).get(self._fd, 0)

    def pending(self) -> int:
        """What is left of a regular file; others are for ioctl(2) to ask."""
        if not self._regular:
            raise SyscallError("ENOTTY")
        return max(0, os.fstat(self._fd).st_size - os.lseek(self._fd, 0, os.SEEK_CUR))

    def host_fd(self) -> int | None:
        """None for a regular file, which never waits."""
        return None if self._regular else self._fd

    def anchor(self) -> int | str | None:
        """The descriptor: it stays true when the file is renamed or removed."""
        return self._fd

    def set_flags(self, flags: int) -> None:
        """O_APPEND has to be the host's, or two writers would overwrite each other; not on a stream that is lent."""
        if self.owned and fcntl is not None:
            host = fcntl.fcntl(self._fd, fcntl.F_GETFL)
            for bit, mine in ((abi.O_APPEND, os.O_APPEND), (abi.O_NONBLOCK, flag("O_NONBLOCK"))):
                host = host | mine if flags & bit else host & ~mine
            fcntl.fcntl(self._fd, fcntl.F_SETFL, host)
        super().set_flags(flags)

    def close(self) -> None:
        """close(2)."""
        os.close(self._fd)


class StdStream(HostFile):
    """One of the emulator's own standard streams: the guest may close it, the host keeps it."""

    owned = False

    def close(self) -> None:
        """Leave the host's open."""


Listing = list[tuple[int, int, str]]  # inode, file type (DT_* of readdir(3)), name


class Directory(Description):
    """An open directory; its entries are taken down when the first is asked for, and again after a rewind."""

    def __init__(self, path: str, flags: int, host: str, fd: int | None, listing: Callable[[], Listing]) -> None:
        self.path, self.flags = path, flags
        self._host, self._fd = host, fd
        self._listing = listing
        self._entries: Listing | None = None
        self.position = 0

    def entries(self) -> Listing:
        """The entries, "." and ".." first."""
        if self._entries is None:
            self._entries = self._listing()
        return self._entries

    def read(self, _size: int, _offset: int | None, /) -> bytes:
        """read(2) is not for directories."""
        raise SyscallError("EISDIR")

    def seek(self, offset: int, whence: int) -> int:
        """To a position that getdents64(2) has told, or to the start."""
        if whence == abi.SEEK_CUR:
            offset += self.position
        elif whence == abi.SEEK_END:
            offset += len(self.entries())
        if whence not in {abi.SEEK_SET, abi.SEEK_CUR, abi.SEEK_END} or offset < 0:
            raise SyscallError("EINVAL")
        if offset == 0:
            self._entries = None
        self.position = offset
        return offset

    def sync(self) -> None:
        """A directory is as safe as the host makes it."""

    def stat(self) -> os.stat_result:
        """By descriptor where there is one."""
        return os.stat(self.anchor())

    def anchor(self) -> Place:
        """The descriptor, or the path on a host that opens no directories."""
        return self._host if self._fd is None else self._fd

    def close(self) -> None:
        """Give the host's descriptor back."""
        if self._fd is not None:
            os.close(self._fd)


def scan(host: str, fd: int | None) -> Listing:
    """The entries of a host directory."""
    here = os.stat(host if fd is None else fd).st_ino
    above = os.stat(os.path.join(host, os.pardir)).st_ino
    directory = stat.S_IFDIR >> 12
    with os.scandir(host if fd is None or os.scandir not in os.supports_fd else fd) as found:
        rest = [(entry.inode(), _kind(entry), entry.name) for entry in found]
    return [(here, directory, "."), (above, directory, ".."), *rest]


def _kind(entry: os.DirEntry[str]) -> int:
    """DT_* of readdir(3): the file type bits of its mode; 0, unknown, for what is gone meanwhile."""
    if entry.is_symlink():
        return 0o12
    if entry.is_file(follow_symlinks=False):
        return 0o10
    try:
        return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode) >> 12
    except OSError:
        return 0
