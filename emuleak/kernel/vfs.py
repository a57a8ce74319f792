"""The process's files: the descriptors, and the paths that lead to what they name.

What a descriptor refers to is in descriptions.py and beside it; here the look-up of paths speaks to the host.
"""

import os
import posixpath
import random
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from emuleak.errors import BadOption
from emuleak.host import flag, terminal_name
from emuleak.kernel import abi, procfs
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import Description, readable, release, writable
from emuleak.kernel.descriptors import Descriptors
from emuleak.kernel.hostfiles import Directory, HostFile, Listing, StdStream, scan
from emuleak.kernel.hosttree import HostTree, Place, Tree
from emuleak.kernel.locks import Locks
from emuleak.kernel.mappings import FileMappings
from emuleak.kernel.memoryfiles import Device, MemoryFile, ProcFile
from emuleak.kernel.sockets import Socket

if TYPE_CHECKING:
    from emuleak.kernel.fifos import Fifo

_PATH_MAX = 4096
_RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 4, 8
_RANDOM_MAX = (1 << 25) - 1  # the longest read that random(4) grants
_SPECIAL = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_FROM_SYSROOT = ("/lib", "/usr/", "/etc/")
# The host's umask is the process's: two runs in two of its threads must not take the other's for it.
_UMASK = threading.Lock()
_CREATING = os.O_CREAT | flag("O_TMPFILE")
_SOURCES: dict[str, Callable[[int], bytes]] = {"null": lambda _size: b"", "zero": bytes, "full": bytes}


def check_path(path: str, *, empty: bool) -> None:
    """Raise SyscallError for a path that no call takes; `empty` allows ""."""
    if not path and not empty:
        raise SyscallError("ENOENT")
    if len(os.fsencode(path)) >= _PATH_MAX:
        raise SyscallError("ENAMETOOLONG")


