"""The table of a process's open descriptors: by number, what each refers to, and which execve(2) closes."""

from collections.abc import Iterable, Mapping

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import Description, release

_RLIMIT_NOFILE = 7


class Descriptors:
    """Owner of the table. `limits` are those of getrlimit(2), by number."""

    def __init__(self) -> None:
        self.limits: Mapping[int, tuple[int, int]] = {}
        self._table: dict[int, Description] = {}
        self._close_on_exec: set[int] = set()

    def share(self) -> None:
        """Become, as the copy of another process's table, one of its own that refers to the same."""
        self._table, self._close_on_exec = dict(self._table), set(self._close_on_exec)
        for description in self._table.values():
            description.references += 1

    @property
    def limit(self) -> int:
        """RLIMIT_NOFILE of getrlimit(2)."""
        return self.limits.get(_RLIMIT_NOFILE, (1024, 0))[0]

    def descriptors(self) -> list[int]:
        """The open descriptors, by number."""
        return sorted(self._table)

    def opened(self) -> Iterable[Description]:
        """What the descriptors refer to."""
        return self._table.values()

    def get(self, fd: int) -> Description:
        """What a descriptor refers to. Raises SyscallError EBADF."""
        try:
            return self._table[fd]
        except KeyError:
            raise SyscallError("EBADF") from None

    def lowest(self, minimum: int = 0) -> int:
        """The lowest free descriptor. Raises SyscallError EMFILE."""
        fd = minimum
        while fd in self._table:
            fd += 1
        if fd >= self.limit:
            raise SyscallError("EMFILE")
        return fd

    def add(self, description: Description, *, minimum: int = 0, cloexec: bool = False) -> int:
        """Give a description its (next) descriptor. Raises SyscallError EMFILE; the description is then closed."""
        try:
            fd = self.lowest(minimum)
        except SyscallError:
            release(description)
            raise
        self.place(fd, description, cloexec=cloexec)
        return fd

    def add_pair(self, pair: tuple[Description, Description], *, cloexec: bool) -> tuple[int, int]:
        """Two descriptors or, when one is too many, none. Raises SyscallError EMFILE."""
        first = self.add(pair[0], cloexec=cloexec)
        try:
            return first, self.add(pair[1], cloexec=cloexec)
        except SyscallError:
            self.close(first)
            raise

    def place(self, fd: int, description: Description, *, cloexec: bool = False) -> None:
        """Make this very descriptor refer to `description`, closing what it was: dup2(2)."""
        description.references += 1
        if fd in self._table:
            self.close(fd)
        self._table[fd] = description
        self.set_cloexec(fd, cloexec)

    def close(self, fd: int) -> None:
        """close(2). Raises SyscallError EBADF."""
        description = self.get(fd)
        del self._table[fd]
        self._close_on_exec.discard(fd)
        description.references -= 1
        release(description)

    def cloexec(self, fd: int) -> bool:
        """FD_CLOEXEC of fcntl(2)."""
        return fd in self._close_on_exec

    def set_cloexec(self, fd: int, on: bool) -> None:
        """Set or clear FD_CLOEXEC."""
        (self._close_on_exec.add if on else self._close_on_exec.discard)(fd)
