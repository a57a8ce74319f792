"""What the arguments of each system call mean, in the order of its prototype.

`After` marks what the call itself fills in. A call that is not here is told with its six registers, as strace tells
one that it does not know.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

from emuleak.strace import constants as k
from emuleak.strace import netconstants as n
from emuleak.strace import processvalues as p
from emuleak.strace import records as r
from emuleak.strace import signalvalues as s
from emuleak.strace import socketvalues as c
from emuleak.strace import waits as w
from emuleak.strace.call import After, Call, Printer
from emuleak.strace.values import (
    bits,
    counted,
    descriptor,
    directory,
    filled,
    filled_path,
    hexa,
    hexa32,
    integer,
    long,
    mode,
    one,
    pair,
    path,
    pointer,
    random_bytes,
    size,
    sized,
    string,
    strings,
    unsigned,
    user,
)


class Whole(NamedTuple):
    """A call whose arguments have a form together: what is told before it is made, and what when it is over."""

    before: Callable[[Call], str]
    after: Callable[[Call], str]


Argument = Printer | After | Callable[[Call, int], str | None]
_AT: Final = bits(k.AT)
_STAT: Final = (path, After(r.status))
_NOTHING: Final = ()

_FILES: Final[dict[str, tuple[Argument, ...]]] = {
    "read": (descriptor, After(filled), size),
    "write": (descriptor, sized(2), size),
    "open": (path, p.flags_of_open, p.creation_mode),
    "creat": (path, mode),
    "openat": (directory, path, p.flags_of_open, p.creation_mode),
    "close": (descriptor,),
    "stat": _STAT,
    "lstat": _STAT,
    "fstat": (descriptor, After(r.status)),
    "newfstatat": (directory, path, After(r.status), _AT),
    "statx": (directory, path, r.statx_flags, r.statx_mask, After(r.extended_status)),
    "statfs": (path, After(r.file_system)),
    "fstatfs": (descriptor, After(r.file_system)),
    "lseek": (descriptor, long, one(k.SEEK)),
    "pread64": (descriptor, After(filled), size, long),
    "pwrite64": (descriptor, sized(2), size, long),
    "readv": (descriptor, After(c.filled_vector), integer),
    "writev": (descriptor, c.sent_vector, integer),
    "preadv": (descriptor, After(c.filled_vector), integer, long),
    "pwritev": (descriptor, c.sent_vector, integer, long),
    "access": (path, bits(k.ACCESS, "F_OK")),
    "faccessat": (directory, path, bits(k.ACCESS, "F_OK")),
    "faccessat2": (directory, path, bits(k.ACCESS, "F_OK"), bits(k.ACCESS_AT)),
    "pipe": (After(pair),),
    "pipe2": (After(pair), bits(k.OPEN)),
    "dup": (descriptor,),
    "dup2": (descriptor, descriptor),
    "dup3": (descriptor, descriptor, bits(k.OPEN)),
    "fcntl": (descriptor, one(k.FCNTL), After(p.control_argument)),  # type: ignore[arg-type]
    "flock": (descriptor, bits(k.FLOCK)),
    "fsync": (descriptor,),
    "fdatasync": (descriptor,),
    "syncfs": (descriptor,),
    "sync": _NOTHING,
    "truncate": (path, long),
    "ftruncate": (descriptor, long),
    "fallocate": (descriptor, bits(k.FALLOCATE), long, long),
    "fadvise64": (descriptor, long, size, one(k.FADVISE)),
    "getdents": (descriptor, After(r.entries), unsigned),
    "getdents64": (descriptor, After(r.entries), unsigned),
    "getcwd": (After(filled_path), size),
    "chdir": (path,),
    "fchdir": (descriptor,),
    "chroot": (path,),
    "rename": (path, path),
    "renameat": (directory, path, directory, path),
    "renameat2": (directory, path, directory, path, bits(k.RENAME)),
    "mkdir": (path, mode),
    "mkdirat": (directory, path, mode),
    "rmdir": (path,),
    "link": (path, path),
    "linkat": (directory, path, directory, path, _AT),
    "unlink": (path,),
    "unlinkat": (directory, path, _AT),
    "symlink": (path, path),
    "symlinkat": (path, directory, path),
    "readlink": (path, After(filled), size),
    "readlinkat": (directory, path, After(filled), size),
    "chmod": (path, mode),
    "fchmod": (descriptor, mode),
    "fchmodat": (directory, path, mode),
    "fchmodat2": (directory, path, mode, _AT),
    "chown": (path, user, user),
    "lchown": (path, user, user),
    "fchown": (descriptor, user, user),
    "fchownat": (directory, path, user, user, _AT),
    "umask": (mode,),
    "mknod": (path, r.node_mode, r.device_number),
    "mknodat": (directory, path, r.node_mode, r.device_number),
    "utime": (path, r.utime_times),
    "utimes": (path, r.file_timevals),
    "futimesat": (directory, path, r.file_timevals),
    "utimensat": (directory, path, r.file_times, _AT),
    "sendfile": (descriptor, descriptor, After(r.offset_at), size),
    "copy_file_range": (descriptor, After(r.offset_at), descriptor, r.offset_at, size, unsigned),
    "ioctl": (descriptor, p.request, After(p.request_argument)),  # type: ignore[arg-type]
    "getxattr": (path, string, After(filled), size),
    "lgetxattr": (path, string, After(filled), size),
    "fgetxattr": (descriptor, string, After(filled), size),
    "setxattr": (path, string, sized(3), size, bits(k.XATTR)),
    "lsetxattr": (path, string, sized(3), size, bits(k.XATTR)),
    "fsetxattr": (descriptor, string, sized(3), size, bits(k.XATTR)),
    "listxattr": (path, After(filled), size),
    "llistxattr": (path, After(filled), size),
    "flistxattr": (descriptor, After(filled), size),
    "removexattr": (path, string),
    "lremovexattr": (path, string),
    "fremovexattr": (descriptor, string),
    "close_range": (unsigned, unsigned, bits(k.CLOSE_RANGE)),
    "memfd_create": (string, bits(k.MEMFD)),
    "eventfd": (unsigned,),
    "eventfd2": (unsigned, bits(k.EVENTFD)),
    "inotify_init": _NOTHING,
    "inotify_init1": (bits(k.INOTIFY),),
    "inotify_rm_watch": (descriptor, integer),
}

_MEMORY: Final[dict[str, tuple[Argument, ...]]] = {
    "mmap": (pointer, size, bits(k.PROTECTION, "PROT_NONE"), p.map_flags, descriptor, hexa),
    "mprotect": (pointer, size, bits(k.PROTECTION, "PROT_NONE")),
    "munmap": (pointer, size),
    "brk": (pointer,),
    "mremap": (pointer, size, size, bits(k.MREMAP), p.new_address),
    "msync": (pointer, size, bits(k.MSYNC)),
    "mincore": (pointer, size, pointer),
    "madvise": (pointer, size, one(k.ADVICE)),
    "mlock": (pointer, size),
    "munlock": (pointer, size),
    "mlockall": (bits(k.MLOCKALL),),
    "munlockall": _NOTHING,
}

_SIGNALS: Final[dict[str, tuple[Argument, ...]]] = {
    "rt_sigaction": (s.signal, s.action, After(s.told_action), size),
    "rt_sigprocmask": (one(k.SIGPROCMASK), s.signal_set, After(s.told_set), size),
    "rt_sigpending": (After(s.told_set), size),
    "rt_sigtimedwait": (s.signal_set, After(s.told_siginfo), r.timespec, size),
    "rt_sigsuspend": (s.signal_set, size),
    "rt_sigqueueinfo": (integer, s.signal, s.given_siginfo),
    "rt_tgsigqueueinfo": (integer, integer, s.signal, s.given_siginfo),
    "sigaltstack": (s.stack, After(s.told_stack)),
    "kill": (integer, s.signal),
    "tkill": (integer, s.signal),
    "tgkill": (integer, integer, s.signal),
    "pause": _NOTHING,
    "alarm": (unsigned,),
}

_PROCESSES: Final[dict[str, tuple[Argument, ...]]] = {
    **dict.fromkeys(
        ("getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getpgrp", "setsid", "fork", "vfork"),
        _NOTHING,
    ),
    "sched_yield": _NOTHING,
    "execve": (path, strings, counted),
    "execveat": (directory, path, strings, counted, _AT),
    "exit": (integer,),
    "exit_group": (integer,),
    "wait4": (integer, After(w.child_status), bits(k.WAIT), r.usage),
    "waitid": (one(k.WAITID_KINDS), integer, After(s.told_siginfo), bits(k.WAIT), r.usage),
    "clone3": (p.clone_structure, size),
    "set_tid_address": (pointer,),
    "set_robust_list": (pointer, size),
    "rseq": (pointer, hexa32, hexa32, hexa32),
    "arch_prctl": (one(k.ARCH_PRCTL), pointer),
    "getpgid": (integer,),
    "setpgid": (integer, integer),
    "getsid": (integer,),
    "setuid": (user,),
    "setgid": (user,),
    "setreuid": (user, user),
    "setregid": (user, user),
    "setresuid": (user, user, user),
    "setresgid": (user, user, user),
    "getresuid": (After(r.stored), r.stored, r.stored),
    "getresgid": (After(r.stored), r.stored, r.stored),
    "getgroups": (integer, After(r.numbers)),
    "getpriority": (one(k.PRIORITY), integer),
    "setpriority": (one(k.PRIORITY), integer, integer),
    "sched_getaffinity": (integer, size, After(r.processors)),
    "sched_get_priority_max": (one(k.SCHEDULERS),),
    "sched_get_priority_min": (one(k.SCHEDULERS),),
    "sched_getscheduler": (integer,),
    "membarrier": (one(k.MEMBARRIER), unsigned),
    "prlimit64": (integer, one(k.RESOURCES), r.limit, After(r.told_limit)),
    "getrlimit": (one(k.RESOURCES), After(r.told_old_limit)),
    "setrlimit": (one(k.RESOURCES), r.old_limit),
    "getrusage": (one(k.USAGE), After(r.usage)),
    "uname": (After(r.system_name),),
    "sysinfo": (After(r.system_info),),
    "getrandom": (After(random_bytes), size, bits(k.RANDOM)),
}

_TIMES: Final[dict[str, tuple[Argument, ...]]] = {
    "time": (After(r.seconds),),
    "times": (After(r.cpu_times),),
    "gettimeofday": (After(r.told_timeval), pointer),
    "clock_gettime": (one(k.CLOCKS), After(r.told_timespec)),
    "clock_getres": (one(k.CLOCKS), After(r.told_timespec)),
    "nanosleep": (r.timespec, After(r.sleep_rest)),
    "clock_nanosleep": (one(k.CLOCKS), bits(k.TIMER_FLAGS), r.timespec, After(r.sleep_rest)),
    "getitimer": (one(k.INTERVAL_TIMERS), After(r.told_interval_timer)),
    "setitimer": (one(k.INTERVAL_TIMERS), r.interval_timer, After(r.told_interval_timer)),
    "timerfd_create": (one(k.CLOCKS), bits(k.TIMERFD)),
    "timerfd_settime": (descriptor, bits(k.TIMERFD), r.timer_setting, After(r.told_timer_setting)),
    "timerfd_gettime": (descriptor, After(r.told_timer_setting)),
}

_WAITING: Final[dict[str, tuple[Argument, ...]]] = {
    "poll": (w.polled, unsigned, integer),
    "ppoll": (w.polled, unsigned, r.timespec, w.mask_at, size),
    "select": (integer, w.descriptor_set, w.descriptor_set, w.descriptor_set, r.timeval),
    "pselect6": (integer, w.descriptor_set, w.descriptor_set, w.descriptor_set, r.timespec, w.select_mask),
    "epoll_create": (integer,),
    "epoll_create1": (bits(n.EPOLL_CREATE),),
    "epoll_ctl": (descriptor, one(n.EPOLL_OPERATIONS), descriptor, w.epoll_event),
    "epoll_wait": (descriptor, After(w.epoll_events), integer, integer),
    "epoll_pwait": (descriptor, After(w.epoll_events), integer, integer, w.mask_at, size),
}

_LENGTH: Final = After(c.told_length)
_SOCKETS: Final[dict[str, tuple[Argument, ...]]] = {
    "socket": (one(n.ADDRESS_FAMILIES), c.kind, c.protocol),
    "socketpair": (one(n.ADDRESS_FAMILIES), c.kind, c.protocol, After(pair)),
    "bind": (descriptor, c.given_address(2), integer),
    "connect": (descriptor, c.given_address(2), integer),
    "listen": (descriptor, integer),
    "accept": (descriptor, After(c.told_address(2)), _LENGTH),
    "accept4": (descriptor, After(c.told_address(2)), _LENGTH, bits(n.SOCKET_FLAGS)),
    "getsockname": (descriptor, After(c.told_address(2)), _LENGTH),
    "getpeername": (descriptor, After(c.told_address(2)), _LENGTH),
    "shutdown": (descriptor, one(n.SHUTDOWN)),
    "sendto": (descriptor, sized(2), size, bits(n.MESSAGE), c.given_address(5), unsigned),
    "recvfrom": (descriptor, After(filled), size, bits(n.MESSAGE), c.told_address(5), _LENGTH),
    "sendmsg": (descriptor, c.sent_message, bits(n.MESSAGE)),
    "recvmsg": (descriptor, After(c.filled_message), bits(n.MESSAGE)),
    "getsockopt": (descriptor, one(n.SOCKET_LEVELS), c.option, After(c.told_option), _LENGTH),
    "setsockopt": (descriptor, one(n.SOCKET_LEVELS), c.option, c.given_option, integer),
}

PROTOTYPES: Final = {**_FILES, **_MEMORY, **_SIGNALS, **_PROCESSES, **_TIMES, **_WAITING, **_SOCKETS}
WHOLES: Final = {
    "clone": Whole(p.clone_head, p.clone_rest),
    "futex": Whole(w.futex_arguments, lambda _call: ""),
    "prctl": Whole(lambda _call: "", p.process_control),
}
# Calls that give a descriptor: with -y it comes with its file.
GIVE_DESCRIPTOR: Final = frozenset(
    (
        *("open", "creat", "openat", "openat2", "dup", "dup2", "dup3", "accept", "accept4", "socket"),
        *("epoll_create", "epoll_create1", "eventfd", "eventfd2", "timerfd_create", "memfd_create"),
        *("inotify_init", "inotify_init1"),
    )
)
