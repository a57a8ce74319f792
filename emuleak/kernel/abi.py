"""Linux's numbers on x86-64: they are the guest's, whatever the host calls them."""

import errno as host_errno
import os
import struct
from collections.abc import Iterator

from emuleak.host import flag

# include/uapi/asm-generic/errno-base.h and errno.h. The host's own errno values differ on macOS and Windows.
ERRNO = {
    "EPERM": 1,
    "ENOENT": 2,
    "ESRCH": 3,
    "EINTR": 4,
    "EIO": 5,
    "ENXIO": 6,
    "E2BIG": 7,
    "ENOEXEC": 8,
    "EBADF": 9,
    "ECHILD": 10,
    "EAGAIN": 11,
    "EWOULDBLOCK": 11,
    "ENOMEM": 12,
    "EACCES": 13,
    "EFAULT": 14,
    "ENOTBLK": 15,
    "EBUSY": 16,
    "EEXIST": 17,
    "EXDEV": 18,
    "ENODEV": 19,
    "ENOTDIR": 20,
    "EISDIR": 21,
    "EINVAL": 22,
    "ENFILE": 23,
    "EMFILE": 24,
    "ENOTTY": 25,
    "ETXTBSY": 26,
    "EFBIG": 27,
    "ENOSPC": 28,
    "ESPIPE": 29,
    "EROFS": 30,
    "EMLINK": 31,
    "EPIPE": 32,
    "EDOM": 33,
    "ERANGE": 34,
    "EDEADLK": 35,
    "EDEADLOCK": 35,
    "ENAMETOOLONG": 36,
    "ENOLCK": 37,
    "ENOSYS": 38,
    "ENOTEMPTY": 39,
    "ELOOP": 40,
    "ENODATA": 61,
    "ETIME": 62,
    "EOVERFLOW": 75,
    "EILSEQ": 84,
    "ENOTSOCK": 88,
    "EDESTADDRREQ": 89,
    "EMSGSIZE": 90,
    "EPROTOTYPE": 91,
    "ENOPROTOOPT": 92,
    "EPROTONOSUPPORT": 93,
    "ESOCKTNOSUPPORT": 94,
    "EOPNOTSUPP": 95,
    "ENOTSUP": 95,
    "EAFNOSUPPORT": 97,
    "EADDRINUSE": 98,
    "EADDRNOTAVAIL": 99,
    "ENETUNREACH": 101,
    "ECONNABORTED": 103,
    "ECONNRESET": 104,
    "ENOBUFS": 105,
    "EISCONN": 106,
    "ENOTCONN": 107,
    "ETIMEDOUT": 110,
    "ECONNREFUSED": 111,
    "EHOSTUNREACH": 113,
    "EALREADY": 114,
    "EINPROGRESS": 115,
    "ESTALE": 116,
    "EDQUOT": 122,
}


class SyscallError(Exception):
    """A handler's failure: the guest sees -errno. Takes the errno's name, so that a misspelling fails at once."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.number = ERRNO[name]


def guest_errno(error: OSError) -> int:
    """The guest's number of a host error; EIO for one that Linux does not know."""
    name = host_errno.errorcode.get(error.errno or 0, "EIO")
    return ERRNO.get(name, ERRNO["EIO"])


# ---- open(2): include/uapi/asm-generic/fcntl.h

O_ACCMODE, O_WRONLY, O_RDWR, O_CREAT, O_EXCL = 0o3, 0o1, 0o2, 0o100, 0o200
O_NOCTTY, O_TRUNC, O_APPEND, O_NONBLOCK = 0o400, 0o1000, 0o2000, 0o4000
O_LARGEFILE, O_DIRECTORY, O_NOFOLLOW = 0o100000, 0o200000, 0o400000
O_CLOEXEC, O_PATH = 0o2000000, 0o10000000
_TMPFILE = 0o20000000
_OPEN_FLAGS = (
    (O_CREAT, "O_CREAT"),
    (O_EXCL, "O_EXCL"),
    (O_TRUNC, "O_TRUNC"),
    (O_APPEND, "O_APPEND"),
    (O_NONBLOCK, "O_NONBLOCK"),
    (0o10000, "O_DSYNC"),
    (0o4000000, "O_SYNC"),
    (0o40000, "O_DIRECT"),
    (O_DIRECTORY, "O_DIRECTORY"),
    (O_NOFOLLOW, "O_NOFOLLOW"),
    (0o1000000, "O_NOATIME"),
    (O_PATH, "O_PATH"),
    (_TMPFILE, "O_TMPFILE"),
)
AT_FDCWD = -100
SEEK_SET, SEEK_CUR, SEEK_END, SEEK_DATA, SEEK_HOLE = range(5)
POLLIN, POLLOUT, POLLERR, POLLHUP, POLLNVAL = 0x1, 0x4, 0x8, 0x10, 0x20
POLLRDNORM, POLLWRNORM = 0x40, 0x100
READABLE, WRITABLE = POLLIN | POLLRDNORM, POLLOUT | POLLWRNORM


def host_open_flags(flags: int) -> int:
    """The host's flags for the guest's: names are what the two have in common. Raises SyscallError."""
    if flags & _TMPFILE and not hasattr(os, "O_TMPFILE"):
        raise SyscallError("EOPNOTSUPP")
    host = (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR)[flags & O_ACCMODE]
    for bit, name in _OPEN_FLAGS:
        if flags & bit:
            host |= flag(name)
    # The emulator must not gain a controlling terminal, and Windows must not edit line ends.
    return host | flag("O_NOCTTY") | flag("O_BINARY")


