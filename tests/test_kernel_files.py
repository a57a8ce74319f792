"""The guest's files against the host's own Linux: layouts, transfers and the rules of the manual pages."""

import ctypes
import errno
import os
import re
import stat
import struct
import sys
from pathlib import Path

import pytest
from kernel_guest import (
    AT_FDCWD,
    BUFFER,
    M64,
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_EXCL,
    O_NONBLOCK,
    O_PATH,
    O_RDWR,
    O_TRUNC,
    native,
)

from emuleak.kernel.table import TABLE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")


# ---- the table


def test_numbers_are_those_of_the_headers():
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.is_file():
        pytest.skip("no kernel headers")
    real = {name: int(nr) for name, nr in re.findall(r"#define __NR_(\w+) (\d+)", header.read_text())}
    mine = {number: handler.name for number, handler in TABLE.items()}
    wrong = {name: number for number, name in mine.items() if name in real and real[name] != number}
    unknown = {name for name in mine.values() if name not in real} - {"fchmodat2"}
    assert not wrong
    assert not unknown
    assert {"read", "openat", "statx", "getdents64", "epoll_wait", "fremovexattr"} <= set(mine.values())


# ---- status


@pytest.mark.parametrize("name", ["file", "dir", "link", "dangling", "fifo", "/dev/null", "/", "/proc/version"])
@pytest.mark.parametrize("follow", [True, False])
def test_stat_is_byte_for_byte_the_hosts(guest, name, follow):
    call = "stat" if follow else "lstat"
    buffer = ctypes.create_string_buffer(144)
    expected = native(call, name, buffer)
    assert guest(call, name, BUFFER) == expected
    if expected == 0:
        assert guest.fetch(120)[:144] == buffer.raw[:120]
        assert guest("newfstatat", AT_FDCWD, name, BUFFER, 0 if follow else 0x100) == 0
        assert guest.fetch(144) == buffer.raw


def test_fstat_and_empty_path(guest):
    fd = guest("open", "file", 0)
    buffer = ctypes.create_string_buffer(144)
    native("stat", "file", buffer)
    assert guest("fstat", fd, BUFFER) == 0
    assert guest.fetch(144) == buffer.raw
    guest.put(bytes(144))
    assert guest("newfstatat", fd, "", BUFFER, 0x1000) == 0
    assert guest.fetch(144) == buffer.raw
    assert guest("newfstatat", fd, "", BUFFER, 0) == -errno.ENOENT
    assert guest("newfstatat", AT_FDCWD, "", BUFFER, 0x1000) == 0


@pytest.mark.parametrize("name", ["file", "dir", "fifo", "/dev/null"])
def test_statx_fields_are_the_hosts(guest, name):
    buffer = ctypes.create_string_buffer(256)
    assert native("statx", AT_FDCWD, name, 0, 0x7FF, buffer) == 0
    assert guest("statx", AT_FDCWD, name, 0, 0x7FF, BUFFER) == 0
    mine = guest.fetch(256)
    assert struct.unpack_from("<I", mine)[0] & 0x7FF == 0x7FF
    # From nlink to blocks, then atime, ctime, mtime and the devices; the time of birth is not Python's to know.
    for start, stop in ((4, 8), (16, 56), (64, 80), (96, 144)):
        assert mine[start:stop] == buffer.raw[start:stop], (start, stop)


def test_statfs_is_the_hosts_but_for_the_type(guest):
    buffer = ctypes.create_string_buffer(120)
    assert native("statfs", ".", buffer) == 0
    assert guest("statfs", ".", BUFFER) == 0
    assert guest.fetch(24)[8:24] == buffer.raw[8:24]
    assert guest.fetch(8, BUFFER + 64) == buffer.raw[64:72]
    fd = guest("open", "file", 0)
    assert guest("fstatfs", fd, BUFFER) == 0
    assert guest("statfs", "nowhere", BUFFER) == -errno.ENOENT


# ---- reading, writing, descriptors


def test_read_write_seek(guest, tree):
    fd = guest("open", "new", O_RDWR | O_CREAT | O_EXCL, 0o666)
    assert fd == 3
    assert guest("write", fd, guest.put(b"0123456789"), 10) == 10
    assert guest("lseek", fd, -3, 2) == 7
    assert guest("read", fd, BUFFER, 100) == 3
    assert guest.fetch(3) == b"789"
    assert guest("pread64", fd, BUFFER, 4, 2) == 4
    assert guest.fetch(4) == b"2345"
    assert guest("lseek", fd, 0, 1) == 10
    assert guest("lseek", fd, 0, 3) == 0
    assert guest("lseek", fd, 0, 4) == 10
    assert guest("lseek", fd, 0, 9) == -errno.EINVAL
    assert guest("ftruncate", fd, 4) == 0
    assert (tree / "new").read_bytes() == b"0123"
    read_only = guest("open", "new", 0)
    assert guest("write", read_only, BUFFER, 1) == -errno.EBADF
    assert guest("ftruncate", read_only, 0) == -errno.EINVAL
    assert guest("read", guest("open", "dir", 0), BUFFER, 1) == -errno.EISDIR
    assert guest("read", guest("open", "file", O_PATH), BUFFER, 1) == -errno.EBADF


