"""System calls by which a process asks who and where it is: ids, limits, names, times, random bytes."""

import struct

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.table import Int, Pointer, UInt, ULong, syscall

_NS = 1_000_000_000
_RUSAGE_SELF, _RUSAGE_CHILDREN, _RUSAGE_THREAD = 0, -1, 1
_UTS_FIELD = 65
_TIMESPEC = struct.Struct("<qq")
_RUSAGE = struct.Struct("<16q")
_SYSINFO = struct.Struct("<q3Q6QHH4xQQI4x")
_ARCH_SET_GS, _ARCH_SET_FS, _ARCH_GET_FS, _ARCH_GET_GS = 0x1001, 0x1002, 0x1003, 0x1004
_PR_SET_NAME, _PR_GET_NAME = 15, 16
_PR_HARMLESS = frozenset((1, 2, 3, 4, 8, 23, 24, 36, 37, 38, 39, 0x53564D41))
_CLOCKS_OF_CPU = frozenset((2, 3))
_CLOCK_MAX = 11
_CAPABILITY_VERSION = 0x2008_0522
_INFINITY = (1 << 64) - 1
_RLIMIT_STACK, _RLIMIT_NPROC, _RLIMIT_NOFILE, _RLIMIT_MEMLOCK = 3, 6, 7, 8
_LIMITS = {
    4: (0, _INFINITY),  # RLIMIT_CORE: a crash leaves a report, not a core file
    _RLIMIT_STACK: (8 << 20, _INFINITY),
    _RLIMIT_NPROC: (31_000, 31_000),
    _RLIMIT_NOFILE: (1024, 1 << 20),
    _RLIMIT_MEMLOCK: (8 << 20, 8 << 20),
    11: (31_000, 31_000),
    12: (819_200, 819_200),
    13: (0, 0),
    14: (0, 0),
}
MEMORY_TOTAL = 8 << 30


@syscall(39)
def getpid(kernel: Kernel) -> int:
    """getpid(2)."""
    return kernel.identity.pid


@syscall(110)
def getppid(kernel: Kernel) -> int:
    """getppid(2)."""
    return kernel.identity.ppid


@syscall(102)
def getuid(kernel: Kernel) -> int:
    """getuid(2)."""
    return kernel.identity.uid


@syscall(107)
def geteuid(kernel: Kernel) -> int:
    """geteuid(2)."""
    return kernel.identity.uid


@syscall(104)
def getgid(kernel: Kernel) -> int:
    """getgid(2)."""
    return kernel.identity.gid


@syscall(108)
def getegid(kernel: Kernel) -> int:
    """getegid(2)."""
    return kernel.identity.gid


@syscall(115)
def getgroups(kernel: Kernel, size: Int, groups: Pointer) -> int:
    """getgroups(2)."""
    mine = kernel.identity.groups
    if size and size < len(mine):
        raise SyscallError("EINVAL")
    if size:
        kernel.memory.write(groups, struct.pack(f"<{len(mine)}I", *mine))
    return len(mine)


def _three(kernel: Kernel, value: int, pointers: tuple[int, ...]) -> int:
    for pointer in pointers:
        kernel.memory.write(pointer, struct.pack("<I", value))
    return 0


@syscall(118)
def getresuid(kernel: Kernel, ruid: Pointer, euid: Pointer, suid: Pointer) -> int:
    """getresuid(2)."""
    return _three(kernel, kernel.identity.uid, (ruid, euid, suid))


@syscall(120)
def getresgid(kernel: Kernel, rgid: Pointer, egid: Pointer, sgid: Pointer) -> int:
    """getresgid(2)."""
    return _three(kernel, kernel.identity.gid, (rgid, egid, sgid))


def _become(now: int, wanted: tuple[int, ...]) -> int:
    if any(value not in {now, 0xFFFF_FFFF} for value in wanted):
        raise SyscallError("EPERM")
    return 0


@syscall(105)
def setuid(kernel: Kernel, uid: UInt) -> int:
    """setuid(2): to whom it is already."""
    if uid == 0xFFFF_FFFF:
        raise SyscallError("EINVAL")
    return _become(kernel.identity.uid, (uid,))


@syscall(106)
def setgid(kernel: Kernel, gid: UInt) -> int:
    """setgid(2): to what it is already."""
    if gid == 0xFFFF_FFFF:
        raise SyscallError("EINVAL")
    return _become(kernel.identity.gid, (gid,))


@syscall(117)
def setresuid(kernel: Kernel, ruid: UInt, euid: UInt, suid: UInt) -> int:
    """setresuid(2)."""
    return _become(kernel.identity.uid, (ruid, euid, suid))


