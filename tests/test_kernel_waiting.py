"""Pipes, poll(2), select(2) and epoll(7): what is ready, and who waits."""

import errno
import struct
import sys

import pytest
from kernel_guest import BUFFER, O_CLOEXEC, O_NONBLOCK, O_RDWR

from emuleak.kernel.descriptions import BrokenPipe, WouldBlock

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="compares with the host's own Linux")


# ---- pipes


def test_pipe_semantics(guest):
    reader, writer = guest.pair()
    with pytest.raises(WouldBlock):
        guest.raw("read", reader, BUFFER, 10)
    assert guest("write", writer, guest.put(b"abc"), 3) == 3
    assert guest("ioctl", reader, 0x541B, BUFFER) == 0
    assert struct.unpack("<i", guest.fetch(4)) == (3,)
    assert guest("read", reader, BUFFER, 2) == 2
    assert guest("read", writer, BUFFER, 1) == -errno.EBADF
    assert guest("write", reader, BUFFER, 1) == -errno.EBADF
    assert guest("lseek", reader, 0, 0) == -errno.ESPIPE
    assert guest("pread64", reader, BUFFER, 1, 0) == -errno.ESPIPE
    assert guest("close", writer) == 0
    assert guest("read", reader, BUFFER, 10) == 1
    assert guest("read", reader, BUFFER, 10) == 0


def test_pipe_without_reader(guest):
    reader, writer = guest.pair()
    guest("close", reader)
    with pytest.raises(BrokenPipe):
        guest.raw("write", writer, BUFFER, 1)
    assert guest("write", writer, BUFFER, 1) == -errno.EPIPE


def test_full_pipe(guest):
    reader, writer = guest.pair()
    assert guest("write", writer, BUFFER, 65536) == 65536
    with pytest.raises(WouldBlock):
        guest.raw("write", writer, BUFFER, 1)
    assert guest("fcntl", writer, 4, O_NONBLOCK) == 0
    assert guest("write", writer, BUFFER, 1) == -errno.EAGAIN
    assert guest("read", reader, BUFFER, 100) == 100
    assert guest("write", writer, BUFFER, 4096) == -errno.EAGAIN
    assert guest("write", writer, BUFFER, 5000) == 100
    assert guest("fcntl", reader, 1032, 0) == 65536
    assert guest("fcntl", reader, 1031, 70000) == 131072


def test_dup_keeps_the_pipe_open(guest):
    reader, writer = guest.pair(O_NONBLOCK)
    copy = guest("dup", writer)
    guest("close", writer)
    assert guest("read", reader, BUFFER, 1) == -errno.EAGAIN
    guest("close", copy)
    assert guest("read", reader, BUFFER, 1) == 0


# ---- waiting


def test_poll(guest):
    reader, writer = guest.pair()
    file = guest("open", "file", 0)
    rows = [(reader, 1), (writer, 4), (file, 5), (99, 1), (-1, 1)]
    guest.put(b"".join(struct.pack("<ihh", fd, events, 0x7F) for fd, events in rows))
    assert guest("poll", BUFFER, 5, 0) == 3
    assert [each[2] for each in struct.iter_unpack("<ihh", guest.fetch(40))] == [0, 4, 5, 0x20, 0]
    with pytest.raises(WouldBlock) as wait:
        guest.raw("poll", BUFFER, 1, 250)
    assert wait.value.nanoseconds == 250_000_000
    assert guest("poll", BUFFER, 1, 0) == 0
    guest("close", writer)
    assert guest("poll", BUFFER, 1, -1) == 1
    assert struct.unpack("<ihh", guest.fetch(8))[2] == 0x10
    with pytest.raises(WouldBlock):
        guest.raw("poll", 0, 0, -1)


def test_poll_waits_for_the_host(guest):
    guest("open", "fifo", O_RDWR)
    guest.put(struct.pack("<ihh", 3, 1, 0))
    assert guest("poll", BUFFER, 1, 20) == 0
    assert guest.clock.elapsed_ns == 20_000_000
    guest("write", 3, BUFFER, 1)
    assert guest("poll", BUFFER, 1, -1) == 1


def test_select(guest):
    reader, writer = guest.pair()
    read_set, write_set = BUFFER + 0x100, BUFFER + 0x200
    guest.put(struct.pack("<Q", 1 << reader), read_set)
    guest.put(struct.pack("<Q", 1 << writer), write_set)
    assert guest("select", 10, read_set, write_set, 0, 0) == 1
    assert guest.fetch(8, read_set) == bytes(8)
    assert guest.fetch(8, write_set) == struct.pack("<Q", 1 << writer)
    guest.put(struct.pack("<Q", 1 << reader), read_set)
    with pytest.raises(WouldBlock) as wait:
        guest.raw("select", 10, read_set, 0, 0, 0)
    assert guest.fetch(8, read_set) == struct.pack("<Q", 1 << reader)
    wait.value.on_timeout()
    assert guest.fetch(8, read_set) == bytes(8)
    guest.put(struct.pack("<Q", 1 << 60), read_set)
    assert guest("select", 64, read_set, 0, 0, 0) == -errno.EBADF
    guest.put(struct.pack("<qq", 0, 0))
    assert guest("pselect6", 0, 0, 0, 0, BUFFER) == 0
    guest.put(struct.pack("<qq", 0, 10**9))
    assert guest("pselect6", 0, 0, 0, 0, BUFFER) == -errno.EINVAL


def test_epoll(guest):
    reader, writer = guest.pair()
    epoll = guest("epoll_create1", O_CLOEXEC)
    event = guest.put(struct.pack("<IQ", 1, 0xABCDEF), BUFFER + 0x100)
    assert guest("epoll_ctl", epoll, 1, reader, event) == 0
    assert guest("epoll_ctl", epoll, 1, reader, event) == -errno.EEXIST
    assert guest("epoll_ctl", epoll, 3, writer, event) == -errno.ENOENT
    assert guest("epoll_ctl", epoll, 1, epoll, event) == -errno.EINVAL
    assert guest("epoll_ctl", epoll, 1, guest("open", "file", 0), event) == -errno.EPERM
    assert guest("epoll_wait", epoll, BUFFER, 10, 0) == 0
    with pytest.raises(WouldBlock):
        guest.raw("epoll_wait", epoll, BUFFER, 10, -1)
    guest("write", writer, event, 1)
    assert guest("epoll_wait", epoll, BUFFER, 10, -1) == 1
    assert struct.unpack("<IQ", guest.fetch(12)) == (1, 0xABCDEF)
    guest.put(struct.pack("<IQ", 1 | 1 << 30, 5), event)
    assert guest("epoll_ctl", epoll, 3, reader, event) == 0
    assert guest("epoll_wait", epoll, BUFFER, 10, 0) == 1
    assert guest("epoll_wait", epoll, BUFFER, 10, 0) == 0
    assert guest("epoll_wait", epoll, BUFFER, 0, 0) == -errno.EINVAL
    guest("close", reader)
    assert guest("epoll_wait", epoll, BUFFER, 10, 0) == 0