@pytest.mark.parametrize("memory", [True, False])
def test_vectors(guest, memory):
    fd = guest("memfd_create", "m", 0) if memory else guest("open", "v", O_RDWR | O_CREAT, 0o600)
    guest.put(b"abcdefgh", BUFFER + 100)
    guest.put(struct.pack("<6Q", BUFFER + 100, 3, 0, 0, BUFFER + 103, 5))
    assert guest("writev", fd, BUFFER, 3) == 8
    assert guest("preadv", fd, BUFFER, 3, 4) == 4
    assert guest.fetch(8, BUFFER + 100) == b"efghefgh"[:3] + b"h" + b"efgh"
    assert guest("pwritev", fd, BUFFER, 1, 1) == 3
    assert guest("readv", fd, BUFFER, 1025) == -errno.EINVAL
    assert guest("readv", fd, BUFFER, -1) == -errno.EINVAL
    assert guest("readv", fd, BUFFER, 0) == 0


def test_append(guest):
    for fd in (guest("open", "file", O_RDWR | O_APPEND), guest("memfd_create", "m", 0)):
        guest("fcntl", fd, 4, O_APPEND)
        end = guest("lseek", fd, 0, 2)
        guest("lseek", fd, 0, 0)
        assert guest("write", fd, guest.put(b"!"), 1) == 1
        assert guest("lseek", fd, 0, 1) == end + 1


def test_dup_shares_the_description_but_not_the_flags(guest):
    fd = guest("open", "file", O_CLOEXEC)
    copy = guest("dup", fd)
    assert (fd, copy) == (3, 4)
    assert guest("fcntl", fd, 1, 0) == 1
    assert guest("fcntl", copy, 1, 0) == 0
    guest("lseek", fd, 7, 0)
    assert guest("lseek", copy, 0, 1) == 7
    guest("fcntl", copy, 4, O_APPEND | O_NONBLOCK)
    assert guest("fcntl", fd, 3, 0) & (O_APPEND | O_NONBLOCK) == O_APPEND | O_NONBLOCK
    assert guest("close", fd) == 0
    assert guest("read", copy, BUFFER, 5) == 5
    assert guest.fetch(5) == b"world"
    assert guest("dup", copy) == 3
    assert guest("dup2", copy, 20) == 20
    assert guest("dup2", copy, copy) == copy
    assert guest("dup3", copy, 21, O_CLOEXEC) == 21
    assert guest("fcntl", 21, 1, 0) == 1
    assert guest("fcntl", copy, 0, 20) == 22
    assert guest("fcntl", copy, 1030, 30) == 30
    assert guest("close_range", 4, M64 & 0xFFFFFFFF, 0) == 0
    assert guest.files.descriptors() == [0, 1, 2, 3]
    assert guest("read", 3, BUFFER, 1) == 1


@pytest.mark.parametrize("flags", [0, 1, O_RDWR, O_RDWR | O_APPEND, O_NONBLOCK | O_CLOEXEC, O_PATH, O_RDWR | O_TRUNC])
def test_status_flags_are_the_hosts(guest, flags):
    fd, host = guest("open", "file", flags), os.open("file", flags)
    assert guest("fcntl", fd, 3, 0) == native("fcntl", host, 3, 0)
    os.close(host)


def test_descriptors_run_out(guest, tree):
    guest.files.limits = {7: (6, 6)}
    assert [guest("open", "file", 0) for _ in range(4)] == [3, 4, 5, -errno.EMFILE]
    assert guest("open", "never", O_CREAT, 0o600) == -errno.EMFILE
    assert not (tree / "never").exists()
    guest("close", 5)
    before = len(os.listdir("/proc/self/fd"))
    assert guest("pipe", BUFFER) == -errno.EMFILE
    assert guest.files.descriptors() == [0, 1, 2, 3, 4]
    assert len(os.listdir("/proc/self/fd")) == before


