"""System calls that are known and refused: what only root may do on Linux, and what emuleak does not do.

Refusing root's calls is no shortcoming: an ordinary user is told the same by any Linux.
"""

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.table import Int, Pointer, ULong, syscall

_ROOTS = {
    101: "ptrace",
    103: "syslog",
    116: "setgroups",
    153: "vhangup",
    155: "pivot_root",
    161: "chroot",
    163: "acct",
    164: "settimeofday",
    165: "mount",
    166: "umount2",
    167: "swapon",
    168: "swapoff",
    169: "reboot",
    170: "sethostname",
    171: "setdomainname",
    172: "iopl",
    173: "ioperm",
    175: "init_module",
    176: "delete_module",
    179: "quotactl",
    227: "clock_settime",
    246: "kexec_load",
    272: "unshare",
    298: "perf_event_open",
    304: "open_by_handle_at",
    305: "clock_adjtime",
    308: "setns",
    313: "finit_module",
    320: "kexec_file_load",
    321: "bpf",
    323: "userfaultfd",
    428: "open_tree",
    429: "move_mount",
    430: "fsopen",
    442: "mount_setattr",
}
_ABSENT = {
    248: ("add_key", "keyrings(7)"),
    249: ("request_key", "keyrings(7)"),
    250: ("keyctl", "keyrings(7)"),
    253: ("inotify_init", "inotify(7)"),
    294: ("inotify_init1", "inotify(7)"),
    300: ("fanotify_init", "fanotify(7)"),
    425: ("io_uring_setup", "io_uring(7)"),
}
_ANSWER = "ENOSYS"
LACKING = frozenset(_ABSENT)
"""The numbers of those that emuleak does not do, and an ordinary user's Linux does."""
_PER_LINUX, _ADDR_NO_RANDOMIZE, _ASK = 0, 0x40000, 0xFFFF_FFFF


def _refuse(number: int, name: str) -> None:
    def call(_kernel: Kernel) -> int:
        raise SyscallError("EPERM")

    call.__name__ = name
    syscall(number)(call)


def _lack(number: int, name: str, page: str) -> None:
    def call(kernel: Kernel) -> int:
        kernel.note(f"{page} is not emulated: the program was told {_ANSWER}")
        raise SyscallError(_ANSWER)

    call.__name__ = name
    syscall(number)(call)


for _number, _name in _ROOTS.items():
    _refuse(_number, _name)
for _number, (_name, _page) in _ABSENT.items():
    _lack(_number, _name, _page)


@syscall(135)
def personality(_kernel: Kernel, persona: ULong) -> int:
    """personality(2): addresses are never random here, and no other persona is known."""
    if persona & 0xFFFF_FFFF not in {_PER_LINUX, _ADDR_NO_RANDOMIZE, _ASK}:
        raise SyscallError("EINVAL")
    return _ADDR_NO_RANDOMIZE


@syscall(254)
def inotify_add_watch(kernel: Kernel, fd: Int, _pathname: Pointer) -> int:
    """inotify_add_watch(2): there is no instance that could take one."""
    kernel.files.get(fd)
    raise SyscallError("EINVAL")


@syscall(255)
def inotify_rm_watch(kernel: Kernel, fd: Int, _wd: Int) -> int:
    """inotify_rm_watch(2)."""
    kernel.files.get(fd)
    raise SyscallError("EINVAL")
