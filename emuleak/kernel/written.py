"""What a guest left behind in the sandbox: found, listed, and kept in a directory of the host's."""

import os
import stat
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from emuleak.host import flag
from emuleak.kernel.content import Content
from emuleak.kernel.nodes import File, Folder, Link, Node
from emuleak.kernel.procnodes import ProcFolder
from emuleak.kernel.sandbox import SandboxFiles
from emuleak.kernel.vfs import FileSystem

_STEP = 1 << 20
_MOST = 64 << 20


class Written(msgspec.Struct, frozen=True):
    """One file that the guest made, changed or removed, by its path in the sandbox; its size in bytes."""

    path: str
    kind: Literal["file", "directory", "link", "fifo", "socket", "removed"]
    size: int
    executable: bool = False
    content: Content | None = None

    def read(self) -> bytes:
        """The first 64 MiB of a regular file. Raises OSError when it is the host's and cannot be read."""
        return b"" if self.content is None else self.content.read(0, _MOST)


def written(files: FileSystem) -> Sequence[Written]:
    """What the guest wrote, by path; nothing outside of the sandbox."""
    return tuple(sorted(_below(files.root, ""), key=lambda each: each.path)) if isinstance(files, SandboxFiles) else ()


def _below(folder: Folder, path: str) -> Iterator[Written]:
    """All in one folder, and then in those in it."""
    waiting = [(folder, path, False)]
    while waiting:
        here, prefix, renewed = waiting.pop()
        folders = []
        for name, node in here.entries() if renewed else here.known():
            place = f"{prefix}/{name}"
            if isinstance(node, ProcFolder):
                continue
            if node.changed or renewed:
                yield _described(place, node)
            if isinstance(node, Folder):
                folders.append((node, place, renewed or (node.changed and node.moved)))
        yield from (Written(f"{prefix}/{name}", "removed", 0) for name in sorted(here.gone) if here.get(name) is None)
        waiting += reversed(folders)


def _described(path: str, node: Node) -> Written:
    if isinstance(node, File):
        return Written(path, "file", node.size, bool(node.mode & 0o100), node.content)
    if isinstance(node, Folder):
        return Written(path, "directory", 0)
    if isinstance(node, Link):
        return Written(path, "link", node.size)
    return Written(path, "fifo" if stat.S_ISFIFO(node.mode) else "socket", 0)


def keep(files: Sequence[Written], directory: str) -> None:
    """Write regular files and directories below an empty directory. Raises OSError.

    Links, FIFOs and sockets are left out: a link of the guest's would lead whoever opens it to a file of the host's.
    Of a mode only the right to execute is kept.
    """
    for each in files:
        target = os.path.join(directory, *each.path.split("/")[1:])
        if each.kind == "directory":
            os.makedirs(target, exist_ok=True)
        elif each.content is not None:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            _save(each, each.content, target)


def _save(file: Written, content: Content, target: str) -> None:
    mode = 0o755 if file.executable else 0o644
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | flag("O_BINARY"), mode)
    with os.fdopen(fd, "wb") as out:
        for start in content.extents(_STEP):
            out.seek(start)
            out.write(content.read(start, _STEP))
        out.truncate(file.size)
