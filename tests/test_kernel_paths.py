"""Paths, directories and what is served from memory, against the host's own Linux and the manual pages."""

import ctypes
import errno
import os
import stat
import struct
import sys

import pytest
from kernel_guest import AT_FDCWD, BUFFER, O_DIRECTORY, O_NONBLOCK, O_RDWR, WILD, Guest, native

from emuleak.kernel.abi import SyscallError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")


# ---- directories and paths


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("room", [64, 300, 32768])
def test_getdents_tells_every_entry_once(guest, tree, wide, room):
    for index in range(200):
        (tree / f"entry{'x' * (index % 30)}{index}").touch()
    fd = guest("open", ".", O_DIRECTORY)
    found: dict[str, tuple[int, int]] = {}
    while (count := guest("getdents64" if wide else "getdents", fd, BUFFER, room)) > 0:
        data, at = guest.fetch(count), 0
        while at < count:
            inode, _offset, length = struct.unpack_from("<QqH", data, at)
            record = data[at : at + length]
            name = (record[19:] if wide else record[18:-1]).split(b"\0")[0].decode()
            assert name not in found
            found[name] = (inode, record[18] if wide else record[-1])
            at += length
        assert at == count
    assert count == 0
    assert list(found)[:2] == [".", ".."]
    assert set(found) == {".", "..", *os.listdir()}
    for name, (inode, kind) in found.items():
        assert (inode, kind) == (os.lstat(name).st_ino, os.lstat(name).st_mode >> 12)
    (tree / "late").touch()
    assert guest("lseek", fd, 0, 0) == 0
    assert guest("getdents64", fd, BUFFER, 100_000) > 0
    assert b"late\0" in guest.fetch(100_000)


def test_getdents_needs_room_for_one(guest):
    fd = guest("open", ".", O_DIRECTORY)
    assert guest("getdents64", fd, BUFFER, 10) == -errno.EINVAL
    assert guest("getdents64", guest("open", "file", 0), BUFFER, 100) == -errno.ENOTDIR


def test_getdents_record_layout_is_the_hosts(guest):
    fd, host = guest("open", "dir", 0), os.open("dir", os.O_RDONLY)
    buffer = ctypes.create_string_buffer(4096)
    count = native("getdents64", host, buffer, 4096)
    assert guest("getdents64", fd, BUFFER, 4096) == count

    def records(data: bytes) -> set[tuple[int, int, int, bytes]]:
        found, at = set(), 0
        while at < len(data):
            inode, _, length, kind = struct.unpack_from("<QqHB", data, at)
            found.add((inode, length, kind, data[at + 19 : at + length].split(b"\0")[0]))
            at += length
        return found

    assert records(guest.fetch(count)) == records(buffer.raw[:count])
    os.close(host)


def test_working_directory_is_not_the_hosts(guest):
    here = os.getcwd()
    assert guest("chdir", "dir") == 0
    assert guest("access", "inner", 0) == 0
    assert guest("getcwd", BUFFER, 4096) == len(os.fsencode(here)) + 5
    assert guest.fetch(len(os.fsencode(here)) + 5) == os.fsencode(here) + b"/dir\0"
    assert guest("chdir", "..") == 0
    assert guest("fchdir", guest("open", "dir", O_DIRECTORY)) == 0
    assert guest("open", "inner", 0) > 0
    assert os.getcwd() == here
    fd = guest("open", here, O_DIRECTORY)
    assert guest("openat", fd, "file", 0, 0) > 0


