"""The files of the sandbox as inodes: folders, regular files, links, and what only has a name.

A folder may show a directory of the host's: its entries become nodes when they are first asked for, and from then on
only these count. So nothing that the guest does - delete, rename, write - has to be told to the host.
"""

import os
import stat
from collections.abc import Callable, Iterator

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.content import Content
from emuleak.kernel.fifos import Fifo
from emuleak.kernel.quota import Quota

_DEVICE = 0x2A  # st_dev of everything in the sandbox
_BLOCK = 512
_SHOWN_BITS = 0o1777  # of a host file's mode: nothing is set-user-ID here
READ_BIT, WRITE_BIT, SEARCH_BIT = 4, 2, 1


class Owner:
    """Who a process is, for the permissions of files; the user 0 may do everything."""

    def __init__(self, uid: int, gid: int) -> None:
        self.uid, self.gid = uid, gid

    def owns(self, node: "Node") -> bool:
        """Whether it may change the file's mode and times."""
        return self.uid in {0, node.uid}

    def may(self, node: "Node", wanted: int) -> bool:
        """Whether it may read, write or execute (search), as path_resolution(7) has it."""
        if self.uid == 0:
            runnable = node.mode & 0o111 or stat.S_ISDIR(node.mode)
            return bool(not wanted & SEARCH_BIT or runnable)
        shift = 6 if node.uid == self.uid else 3 if node.gid == self.gid else 0
        return node.mode >> shift & wanted == wanted

    def need(self, node: "Node", wanted: int) -> None:
        """Raise SyscallError EACCES unless it may."""
        if not self.may(node, wanted):
            raise SyscallError("EACCES")


