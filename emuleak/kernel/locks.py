"""Locks on files between the guest's processes: fcntl(2) by ranges, flock(2) as a whole. The host sees none of them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import Description, WouldBlock

if TYPE_CHECKING:
    from emuleak.kernel.vfs import FileSystem

READ, WRITE, NONE = 0, 1, 2  # F_RDLCK, F_WRLCK, F_UNLCK
END = 1 << 63
Key = tuple[int, int]


class Lock(NamedTuple):
    """One lock on `[start, end)` of a file: of a process, known by its `files`, or where that is None of a description.

    `whole` is one of flock(2), which has nothing to do with the others.
    """

    description: Description
    files: "FileSystem | None"
    kind: int
    start: int = 0
    end: int = END
    whole: bool = False

    @property
    def owner(self) -> object:
        """Whose it is."""
        return self.description if self.files is None else self.files

    def is_held(self, key: Key) -> bool:
        """Whether the owner still has the file open; closing it is all it takes to give its locks up."""
        if self.files is None:
            return self.description.references > 0
        return any(key_of(self.files.get(fd)) == key for fd in self.files.descriptors())


Locks = dict[Key, list[Lock]]


def key_of(description: Description) -> Key:
    """What two descriptions of one file have in common."""
    status = description.stat()
    return status.st_dev, status.st_ino


def blocker(locks: Locks, key: Key, wanted: Lock) -> Lock | None:
    """A lock of somebody else's that is in the way."""
    held = locks[key] = [lock for lock in locks.get(key, ()) if lock.is_held(key)]
    return next((lock for lock in held if _conflict(lock, wanted)), None)


def _conflict(one: Lock, other: Lock) -> bool:
    if one.owner is other.owner or one.whole is not other.whole:
        return False
    return one.start < other.end and other.start < one.end and WRITE in {one.kind, other.kind}


def place(locks: Locks, key: Key, wanted: Lock, *, waits: bool) -> None:
    """Set a lock, or with NONE take one away. Raises WouldBlock, or SyscallError EAGAIN, where one is in the way."""
    if wanted.kind != NONE and blocker(locks, key, wanted) is not None:
        if waits:
            raise WouldBlock
        raise SyscallError("EAGAIN")
    rest = [piece for lock in locks.get(key, ()) for piece in _without(lock, wanted)]
    locks[key] = rest if wanted.kind == NONE else [*rest, wanted]


def _without(lock: Lock, wanted: Lock) -> Iterator[Lock]:
    """What is left of a lock where its owner sets another."""
    same = lock.owner is wanted.owner and lock.whole is wanted.whole
    if not same or lock.end <= wanted.start or wanted.end <= lock.start:
        yield lock
        return
    if lock.start < wanted.start:
        yield lock._replace(end=wanted.start)
    if wanted.end < lock.end:
        yield lock._replace(start=wanted.end)
