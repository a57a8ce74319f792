"""/proc as the sandbox shows it: the process itself, and a machine that is the same everywhere."""

import os
import stat
from collections.abc import Callable
from typing import Protocol

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import Description
from emuleak.kernel.nodes import File, Folder, Link, Node, Owner, Volume

_ROOT = Owner(0, 0)
MOUNTS = b"tmpfs / tmpfs rw 0 0\nproc /proc proc ro 0 0\n"
MOUNTINFO = b"1 1 0:42 / / rw - tmpfs tmpfs rw\n2 1 0:43 / /proc ro - proc proc ro\n"
_MACHINE = {
    "cpuinfo": b"processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu cores\t: 1\n\n",
    "filesystems": b"nodev\ttmpfs\nnodev\tproc\n",
    "loadavg": b"0.00 0.00 0.00 1/1 4711\n",
    "meminfo": b"MemTotal:        8388608 kB\nMemFree:         4194304 kB\nMemAvailable:    4194304 kB\n",
    "stat": b"cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0 0 0\n",
    "uptime": b"0.00 0.00\n",
    "version": b"Linux version 6.1.0 (emuleak)\n",
}


class Process(Protocol):
    """The process whose /proc/self it is."""

    pid: int
    program: str
    proc: dict[str, Callable[[], bytes]]

    def descriptors(self) -> list[int]:
        """The open descriptors, by number."""

    def get(self, fd: int) -> Description:
        """What a descriptor refers to. Raises SyscallError EBADF."""

    def leads(self, name: str) -> Node:
        """Where the links cwd, root and exe lead. Raises SyscallError."""


class Text(Node):
    """A file that says something when it is opened."""

    def __init__(self, volume: Volume, text: Callable[[], bytes]) -> None:
        super().__init__(volume, stat.S_IFREG | 0o444, _ROOT, volume.start)
        self.text = text


class Opened(Node):
    """An open file that has no node, such as a pipe, as /proc/self/fd leads to it."""

    def __init__(self, volume: Volume, description: Description) -> None:
        super().__init__(volume, description.stat().st_mode, _ROOT, volume.start)
        self.description = description

    def status(self) -> os.stat_result:
        """As fstat(2) has it."""
        return self.description.stat()


class Magic(Link):
    """A link whose target is said when it is asked for."""

    def __init__(self, volume: Volume, target: Callable[[], str], jump: Callable[[], Node] | None = None) -> None:
        super().__init__(volume, _ROOT, volume.start, "")
        self._target, self._jump = target, jump

    def read(self) -> str:
        """What it says now."""
        return self._target()

    def jump(self) -> Node | None:
        """Where it leads now."""
        return None if self._jump is None else self._jump()


class ProcFolder(Folder):
    """A folder whose entries `make` makes of `names`. Nobody can make or remove one."""

    def __init__(self, volume: Volume, names: Callable[[], list[str]], make: Callable[[str], Node]) -> None:
        super().__init__(volume, 0o555, _ROOT, volume.start)
        self.fixed = True
        self._names, self._make = names, make
        self._made: dict[str, Node] = {}

    def get(self, name: str) -> Node | None:
        """The entry, which keeps its inode."""
        if name not in self._names():
            return None
        if name not in self._made:
            node = self._made[name] = self._make(name)
            node.links += 1
            if isinstance(node, Folder):
                node.parent, node.name = self, name
        return self._made[name]

    def entries(self) -> "list[tuple[str, Node]]":  # type: ignore[override]
        """All that there are now."""
        found = [(name, self.get(name)) for name in self._names()]
        return [(name, node) for name, node in found if node is not None]

    def add(self, _name: str, _node: Node, _now: int, /) -> None:
        """Nobody can."""
        raise SyscallError("EPERM")

    def remove(self, _name: str, _now: int, /) -> Node:
        """Nobody can."""
        raise SyscallError("EPERM")


def proc_folder(volume: Volume, process: Callable[[], Process]) -> ProcFolder:
    """/proc, where `process` says who asks."""

    def make(name: str) -> Node:
        if name in _MACHINE:
            return Text(volume, lambda: _MACHINE[name])
        if name in {"self", "thread-self", "mounts"}:
            return Magic(volume, lambda: "self/mounts" if name == "mounts" else str(process().pid))
        return _own_folder(volume, process)

    return ProcFolder(volume, lambda: [str(process().pid), *sorted((*_MACHINE, "self", "thread-self", "mounts"))], make)


def _own_folder(volume: Volume, process: Callable[[], Process]) -> ProcFolder:
    """/proc/self."""
    links = {"cwd", "exe", "root"}

    def make(name: str) -> Node:
        if name == "fd":
            return _descriptors(volume, process)
        if name in links:
            return Magic(volume, lambda: _named(process(), name), lambda: process().leads(name))
        return Text(volume, lambda: process().proc[name]())  # noqa: PLW0108 - whose it is changes

    return ProcFolder(volume, lambda: sorted((*process().proc, *links, "fd")), make)


def _named(process: Process, name: str) -> str:
    if name == "exe":
        return process.program
    node = process.leads(name)
    assert isinstance(node, Folder)
    return node.path()


def _descriptors(volume: Volume, process: Callable[[], Process]) -> ProcFolder:
    """/proc/self/fd."""

    def leads(fd: int) -> Node:
        description = process().get(fd)
        anchor = description.anchor()
        return anchor if isinstance(anchor, Node) else Opened(volume, description)

    def make(name: str) -> Node:
        return Magic(volume, lambda: _shown(process().get(int(name))), lambda: leads(int(name)))

    return ProcFolder(volume, lambda: [str(fd) for fd in process().descriptors()], make)


def _shown(description: Description) -> str:
    """Its path as it was opened; a file without a name is marked so, as on Linux."""
    anchor = description.anchor()
    if isinstance(anchor, Folder):
        return anchor.path()
    gone = isinstance(anchor, File) and not anchor.links and not description.path.endswith(" (deleted)")
    return description.path + (" (deleted)" if gone else "")
