"""The files that a program opens: it is run once, and asked for nothing else."""

import stat
from collections.abc import Mapping
from contextlib import closing
from typing import Final

from emuleak.kernel.abi import AT_FDCWD, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.signals import Siginfo
from emuleak.kernel.system import Nobody
from emuleak.memory import Fault
from emuleak.unhooked import Guest, UnhookedRun

_OPEN, _EXECVE, _OPENAT = 2, 59, 257
_WRITES: Final = 0o3 | 0o100 | 0o1000  # O_ACCMODE, O_CREAT, O_TRUNC
_ELSEWHERE: Final = ("/proc/", "/dev/", "/sys/")


class Opened(Nobody):
    """A watcher that notes the regular files which are opened for reading, by their absolute paths."""

    def __init__(self) -> None:
        self.files: dict[str, str] = {}  # the guest's path: the host's

    def dispatch(self, kernel: Kernel, number: int, registers: tuple[int, ...]) -> int | None:
        """See kernel.tracing.Tracer."""
        wanted = self._wanted(kernel, number, registers)
        result = kernel.dispatch(number, registers)
        if wanted is not None and (result is None or result >= 0):
            self.files.setdefault(*wanted)
        return result

    def _wanted(self, kernel: Kernel, number: int, registers: tuple[int, ...]) -> tuple[str, str] | None:
        """The file that a call is about to open, if it is one to be packed."""
        if number not in {_OPEN, _EXECVE, _OPENAT} or self._flags(number, registers) & _WRITES:
            return None
        at = registers[0] - (1 << 32) if number == _OPENAT and registers[0] >> 31 & 1 else registers[0]
        fd = (at & 0xFFFF_FFFF) - (1 << 32 if at < 0 else 0) if number == _OPENAT else AT_FDCWD
        try:
            name = kernel.memory.cstring(registers[1 if number == _OPENAT else 0]).decode(errors="surrogateescape")
            path = kernel.files.resolve(fd, name)
            host = kernel.files.host_path(path)
            regular = stat.S_ISREG(kernel.files.stat(path).st_mode)
        except (Fault, SyscallError, OSError):
            return None
        return (path, host) if regular and not path.startswith(_ELSEWHERE) else None

    @staticmethod
    def _flags(number: int, registers: tuple[int, ...]) -> int:
        return 0 if number == _EXECVE else registers[2 if number == _OPENAT else 1]

    def goes_on(self, kernel: Kernel) -> None:
        """See kernel.tracing.Tracer."""

    def taken(self, kernel: Kernel, info: Siginfo) -> None:
        """See kernel.tracing.Tracer."""

    def dropped(self, kernel: Kernel, info: Siginfo) -> None:
        """See kernel.tracing.Tracer."""


def opened(program: str, argv: tuple[str, ...], environment: Mapping[str, str], sysroot: str) -> dict[str, str]:
    """Run the program with these arguments; the files that it and its children opened, the host's by the guest's path.

    Its output goes where emuleak's goes. Raises BadProgram.
    """
    watcher = Opened()
    with closing(UnhookedRun(Guest(program, argv, environment, sysroot), watcher)) as run:
        run.run()
    return watcher.files