def test_changing_the_tree(guest):
    assert guest("mkdirat", AT_FDCWD, "d", 0o755) == 0
    assert guest("rename", "file", "d/file") == 0
    assert guest("link", "d/file", "hard") == 0
    assert os.stat("hard").st_nlink == 2
    assert guest("symlink", "d/file", "soft") == 0
    assert guest("readlink", "soft", BUFFER, 3) == 3
    assert guest.fetch(3) == b"d/f"
    assert guest("chmod", "soft", 0o400) == 0
    assert stat.S_IMODE(os.stat("hard").st_mode) == 0o400
    fd = guest("open", "hard", 0)
    assert guest("unlink", "hard") == 0
    assert guest("unlink", "d/file") == 0
    assert guest("fchmod", fd, 0o640) == 0
    assert stat.S_IMODE(guest.files.get(fd).stat().st_mode) == 0o640
    assert guest("rmdir", "d") == 0
    assert guest("mknod", "dev", stat.S_IFCHR | 0o600, 0x103) == -errno.EPERM


def test_times(guest):
    guest.put(struct.pack("<4q", 1000, 5, 2000, 999_999_999))
    assert guest("utimensat", AT_FDCWD, "file", BUFFER, 0) == 0
    assert os.stat("file").st_atime_ns == 1000 * 10**9 + 5
    assert os.stat("file").st_mtime_ns == 2000 * 10**9 + 999_999_999
    guest.put(struct.pack("<4q", 0, 0x3FFFFFFE, 7, 0))
    fd = guest("open", "file", 0)
    assert guest("utimensat", fd, 0, BUFFER, 0) == 0
    assert (os.stat("file").st_atime_ns, os.stat("file").st_mtime_ns) == (1000 * 10**9 + 5, 7 * 10**9)
    guest.put(struct.pack("<4q", 0, 10**9, 7, 0))
    assert guest("utimensat", AT_FDCWD, "file", BUFFER, 0) == -errno.EINVAL
    guest.put(struct.pack("<4q", 3, 4, 5, 6))
    assert guest("utimes", "file", BUFFER) == 0
    assert os.stat("file").st_mtime_ns == 5 * 10**9 + 6000
    assert guest("utime", "file", 0) == 0


def test_extended_attributes(guest):
    try:
        os.setxattr("file", "user.probe", b"1")
    except OSError:
        pytest.skip("no extended attributes here")
    assert guest("setxattr", "file", "user.x", guest.put(b"value"), 5, 0) == 0
    assert guest("getxattr", "file", "user.x", 0, 0) == 5
    assert guest("getxattr", "file", "user.x", BUFFER, 2) == -errno.ERANGE
    fd = guest("open", "file", 0)
    assert guest("fgetxattr", fd, "user.x", BUFFER + 64, 100) == 5
    assert guest.fetch(5, BUFFER + 64) == b"value"
    assert guest("listxattr", "file", BUFFER, 1000) == len(b"user.probe\0user.x\0")


# ---- what is served from memory


def test_special_files(guest, tree):
    program = tree / "file"
    guest.files.program, guest.files.arguments = str(program), [b"prog", b"arg"]
    guest.files.proc["maps"] = lambda: b"the maps\n"
    for link in ("/proc/self/exe", "/proc/4711/exe"):
        assert guest("readlink", link, BUFFER, 4096) == len(str(program))
        assert guest.fetch(len(str(program))).decode() == str(program)
    for path, content in [
        ("/proc/self/exe", program.read_bytes()),
        ("/proc/self/maps", b"the maps\n"),
        ("/proc/self/cmdline", b"prog\0arg\0"),
        ("/dev/null", b""),
        ("/dev/zero", bytes(1000)),
    ]:
        fd = guest("open", path, 0)
        assert guest("read", fd, BUFFER, 1000) == len(content)
        assert guest.fetch(len(content)) == content
    assert guest("open", "/proc/self/maps", O_RDWR) == -errno.EACCES
    assert guest("open", "/proc/self/mem", O_RDWR) == -errno.ENOENT
    assert guest("open", "/proc/self/../self/mem", O_RDWR) == -errno.ENOENT
    assert guest("write", guest("open", "/dev/full", 1), BUFFER, 1) == -errno.ENOSPC
    fd = guest("open", "file", 0)
    assert guest("readlink", f"/proc/self/fd/{fd}", BUFFER, 4096) == len(str(program))
    assert guest("readlink", "/proc/self/fd/99", BUFFER, 4096) == -errno.ENOENT
    assert guest("lstat", "/proc/self/exe", BUFFER) == 0
    assert stat.S_ISLNK(struct.unpack_from("<I", guest.fetch(144), 24)[0])


