"""What the system calls on paths share: the host's path of the guest's, the flags of the *at calls, their old twins."""

from collections.abc import Callable

from emuleak.kernel.abi import O_PATH, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.hosttree import Place
from emuleak.kernel.table import syscall

AT_SYMLINK_NOFOLLOW, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH = 0x100, 0x400, 0x1000


def short(number: int, name: str, twin: Callable[..., int], **fixed: int) -> None:
    """Register a call that is `twin` with some arguments fixed: mkdir(path, mode) is mkdirat(AT_FDCWD, path, mode)."""
    parameters = [parameter for parameter in twin.__annotations__ if parameter not in {"kernel", "return"}]
    open_ones = [parameter for parameter in parameters if parameter not in fixed]

    def call(kernel: Kernel, *arguments: object) -> int:
        return twin(kernel, **fixed, **dict(zip(open_ones, arguments, strict=True)))

    call.__name__ = name
    call.__annotations__ = {parameter: twin.__annotations__[parameter] for parameter in open_ones}
    syscall(number)(call)


def host_path(kernel: Kernel, dirfd: int, path: str, *, empty: bool = False) -> Place:
    """The tree's place of what the guest names, for calls that change the directory tree. Raises SyscallError."""
    full = kernel.files.resolve(dirfd, path, empty=empty)
    if kernel.files.special(full) is not None:
        raise SyscallError("EPERM")
    return kernel.files.host_path(full)


def allow(flags: int, allowed: int) -> None:
    """Raise SyscallError EINVAL for a flag the call does not know."""
    if flags & ~allowed:
        raise SyscallError("EINVAL")


def behind(kernel: Kernel, fd: int) -> Place:
    """The file behind a descriptor; None for one that keeps no attributes. Raises SyscallError EBADF."""
    description = kernel.files.get(fd)
    if description.flags & O_PATH:
        raise SyscallError("EBADF")
    return description.anchor()
