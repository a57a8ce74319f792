"""The guest's mistakes are answered with the host's own errno: bad paths, flags, descriptors, pointers and sizes."""

import ctypes
import errno
import os
import struct
import sys

import pytest
from kernel_guest import (
    AT_FDCWD,
    BASE,
    BUFFER,
    M64,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_NOFOLLOW,
    O_RDWR,
    SIZE,
    WILD,
    native,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")


# ---- errnos of the classical mistakes

BAD_PATHS = ["", "missing", "missing/x", "file/x", "file/", "dir/missing/x", "loop", "loop/x", "dangling", "dangling/x"]
BAD_PATHS += [
    "x" * 255,
    "x" * 256,
    "d/" * 1950 + "d",
    "x" * 5000,
    "./" * 2048,
    "/missing/y",
    "/dev/null/x",
    "dir/../missing",
]


@pytest.mark.parametrize("path", BAD_PATHS, ids=lambda path: f"{path[:16]}-{len(path)}")
def test_errno_of_bad_paths(guest, tree, path):
    scratch = ctypes.create_string_buffer(4096)
    calls = [
        ("open", (path, 0, 0)),
        ("open", (path, O_DIRECTORY, 0)),
        ("stat", (path, BUFFER)),
        ("lstat", (path, BUFFER)),
        ("access", (path, 4)),
        ("chdir", (path,)),
        ("readlink", (path, BUFFER, 100)),
        ("unlink", (path,)) if path not in {"loop", "dangling"} else ("rmdir", (path,)),
        ("rmdir", (path,)),
        ("truncate", (path, 1)),
        ("chmod", (path, 0o600)),
        ("rename", (path, "elsewhere/x")),
        ("link", (path, "elsewhere/x")),
        ("symlink", ("target", f"./{path}/")),
        ("mkdir", (f"./{path}/x/y", 0o777)),
        ("statfs", (path, BUFFER)),
        ("utimes", (path, 0)),
        ("getxattr", (path, "user.x", BUFFER, 10)),
    ]
    for name, arguments in calls:
        expected = native(name, *(scratch if each == BUFFER else each for each in arguments))
        if expected >= 0 and name == "open":
            os.close(expected)
            expected = 0
        found = guest(name, *arguments)
        if name == "chdir":
            os.chdir(tree)
            guest.files.cwd = str(tree)
        assert (min(found, 0) if name == "open" else found) == expected, name


@pytest.mark.parametrize(
    ("flags", "path"),
    [
        (O_CREAT | O_EXCL, "file"),
        (O_CREAT | O_EXCL, "dangling"),
        (1, "dir"),
        (O_RDWR, "dir"),
        (O_CREAT, "dir"),
        (O_DIRECTORY, "file"),
        (O_NOFOLLOW, "link"),
        (O_CREAT, "file/x"),
        (O_CREAT, "new/"),
        (O_CREAT, "missing/new"),
    ],
)
def test_errno_of_open(guest, flags, path):
    assert guest("open", path, flags, 0o600) == native("open", path, flags, 0o600) < 0


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read", (99, BUFFER, 1)),
        ("read", (-1, BUFFER, 1)),
        ("close", (99,)),
        ("dup", (99,)),
        ("dup2", (99, 99)),
        ("dup2", (99, 5)),
        ("dup2", (0, -1)),
        ("dup3", (0, 0, 0)),
        ("dup3", (0, 50, 1)),
        ("fcntl", (99, 1, 0)),
        ("fcntl", (0, 0, 1 << 30)),
        ("fcntl", (0, 12345, 0)),
        ("lseek", (99, 0, 0)),
        ("fstat", (99, BUFFER)),
        ("fchdir", (99,)),
        ("getdents64", (99, BUFFER, 100)),
        ("openat", (99, "file", 0, 0)),
        ("openat", (99, "", 0, 0)),
        ("readv", (99, BUFFER, 1)),
        ("pipe2", (BUFFER, 1)),
        ("faccessat2", (AT_FDCWD, "file", 8, 0)),
        ("faccessat2", (AT_FDCWD, "file", 0, 1)),
        ("newfstatat", (AT_FDCWD, "file", BUFFER, 1)),
        ("unlinkat", (AT_FDCWD, "dir", 0)),
        ("unlinkat", (AT_FDCWD, "file", 0x200)),
        ("unlinkat", (AT_FDCWD, "dir", 0x200)),
        ("readlink", ("link", BUFFER, 0)),
        ("readlink", ("file", BUFFER, 10)),
        ("getcwd", (BUFFER, 1)),
        ("mkdir", ("dir", 0o777)),
        ("mkdir", ("file/x", 0o777)),
        ("rename", ("file", "dir")),
        ("rename", ("dir", "file")),
        ("rename", ("dir", "dir/sub")),
        ("renameat2", (AT_FDCWD, "file", AT_FDCWD, "link", 1)),
        ("link", ("file", "link")),
        ("symlink", ("x", "file")),
        ("truncate", ("dir", 0)),
        ("truncate", ("file", -1)),
        ("flock", (99, 1)),
        ("close_range", (5, 4, 0)),
        ("getxattr", ("file", "user.none", BUFFER, 10)),
        ("removexattr", ("file", "user.none")),
        ("epoll_create1", (1,)),
        ("epoll_ctl", (99, 1, 0, BUFFER)),
        ("poll", (BUFFER, 1 << 31, 0)),
        ("select", (-1, 0, 0, 0, 0)),
        ("memfd_create", ("x" * 250, 0)),
        ("memfd_create", ("x", 0x100)),
    ],
)
def test_errno_of_bad_arguments(guest, name, arguments):
    scratch = ctypes.create_string_buffer(4096)
    guest.put(bytes(4096))
    expected = native(name, *(scratch if each == BUFFER else each for each in arguments))
    assert guest(name, *arguments) == expected < 0


