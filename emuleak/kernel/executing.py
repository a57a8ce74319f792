"""System calls by which a process becomes another program: execve(2), execveat(2)."""

import os
import stat
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from emuleak import loader
from emuleak.elf import read_program
from emuleak.errors import BadProgram
from emuleak.kernel.abi import AT_FDCWD, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import release
from emuleak.kernel.lives import release_lender, release_memory
from emuleak.kernel.pathcalls import AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW
from emuleak.kernel.signals import ThreadSignals
from emuleak.kernel.table import Int, Path, Pointer, syscall
from emuleak.kernel.threads import Scheduler
from emuleak.kernel.timers import Timers
from emuleak.machine import Machine
from emuleak.memory import AddressSpace

if TYPE_CHECKING:
    from emuleak.loader import Process

_MOST_BYTES: Final = 2 << 20  # of arguments and environment: a quarter of the stack
_LONGEST: Final = 1 << 17  # bytes of one of them, MAX_ARG_STRLEN
_HEAD: Final = 256  # bytes of a script's first line that count, BINPRM_BUF_SIZE
_MOST_INTERPRETERS: Final = 4


class _Program(NamedTuple):
    """What is to run: the file on the host, what the guest calls it, and the arguments."""

    path: str
    shown: str
    arguments: list[str]


def _strings(kernel: Kernel, address: int) -> list[str]:
    """A vector of strings that ends with NULL. Raises Fault, SyscallError E2BIG."""
    found: list[str] = []
    total = 0
    while address and (pointer := kernel.memory.word(address + 8 * len(found))):
        text = kernel.memory.cstring(pointer)
        total += len(text) + 9
        if len(text) >= _LONGEST or total > _MOST_BYTES:
            raise SyscallError("E2BIG")
        found.append(os.fsdecode(text))
    return found


def _runnable(kernel: Kernel, path: Any) -> Any:
    """What an absolute path names, which must be a file that may be run. Raises SyscallError, OSError."""
    files = kernel.files
    if files.special(path) is not None:
        path = files.readlink(path)
    place = files.host_path(path)
    if not stat.S_ISREG(files.tree.stat(place).st_mode) or not files.tree.access(place, os.X_OK):
        raise SyscallError("EACCES")
    return path


def _head_of(kernel: Kernel, path: Any) -> bytes:
    """The bytes that say whether it is a script. Raises SyscallError, OSError."""
    description = kernel.files.open(path, 0, 0)
    try:
        return description.read(_HEAD, 0)
    finally:
        release(description)


def _file(kernel: Kernel, path: Any) -> str:
    """The host's file that is to be loaded. Raises SyscallError."""
    host = kernel.files.host_file(path)
    if not host:
        kernel.note("execve of a file that the program wrote itself is not emulated in the sandbox: it was told EACCES")
        raise SyscallError("EACCES")
    return host


def _find(kernel: Kernel, path: Any, name: str, arguments: list[str]) -> _Program:
    """The ELF file to be loaded for an absolute path: of a script its interpreter. `name` is what a script is told.

    Raises SyscallError, OSError as execve(2) fails.
    """
    for _ in range(_MOST_INTERPRETERS + 1):
        path = _runnable(kernel, path)
        head = _head_of(kernel, path)
        if head[:2] != b"#!":
            host = _file(kernel, path)
            return _Program(host, kernel.files.shown(host), arguments)
        interpreter, *rest = _first_line(head)
        arguments = [interpreter, *rest, name, *arguments[1:]]
        path, name = kernel.files.resolve(AT_FDCWD, interpreter), interpreter
    raise SyscallError("ELOOP")


def _first_line(head: bytes) -> list[str]:
    """The interpreter that a script names, and its one argument if there is one. Raises SyscallError ENOEXEC."""
    line, newline, _ = head[2:].partition(b"\n")
    line = line.strip(b" \t")
    name, space, argument = line.replace(b"\t", b" ").partition(b" ")
    if not name or b"\0" in name or (not newline and not space and len(head) == _HEAD):
        raise SyscallError("ENOEXEC")
    argument = line[len(name) :].strip(b" \t").split(b"\0")[0]
    return [os.fsdecode(word) for word in (name, argument) if word]


