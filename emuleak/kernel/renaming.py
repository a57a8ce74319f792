"""rename(2) in the sandbox's tree: the order of the checks is that of do_renameat2 and vfs_rename of fs/namei.c."""

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.memorytree import Found, MemoryTree, Place, Where
from emuleak.kernel.nodes import WRITE_BIT, Folder, Node


def rename(tree: MemoryTree, old: Where, new: Where, *, replaces: bool = True) -> None:
    """rename(2), or with RENAME_NOREPLACE. The order of the checks is that of do_renameat2 and vfs_rename."""
    tree.need_parent(old)
    tree.need_parent(new)
    if not (isinstance(old, Place) and old.has_name):
        raise SyscallError("EBUSY")
    if not (isinstance(new, Place) and new.has_name):
        raise SyscallError("EBUSY" if replaces else "EEXIST")
    source = tree.old(old)
    node = source.node
    if node is None:
        raise SyscallError("ENOENT")
    target = tree.old(new)
    if target.node is not None and not replaces:
        raise SyscallError("EEXIST")
    _check_loops(source, target, node)
    if target.node is not node:
        _check_rename(tree, source, target, node)
        _move(tree, source, target, node)


def _check_loops(source: Found, target: Found, node: Node) -> None:
    """Neither may lie within the other, and only folders have names that end with a slash."""
    if not isinstance(node, Folder) and (source.slash or target.slash):
        raise SyscallError("ENOTDIR")
    if isinstance(node, Folder) and _is_within(target.parent, node):
        raise SyscallError("EINVAL")
    if isinstance(target.node, Folder) and _is_within(source.parent, target.node):
        raise SyscallError("ENOTEMPTY")


def _check_rename(tree: MemoryTree, source: Found, target: Found, node: Node) -> None:
    tree.may_remove(source.parent, node)
    if target.node is None:
        tree.may_enter(target.parent)
    else:
        tree.may_remove(target.parent, target.node)
        if isinstance(node, Folder) is not isinstance(target.node, Folder):
            raise SyscallError("ENOTDIR" if isinstance(node, Folder) else "EISDIR")
    if isinstance(node, Folder) and source.parent is not target.parent:
        tree.owner.need(node, WRITE_BIT)
    if any(isinstance(each, Folder) and each.fixed for each in (node, target.node)):
        raise SyscallError("EBUSY")
    if isinstance(target.node, Folder) and not target.node.is_empty():
        raise SyscallError("ENOTEMPTY")


def _move(tree: MemoryTree, source: Found, target: Found, node: Node) -> None:
    now = tree.now()
    if target.node is not None:
        target.parent.remove(target.name, now)
    node.uses += 1  # it has no name for a moment
    source.parent.remove(source.name, now)
    target.parent.add(target.name, node, now)
    node.uses -= 1
    node.altered, node.changed = now, True
    if isinstance(node, Folder):
        node.moved = True


def _is_within(folder: Folder, ancestor: Folder) -> bool:
    """Whether a folder is another or lies somewhere in it."""
    while folder is not ancestor:
        if folder.parent is folder:
            return False
        folder = folder.parent
    return True