# ---- struct stat, statx, statfs, linux_dirent64: arch/x86/include/uapi/asm/stat.h, include/uapi/linux/stat.h

_NS = 1_000_000_000
_M32, _M64 = (1 << 32) - 1, (1 << 64) - 1
_STAT = struct.Struct("<QQQIIIxxxxQqqqqqqqqq24x")
_STATX = struct.Struct("<IIQIIIHxxQQQQ" + "qIxxxx" * 4 + "IIII112x")
_STATFS = struct.Struct("<qqQQQQQii" + "qqq32x")
_STATX_BASIC, _STATX_BTIME = 0x7FF, 0x800
_EXT4, _TMPFS = 0xEF53, 0x0102_1994


def status_flags(flags: int) -> int:
    """What F_GETFL of fcntl(2) tells of the flags given to open(2)."""
    if flags & O_PATH:
        return flags & (O_PATH | O_DIRECTORY | O_NOFOLLOW)
    return flags & ~(O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC) | O_LARGEFILE


def memory_stat(mode: int, size: int, inode: int, block: int = 4096) -> os.stat_result:
    """What fstat(2) says of a file that is not on any disk; `block` is st_blksize, by which stdio sizes its buffer."""
    return os.stat_result((mode, inode, 0, 1, 0, 0, size, 0, 0, 0), {"st_blksize": block})


def _times(status: os.stat_result, *names: str) -> Iterator[int]:
    """Seconds and nanoseconds of each time; a stat_result made by hand has none."""
    for name in names:
        yield from divmod(getattr(status, f"st_{name}time_ns", None) or 0, _NS)


def _blocks(status: os.stat_result) -> tuple[int, int]:
    """st_blksize and st_blocks, which Windows does not tell."""
    blocks = getattr(status, "st_blocks", None)
    return getattr(status, "st_blksize", None) or 4096, -(-status.st_size // 512) if blocks is None else blocks


def pack_stat(status: os.stat_result) -> bytes:
    """`struct stat` of stat(2)."""
    return _STAT.pack(
        status.st_dev & _M64,
        status.st_ino & _M64,
        status.st_nlink,
        status.st_mode,
        status.st_uid & _M32,
        status.st_gid & _M32,
        getattr(status, "st_rdev", None) or 0,
        status.st_size,
        *_blocks(status),
        *_times(status, "a", "m", "c"),
    )


def _device(number: int) -> tuple[int, int]:
    """Major and minor, as the kernel's new_decode_dev takes the number apart where the host cannot."""
    if hasattr(os, "major"):
        return os.major(number), os.minor(number)
    return number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00


def pack_statx(status: os.stat_result) -> bytes:
    """`struct statx` of statx(2): the basic fields, and the time of birth where the host tells it."""
    born = int(getattr(status, "st_birthtime", 0) * _NS)
    size, blocks = _blocks(status)
    access, access_ns, change, change_ns, write, write_ns = _times(status, "a", "c", "m")
    return _STATX.pack(
        _STATX_BASIC | (_STATX_BTIME if born else 0),
        size,
        0,
        status.st_nlink & _M32,
        status.st_uid & _M32,
        status.st_gid & _M32,
        status.st_mode,
        status.st_ino & _M64,
        status.st_size,
        blocks,
        0,
        *(access, access_ns, *divmod(born, _NS), change, change_ns, write, write_ns),
        *_device(getattr(status, "st_rdev", None) or 0),
        *_device(status.st_dev),
    )


def pack_statfs(path: str) -> bytes:
    """`struct statfs` of statfs(2); Python does not tell the file system's type, so it is called ext4."""
    if hasattr(os, "statvfs"):
        s = os.statvfs(path)
        counts = (s.f_bsize, s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree)
        # ST_VALID: f_flags means something.
        return _STATFS.pack(_EXT4, *counts, 0, 0, s.f_namemax, s.f_frsize, s.f_flag | 0x20)
    import shutil  # noqa: PLC0415 - 3 ms that few programs need

    total, _used, free = (amount // 4096 for amount in shutil.disk_usage(path))
    return _STATFS.pack(_EXT4, 4096, total, free, free, 1 << 20, 1 << 19, 0, 0, 255, 4096, 0x20)


def pack_memory_statfs(total: int, free: int, files: int, free_files: int) -> bytes:
    """`struct statfs` of a file system in memory: bytes, and numbers of files."""
    blocks = (4096, total // 4096, free // 4096, free // 4096, files, free_files)
    return _STATFS.pack(_TMPFS, *blocks, 0, 0, 255, 4096, 0x20)


def pack_dirent(inode: int, position: int, kind: int, name: bytes, wide: bool) -> bytes:
    """`struct linux_dirent64` of getdents64(2), or the older one, whose type is the last byte."""
    head = struct.pack("<Qq", inode & _M64, position)
    length = (20 + len(name) + 7) & ~7  # with the NUL and the type, which differ only in where they stand
    body = struct.pack("<HB", length, kind) + name if wide else struct.pack("<H", length) + name
    record = (head + body).ljust(length, b"\0")
    return record if wide else record[:-1] + bytes((kind,))