class Node:
    """An inode. `links` counts its names, `uses` the open descriptions.

    `counted`: the guest made it, and the quota knows. `changed`: the guest made it, changed it or gave it its name.
    """

    def __init__(self, volume: "Volume", mode: int, owner: Owner, now: int) -> None:
        self.volume = volume
        self.inode = volume.next_inode()
        self.mode = mode
        self.uid, self.gid = owner.uid, owner.gid
        self.accessed = self.modified = self.altered = now
        self.links = 0
        self.uses = 0
        self.rdev = 0
        self.counted = self.changed = False

    @property
    def size(self) -> int:
        """st_size."""
        return 0

    @property
    def nlink(self) -> int:
        """st_nlink."""
        return self.links

    def stored(self) -> int:
        """Bytes that st_blocks counts."""
        return self.size

    def status(self) -> os.stat_result:
        """What stat(2) tells."""
        seconds = (self.accessed // 10**9, self.modified // 10**9, self.altered // 10**9)
        exact = {"st_atime_ns": self.accessed, "st_mtime_ns": self.modified, "st_ctime_ns": self.altered}
        more = {"st_blksize": 4096, "st_blocks": -(-self.stored() // _BLOCK), "st_rdev": self.rdev, **exact}
        own = (self.mode, self.inode, _DEVICE, self.nlink, self.uid, self.gid, self.size)
        return os.stat_result((*own, *seconds), more)

    def touched(self, now: int) -> None:
        """Its content was changed."""
        self.modified = self.altered = now
        self.changed = True

    def unlinked(self) -> None:
        """It lost a name; without a name and a user it is gone."""
        self.links -= 1
        self.settle()

    def settle(self) -> None:
        """Give back what it holds, if nobody can reach it any more."""
        if self.links <= 0 and self.uses <= 0 and self.counted:
            self.counted = False
            self.volume.quota.give_file()


class File(Node):
    """A regular file."""

    def __init__(self, volume: "Volume", mode: int, owner: Owner, now: int, *, host: str = "", size: int = 0) -> None:
        super().__init__(volume, stat.S_IFREG | mode, owner, now)
        self.content = Content(volume.quota, host=host, size=size)
        self.nameable = True  # by linkat(2), once it has lost its last name: not after O_TMPFILE | O_EXCL

    @property
    def size(self) -> int:
        """Its length."""
        return self.content.size

    def stored(self) -> int:
        """Without the holes."""
        return self.content.stored

    def settle(self) -> None:
        """Its bytes go, too."""
        if self.links <= 0 and self.uses <= 0:
            self.content.discard()
        super().settle()


class Link(Node):
    """A symbolic link."""

    def __init__(self, volume: "Volume", owner: Owner, now: int, target: str) -> None:
        super().__init__(volume, stat.S_IFLNK | 0o777, owner, now)
        self.target = target

    @property
    def size(self) -> int:
        """The length of its target."""
        return len(os.fsencode(self.target))

    def stored(self) -> int:
        """It fits into the inode."""
        return 0

    def read(self) -> str:
        """What readlink(2) tells."""
        return self.target

    def jump(self) -> Node | None:
        """The file it leads to without a path, as some links of proc(5) do. Raises SyscallError."""
        return None


class Device(Node):
    """A device of mem(4) or random(4), whose bytes `source` gives; without one it cannot be opened."""

    def __init__(self, volume: "Volume", rdev: int, source: Callable[[int], bytes] | None) -> None:
        super().__init__(volume, stat.S_IFCHR | 0o666, Owner(0, 0), volume.start)
        self.rdev = rdev
        self.source = source


class Named(Node):
    """A FIFO or a socket: a name and a mode, and of a FIFO what is behind it."""

    def __init__(self, volume: "Volume", mode: int, owner: Owner, now: int) -> None:
        super().__init__(volume, mode, owner, now)
        self.fifo = Fifo() if stat.S_ISFIFO(mode) else None


class Folder(Node):
    """A directory. `source` is the host's that it shows; `gone` has the names that the guest removed but never made."""

    def __init__(self, volume: "Volume", mode: int, owner: Owner, now: int, *, source: str = "") -> None:
        super().__init__(volume, stat.S_IFDIR | mode, owner, now)
        self.source = source
        self.gone: set[str] = set()
        self.moved = False  # renamed: its files have names that the guest gave
        self.fixed = False  # stays where it is, as what something is mounted on does
        self.parent: Folder = self
        self.name = ""
        self._entries: dict[str, Node] = {}
        self._folders = 0
        self._complete = not source

    @property
    def size(self) -> int:
        """As of a directory of a few entries."""
        return 4096

    def show_source(self, directory: str) -> None:
        """Show the entries of a host directory, too."""
        self.source, self._complete = directory, False

    @property
    def nlink(self) -> int:
        """Its name, its "." and the ".." of each folder in it."""
        return 2 + self._folders if self.links else 0

    @property
    def removed(self) -> bool:
        """Whether rmdir(2) took its name."""
        return not self.links

    def get(self, name: str) -> Node | None:
        """The entry of that name."""
        node = self._entries.get(name)
        if node is None and not self._complete and name not in self.gone:
            node = self.volume.seen(self, name)
            if node is not None:
                self._enter(name, node)
        return node

    def entries(self) -> Iterator[tuple[str, Node]]:
        """All entries by name."""
        if not self._complete:
            for name in sorted(self.volume.names(self.source)):
                self.get(name)
            self._complete = True
        return iter(sorted(self._entries.items()))

    def known(self) -> Iterator[tuple[str, Node]]:
        """The entries that were asked for until now."""
        return iter(sorted(self._entries.items()))

    def is_empty(self) -> bool:
        """Whether rmdir(2) may take it."""
        return next(self.entries(), None) is None

    def _enter(self, name: str, node: Node) -> None:
        self._entries[name] = node
        node.links += 1
        if isinstance(node, Folder):
            node.parent, node.name = self, name
            self._folders += 1

    def add(self, name: str, node: Node, now: int, /) -> None:
        """A new entry."""
        self._enter(name, node)
        self.modified = self.altered = now

    def remove(self, name: str, now: int, /) -> Node:
        """Take an entry out and return its node, which has a name less."""
        node = self._entries.pop(name)
        if not node.counted:
            self.gone.add(name)
        if isinstance(node, Folder):
            self._folders -= 1
        self.modified = self.altered = now
        node.unlinked()
        return node

    def path(self) -> str:
        """Where it is now, from the root. Raises SyscallError ENOENT when it was removed."""
        names = []
        folder = self
        while folder.parent is not folder:
            if folder.removed:
                raise SyscallError("ENOENT")
            names.append(folder.name)
            folder = folder.parent
        return "/" + "/".join(reversed(names))


class Volume:
    """What all nodes share: the quota, the numbers of inodes, and how a host's file becomes a node."""

    def __init__(self, quota: Quota, now: int) -> None:
        self.quota = quota
        self.start = now
        self._inodes = 1

    def next_inode(self) -> int:
        """By the order in which files are met: it is the same in every run."""
        self._inodes += 1
        return self._inodes

    def names(self, directory: str) -> list[str]:
        """The names in a host directory. Raises OSError."""
        return os.listdir(directory)

    def seen(self, folder: Folder, name: str) -> Node | None:
        """The node of a host's file; None where there is none, or one of a kind that is not shown. Raises OSError."""
        path = os.path.join(folder.source, name)
        try:
            return self.show(path, os.lstat(path), Owner(folder.uid, folder.gid))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def show(self, path: str, status: os.stat_result, owner: Owner) -> Node | None:
        """A node that shows this file of the host's as `owner`'s. Of root's files the time is part of the content."""
        mode = status.st_mode & _SHOWN_BITS
        now = status.st_mtime_ns if owner.uid == 0 else self.start
        if stat.S_ISREG(status.st_mode):
            return File(self, mode, owner, now, host=path, size=status.st_size)
        if stat.S_ISDIR(status.st_mode):
            return Folder(self, mode, owner, now, source=path)
        if stat.S_ISLNK(status.st_mode):
            return Link(self, owner, now, os.readlink(path))
        return None
