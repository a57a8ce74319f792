"""Open files of the sandbox: what open(2) makes of a node."""

import os
import stat

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import Description
from emuleak.kernel.fifos import Fifo, FifoEnd
from emuleak.kernel.hostfiles import Directory, Listing
from emuleak.kernel.memoryfiles import Device, MemoryFile, ProcFile
from emuleak.kernel.memorytree import MemoryTree
from emuleak.kernel.nodes import Device as DeviceNode
from emuleak.kernel.nodes import File, Folder, Named, Node

_SEALED = 1  # F_SEAL_SEAL: only files of memfd_create(2) take seals


class Hold:
    """One use of a node by an open description, which keeps it alive."""

    def __init__(self, tree: MemoryTree, node: Node) -> None:
        self.tree, self.node = tree, node
        node.uses += 1

    def end(self) -> None:
        """The description is closed."""
        self.node.uses -= 1
        self.node.settle()


class NodeFile(MemoryFile):
    """An open regular file: position and flags are the description's, the bytes are the node's."""

    def __init__(self, tree: MemoryTree, node: File, path: str, flags: int) -> None:
        super().__init__(path, flags)
        self.seals = _SEALED
        self._tree, self._node = tree, node
        self._hold = Hold(tree, node)

    def host_name(self) -> str:
        """The host's file that still holds the bytes, or nothing."""
        return self._node.content.host

    def read(self, size: int, offset: int | None) -> bytes:
        """From the node."""
        data = self._node.content.read(self.position if offset is None else offset, size)
        if offset is None:
            self.position += len(data)
        return data

    def write(self, data: bytes, offset: int | None) -> int:
        """Into the node, or onto its end."""
        start = self.position if offset is None else offset
        if self.flags & abi.O_APPEND:
            start = self._node.size
        if not data:
            return 0
        count = self._node.content.write(start, data)
        self._changed()
        if offset is None:
            self.position = start + count
        return count

    def _changed(self) -> None:
        self._node.touched(self._tree.now())
        self._node.mode &= ~(stat.S_ISUID | (stat.S_ISGID if self._node.mode & stat.S_IXGRP else 0))

    def seek(self, offset: int, whence: int) -> int:
        """As of any file in memory."""
        self.size = self._node.size
        return super().seek(offset, whence)

    def truncate(self, length: int) -> None:
        """ftruncate(2)."""
        if length < 0:
            raise SyscallError("EINVAL")
        self._node.content.truncate(length)
        self._changed()

    def stat(self) -> os.stat_result:
        """The node's."""
        return self._node.status()

    def pending(self) -> int:
        """What is left of it."""
        return max(0, self._node.size - self.position)

    def anchor(self) -> Node:
        """The node."""
        return self._node

    def close(self) -> None:
        """The node may go."""
        self._hold.end()


class NodeDirectory(Directory):
    """An open folder."""

    def __init__(self, tree: MemoryTree, node: Folder, path: str, flags: int) -> None:
        super().__init__(path, flags, "", None, self._list)
        self._node = node
        self._hold = Hold(tree, node)

    def _list(self) -> Listing:
        if self.flags & abi.O_PATH:
            raise SyscallError("EBADF")
        if self._node.removed:
            raise SyscallError("ENOENT")
        folder, kind = self._node, stat.S_IFDIR >> 12
        rest = [(node.inode, stat.S_IFMT(node.mode) >> 12, name) for name, node in folder.entries()]
        return [(folder.inode, kind, "."), (folder.parent.inode, kind, ".."), *rest]

    @property
    def folder(self) -> Folder:
        """Where a path starts that is relative to this descriptor."""
        return self._node

    def stat(self) -> os.stat_result:
        """The node's."""
        return self._node.status()

    def anchor(self) -> Node:
        """The node: no function of the host's takes it."""
        return self._node

    def close(self) -> None:
        """The node may go."""
        self._hold.end()


class PathOnly(Description):
    """What O_PATH of open(2) gives of a file that is no folder: a name for other calls."""

    def __init__(self, tree: MemoryTree, node: Node, path: str, flags: int) -> None:
        self.path, self.flags = path, flags
        self._node = node
        self._hold = Hold(tree, node)

    def stat(self) -> os.stat_result:
        """The node's."""
        return self._node.status()

    def anchor(self) -> Node:
        """The node."""
        return self._node

    def close(self) -> None:
        """The node may go."""
        self._hold.end()


class NodeDevice(Device):
    """An open device."""

    def __init__(self, node: DeviceNode, path: str, flags: int) -> None:
        if node.source is None:
            raise SyscallError("ENXIO")
        super().__init__(path, flags, node.source)
        self._node = node

    def stat(self) -> os.stat_result:
        """The node's."""
        return self._node.status()

    def anchor(self) -> Node:
        """The node."""
        return self._node


class NodeText(ProcFile):
    """An open file of proc(5), which says what it did when it was opened."""

    def __init__(self, node: Node, path: str, flags: int, content: bytes) -> None:
        super().__init__(path, flags, content)
        self._node = node

    def stat(self) -> os.stat_result:
        """The node's."""
        return self._node.status()

    def anchor(self) -> Node:
        """The node."""
        return self._node


class NodeFifoEnd(FifoEnd):
    """One end, or both, of a FIFO in the sandbox."""

    def __init__(self, tree: MemoryTree, node: Named, fifo: Fifo, path: str, flags: int) -> None:
        super().__init__(fifo, path, "", flags)
        self._tree, self._node = tree, node

    def enter(self) -> None:
        """Count as open, and keep the node alive."""
        super().enter()
        self._hold = Hold(self._tree, self._node)

    def stat(self) -> os.stat_result:
        """The node's."""
        return self._node.status()

    def anchor(self) -> Node:
        """The node."""
        return self._node

    def close(self) -> None:
        """The node may go."""
        super().close()
        self._hold.end()
