"""The directory tree as the host keeps it: what the system calls on paths do where there is no sandbox.

A place is what `FileSystem.host_path` and `Description.anchor` gave: a path of the host's, or one of its descriptors.
"""

import os
import stat
from typing import Any, Protocol

from emuleak.kernel.abi import SyscallError, pack_statfs

Place = Any  # how the tree in use names a file; nobody else looks inside


class Tree(Protocol):
    """What the system calls on paths need; failures are OSError or SyscallError."""

    makes: frozenset[int]
    """The kinds of files, as in a mode, that `mknod` makes for anybody."""

    def stat(self, place: Place, /, *, follow: bool = True) -> os.stat_result:
        """stat(2), or lstat(2)."""

    def exists(self, place: Place, /) -> bool:
        """Whether there is such a name, be it of a link that leads nowhere."""

    def access(self, place: Place, mode: int, /) -> bool:
        """access(2)."""

    def mkdir(self, place: Place, mode: int, /) -> None:
        """mkdir(2)."""

    def mknod(self, place: Place, mode: int, /) -> None:
        """mknod(2)."""

    def symlink(self, target: str, place: Place, /) -> None:
        """symlink(2)."""

    def link(self, old: Place, new: Place, /, *, follow: bool) -> None:
        """link(2)."""

    def unlink(self, place: Place, /) -> None:
        """unlink(2)."""

    def rmdir(self, place: Place, /) -> None:
        """rmdir(2)."""

    def rename(self, old: Place, new: Place, /, *, replaces: bool = True) -> None:
        """rename(2)."""

    def chmod(self, place: Place, mode: int, /) -> None:
        """chmod(2)."""

    def chown(self, place: Place, owner: int, group: int, /, *, follow: bool = True) -> None:
        """chown(2); -1 leaves an id as it is."""

    def utime(self, place: Place, times: tuple[int, int] | None, /, *, follow: bool = True) -> None:
        """Set the times of access and modification, in nanoseconds since the Epoch; None: now."""

    def truncate(self, place: Place, length: int, /) -> None:
        """truncate(2)."""

    def pack_statfs(self, place: Place, /) -> bytes:
        """`struct statfs` of statfs(2)."""


class HostTree:
    """Does all that to the host's files."""

    makes = frozenset((stat.S_IFREG,))  # for devices and FIFOs the program lacks the privilege

    def stat(self, place: Place, *, follow: bool = True) -> os.stat_result:
        """stat(2), or lstat(2)."""
        return os.stat(place, follow_symlinks=follow)

    def exists(self, place: Place) -> bool:
        """Whether there is such a name."""
        return os.path.lexists(place)

    def access(self, place: Place, mode: int) -> bool:
        """access(2)."""
        return os.access(place, mode)

    def mkdir(self, place: Place, mode: int) -> None:
        """mkdir(2)."""
        os.mkdir(place, mode)

    def mknod(self, place: Place, mode: int) -> None:
        """A regular file, or what the host's mknod makes."""
        if stat.S_ISREG(mode):
            os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY, stat.S_IMODE(mode)))
        elif hasattr(os, "mknod"):
            os.mknod(place, mode)
        else:
            raise SyscallError("EOPNOTSUPP")

    def symlink(self, target: str, place: Place) -> None:
        """symlink(2)."""
        os.symlink(target, place)

    def link(self, old: Place, new: Place, *, follow: bool) -> None:
        """link(2)."""
        os.link(os.path.realpath(old) if follow else old, new)

    def unlink(self, place: Place) -> None:
        """unlink(2)."""
        os.unlink(place)

    def rmdir(self, place: Place) -> None:
        """rmdir(2)."""
        os.rmdir(place)

    def rename(self, old: Place, new: Place, *, replaces: bool = True) -> None:
        """rename(2)."""
        if not replaces and os.path.lexists(new):
            os.lstat(old)
            raise SyscallError("EEXIST")
        os.replace(old, new)

    def chmod(self, place: Place, mode: int) -> None:
        """chmod(2)."""
        os.chmod(place, mode)

    def chown(self, place: Place, owner: int, group: int, *, follow: bool = True) -> None:
        """chown(2); on a host without owners nothing changes."""
        if hasattr(os, "chown"):
            os.chown(place, owner, group, follow_symlinks=follow)

    def utime(self, place: Place, times: tuple[int, int] | None, *, follow: bool = True) -> None:
        """Set both times."""
        follow = follow or os.utime not in os.supports_follow_symlinks
        if times is None:
            os.utime(place, follow_symlinks=follow)
        else:
            os.utime(place, ns=times, follow_symlinks=follow)

    def truncate(self, place: Place, length: int) -> None:
        """truncate(2)."""
        os.truncate(place, length)

    def pack_statfs(self, place: Place) -> bytes:
        """statfs(2)."""
        return pack_statfs(place)
