"""Addresses of unix(7): `struct sockaddr_un` to and from guest memory, and the socket that one names."""

import os
import stat
import struct

from emuleak.kernel.abi import AT_FDCWD, SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.hosttree import Place
from emuleak.kernel.sockets import Socket

AF_UNIX = 1
_MANY = 1024  # names of sockets, before those of closed ones are forgotten
_LONGEST = 110  # sizeof(struct sockaddr_un)


def parse(kernel: Kernel, address: int, length: int) -> bytes:
    """The name in a sockaddr_un: a path, or an abstract name with its leading NUL. Raises SyscallError, Fault."""
    if not 2 <= length <= _LONGEST:
        raise SyscallError("EINVAL")
    data = kernel.memory.read(address, length)
    if struct.unpack_from("<H", data)[0] != AF_UNIX:
        raise SyscallError("EINVAL")
    name = data[2:]
    return name if name[:1] == b"\0" else name.split(b"\0")[0]


def give(kernel: Kernel, name: bytes, address: int, length: int) -> None:
    """Store the address of that name where a call such as accept(2) wants it; NULL: nowhere."""
    if not address:
        return
    (room,) = struct.unpack("<i", kernel.memory.read(length, 4))
    if room < 0:
        raise SyscallError("EINVAL")
    packed = struct.pack("<H", AF_UNIX) + name + (b"\0" if name[:1] not in {b"", b"\0"} else b"")
    kernel.memory.write(address, packed[:room])
    kernel.memory.write(length, struct.pack("<i", len(packed)))


def bind(kernel: Kernel, socket: Socket, name: bytes) -> None:
    """Give a socket its name; a path makes a file. Raises SyscallError, OSError."""
    if not name:
        name = b"\0%05x" % len(kernel.files.listeners)
    place = _place(kernel, name)
    if place is not None and kernel.files.tree.exists(place):
        raise SyscallError("EADDRINUSE")
    if socket.name:
        raise SyscallError("EINVAL")
    if place is not None:
        with kernel.files.creating() as left_out:
            kernel.files.tree.mknod(place, stat.S_IFSOCK | 0o777 & ~left_out)
    key = _key(kernel, name)
    if place is None and key in kernel.files.listeners and not kernel.files.listeners[key].closed:
        raise SyscallError("EADDRINUSE")
    socket.name = name
    if len(kernel.files.listeners) >= _MANY:
        open_ones = {known: each for known, each in kernel.files.listeners.items() if not each.closed}
        kernel.files.listeners.clear()
        kernel.files.listeners.update(open_ones)
    kernel.files.listeners[key] = socket


def find(kernel: Kernel, name: bytes) -> Socket:
    """The socket of that name. Raises SyscallError ECONNREFUSED, or OSError when there is no such file."""
    place = _place(kernel, name)
    mode = 0 if place is None else kernel.files.tree.stat(place).st_mode
    known = kernel.files.listeners.get(_key(kernel, name))
    if isinstance(place, str) and known is None and stat.S_ISSOCK(mode):
        kernel.note(f"the socket {os.fsdecode(name)} is the host's: connecting was refused")
    if known is None or known.closed:
        raise SyscallError("ECONNREFUSED")
    return known


def _place(kernel: Kernel, name: bytes) -> Place:
    """The place of a path; None for an abstract name."""
    if name.startswith(b"\0"):
        return None
    return kernel.files.host_path(kernel.files.resolve(AT_FDCWD, os.fsdecode(name)))


def _key(kernel: Kernel, name: bytes) -> str:
    """What a name is known by: what is the same for every path of the file, or an abstract name with its NUL."""
    place = _place(kernel, name)
    return os.fsdecode(name) if place is None else kernel.files.identity(place)