@syscall(119)
def setresgid(kernel: Kernel, rgid: UInt, egid: UInt, sgid: UInt) -> int:
    """setresgid(2)."""
    return _become(kernel.identity.gid, (rgid, egid, sgid))


@syscall(113)
def setreuid(kernel: Kernel, ruid: UInt, euid: UInt) -> int:
    """setreuid(2)."""
    return _become(kernel.identity.uid, (ruid, euid))


@syscall(114)
def setregid(kernel: Kernel, rgid: UInt, egid: UInt) -> int:
    """setregid(2)."""
    return _become(kernel.identity.gid, (rgid, egid))


@syscall(63)
def uname(kernel: Kernel, buf: Pointer) -> int:
    """uname(2): a Linux new enough for today's libc, whatever the host is; but with the host's name."""
    fields = (b"Linux", kernel.system.hostname[: _UTS_FIELD - 1], b"6.1.0", b"#1 SMP", b"x86_64", b"(none)")
    kernel.memory.write(buf, b"".join(field.ljust(_UTS_FIELD, b"\0") for field in fields))
    return 0


@syscall(99)
def sysinfo(kernel: Kernel, info: Pointer) -> int:
    """sysinfo(2)."""
    seconds = kernel.clock.read() // _NS
    half = MEMORY_TOTAL // 2
    packed = _SYSINFO.pack(seconds, 0, 0, 0, MEMORY_TOTAL, half, 0, 0, 0, 0, 1, 0, 0, 0, 1)
    kernel.memory.write(info, packed)
    return 0


@syscall(302)
def prlimit64(kernel: Kernel, _pid: Int, resource: Int, new: Pointer, old: Pointer) -> int:
    """prlimit(2)."""
    if not 0 <= resource < 16:
        raise SyscallError("EINVAL")
    limits = kernel.identity.limits
    now = limits.get(resource, _LIMITS.get(resource, (_INFINITY, _INFINITY)))
    wanted = struct.unpack("<QQ", kernel.memory.read(new, 16)) if new else None
    if old:
        kernel.memory.write(old, struct.pack("<QQ", *now))
    if wanted is not None:
        if wanted[0] > wanted[1]:
            raise SyscallError("EINVAL")
        if wanted[1] > now[1]:
            raise SyscallError("EPERM")
        limits[resource] = (wanted[0], wanted[1])
    return 0


@syscall(97)
def getrlimit(kernel: Kernel, resource: Int, rlim: Pointer) -> int:
    """getrlimit(2)."""
    return prlimit64(kernel, Int(0), resource, Pointer(0), rlim)


@syscall(160)
def setrlimit(kernel: Kernel, resource: Int, rlim: Pointer) -> int:
    """setrlimit(2)."""
    return prlimit64(kernel, Int(0), resource, rlim, Pointer(0))