class FileSystem(Descriptors):
    """The process's files: its descriptors, its working directory and umask, and what its paths mean.

    The kernel fills in `program`, `arguments`, `pid`, `limits` and `proc` - what to answer for a name in /proc/self.
    `random` is the run's one source of random bytes.
    """

    def __init__(
        self,
        *,
        sysroot: str = "/",
        stdin: bytes | str | None = None,
        capture: bool = False,
        seed: int = 0,
        cwd: str | None = None,
    ) -> None:
        super().__init__()
        self.sysroot = sysroot.rstrip("/")
        self.random = random.Random(seed)
        self.cwd = (_here() if cwd is None else os.path.abspath(cwd)).replace(os.sep, "/")
        self.umask = 0o022
        self.pid, self.ppid = 4711, 4710
        self.program = ""
        self.arguments: Sequence[bytes] = ()
        self.proc = procfs.texts(self)
        self.mappings: FileMappings | None = None
        self.cpus = os.cpu_count() or 1
        self.tree: Tree = HostTree()
        self.listeners: dict[str, Socket] = {}
        self.locks: Locks = {}
        self.fifos: dict[tuple[int, int], Fifo] = {}  # those that the guest made
        self._open_standard(stdin, capture=capture)
        # Kept apart: the guest may close the descriptor.
        self._captured = {fd: file for fd, file in self._table.items() if isinstance(file, MemoryFile)}

    def _open_standard(self, stdin: bytes | str | None, *, capture: bool) -> None:
        """Descriptors 0, 1, 2: the emulator's own, or the bytes or the file given and buffers to collect output."""
        for fd, name in enumerate(_STANDARD):
            mode = abi.O_WRONLY if fd else 0
            try:
                if fd == 0 and isinstance(stdin, bytes):
                    self._table[fd] = MemoryFile(name, mode, stdin)
                elif fd == 0 and isinstance(stdin, str):
                    self._table[fd] = HostFile(os.open(stdin, abi.host_open_flags(0)), stdin, abi.O_LARGEFILE)
                elif fd and capture:
                    self._table[fd] = MemoryFile(name, mode | abi.O_APPEND, mode=stat.S_IFREG | 0o600)
                else:
                    terminal = terminal_name(fd)
                    self._table[fd] = StdStream(fd, terminal or name, abi.O_RDWR if terminal else mode)
            except OSError:
                # The host was started without this stream: so is the guest. A file that was named must be there.
                if fd == 0 and stdin is not None:
                    raise
                continue
            self._table[fd].references = 1

    def fork(self, pid: int, ppid: int) -> "FileSystem":
        """A child's: descriptors of its own that refer to the same descriptions, the same directory and umask."""
        from copy import copy  # noqa: PLC0415 - most programs make no process

        child = copy(self)
        child.part(pid, ppid)
        return child

    def part(self, pid: int, ppid: int) -> None:
        """Own, as the copy of another process's files, what that must not see changed."""
        self.pid, self.ppid = pid, ppid
        self.proc, self.mappings = procfs.texts(self), None
        self.share()

    def close_for_exec(self) -> None:
        """Another program takes the process over: store what is mapped, close what is marked so."""
        if self.mappings is not None:
            self.mappings.close()
            self.mappings = None
        for fd in sorted(self._close_on_exec):
            self.close(fd)

    def output(self, fd: int) -> bytes:
        """What the guest wrote to 1 or 2, when its output is captured."""
        return bytes(self._captured[fd].data)

    def messages(self) -> Description | None:
        """Where what is said to the program's user goes; None where it has no such place any more."""
        return self._table.get(2)

    def on_limits(
        self,
        note: Callable[[str], None],
        end: Callable[[str], None],
        limits: dict[int, tuple[int, int]],
        now: Callable[[], int],
    ) -> None:
        """Who is to hear of limits, where getrlimit(2) finds them, and what time it is: the sandbox has to know."""

    # ---- what descriptors refer to

    def close_all(self) -> None:
        """Store what is mapped and give every host descriptor back: the process has ended."""
        if self.mappings is not None:
            self.mappings.close()
        for fd in self.descriptors():
            self.close(fd)

    def mappable(self, fd: int, shared_write: int | bool) -> Description:
        """The file that mmap(2) shows. Raises SyscallError EBADF, EACCES, or ENODEV for what has no pages."""
        description = self.get(fd)
        if description.flags & abi.O_PATH:
            raise SyscallError("EBADF")
        if not readable(description) or (shared_write and not writable(description)):
            raise SyscallError("EACCES")
        if not isinstance(description, HostFile | MemoryFile | Device) or description.host_fd() is not None:
            raise SyscallError("ENODEV")
        if isinstance(description, Device) and description.path != "/dev/zero":
            raise SyscallError("ENODEV")
        return description

    def agree(self, description: Description) -> None:
        """Before and after a file is read or written: its shared mappings and the file become alike."""
        if self.mappings is not None and isinstance(description, HostFile | MemoryFile):
            self.mappings.agree(description)

    def admit(self, description: Description) -> None:
        """Before something is written: only the sandbox refuses, with SyscallError, what would take too much memory."""

    # ---- paths

    def host_path(self, path: str) -> Place:
        """Where the tree keeps an absolute path of the guest's."""
        return self.host_file(path)

    def host_file(self, path: Any) -> str:
        """The host's file that holds what is there; "" for what only the guest has."""
        name = str(path)
        if self.sysroot and name.startswith(_FROM_SYSROOT) and os.path.lexists(self.sysroot + name):
            return self.sysroot + name
        return name

    def resolve(self, dirfd: int, path: str, *, empty: bool = False) -> Any:
        """The absolute path the guest means, see path_resolution(7); `empty` allows "", which is dirfd itself.

        Links and dots stay in: it is the tree that follows them. Raises SyscallError.
        """
        check_path(path, empty=empty)
        if path.startswith("/") or os.path.isabs(path):
            return path
        base = self.cwd
        if dirfd != abi.AT_FDCWD:
            description = self.get(dirfd)
            if path and not isinstance(description, Directory):
                raise SyscallError("ENOTDIR")
            base = description.path
        return posixpath.join(base, path) if path else base

    def special(self, path: str) -> str | None:
        """The name under which an absolute path is served from here; None for the host's files."""
        name = "/" + posixpath.normpath(path).lstrip("/")
        if name in _STANDARD:
            return f"/proc/self/fd/{_STANDARD[name]}"
        for prefix, own in ((f"/proc/{self.pid}", "/proc/self"), ("/dev/fd", "/proc/self/fd")):
            if name == prefix or name.startswith(prefix + "/"):
                name = own + name[len(prefix) :]
        return name if name in _SPECIAL or name == "/proc/self" or name.startswith("/proc/self/") else None

    @contextmanager
    def creating(self) -> Iterator[int]:
        """Create host files under the guest's umask; the host's own comes back at once.

        Yields the bits of a mode that are still to be left out: none, the host knows the umask.
        """
        with _UMASK:
            mine = os.umask(self.umask)
            try:
                yield 0
            finally:
                os.umask(mine)

    def change_directory(self, path: str) -> None:
        """chdir(2) to an absolute path: the host's directory stays where it is. Raises SyscallError or OSError."""
        host = self.host_path(path)
        if not stat.S_ISDIR(os.stat(host).st_mode):
            raise SyscallError("ENOTDIR")
        if not os.access(host, os.X_OK):
            raise SyscallError("EACCES")
        self.cwd = posixpath.normpath(path) if host != path else os.path.realpath(host).replace(os.sep, "/")

    def current_directory(self) -> str:
        """getcwd(2). Raises SyscallError or OSError when it is gone."""
        os.stat(self.host_path(self.cwd))
        return self.cwd

    def identity(self, place: Place) -> str:
        """What is the same for every path by which a file is named."""
        path = str(place)
        return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))

    def shown(self, host: str) -> str:
        """How the guest knows what was loaded from a host path."""
        return host

    def check_resolution(self, dirfd: int, pathname: str, resolve: int) -> None:
        """What openat2(2) may be asked to refuse: links, and paths that leave the directory. Raises SyscallError."""
        path = os.path.normpath(self.host_file(self.resolve(dirfd, pathname)))
        base = os.path.realpath(self.host_file(self.resolve(dirfd, "", empty=True)))
        real = os.path.realpath(path)
        if resolve & _RESOLVE_BENEATH and (pathname.startswith("/") or not (real + "/").startswith(base + "/")):
            raise SyscallError("EXDEV")
        inside = real if pathname.startswith("/") else os.path.normpath(os.path.join(base, pathname))
        if resolve & _RESOLVE_NO_SYMLINKS and real != (path if pathname.startswith("/") else inside):
            raise SyscallError("ELOOP")

    def stat(self, path: str, *, follow: bool = True) -> os.stat_result:
        """stat(2) or lstat(2) of an absolute path. Raises SyscallError or OSError."""
        name = self.special(path)
        if name is None:
            return os.stat(self.host_path(path), follow_symlinks=follow)
        if not follow and self._link(name) is not None:
            return abi.memory_stat(stat.S_IFLNK | 0o777, 0, 1)
        description = self._open_special(name, 0)
        try:
            return description.stat()
        finally:
            release(description)

    def readlink(self, path: str) -> str:
        """readlink(2) of an absolute path. Raises SyscallError or OSError."""
        name = self.special(path)
        if name is None:
            return os.readlink(self.host_file(path))
        target = self._link(name)
        if target is None:
            self.stat(path)
            raise SyscallError("EINVAL")
        return target

    def open(self, path: str, flags: int, mode: int) -> Description:
        """open(2) of an absolute path. Raises SyscallError or OSError."""
        name = self.special(path)
        if name is not None:
            return self._open_special(name, flags)
        host = self.host_path(path)
        kept = abi.status_flags(flags)
        if self.fifos and (end := self._fifo(path, host, kept | flags & abi.O_ACCMODE)) is not None:
            return end
        wanted = abi.host_open_flags(flags)
        try:
            # Opening a pipe may wait for its other end: only what can make a file may keep others from the umask.
            with self.creating() if wanted & _CREATING else nullcontext():
                fd = os.open(host, wanted, mode & 0o7777)
        except PermissionError:
            # Windows opens no directory; elsewhere this one may not be read.
            if flags & abi.O_ACCMODE or not os.path.isdir(host) or not os.access(host, os.R_OK):
                raise
            return Directory(path, kept, host, None, lambda: scan(host, None))
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            return Directory(path, kept, host, fd, lambda: scan(host, fd))
        return HostFile(fd, path, kept, host)

    def make_fifo(self, place: Place, mode: int) -> None:
        """mkfifo(3). Raises OSError, or SyscallError EPERM on a host that has no named pipes."""
        from emuleak.kernel.fifos import make  # noqa: PLC0415 - few programs make any

        if not hasattr(os, "mkfifo"):
            raise SyscallError("EPERM")
        with self.creating():
            make(self.fifos, place, mode)

    def _fifo(self, path: str, host: str, flags: int) -> Description | None:
        from emuleak.kernel.fifos import end_of  # noqa: PLC0415

        return end_of(self.fifos, path, host, flags)

    # ---- what is served from memory

    def _link(self, name: str) -> str | None:
        """The target of a link in /proc/self. Raises SyscallError ENOENT for a descriptor that is not open."""
        links = {"/proc/self": str(self.pid), "/proc/self/exe": self.program}
        links |= {"/proc/self/cwd": self.cwd, "/proc/self/root": "/"}
        if name.startswith("/proc/self/fd/"):
            return self._by_number(name).path
        return links.get(name)

    def _by_number(self, name: str) -> Description:
        number = name.removeprefix("/proc/self/fd/")
        if not number.isdecimal() or int(number) not in self._table:
            raise SyscallError("ENOENT")
        return self._table[int(number)]

    def _open_special(self, name: str, flags: int) -> Description:
        """A description of what `special` named; one of /proc/self/fd is shared. Raises SyscallError."""
        kept = abi.status_flags(flags)
        leaf = posixpath.basename(name)
        if name in _SPECIAL:
            return Device(name, kept, self._random_bytes if leaf.endswith("random") else _SOURCES[leaf])
        if name.startswith("/proc/self/fd/"):
            return self._by_number(name)
        target = self._link(name)
        if target is not None and name != "/proc/self":
            return self.open(target, flags, 0)
        if leaf in self.proc and name == f"/proc/self/{leaf}":
            if flags & abi.O_ACCMODE:
                raise SyscallError("EACCES")
            return ProcFile(name, kept, self.proc[leaf]())
        if name not in {"/proc/self", "/proc/self/fd"}:
            raise SyscallError("ENOENT")
        return Directory(name, kept, "/", None, lambda: self._list(name))

    def _random_bytes(self, size: int) -> bytes:
        return self.random.randbytes(min(size, _RANDOM_MAX))

    def _list(self, name: str) -> Listing:
        """The entries of /proc/self and of /proc/self/fd."""
        names = [str(fd) for fd in self.descriptors()] if name.endswith("fd") else [*sorted(self.proc), "exe", "fd"]
        return [(index + 1, 0, entry) for index, entry in enumerate([".", "..", *names])]


def _here() -> str:
    """The emulator's own working directory. Raises BadOption where somebody has removed it."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        raise BadOption("the working directory does not exist any more; change to another one") from None