def _load(kernel: Kernel, program: _Program, environment: list[str]) -> "tuple[AddressSpace, Process]":
    """The program in memory of its own. Raises SyscallError."""
    try:
        image = read_program(program.path)
    except BadProgram as error:
        with open(program.path, "rb") as file:
            if file.read(4) == b"\x7fELF":
                kernel.note(f"execve was refused with ENOEXEC: {error}")
        raise SyscallError("ENOEXEC") from None
    if image.interpreter:
        _file(kernel, _runnable(kernel, image.interpreter))
    memory = AddressSpace()
    identity = kernel.identity.uid, kernel.identity.gid
    try:
        process = loader.load(
            memory,
            program.path,
            program.arguments,
            environment,
            kernel.files.host_file,
            identity,
            kernel.system.seed,
            program.shown,
        )
    except BadProgram as error:
        memory.close()
        kernel.note(f"execve was refused with ENOEXEC: {error}")
        raise SyscallError("ENOEXEC") from None
    return memory, process


def _execute(kernel: Kernel, path: Any, name: str, argv: int, envp: int) -> None:
    """Load the program; it takes the process over once the CPU stands still."""
    arguments, environment = _strings(kernel, argv) or [""], _strings(kernel, envp)
    program = _find(kernel, path, name, arguments)
    memory, process = _load(kernel, program, environment)
    kernel.at_rest = lambda: _become(kernel, program, memory, process)
    kernel.machine.stop()


def _become(kernel: Kernel, program: _Program, memory: AddressSpace, process: "Process") -> None:
    """Replace the program: what stays and what goes is told in execve(2)."""
    system = kernel.system
    kernel.threads.before_switch()
    system.observer.leaving(kernel)
    kernel.files.close_for_exec()
    before = kernel.memory, kernel.machine
    signals = kernel.threads.current.signals
    kernel.memory, kernel.machine = memory, Machine(memory)
    kernel.threads = Scheduler(kernel.machine, kernel.identity.pid, system.new_id)
    kernel.threads.current.signals = ThreadSignals(mask=signals.mask, pending=signals.pending)
    pending = kernel.signals.pending
    kernel.signals = kernel.signals.fork(reset=True)
    kernel.signals.pending = pending
    interval_timers = kernel.timers.interval_timers
    kernel.timers = Timers()
    kernel.timers.interval_timers = interval_timers
    kernel.on_map = lambda _region: None
    kernel.has_executed = True
    kernel.start(process.entry, process.stack_pointer, program.path, program.arguments, process.program.end)
    release_lender(kernel)
    release_memory(system, *before)
    system.observer.executed(kernel, process)
    kernel.threads.begin()
    kernel.resume()


@syscall(59)
def execve(kernel: Kernel, pathname: Path, argv: Pointer, envp: Pointer) -> None:
    """execve(2)."""
    _execute(kernel, kernel.files.resolve(AT_FDCWD, pathname), pathname, argv, envp)


@syscall(322)
def execveat(kernel: Kernel, dirfd: Int, pathname: Path, argv: Pointer, envp: Pointer, flags: Int) -> None:
    """execveat(2)."""
    if flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW):
        raise SyscallError("EINVAL")
    path = kernel.files.resolve(dirfd, pathname, empty=bool(flags & AT_EMPTY_PATH))
    if flags & AT_SYMLINK_NOFOLLOW and stat.S_ISLNK(kernel.files.stat(path, follow=False).st_mode):
        raise SyscallError("ELOOP")
    name = pathname if pathname.startswith("/") or dirfd == AT_FDCWD else f"/dev/fd/{dirfd}"
    if pathname and name != pathname:
        name += f"/{pathname}"
    _execute(kernel, path, name, argv, envp)
