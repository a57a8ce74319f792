"""How much of the host's memory a guest in the sandbox may fill: bytes of files, and the number of files."""

from collections.abc import Callable

from emuleak.kernel.abi import SyscallError


class Quota:
    """Counts what files in memory take, and refuses with ENOSPC what would be more than was granted.

    `note` is told, in words, each time something was refused.
    """

    def __init__(self, max_bytes: int, max_files: int) -> None:
        self.max_bytes, self.max_files = max_bytes, max_files
        self.bytes = self.files = 0
        self.note: Callable[[str], None] = lambda _what: None

    def take(self, count: int) -> None:
        """Grant so many bytes more, or give bytes back (fewer than 0). Raises SyscallError ENOSPC."""
        if count > 0 and self.bytes + count > self.max_bytes:
            self.note(f"the limit of {self.max_bytes} bytes of files was reached: the program was told ENOSPC")
            raise SyscallError("ENOSPC")
        self.bytes += count

    def take_file(self) -> None:
        """Grant one file more. Raises SyscallError ENOSPC."""
        if self.files >= self.max_files:
            self.note(f"the limit of {self.max_files} files was reached: the program was told ENOSPC")
            raise SyscallError("ENOSPC")
        self.files += 1

    def give_file(self) -> None:
        """A file is gone."""
        self.files -= 1