def test_errno_of_a_dirfd_that_is_no_directory(guest, tree):
    fd = guest("open", "file", 0)
    host = os.open("file", os.O_RDONLY)
    for path in ("x", "", str(tree / "file")):
        expected = native("newfstatat", host, path, ctypes.create_string_buffer(144), 0)
        assert guest("newfstatat", fd, path, BUFFER, 0) == expected
    assert guest("fchdir", fd) == native("fchdir", host) == -errno.ENOTDIR
    os.close(host)


# ---- wild pointers, wild sizes


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read", ("fd", WILD, 5)),
        ("write", ("fd", WILD, 5)),
        ("pread64", ("fd", WILD, 5, 0)),
        ("readv", ("fd", WILD, 2)),
        ("writev", ("fd", WILD, 2)),
        ("open", (WILD, 0, 0)),
        ("open", (0, 0, 0)),
        ("stat", (WILD, BUFFER)),
        ("stat", ("file", WILD)),
        ("fstat", ("fd", WILD)),
        ("statx", (AT_FDCWD, "file", 0, 0x7FF, WILD)),
        ("getcwd", (WILD, 4096)),
        ("pipe", (WILD,)),
        ("readlink", ("link", WILD, 100)),
        ("poll", (WILD, 1, 0)),
        ("select", (4, WILD, 0, 0, 0)),
        ("fcntl", ("fd", 5, WILD)),
        ("sendfile", ("fd", "fd", WILD, 1)),
        ("utimensat", (AT_FDCWD, "file", WILD, 0)),
        ("rename", ("file", WILD)),
        ("statfs", ("file", WILD)),
        ("memfd_create", (WILD, 0)),
        ("setxattr", ("file", "user.x", WILD, 5, 0)),
    ],
)
def test_wild_pointers_are_efault(guest, name, arguments):
    fd = guest("open", "file", O_RDWR)
    before = guest.files.descriptors()
    assert guest(name, *(fd if each == "fd" else each for each in arguments)) == -errno.EFAULT
    assert guest.files.descriptors() == before


def test_directory_and_wild_buffer(guest):
    fd = guest("open", ".", O_DIRECTORY)
    assert guest("getdents64", fd, WILD, 4096) == -errno.EFAULT
    assert guest("getdents64", fd, BUFFER, 4096) > 0


@pytest.mark.parametrize("path", ["file", "/dev/zero", "/dev/urandom", "/proc/self/status"])
@pytest.mark.parametrize("size", [1 << 63, M64, 1 << 62])
def test_sizes_beyond_memory(guest, path, size):
    fd = guest("open", path, 0)
    assert guest("read", fd, BUFFER, size) == -errno.EFAULT
    guest.put(struct.pack("<QQ", BUFFER, size))
    assert guest("readv", fd, BUFFER, 1) == (-errno.EINVAL if size >> 63 else -errno.EFAULT)


def test_a_transfer_stops_at_the_end_of_the_mapping(guest, tree):
    zero = guest("open", "/dev/zero", O_RDWR)
    end = BASE + SIZE
    assert guest("read", zero, end - 100, 1 << 30) == 100
    out = guest("open", "out", O_RDWR | O_CREAT, 0o600)
    assert guest("write", out, end - 100, 0x7FFF_FFFF) == 100
    assert (tree / "out").read_bytes() == bytes(100)
    assert guest("read", zero, end, 1) == -errno.EFAULT
    assert guest("read", zero, WILD, 0) == 0


def test_huge_offsets_cost_nothing(guest):
    fd = guest("memfd_create", "m", 0)
    assert guest("ftruncate", fd, 1 << 62) == 0
    assert guest("lseek", fd, 0, 2) == 1 << 62
    assert guest("pwrite64", fd, BUFFER, 1, 1 << 61) == -errno.EFBIG
    assert guest("pread64", fd, BUFFER, 10, 1 << 61) == 10
    assert guest("pread64", fd, BUFFER, 10, (1 << 63) - 1) == 0
    assert guest("pread64", fd, BUFFER, 10, -1) == -errno.EINVAL
    assert guest("lseek", fd, (1 << 63) - 1, 1) == -errno.EINVAL
    file = guest("open", "file", O_RDWR)
    assert guest("fallocate", file, 0, 0, 1 << 62) in {-errno.ENOSPC, -errno.EFBIG}
    assert guest("fallocate", file, 0, (1 << 63) - 1, 5) == -errno.EFBIG
    assert guest("sendfile", guest("open", "/dev/null", O_RDWR), file, 0, M64) == 13
