"""Path resolution and the directory tree of the sandbox: every component is looked up here, in nodes.

What a path means never depends on the host: links are followed inside the tree, and ".." of the root is the root.
"""

import os
import stat
from collections.abc import Callable

import msgspec

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.nodes import READ_BIT, SEARCH_BIT, WRITE_BIT, File, Folder, Link, Named, Node, Owner, Volume

_NAME_MAX, _PATH_MAX, _LINKS_MAX = 255, 4096, 40
_STICKY = stat.S_ISVTX


class Found(msgspec.Struct):
    """Where a path leads: the folder, the last name in it ("", "." or ".." for what has none) and what it names."""

    parent: Folder
    name: str
    node: Node | None
    slash: bool  # the path ends with one: only a folder will do

    @property
    def plain(self) -> bool:
        """Whether the last component is a name, so that it can be made and removed."""
        return self.name not in {"", ".", ".."}


class Place(msgspec.Struct, frozen=True):
    """A file as the system calls hand it on: a path and where it starts. No function of the host's takes one."""

    base: Folder
    path: str

    @property
    def has_name(self) -> bool:
        """Whether the last component is one that can be made and removed."""
        return self.path.rstrip("/").rpartition("/")[2] not in {"", ".", ".."}


Where = Place | Node


class _Walk:
    """One resolution, see path_resolution(7)."""

    def __init__(self, tree: "MemoryTree", place: Place) -> None:
        self._root = tree.root
        self._owner = tree.owner
        self._links = 0
        self._here = place.base
        self._rest: list[str] = []
        self._push(place.path)

    def _push(self, path: str) -> None:
        if path.startswith("/"):
            self._here = self._root
        self._rest += reversed([name for name in path.split("/") if name])

    def run(self, *, follow: bool, slash: bool) -> Found:
        """Go to the end. Raises SyscallError."""
        while self._rest:
            name = self._rest.pop()
            found = self._step(name)
            last = not self._rest
            if isinstance(found.node, Link) and (not last or follow or slash):
                jumped = self._follow(found.node)
                if jumped is None:
                    continue
                found = jumped
            if last:
                return msgspec.structs.replace(found, slash=slash)
            if found.node is None:
                raise SyscallError("ENOENT")
            if not isinstance(found.node, Folder):
                raise SyscallError("ENOTDIR")
            self._here = found.node
        return Found(self._here, "", self._here, slash)

    def _step(self, name: str) -> Found:
        here = self._here
        self._owner.need(here, SEARCH_BIT)
        if name in {".", ".."}:
            node = here if name == "." else here.parent
            return Found(here, name, node, slash=False)
        if len(os.fsencode(name)) > _NAME_MAX:
            raise SyscallError("ENAMETOOLONG")
        return Found(here, name, here.get(name), slash=False)

    def _follow(self, link: Link) -> Found | None:
        """Go on with a link's target; where a link of proc(5) leads, it is there at once."""
        self._links += 1
        if self._links > _LINKS_MAX:
            raise SyscallError("ELOOP")
        node = link.jump()
        if node is None:
            self._push(link.read())
            return None
        return Found(node.parent if isinstance(node, Folder) else self._here, "", node, slash=False)