@syscall(98)
def getrusage(kernel: Kernel, who: Int, usage: Pointer) -> int:
    """getrusage(2): the time that passed, all of it the program's own; nothing for its children."""
    if who not in {_RUSAGE_SELF, _RUSAGE_CHILDREN, _RUSAGE_THREAD}:
        raise SyscallError("EINVAL")
    if who == _RUSAGE_CHILDREN:
        kernel.memory.write(usage, bytes(_RUSAGE.size))
        return 0
    micros = kernel.clock.read() // 1000
    kernel.memory.write(usage, _RUSAGE.pack(micros // 1_000_000, micros % 1_000_000, 0, 0, 8192, *[0] * 11))
    return 0


@syscall(100)
def times(kernel: Kernel, buf: Pointer) -> int:
    """times(2), in clock ticks of 10 ms."""
    ticks = kernel.clock.read() // 10_000_000
    if buf:
        kernel.memory.write(buf, struct.pack("<4q", ticks, 0, 0, 0))
    return ticks


@syscall(228)
def clock_gettime(kernel: Kernel, clockid: Int, tp: Pointer) -> int:
    """clock_gettime(2)."""
    if clockid < 0:
        clockid = Int(2)  # a thread's or a process's CPU clock
    if clockid > _CLOCK_MAX:
        raise SyscallError("EINVAL")
    now = kernel.clock.realtime() if clockid in {0, 5, 11} else kernel.clock.read()
    kernel.memory.write(tp, _TIMESPEC.pack(now // _NS, now % _NS))
    return 0


@syscall(229)
def clock_getres(kernel: Kernel, clockid: Int, res: Pointer) -> int:
    """clock_getres(2)."""
    if clockid > _CLOCK_MAX:
        raise SyscallError("EINVAL")
    if res:
        kernel.memory.write(res, _TIMESPEC.pack(0, 1))
    return 0


@syscall(96)
def gettimeofday(kernel: Kernel, tv: Pointer, tz: Pointer) -> int:
    """gettimeofday(2)."""
    now = kernel.clock.realtime()
    if tv:
        kernel.memory.write(tv, _TIMESPEC.pack(now // _NS, now % _NS // 1000))
    if tz:
        kernel.memory.write(tz, bytes(8))
    return 0


@syscall(201)
def time(kernel: Kernel, tloc: Pointer) -> int:
    """time(2)."""
    now = kernel.clock.realtime() // _NS
    if tloc:
        kernel.memory.write(tloc, struct.pack("<q", now))
    return now


@syscall(318)
def getrandom(kernel: Kernel, buf: Pointer, buflen: ULong, _flags: UInt) -> int:
    """getrandom(2): from the run's own seed."""
    count = min(buflen, 1 << 16)
    kernel.memory.write(buf, kernel.files.random.randbytes(count))
    return count


@syscall(158)
def arch_prctl(kernel: Kernel, code: Int, addr: Pointer) -> int:
    """arch_prctl(2)."""
    names = {_ARCH_SET_FS: "fs_base", _ARCH_GET_FS: "fs_base", _ARCH_SET_GS: "gs_base", _ARCH_GET_GS: "gs_base"}
    name = names.get(code)
    if name is None:
        raise SyscallError("EINVAL")
    if code in {_ARCH_SET_FS, _ARCH_SET_GS}:
        if addr >> 47:
            raise SyscallError("EPERM")
        kernel.machine.set(name, addr)
    else:
        kernel.memory.write(addr, struct.pack("<Q", kernel.machine.get(name)))
    return 0


@syscall(157)
def prctl(kernel: Kernel, option: Int, arg2: ULong, _arg3: ULong, _arg4: ULong, _arg5: ULong) -> int:
    """prctl(2): the name, and what changes nothing for a process that is alone."""
    if option == _PR_SET_NAME:
        kernel.identity.name = kernel.memory.cstring(arg2)[:15]
        return 0
    if option == _PR_GET_NAME:
        kernel.memory.write(arg2, kernel.identity.name.ljust(16, b"\0"))
        return 0
    if option in _PR_HARMLESS:
        return 0
    raise SyscallError("EINVAL")


@syscall(204)
def sched_getaffinity(kernel: Kernel, _pid: Int, size: ULong, mask: Pointer) -> int:
    """sched_getaffinity(2): outside of the sandbox as many CPUs as the host has: programs size their tables by it."""
    count = kernel.files.cpus
    needed = (count + 63) // 64 * 8
    if size < needed or size % 8:
        raise SyscallError("EINVAL")
    kernel.memory.write(mask, ((1 << count) - 1).to_bytes(needed, "little"))
    return needed


@syscall(140)
def getpriority(_kernel: Kernel, which: Int, _who: Int) -> int:
    """getpriority(2): the system call returns 20 less the nice value."""
    if which not in {0, 1, 2}:
        raise SyscallError("EINVAL")
    return 20


@syscall(141)
def setpriority(_kernel: Kernel, _which: Int, _who: Int, _prio: Int) -> int:
    """setpriority(2)."""
    return 0


@syscall(125)
def capget(kernel: Kernel, header: Pointer, data: Pointer) -> int:
    """capget(2): an ordinary user has none. The kernel tells its version to who asks with another."""
    (version,) = struct.unpack("<I", kernel.memory.read(header, 4))
    words = {0x1998_0330: 3, 0x2007_1026: 6, _CAPABILITY_VERSION: 6}.get(version)
    if words is None:
        kernel.memory.write(header, struct.pack("<I", _CAPABILITY_VERSION))
        if data:
            raise SyscallError("EINVAL")
        return 0
    if data:
        kernel.memory.write(data, bytes(4 * words))
    return 0


@syscall(126)
def capset(kernel: Kernel, header: Pointer, data: Pointer) -> int:
    """capset(2): giving up what one does not have is allowed, nothing else."""
    (version,) = struct.unpack("<I", kernel.memory.read(header, 4))
    if version not in {0x1998_0330, 0x2007_1026, _CAPABILITY_VERSION}:
        raise SyscallError("EINVAL")
    if any(kernel.memory.read(data, 12)):
        raise SyscallError("EPERM")
    return 0


@syscall(142)
def sched_setparam(kernel: Kernel, _pid: Int, param: Pointer) -> int:
    """sched_setparam(2): the ordinary policy has priority 0 only."""
    if kernel.memory.read(param, 4) != bytes(4):
        raise SyscallError("EINVAL")
    return 0


@syscall(148)
def sched_rr_get_interval(kernel: Kernel, _pid: Int, interval: Pointer) -> int:
    """sched_rr_get_interval(2): 4 ms."""
    kernel.memory.write(interval, _TIMESPEC.pack(0, 4_000_000))
    return 0
