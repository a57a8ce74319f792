"""Where the guest's output goes from the sandbox: to the emulator's own streams or to a buffer, up to a limit."""

import os
import stat
from collections.abc import Callable

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import BrokenPipe, Description
from emuleak.kernel.memoryfiles import MemoryFile

_INODE = 1 << 34


class Allowance:
    """The bytes that may still be written, to standard output and standard error together.

    `exhausted` is called when the guest wants to write more.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.left = size
        self.exhausted: Callable[[str], None] = lambda _reason: None

    def cut(self, data: bytes) -> bytes:
        """As much of it as may be written."""
        kept = data[: self.left]
        self.left -= len(kept)
        if len(kept) < len(data):
            self.exhausted(f"the limit of {self.size} bytes of output was reached")
        return kept


class Output(Description):
    """A standard stream that the guest can write to and nothing else: to the guest it is a pipe.

    The host's file behind it, its position, its mode and the settings of a terminal are out of reach.
    """

    def __init__(self, fd: int, allowance: Allowance) -> None:
        os.fstat(fd)
        self.path, self.flags = f"pipe:[{_INODE + fd}]", abi.O_WRONLY
        self._fd = fd
        self._allowance = allowance
        self._terminal = os.isatty(fd)

    def write(self, data: bytes, offset: int | None) -> int:
        """All of it. Raises BrokenPipe, SyscallError ESPIPE."""
        if offset is not None:
            raise SyscallError("ESPIPE")
        kept = self._allowance.cut(data)
        rest = memoryview(harmless(kept) if self._terminal else kept)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except BrokenPipeError:
            raise BrokenPipe from None
        return len(data)

    def stat(self) -> os.stat_result:
        """As of a pipe."""
        return abi.memory_stat(stat.S_IFIFO | 0o600, 0, _INODE + self._fd)

    def ready(self) -> int:
        """It always takes what is written."""
        return abi.WRITABLE


def harmless(data: bytes) -> bytes:
    """What a terminal shows and does not obey: control characters but line ends and tabs become `^X` or `\\xNN`."""
    return "".join(map(_shown, data.decode(errors="surrogateescape"))).encode()


def _shown(character: str) -> str:
    code = ord(character)
    if character in "\t\n\r\b" or (code >= 0xA0 and not 0xDC80 <= code <= 0xDCFF) or 0x20 <= code < 0x7F:
        return character
    if code < 0x80:
        return "^" + chr(code ^ 0x40)
    return "".join(f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape"))


class Captured(MemoryFile):
    """Output that is collected; to the guest it is a pipe, too."""

    def __init__(self, fd: int, allowance: Allowance) -> None:
        super().__init__(f"pipe:[{_INODE + fd}]", abi.O_WRONLY, mode=stat.S_IFIFO | 0o600)
        self._allowance = allowance

    def write(self, data: bytes, offset: int | None) -> int:
        """All of it. Raises SyscallError ESPIPE."""
        if offset is not None:
            raise SyscallError("ESPIPE")
        super().write(self._allowance.cut(data), None)
        return len(data)

    def seek(self, _offset: int, _whence: int, /) -> int:
        """Not in a pipe."""
        raise SyscallError("ESPIPE")

    def truncate(self, _length: int, /) -> None:
        """Not a pipe."""
        raise SyscallError("EINVAL")