class MemoryTree:
    """The tree of nodes, and what the system calls do to it as `owner`. `now` tells the time."""

    makes = frozenset((stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK))

    def __init__(self, volume: Volume, owner: Owner, now: Callable[[], int]) -> None:
        self.volume = volume
        self.owner = owner
        self.now = now
        self.asking: object = None  # the files of the process whose /proc/self is meant
        self.root = Folder(volume, 0o755, Owner(0, 0), volume.start)
        self.root.links, self.root.fixed = 1, True

    # ---- looking

    def find(self, where: Where, *, follow: bool = True) -> Found:
        """Resolve a path, the last component of which need not exist. Raises SyscallError."""
        if isinstance(where, Node):
            return Found(self.root, "", where, slash=False)
        return _Walk(self, where).run(follow=follow, slash=where.path.endswith("/"))

    def node(self, where: Where, *, follow: bool = True) -> Node:
        """What a path names. Raises SyscallError."""
        found = self.find(where, follow=follow)
        if found.node is None:
            raise SyscallError("ENOENT")
        if found.slash and not isinstance(found.node, Folder):
            raise SyscallError("ENOTDIR")
        return found.node

    def stat(self, where: Where, *, follow: bool = True) -> os.stat_result:
        """stat(2)."""
        return self.node(where, follow=follow).status()

    def access(self, where: Where, mode: int) -> bool:
        """access(2)."""
        return self.owner.may(self.node(where), mode)

    def readlink(self, where: Where) -> str:
        """readlink(2)."""
        node = self.node(where, follow=False)
        if not isinstance(node, Link):
            raise SyscallError("EINVAL")
        return node.read()

    def exists(self, where: Where) -> bool:
        """Whether there is a file or a link of that name."""
        return self.find(where, follow=False).node is not None

    def pack_statfs(self, _where: object) -> bytes:
        """`struct statfs` of statfs(2), as of a tmpfs."""
        quota = self.volume.quota
        free, free_files = quota.max_bytes - quota.bytes, quota.max_files - quota.files
        return abi.pack_memory_statfs(quota.max_bytes, free, quota.max_files, free_files)

    # ---- making

    def _new(self, where: Where, *, folder: bool = False) -> Found:
        """A place for a new file. Raises SyscallError EEXIST and what else filename_create of fs/namei.c does."""
        if isinstance(where, Place) and where.path.endswith("/"):
            # Not even a slash makes a link at the end be followed here.
            found = self.find(Place(where.base, where.path.rstrip("/") or "/"), follow=False)
            found.slash = True
        else:
            found = self.find(where, follow=False)
        if found.node is not None or not found.plain:
            raise SyscallError("EEXIST")
        if found.slash and not folder:
            raise SyscallError("ENOENT")
        return found

    def enter(self, found: Found, node: Node) -> None:
        """Give a node a name of its own. Raises SyscallError EACCES, ENOENT."""
        self.may_enter(found.parent)
        found.parent.add(found.name, node, self.now())
        node.changed = True

    def may_enter(self, folder: Folder) -> None:
        """Whether something can be made in a folder. Raises SyscallError."""
        if folder.removed:
            raise SyscallError("ENOENT")
        self.owner.need(folder, WRITE_BIT | SEARCH_BIT)

    def _make(self, found: Found, make: Callable[[], Node]) -> Node:
        self.may_enter(found.parent)
        self.volume.quota.take_file()
        node = make()
        node.counted = True
        self.enter(found, node)
        return node

    def make_file(self, found: Found, mode: int) -> File:
        """A new regular file."""
        node = self._make(found, lambda: File(self.volume, mode, self.owner, self.now()))
        assert isinstance(node, File)
        return node

    def make_unnamed(self, mode: int) -> File:
        """O_TMPFILE of open(2)."""
        self.volume.quota.take_file()
        node = File(self.volume, mode, self.owner, self.now())
        node.counted = True
        return node

    def mkdir(self, where: Where, mode: int) -> None:
        """mkdir(2); the mode is what the umask left of it."""
        self._make(self._new(where, folder=True), lambda: Folder(self.volume, mode, self.owner, self.now()))

    def mknod(self, where: Where, mode: int) -> None:
        """mknod(2) of a regular file, a FIFO or a socket."""
        found = self._new(where)
        if stat.S_ISREG(mode):
            self.make_file(found, stat.S_IMODE(mode))
        else:
            self._make(found, lambda: Named(self.volume, mode, self.owner, self.now()))

    def symlink(self, target: str, where: Where) -> None:
        """symlink(2)."""
        if len(os.fsencode(target)) >= _PATH_MAX:
            raise SyscallError("ENAMETOOLONG")
        self._make(self._new(where), lambda: Link(self.volume, self.owner, self.now(), target))

    def link(self, old: Where, new: Where, *, follow: bool) -> None:
        """link(2). To somebody else's file none is made, as by default on Linux (fs.protected_hardlinks)."""
        node = self.node(old, follow=follow)
        found = self._new(new)
        self.may_enter(found.parent)
        mine = self.owner.owns(node) or (isinstance(node, File) and self.owner.may(node, READ_BIT | WRITE_BIT))
        if not mine or isinstance(node, Folder):
            raise SyscallError("EPERM")
        if not node.links and not (isinstance(node, File) and node.nameable):
            raise SyscallError("ENOENT")
        node.altered = self.now()
        self.enter(found, node)

    # ---- removing

    def may_remove(self, folder: Folder, node: Node) -> None:
        """may_delete of fs/namei.c. Raises SyscallError."""
        self.owner.need(folder, WRITE_BIT | SEARCH_BIT)
        if folder.mode & _STICKY and not self.owner.owns(node) and not self.owner.owns(folder):
            raise SyscallError("EPERM")

    def old(self, where: Where) -> Found:
        """An entry that is to go; a link at the end is meant itself."""
        if isinstance(where, Place) and where.path.endswith("/"):
            found = self.find(Place(where.base, where.path.rstrip("/") or "/"), follow=False)
            found.slash = True
            return found
        return self.find(where, follow=False)

    def need_parent(self, where: Where) -> None:
        """All but the last component leads somewhere, whatever the last one is. Raises SyscallError."""
        parent = where.path.rstrip("/").rpartition("/")[0] if isinstance(where, Place) else ""
        if isinstance(where, Place) and parent and not isinstance(self.node(Place(where.base, parent)), Folder):
            raise SyscallError("ENOTDIR")

    def unlink(self, where: Where) -> None:
        """unlink(2)."""
        found = self.old(where)
        if not found.plain:
            raise SyscallError("EISDIR")
        node = found.node
        if node is None:
            raise SyscallError("ENOENT")
        if found.slash:
            raise SyscallError("EISDIR" if isinstance(node, Folder) else "ENOTDIR")
        self.may_remove(found.parent, node)
        if isinstance(node, Folder):
            raise SyscallError("EISDIR")
        node.altered = self.now()
        found.parent.remove(found.name, self.now())

    def rmdir(self, where: Where) -> None:
        """rmdir(2)."""
        found = self.old(where)
        if not found.plain:
            raise SyscallError({"": "EBUSY", ".": "EINVAL", "..": "ENOTEMPTY"}[found.name])
        if found.node is None:
            raise SyscallError("ENOENT")
        self.may_remove(found.parent, found.node)
        if not isinstance(found.node, Folder):
            raise SyscallError("ENOTDIR")
        if found.node.fixed:
            raise SyscallError("EBUSY")
        if not found.node.is_empty():
            raise SyscallError("ENOTEMPTY")
        found.parent.remove(found.name, self.now())

    def rename(self, old: Where, new: Where, *, replaces: bool = True) -> None:
        """rename(2), or with RENAME_NOREPLACE."""
        from emuleak.kernel.renaming import rename  # noqa: PLC0415 - it knows this class

        rename(self, old, new, replaces=replaces)

    # ---- attributes

    def _attribute(self, where: Where, *, follow: bool = True) -> Node:
        node = self.node(where, follow=follow)
        if not self.owner.owns(node):
            raise SyscallError("EPERM")
        return node

    def chmod(self, where: Where, mode: int) -> None:
        """chmod(2)."""
        node = self._attribute(where)
        node.mode = stat.S_IFMT(node.mode) | mode
        node.altered = self.now()

    def chown(self, where: Where, owner: int, group: int, *, follow: bool = True) -> None:
        """chown(2); -1 leaves an id as it is. Only the user 0 gives files away."""
        node = self.node(where, follow=follow)
        mine = self.owner.uid == node.uid and owner in {-1, node.uid} and group in {-1, node.gid, self.owner.gid}
        if self.owner.uid and (owner, group) != (-1, -1) and not mine:
            raise SyscallError("EPERM")
        node.uid, node.gid = node.uid if owner == -1 else owner, node.gid if group == -1 else group
        if stat.S_ISREG(node.mode):
            node.mode &= ~(stat.S_ISUID | (stat.S_ISGID if node.mode & stat.S_IXGRP else 0))
        node.altered = self.now()

    def utime(self, where: Where, times: tuple[int, int] | None, *, follow: bool = True) -> None:
        """Set the times of access and modification, in nanoseconds; None: now, for which writing is enough."""
        node = self.node(where, follow=follow)
        if times is None and not self.owner.owns(node):
            self.owner.need(node, WRITE_BIT)
        elif times is not None and not self.owner.owns(node):
            raise SyscallError("EPERM")
        now = self.now()
        node.accessed, node.modified = (now, now) if times is None else times
        node.altered = now

    def truncate(self, where: Where, length: int) -> None:
        """truncate(2)."""
        node = self.node(where)
        if isinstance(node, Folder):
            raise SyscallError("EISDIR")
        if not isinstance(node, File):
            raise SyscallError("EINVAL")
        self.owner.need(node, WRITE_BIT)
        node.content.truncate(length)
        node.touched(self.now())
