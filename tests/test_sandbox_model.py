"""The files of the sandbox against a directory of the host's: the same calls, the same results and errnos."""

import ctypes
import errno
import os
import shutil
import stat
import struct
import sys
import tempfile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kernel_guest import BUFFER, native
from sandbox_guest import Boxed

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")

AT_FDCWD = -100
NEST = "/".join(["nest"] * 12)  # so that no ".." of a path leaves the directory
O_ACCESS = (0, 1, 2)
O_FLAGS = (0o100, 0o200, 0o1000, 0o2000, 0o200000, 0o400000, 0o10000000)
_STAT = struct.Struct("<QQQIII4xQqqq")

names = st.sampled_from(["a", "b", "c", "d", ".", "..", "x" * 255, "x" * 256])
paths = st.builds(
    lambda parts, slash: "/".join(parts) + "/" * slash, st.lists(names, min_size=1, max_size=3), st.booleans()
) | st.just("")
short_paths = st.sampled_from(["a", "b", "c", "a/b", "a/c", "b/a", "b/c", "a/b/c"])
# Linux reads both names of rename(2) before it follows the first; the handlers say ENOENT for an empty one at once.
named = short_paths | paths.filter(bool)
anywhere = short_paths | short_paths | paths
files = st.integers(0, 3)
offsets = st.sampled_from([0, 1, 5, 4096, 65535, 65536, 200_000, -1, 1 << 40])
flags = st.builds(
    lambda access, chosen: access | sum(chosen),
    st.sampled_from(O_ACCESS),
    st.lists(st.sampled_from(O_FLAGS), unique=True),
)
common_flags = st.sampled_from([0, 2, 0o102, 0o1102, 0o302, 0o200000])
data = st.sampled_from([0, 1, 40, 70_000])  # how many bytes
modes = st.sampled_from([0, 0o400, 0o644, 0o755, 0o1777, 0o4755, 0o2711])

CALLS = st.one_of(
    st.tuples(st.just("open"), named, common_flags | flags, modes),
    st.tuples(st.just("openat"), files, named, common_flags | flags, modes),
    st.tuples(st.just("close"), files),
    st.tuples(st.just("write"), files, data),
    st.tuples(st.just("pwrite64"), files, data, offsets),
    st.tuples(st.just("read"), files, st.sampled_from([0, 10, 100_000])),
    st.tuples(st.just("pread64"), files, st.sampled_from([10, 100_000]), offsets),
    st.tuples(st.just("lseek"), files, offsets, st.integers(0, 2)),
    st.tuples(st.just("ftruncate"), files, offsets),
    st.tuples(st.just("fstat"), files),
    st.tuples(st.just("fchmod"), files, modes),
    st.tuples(st.just("getdents64"), files),
    st.tuples(st.just("truncate"), anywhere, offsets),
    st.tuples(st.just("mkdir"), anywhere, modes),
    st.tuples(st.just("rmdir"), anywhere),
    st.tuples(st.just("unlink"), anywhere),
    st.tuples(st.just("rename"), named, named),
    st.tuples(st.just("renameat2"), named, named),
    st.tuples(st.just("link"), named, named),
    st.tuples(st.just("linkat"), named, named),
    st.tuples(st.just("symlink"), named, named),
    st.tuples(st.just("readlink"), anywhere),
    st.tuples(st.just("stat"), anywhere),
    st.tuples(st.just("lstat"), anywhere),
    st.tuples(st.just("access"), anywhere, st.integers(0, 7)),
    st.tuples(st.just("chmod"), anywhere, modes),
    st.tuples(st.just("mknod"), anywhere, st.sampled_from([0o644, 0o100600, 0o10644, 0o140644])),
)


def told(packed: bytes) -> tuple[int, ...]:
    """What of a struct stat must agree: the rest is the file system's own affair."""
    _dev, _ino, links, mode, uid, gid, _rdev, size, _block, _blocks = _STAT.unpack(packed[: _STAT.size])
    folder = stat.S_ISDIR(mode)
    return (0 if folder else links, mode, uid, gid, 0 if folder else size)


def entries(packed: bytes) -> list[tuple[bytes, int]]:
    found = []
    while packed:
        length, kind = struct.unpack_from("<HB", packed, 16)
        found.append((packed[19:length].split(b"\0")[0], kind))
        packed = packed[length:]
    return sorted(found)


