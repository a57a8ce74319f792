"""Keeping back what the guest writes to a descriptor, until it is known whether it shall be seen."""

from collections.abc import Callable

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.memoryfiles import MemoryFile
from emuleak.kernel.vfs import FileSystem


def hold(files: FileSystem, fd: int) -> Callable[[], bytes]:
    """Keep what is written to a descriptor until the returned function is called, which also puts it back."""
    try:
        original = files.get(fd)
    except SyscallError:
        return bytes
    original.references += 1
    held = MemoryFile(original.path, 1)
    files.place(fd, held)

    def let_go() -> bytes:
        if fd in files.descriptors() and files.get(fd) is held:
            files.place(fd, original)
        original.references -= 1
        return bytes(held.data)

    return let_go