def test_proc_fd_lists_the_descriptors(guest):
    fd = guest("open", "/proc/self/fd", O_DIRECTORY)
    count = guest("getdents64", fd, BUFFER, 4096)
    assert count == 24 * (2 + len(guest.files.descriptors()))


def test_random_bytes_repeat_with_the_seed():
    def draw(seed: int) -> bytes:
        guest = Guest(seed=seed)
        assert guest("read", guest("open", "/dev/urandom", 0), BUFFER, 64) == 64
        return guest.fetch(64)

    assert draw(1) == draw(1) != draw(2)


def test_standard_streams_of_the_caller(tmp_path):
    guest = Guest(stdin=b"input", capture=True)
    assert guest("read", 0, BUFFER, 100) == 5
    assert guest("read", 0, BUFFER, 100) == 0
    assert guest("write", 1, BUFFER, 5) == 5
    assert guest("dup2", 1, 2) == 2
    assert guest("write", 2, guest.put(b"!"), 1) == 1
    guest("close", 1)
    assert guest.files.output(1) == b"input!"
    assert guest("ioctl", 2, 0x5401, BUFFER) == -errno.ENOTTY
    (tmp_path / "in").write_bytes(b"from a file")
    guest = Guest(stdin=str(tmp_path / "in"))
    assert guest("read", 0, BUFFER, 100) == 11


def test_terminal(guest):
    control, terminal = os.openpty()
    fd = guest("open", os.ttyname(terminal), O_RDWR)
    buffer = ctypes.create_string_buffer(64)
    assert native("ioctl", terminal, 0x5401, buffer) == 0
    assert guest("ioctl", fd, 0x5401, BUFFER) == 0
    assert guest.fetch(36) == buffer.raw[:36]
    assert guest("ioctl", fd, 0x5402, BUFFER) == 0
    assert guest("ioctl", fd, 0x5413, BUFFER) == 0
    assert guest("ioctl", fd, 0x5413, WILD) == -errno.EFAULT
    assert guest("fcntl", fd, 4, O_NONBLOCK) == 0
    assert guest("read", fd, BUFFER, 1) == -errno.EAGAIN
    os.close(control)
    os.close(terminal)


def test_sysroot_serves_what_it_has(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "hostname").write_bytes(b"sysroot\n")
    guest = Guest(sysroot=str(tmp_path))
    assert guest("read", guest("open", "/etc/hostname", 0), BUFFER, 100) == 8
    assert guest("stat", "/etc/passwd", BUFFER) == 0
    assert guest.files.host_path("/tmp/x") == "/tmp/x"


def test_files_that_can_be_mapped(guest):
    fd = guest("open", "file", 0)
    window = memoryview(bytearray(100))
    guest.files.mappable(fd, shared_write=False).pread_into(window, 7)
    assert bytes(window[:7]) == b"world\n\0"
    for bad, name, shared in [(99, "EBADF", False), (fd, "EACCES", True), (guest("open", "dir", 0), "ENODEV", False)]:
        with pytest.raises(SyscallError, match=name):
            guest.files.mappable(bad, shared_write=shared)


def test_seals(guest):
    fd = guest("memfd_create", "m", 2)
    assert guest("write", fd, BUFFER, 10) == 10
    assert guest("fcntl", fd, 1033, 2 | 4) == 0
    assert guest("fcntl", fd, 1034, 0) == 6
    assert guest("ftruncate", fd, 5) == -errno.EPERM
    assert guest("ftruncate", fd, 20) == -errno.EPERM
    assert guest("pwrite64", fd, BUFFER, 10, 0) == 10
    assert guest("write", fd, BUFFER, 1) == -errno.EPERM
