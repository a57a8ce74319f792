"""Runs emuleak in a process that is made to look like another host: `foreign_host.py KIND emuleak's arguments...`.

KIND is `denied` (the host's system directories and /proc are not there), `windows` or `darwin` (nor is what Python has
not got on those). What Python itself and the packages need is loaded before.
"""

import importlib
import importlib.util
import os
import pkgutil
import signal
import stat
import sys
import sysconfig
from collections.abc import Callable
from typing import Self

DENIED = ("/lib", "/lib64", "/usr", "/proc", "/etc", "/sys", "/bin", "/opt")
# Python's own, which may lie below one of them.
OWN = tuple({os.path.realpath(path) for path in (*sysconfig.get_paths().values(), sys.prefix, sys.base_prefix)})

ONLY_POSIX = (
    *("getuid", "getgid", "geteuid", "getegid", "getgroups", "getpgid", "getsid", "setsid", "getpgrp", "tcgetpgrp"),
    *("mkfifo", "mknod", "chown", "lchown", "fchown", "fchmod", "fchdir", "chroot", "lchmod", "umask_", "getresuid"),
    *("fork", "forkpty", "wait", "waitpid", "waitid", "wait3", "wait4", "WNOHANG", "killpg", "nice", "getpriority"),
    *("pread", "preadv", "pwrite", "pwritev", "readv", "writev", "sendfile", "posix_fallocate", "posix_fadvise"),
    *("statvfs", "fstatvfs", "ttyname", "openpty", "ctermid", "uname", "sync", "pathconf", "fpathconf", "sysconf"),
    *("major", "minor", "makedev", "lockf", "getloadavg", "confstr", "sched_yield", "register_at_fork"),
    *("get_blocking", "set_blocking", "fdatasync", "tcsetpgrp"),
)
ONLY_LINUX = (
    *("getxattr", "setxattr", "listxattr", "removexattr", "memfd_create", "eventfd", "eventfd_read", "splice"),
    *(
        "copy_file_range",
        "sched_getaffinity",
        "sched_setaffinity",
        "sched_getscheduler",
        "posix_fallocate",
        "getrandom",
    ),
    *("pidfd_open", "O_TMPFILE", "O_PATH", "O_DIRECT", "O_NOATIME", "O_RSYNC", "SEEK_DATA", "SEEK_HOLE", "preadv2"),
    *("pwritev2", "posix_fadvise", "unshare", "setns", "XATTR_CREATE", "XATTR_REPLACE"),
)
ONLY_POSIX_FLAGS = ("O_NONBLOCK", "O_NOCTTY", "O_NOFOLLOW", "O_DIRECTORY", "O_SYNC", "O_DSYNC", "O_CLOEXEC", "O_ASYNC")
ONLY_POSIX_MODULES = (
    "fcntl",
    "termios",
    "resource",
    "pwd",
    "grp",
    "pty",
    "tty",
    "syslog",
    "posix",
    "readline",
    "curses",
)
WINDOWS_SIGNALS = {"SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM", "SIG_DFL", "SIG_IGN"}


def load_the_packages() -> None:
    """What emuleak will import from others: those packages have wheels of their own for each host."""
    for name in (
        "click",
        "msgspec",
        "unicorn",
        "lief",
        "capstone",
        "elftools.elf.elffile",
        "elftools.dwarf.dwarfinfo",
        "rich",
        "jinja2",
    ):
        importlib.import_module(name)
    import elftools
    import rich

    for package in (elftools, rich):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.startswith(("rich.__main__", "rich._win", "rich.diagnose")):
                importlib.import_module(module.name)
    for name in (
        *(
            "subprocess",
            "tempfile",
            "shutil",
            "zipfile",
            "hashlib",
            "json",
            "socket",
            "selectors",
            "select",
            "traceback",
        ),
        *("lzma", "bz2", "tarfile", "ipaddress", "ctypes.util", "html", "uuid", "random", "unittest.mock", "asyncio"),
    ):
        importlib.import_module(name)


def is_denied(path: object) -> bool:
    if isinstance(path, os.PathLike):
        path = os.fspath(path)
    if isinstance(path, bytes):
        path = os.fsdecode(path)
    if not isinstance(path, str):
        return False
    path = os.path.abspath(path)
    inside = any(path == each or path.startswith(each + "/") for each in OWN)
    return not inside and any(path == each or path.startswith(each + "/") for each in DENIED)


