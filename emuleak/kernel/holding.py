"""Keeping back what the guest writes to a descriptor, until it is known whether it shall be seen."""

import os
from collections.abc import Callable

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import Description, release
from emuleak.kernel.hosttree import Place
from emuleak.kernel.vfs import FileSystem


class Held(Description):
    """Stands before a file: whoever asks is told of that, and only what is written waits.

    A descriptor that was duplicated meanwhile goes on to refer to this, so it must be of use when nothing is held.
    """

    def __init__(self, original: Description) -> None:
        self.path, self.flags = original.path, original.flags
        self._original = original
        self._kept: bytearray | None = bytearray()
        original.references += 1

    def let_go(self) -> bytes:
        """Let pass from now on; what was written so far."""
        kept, self._kept = self._kept or bytearray(), None
        return bytes(kept)

    def write(self, data: bytes, offset: int | None) -> int:
        """write(2)."""
        if self._kept is None:
            return self._original.write(data, offset)
        self._kept += data
        return len(data)

    def read(self, size: int, offset: int | None) -> bytes:
        """read(2)."""
        return self._original.read(size, offset)

    def seek(self, offset: int, whence: int) -> int:
        """lseek(2)."""
        return self._original.seek(offset, whence)

    def truncate(self, length: int) -> None:
        """ftruncate(2)."""
        self._original.truncate(length)

    def sync(self) -> None:
        """fsync(2)."""
        self._original.sync()

    def stat(self) -> os.stat_result:
        """fstat(2)."""
        return self._original.stat()

    def ready(self) -> int:
        """See Description."""
        return self._original.ready()

    def pending(self) -> int:
        """See Description."""
        return self._original.pending()

    def host_fd(self) -> int | None:
        """See Description."""
        return self._original.host_fd()

    def host_name(self) -> str:
        """See Description."""
        return self._original.host_name()

    def anchor(self) -> Place:
        """See Description."""
        return self._original.anchor()

    def set_flags(self, flags: int) -> None:
        """See Description."""
        self._original.set_flags(flags)
        self.flags = self._original.flags

    def close(self) -> None:
        """See Description."""
        self._original.references -= 1
        release(self._original)


def hold(files: FileSystem, fd: int) -> Callable[[], bytes]:
    """Keep what is written to a descriptor until the returned function is called, which also puts it back."""
    try:
        original = files.get(fd)
    except SyscallError:
        return bytes
    held = Held(original)
    held.references += 1  # whoever lets go needs it
    files.place(fd, held)

    def let_go() -> bytes:
        if fd in files.descriptors() and files.get(fd) is held:
            files.place(fd, original)
        kept = held.let_go()
        held.references -= 1
        release(held)
        return kept

    return let_go
