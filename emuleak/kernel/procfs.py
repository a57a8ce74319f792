"""What /proc/self says of the process, see proc(5); the mounts are the host's where the host has a /proc."""

import os
import posixpath
from collections.abc import Callable, Sequence
from typing import Protocol

_MOUNTS = b"/dev/root / ext4 rw 0 0\n"
_MOUNTINFO = b"1 1 8:1 / / rw - ext4 /dev/root rw\n"

# A mask of 1,024 memory nodes, as Debian's kernels print it.
_ONE_NODE = ",".join(["00000000"] * 31 + ["00000001"])


class Process(Protocol):
    """What has to be known of the process."""

    pid: int
    ppid: int
    program: str
    arguments: Sequence[bytes]
    umask: int
    cpus: int

    def descriptors(self) -> list[int]:
        """The open descriptors, by number."""


def texts(process: Process) -> dict[str, Callable[[], bytes]]:
    """What each file in /proc/self holds when it is opened."""
    return {
        "maps": bytes,
        "cmdline": lambda: b"".join(argument + b"\0" for argument in process.arguments),
        "comm": lambda: os.fsencode(_name(process)) + b"\n",
        "status": lambda: _status(process),
        "stat": lambda: _stat(process),
        "statm": lambda: b"2048 1024 512 16 0 256 0\n",
        "mounts": lambda: _host("/proc/self/mounts", _MOUNTS),
        "mountinfo": lambda: _host("/proc/self/mountinfo", _MOUNTINFO),
    }


def _name(process: Process) -> str:
    return posixpath.basename(process.program)[:15]


def _status(process: Process) -> bytes:
    rows = {
        "Name": _name(process),
        "Umask": f"{process.umask:04o}",
        "State": "R (running)",
        "Tgid": process.pid,
        "Pid": process.pid,
        "PPid": process.ppid,
        "TracerPid": 0,
        "FDSize": max(process.descriptors(), default=0) + 1,
        "Threads": 1,
        "Cpus_allowed": f"{(1 << process.cpus) - 1:x}",
        "Cpus_allowed_list": f"0-{process.cpus - 1}" if process.cpus > 1 else "0",
        "Mems_allowed": _ONE_NODE,  # libnuma sizes its masks by it
        "Mems_allowed_list": 0,
    }
    return os.fsencode("".join(f"{name}:\t{value}\n" for name, value in rows.items()))


def _stat(process: Process) -> bytes:
    """One line of 52 numbers: who it is, one thread of priority 20, and zeros."""
    head = f"{process.pid} ({_name(process)}) R {process.ppid} {process.pid} {process.ppid} 0 -1 0"
    times = "0 " * 8  # faults and CPU time
    return os.fsencode(f"{head} {times}20 0 1 0 1 8388608 1024 18446744073709551615" + " 0" * 27 + "\n")


def _host(path: str, otherwise: bytes) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return otherwise