class Side:
    """One of the two: descriptors by the order in which they were opened."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def perform(self, call: tuple) -> object:
        name, *arguments = call
        if name in {"open", "openat"}:
            return self._open(name, arguments)
        if name in {"renameat2", "linkat"}:
            old, new = arguments
            return self.call(name, AT_FDCWD, old, AT_FDCWD, new, {"renameat2": 1, "linkat": 0x400}[name])
        if name == "mknod":
            return self.call(name, *arguments, 0)
        if name in {"stat", "lstat"}:
            result, out = self.fill(name, arguments, 144)
            return (result, told(out)) if result == 0 else result
        if name == "readlink":
            result, out = self.fill(name, arguments, 4096, sized=True)
            return result, out[: max(0, result)]
        if isinstance(arguments[0], int):
            if arguments[0] >= len(self.fds):
                return "no such file"
            arguments[0] = self.fds[arguments[0]]
            return self._with_descriptor(name, arguments)
        return self.call(name, *arguments)

    def _open(self, name: str, arguments: list) -> object:
        if name == "openat":
            if arguments[0] >= len(self.fds):
                return "no such directory"
            arguments[0] = self.fds[arguments[0]]
        result = self.call(name, *arguments[:-2], arguments[-2] | 0o4000, arguments[-1])
        if result >= 0:
            self.fds.append(result)
            return "opened"
        return result

    def _with_descriptor(self, name: str, arguments: list) -> object:
        fd = arguments[0]
        if name == "close":
            self.fds.remove(fd)
            return self.call(name, fd)
        if name == "fstat":
            result, out = self.fill(name, [fd], 144)
            return (result, told(out)) if result == 0 else result
        if name == "getdents64":
            self.call("lseek", fd, 0, 0)
            result, out = self.fill(name, [fd], 1 << 16, sized=True)
            return entries(out[:result]) if result >= 0 else result
        if name in {"read", "pread64"}:
            size = arguments[1]
            result, out = self.transfer(name, fd, size, *arguments[2:])
            return result, out[: max(0, result)]
        if name in {"write", "pwrite64"}:
            return self.store(name, fd, bytes(range(1, 256)) * 300, *arguments[1:])
        return self.call(name, *arguments)


class Host(Side):
    def call(self, name: str, *arguments: object) -> int:
        return native(name, *arguments)

    def fill(self, name: str, arguments: list, room: int, *, sized: bool = False) -> tuple[int, bytes]:
        buffer = ctypes.create_string_buffer(room)
        result = native(name, *arguments, buffer, *([room] if sized else []))
        return result, buffer.raw

    def transfer(self, name: str, fd: int, size: int, *rest: int) -> tuple[int, bytes]:
        buffer = ctypes.create_string_buffer(size or 1)
        return native(name, fd, buffer, size, *rest), buffer.raw

    def store(self, name: str, fd: int, content: bytes, size: int, *rest: int) -> int:
        return native(name, fd, ctypes.create_string_buffer(content), size, *rest)


class Box(Side):
    def __init__(self) -> None:
        super().__init__()
        self.guest = Boxed(uid=os.getuid(), gid=os.getgid())
        owner = self.guest.files._tree.owner
        self.guest.files._folder("/home/user/" + NEST, owner)
        assert self.guest("chdir", NEST) == 0

    def call(self, name: str, *arguments: object) -> int:
        return self.guest(name, *arguments)

    def fill(self, name: str, arguments: list, room: int, *, sized: bool = False) -> tuple[int, bytes]:
        result = self.guest(name, *arguments, BUFFER, *([room] if sized else []))
        return result, self.guest.fetch(room)

    def transfer(self, name: str, fd: int, size: int, *rest: int) -> tuple[int, bytes]:
        result = self.guest(name, fd, BUFFER, size, *rest)
        return result, self.guest.fetch(size)

    def store(self, name: str, fd: int, content: bytes, size: int, *rest: int) -> int:
        self.guest.put(content)
        return self.guest(name, fd, BUFFER, size, *rest)


def alike(calls: list[tuple]) -> None:
    """Make the calls on both sides and compare what each of them gives."""
    before = os.getcwd()
    directory = tempfile.mkdtemp()
    box, host = Box(), Host()
    mask = os.umask(0o022)
    try:
        os.makedirs(os.path.join(directory, NEST))
        os.chdir(os.path.join(directory, NEST))
        for number, call in enumerate(calls):
            expected, got = host.perform(call), box.perform(call)
            assert got == expected, f"call {number}: {call}: {words(got)}, on the host {words(expected)}"
    finally:
        for fd in host.fds:
            os.close(fd)
        box.guest.files.close_all()
        box.guest.memory.close()
        os.umask(mask)
        os.chdir(before)
        shutil.rmtree(directory)
    assert box.guest.files.quota.bytes >= 0


def words(result: object) -> object:
    return errno.errorcode.get(-result, result) if isinstance(result, int) and result < 0 else result


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(CALLS, min_size=1, max_size=30))
def test_the_same_calls_give_the_same_results(calls: list[tuple]) -> None:
    alike(calls)


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(CALLS, min_size=1, max_size=60))
def test_long_sequences_give_the_same_results(calls: list[tuple]) -> None:
    alike(calls)