def test_umask_is_the_guests(guest):
    host = os.umask(0o077)
    try:
        assert guest("umask", 0o002) == 0o022
        guest("open", "made", O_CREAT | O_RDWR, 0o666)
        guest("mkdir", "made_dir", 0o777)
        assert stat.S_IMODE(os.stat("made").st_mode) == 0o664
        assert stat.S_IMODE(os.stat("made_dir").st_mode) == 0o775
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(host)


def test_sendfile_and_copy_file_range(guest, tree):
    big = os.urandom(3_000_000)
    (tree / "big").write_bytes(big)
    source, target = guest("open", "big", 0), guest("open", "copy", O_RDWR | O_CREAT, 0o600)
    assert guest("sendfile", target, source, 0, 1_500_000) == 1_500_000
    assert guest("lseek", source, 0, 1) == 1_500_000
    guest.put(struct.pack("<q", 1_500_000))
    assert guest("copy_file_range", source, BUFFER, target, 0, M64, 0) == 1_500_000
    assert struct.unpack("<q", guest.fetch(8)) == (3_000_000,)
    assert guest("lseek", source, 0, 1) == 1_500_000
    assert (tree / "copy").read_bytes() == big
    reader, _writer = guest.pair()
    assert guest("sendfile", target, reader, 0, 5) == -errno.EINVAL


# ---- newer calls, and those that are refused


def test_statx_tells_birth_and_mount_as_the_host_does(guest):
    wanted = ctypes.create_string_buffer(256)
    assert native("statx", AT_FDCWD, "file", 0, 0xFFF, wanted) == 0
    assert guest("statx", AT_FDCWD, "file", 0, 0xFFF, BUFFER) == 0
    mine = guest.fetch(256)
    for field in (slice(0, 16), slice(56, 64), slice(80, 96), slice(144, 152)):
        assert mine[field] == wanted.raw[field]


@pytest.mark.parametrize(
    ("path", "flags", "mode", "resolve"),
    [
        ("file", 0, 0, 0),
        ("link", 0, 0, 4),
        ("file", 0, 0, 4),
        ("dir/inner", 0, 0, 8),
        ("dir/../../x", 0, 0, 8),
        ("/etc/passwd", 0, 0, 8),
        ("new", O_CREAT | O_RDWR, 0o600, 0),
        ("file", 0, 0o600, 0),
        ("file", 1 << 40, 0, 0),
        ("file", 0, 0, 1 << 20),
        ("missing", 0, 0, 0),
    ],
)
def test_openat2_is_the_hosts(guest, path, flags, mode, resolve):
    how = struct.pack("<3Q", flags, mode, resolve)
    wanted = native("openat2", AT_FDCWD, path, ctypes.create_string_buffer(how, 24), 24)
    if wanted == -errno.ENOSYS:
        pytest.skip("the host has no openat2(2)")
    if wanted >= 0:
        os.close(wanted)
    mine = guest("openat2", AT_FDCWD, path, guest.put(how), 24)
    assert (min(0, mine)) == (min(0, wanted))


def test_preadv2_at_minus_one_uses_the_position(guest):
    fd = guest("open", "file", O_RDWR)
    vector = guest.put(struct.pack("<QQ", BUFFER + 64, 5))
    assert guest("preadv2", fd, vector, 1, -1, 0, 0) == 5
    assert guest.fetch(5, BUFFER + 64) == b"hello"
    assert guest("lseek", fd, 0, 1) == 5
    assert guest("preadv2", fd, vector, 1, 7, 0, 0) == 5
    assert guest("lseek", fd, 0, 1) == 5
    assert guest("preadv2", fd, vector, 1, 0, 0, 0x4000) == -errno.EOPNOTSUPP
    assert guest("pwritev2", fd, vector, 1, -1, 0, 0) == 5
    assert Path("file").read_bytes()[5:10] == b"world"


def test_other_families_are_refused_with_a_note(guest):
    assert guest("socket", 2, 1, 0) == -errno.EAFNOSUPPORT
    assert "network" in guest.notes[0]
    assert guest("inotify_init1", 0) == -errno.ENOSYS
    assert "inotify" in guest.notes[1]
    assert guest("mount", 0, 0, 0, 0, 0) == -errno.EPERM
    assert len(guest.notes) == 2


def test_proc_files_have_no_length_but_content(guest):
    assert guest("stat", "/proc/self/stat", BUFFER) == 0
    size, block = struct.unpack_from("<qq", guest.fetch(144), 48)
    assert (size, block) == (0, 1024)
    fd = guest("open", "/proc/self/stat", 0)
    count = guest("read", fd, BUFFER, 4096)
    fields = guest.fetch(count).split()
    assert (fields[0], fields[3], len(fields)) == (b"4711", b"4710", 52)