def deny() -> None:
    """The host's system is not there: neither to open, nor to look at."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in {"open", "os.listdir", "os.scandir", "os.chdir", "ctypes.dlopen"} and is_denied(arguments[0]):
            raise FileNotFoundError(2, "denied by the test", str(arguments[0]))

    sys.addaudithook(hook)
    for name in ("stat", "lstat", "access", "readlink", "listxattr", "getxattr", "statvfs", "chmod", "utime"):
        if hasattr(os, name):
            setattr(os, name, guarded(getattr(os, name), false=name == "access"))


def guarded(function: Callable[..., object], *, false: bool) -> Callable[..., object]:
    def call(path: object, *arguments: object, **named: object) -> object:
        if is_denied(path):
            if false:
                return False
            raise FileNotFoundError(2, "denied by the test", str(path))
        return function(path, *arguments, **named)

    return call


def remove(names: tuple[str, ...]) -> None:
    for name in names:
        if hasattr(os, name):
            delattr(os, name)


def forbid(modules: tuple[str, ...]) -> None:
    """These cannot be imported, whether or not somebody has them already."""
    for name in modules:
        sys.modules[name] = None  # type: ignore[assignment]


def reserve_without_asking() -> None:
    """Addresses cost nothing on those hosts, and here not without a flag of Linux's."""
    import mmap

    class Map(mmap.mmap):
        def __new__(cls, fileno: int, length: int, flags: int = 0, prot: int = 3) -> Self:
            del flags
            return super().__new__(cls, fileno, length, flags=private, prot=prot)

    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000
    mmap.mmap = Map  # type: ignore[misc]


def wake_without_asking() -> None:
    """Windows wants a descriptor for signals to be non-blocking only where it is a socket."""
    set_wakeup_fd, set_blocking = signal.set_wakeup_fd, os.set_blocking

    def call(fd: int, **options: bool) -> int:
        if fd >= 0:
            set_blocking(fd, False)
        return set_wakeup_fd(fd, **options)

    signal.set_wakeup_fd = call  # type: ignore[assignment]


def become_windows() -> None:
    load_the_packages()
    reserve_without_asking()
    wake_without_asking()
    remove((*ONLY_POSIX, *ONLY_LINUX, *ONLY_POSIX_FLAGS))
    forbid((*ONLY_POSIX_MODULES, "symbolic"))
    for name in [name for name in dir(signal) if name.startswith("SIG") and name not in WINDOWS_SIGNALS]:
        delattr(signal, name)
    for name in (
        "pthread_kill",
        "pthread_sigmask",
        "alarm",
        "setitimer",
        "getitimer",
        "pause",
        "sigwait",
        "siginterrupt",
    ):
        if hasattr(signal, name):
            delattr(signal, name)
    import select

    for name in ("poll", "epoll", "POLLIN", "POLLOUT"):
        if hasattr(select, name):
            delattr(select, name)
    os.O_BINARY = 0  # type: ignore[attr-defined]
    os.readlink = guarded(os.readlink, false=False)
    hide_from_stat()
    sys.platform = "win32"


def hide_from_stat() -> None:
    """A stat_result of Windows has no blocks and no device numbers, and its inode is large."""
    real_stat, real_lstat, real_fstat = os.stat, os.lstat, os.fstat

    def as_there(status: os.stat_result) -> os.stat_result:
        mode = stat.S_IFMT(status.st_mode) | (0o777 if stat.S_ISDIR(status.st_mode) else 0o666)
        times = {
            "st_atime_ns": status.st_atime_ns,
            "st_mtime_ns": status.st_mtime_ns,
            "st_ctime_ns": status.st_ctime_ns,
        }
        fields = (mode, status.st_ino | 1 << 70, status.st_dev, 1, 0, 0, status.st_size, 0, 0, 0)
        return os.stat_result(fields, times)

    os.stat = lambda *a, **k: as_there(real_stat(*a, **k))  # type: ignore[assignment]
    os.lstat = lambda *a, **k: as_there(real_lstat(*a, **k))  # type: ignore[assignment]
    os.fstat = lambda *a, **k: as_there(real_fstat(*a, **k))  # type: ignore[assignment]


def become_darwin() -> None:
    load_the_packages()
    reserve_without_asking()
    remove(ONLY_LINUX)
    sys.platform = "darwin"


def main() -> None:
    kind = sys.argv[1]
    sys.argv[:] = ["emuleak", *sys.argv[2:]]
    {"denied": load_the_packages, "windows": become_windows, "darwin": become_darwin}[kind]()
    from emuleak.cli import main as emuleak

    deny()
    emuleak()


if __name__ == "__main__":
    main()
