"""A guest without a CPU, whose system calls are made by hand, and the same calls made by the host."""

import ctypes
import errno
import os
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest

import emuleak.kernel  # noqa: F401 - it registers the handlers
from emuleak.kernel.abi import SyscallError, guest_errno
from emuleak.kernel.table import TABLE, load_all
from emuleak.kernel.vfs import FileSystem
from emuleak.memory import READ, WRITE, AddressSpace, Fault, Region

load_all()
LIBC = ctypes.CDLL(None, use_errno=True)
BASE = 0x7FFF_0000_0000
SIZE = 1 << 20
BUFFER = BASE + 0x40000
WILD = 0x1234_5678_9000
M64 = (1 << 64) - 1
AT_FDCWD = -100
O_RDWR, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NONBLOCK = 2, 0o100, 0o200, 0o1000, 0o2000, 0o4000
O_DIRECTORY, O_NOFOLLOW, O_CLOEXEC, O_PATH = 0o200000, 0o400000, 0o2000000, 0o10000000
NUMBER = {handler.name: number for number, handler in TABLE.items()}


class Guest:
    """A process without a CPU: memory, files, and calls that answer as RAX would."""

    def __init__(self, **options: object) -> None:
        self.memory = AddressSpace()
        self.memory.map(Region(BASE, BASE + SIZE, READ | WRITE, "anonymous"))
        self.files = FileSystem(**options)
        self.clock = SimpleNamespace(elapsed_ns=0, realtime=lambda: 1_700_000_000 * 10**9)
        self.clock.advance_to = lambda ns: setattr(self.clock, "elapsed_ns", ns)
        self.notes: list[str] = []
        self.kernel = SimpleNamespace(
            memory=self.memory,
            files=self.files,
            identity=SimpleNamespace(pid=4711, uid=1000, gid=1000, umask=0o022, limits={}),
            clock=self.clock,
            note=self.notes.append,
            threads=SimpleNamespace(alive=1, current=SimpleNamespace(tid=1)),
            alone=True,
            system=SimpleNamespace(net="none"),
        )
        self._next = BASE

    def text(self, value: str | bytes) -> int:
        data = (value if isinstance(value, bytes) else os.fsencode(value)) + b"\0"
        if self._next + len(data) > BUFFER:
            self._next = BASE
        address, self._next = self._next, self._next + len(data)
        self.memory.write(address, data)
        return address

    def raw(self, name: str, *arguments: int | str | bytes) -> int | None:
        values = [self.text(each) if isinstance(each, str | bytes) else each & M64 for each in arguments]
        return TABLE[NUMBER[name]](self.kernel, (*values, *[0] * (6 - len(values))))

    def __call__(self, name: str, *arguments: int | str | bytes) -> int | None:
        try:
            return self.raw(name, *arguments)
        except SyscallError as error:
            return -error.number
        except Fault:
            return -errno.EFAULT
        except OSError as error:
            return -guest_errno(error)

    def fetch(self, length: int, address: int = BUFFER) -> bytes:
        return self.memory.read(address, length)

    def put(self, data: bytes, address: int = BUFFER) -> int:
        self.memory.write(address, data)
        return address

    def pair(self, flags: int = 0) -> tuple[int, int]:
        assert self("pipe2", BUFFER, flags) == 0
        return struct.unpack("<ii", self.fetch(8))


def native(name: str, *arguments: object) -> int:
    """The same call made by the host."""
    values = [
        ctypes.c_char_p(os.fsencode(each))
        if isinstance(each, str)
        else each
        if isinstance(each, ctypes.Array)
        else ctypes.c_long(each - (1 << 64) if each >> 63 > 0 else each)
        for each in arguments
    ]
    ctypes.set_errno(0)
    result = LIBC.syscall(ctypes.c_long(NUMBER[name]), *values)
    return -ctypes.get_errno() if result == -1 else result


LIBC.syscall.restype = ctypes.c_long


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(b"hello, world\n")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "inner").write_bytes(b"x" * 5000)
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "fifo")
    return tmp_path


@pytest.fixture
def guest(tree: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tree)
    guest = Guest()
    yield guest
    guest.files.close_all()
