"""open(2) in the sandbox: from a path and flags to a description, with the checks of do_open in fs/namei.c."""

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import Description
from emuleak.kernel.memorytree import Found, MemoryTree, Place, Where
from emuleak.kernel.nodefiles import NodeDevice, NodeDirectory, NodeFifoEnd, NodeFile, NodeText, PathOnly
from emuleak.kernel.nodes import READ_BIT, SEARCH_BIT, WRITE_BIT, Device, File, Folder, Link, Named, Node
from emuleak.kernel.procnodes import Opened, Text

_TMPFILE = 0o20000000
_WANTED = (READ_BIT, WRITE_BIT, READ_BIT | WRITE_BIT, READ_BIT | WRITE_BIT)


def open_node(tree: MemoryTree, where: Where, flags: int, mode: int) -> Description:
    """The description of what a path names, made if O_CREAT says so. Raises SyscallError.

    `mode` is what the umask left.
    """
    if flags & abi.O_PATH:
        flags &= abi.O_PATH | abi.O_DIRECTORY | abi.O_NOFOLLOW
    elif flags & _TMPFILE:
        return _open_unnamed(tree, where, flags, mode)
    if flags & abi.O_CREAT and flags & abi.O_DIRECTORY:
        raise SyscallError("EINVAL")
    if flags & abi.O_CREAT and isinstance(where, Place) and where.path.endswith("/") and where.has_name:
        tree.need_parent(where)
        raise SyscallError("EISDIR")
    exclusive = flags & abi.O_CREAT and flags & abi.O_EXCL
    found = tree.find(where, follow=not (flags & abi.O_NOFOLLOW or exclusive))
    node, made = found.node, False
    if flags & abi.O_CREAT:
        node, made = _create(tree, found, flags, mode)
    if node is None:
        raise SyscallError("ENOENT")
    _check_kind(node, found, flags)
    if not made and not flags & abi.O_PATH:
        _check_access(tree, node, flags)
    return _describe(tree, node, path_of(found), flags)


def _create(tree: MemoryTree, found: Found, flags: int, mode: int) -> tuple[Node, bool]:
    """What is there already, or a new file; whether it is new."""
    if found.node is not None:
        if flags & abi.O_EXCL:
            raise SyscallError("EEXIST")
        if isinstance(found.node, Folder) or found.slash:
            raise SyscallError("EISDIR")
        return found.node, False
    if found.slash or not found.plain:
        raise SyscallError("EISDIR")
    return tree.make_file(found, mode), True


def _check_kind(node: Node, found: Found, flags: int) -> None:
    if isinstance(node, Link) and not flags & abi.O_PATH:
        raise SyscallError("ENOTDIR" if flags & abi.O_DIRECTORY else "ELOOP")
    if (flags & abi.O_DIRECTORY or found.slash) and not isinstance(node, Folder):
        raise SyscallError("ENOTDIR")


def _check_access(tree: MemoryTree, node: Node, flags: int) -> None:
    wanted = _WANTED[flags & abi.O_ACCMODE] | (WRITE_BIT if flags & abi.O_TRUNC else 0)
    if isinstance(node, Folder) and wanted & WRITE_BIT:
        raise SyscallError("EISDIR")
    if not isinstance(node, Opened):
        tree.owner.need(node, wanted)
    if flags & abi.O_TRUNC and isinstance(node, File):
        node.content.truncate(0)
        node.touched(tree.now())


def path_of(found: Found) -> str:
    """The path by which /proc/self/fd shows it."""
    if isinstance(found.node, Folder):
        return found.node.path()
    if isinstance(found.node, Opened):
        return found.node.description.path
    return f"{found.parent.path().rstrip('/')}/{found.name}"


def _describe(tree: MemoryTree, node: Node, path: str, flags: int) -> Description:
    """The description of a node. Raises SyscallError ENXIO for what cannot be opened, WouldBlock."""
    kept = abi.status_flags(flags)
    if isinstance(node, Folder):
        return NodeDirectory(tree, node, path, kept)
    if isinstance(node, Opened):
        return node.description
    if flags & abi.O_PATH:
        return PathOnly(tree, node, path, kept)
    if isinstance(node, File):
        return NodeFile(tree, node, path, kept)
    if isinstance(node, Text):
        return NodeText(node, path, kept, node.text())
    if isinstance(node, Device):
        return NodeDevice(node, path, kept)
    if isinstance(node, Named) and node.fifo is not None:
        return NodeFifoEnd(tree, node, node.fifo, path, kept | flags & abi.O_ACCMODE)
    raise SyscallError("ENXIO")


def _open_unnamed(tree: MemoryTree, where: Where, flags: int, mode: int) -> Description:
    """O_TMPFILE: a file without a name, in no folder but on its volume."""
    if not flags & abi.O_DIRECTORY or not flags & abi.O_ACCMODE:
        raise SyscallError("EINVAL")
    folder = tree.node(where)
    if not isinstance(folder, Folder):
        raise SyscallError("ENOTDIR")
    tree.owner.need(folder, WRITE_BIT | SEARCH_BIT)
    node = tree.make_unnamed(mode)
    node.nameable = not flags & abi.O_EXCL
    path = f"{folder.path().rstrip('/')}/#{node.inode} (deleted)"
    return NodeFile(tree, node, path, abi.status_flags(flags))
