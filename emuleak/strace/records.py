"""Printers of the structures of files, times and limits: stat, statx, statfs, timespec, rlimit, rusage, utsname ..."""

import stat
import struct
import time
from typing import Final

from emuleak.strace import constants
from emuleak.strace.call import Call, signed
from emuleak.strace.quoting import quoted
from emuleak.strace.values import address_of, given, hexa_of, octal, packed, read

_FILE_TYPES: Final = {
    stat.S_IFSOCK: "S_IFSOCK",
    stat.S_IFLNK: "S_IFLNK",
    stat.S_IFREG: "S_IFREG",
    stat.S_IFBLK: "S_IFBLK",
    stat.S_IFDIR: "S_IFDIR",
    stat.S_IFCHR: "S_IFCHR",
    stat.S_IFIFO: "S_IFIFO",
}
_SPECIAL: Final = ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX"))
_INFINITY: Final = (1 << 64) - 1
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_DIRENT: Final = struct.Struct("<QqH")


def file_mode(mode: int) -> str:
    """A st_mode: the type of the file, special bits, permissions."""
    kind = _FILE_TYPES.get(stat.S_IFMT(mode))
    words = [kind] if kind else [hexa_of(stat.S_IFMT(mode))] if stat.S_IFMT(mode) else []
    words += [name for bit, name in _SPECIAL if mode & bit]
    return "|".join([*words, octal(mode & 0o777)])


def node_mode(_call: Call, value: int) -> str:
    """The mode argument of mknod(2)."""
    return file_mode(value & 0xFFFF)


def device(number: int) -> str:
    """A dev_t, taken apart as the C library does."""
    major = (number >> 8 & 0xFFF) | (number >> 32 & ~0xFFF)
    minor = (number & 0xFF) | (number >> 12 & 0xFFFFFF00)
    return f"makedev({hexa_of(major)}, {hexa_of(minor)})"


def device_number(call: Call, value: int) -> str | None:
    """The dev argument of mknod(2), which only a device has."""
    mode = call.registers[2 if call.name == "mknodat" else 1]
    return device(value & 0xFFFF_FFFF) if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else None


def _stat(mode: int, special: int, size: int) -> str:
    last = f"st_rdev={device(special)}" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else f"st_size={size}"
    return f"{{st_mode={file_mode(mode)}, {last}, ...}}"


status = packed("24xI12xQq88x", _stat)


def _statx(mask: int, attributes: int, mode: int, size: int) -> str:
    return (
        f"{{stx_mask={_statx_mask(mask)}, stx_attributes={hexa_of(attributes)}, stx_mode={file_mode(mode)}, "
        f"stx_size={size}, ...}}"
    )


def _statx_mask(mask: int) -> str:
    for name, bits in (("STATX_ALL", 0xFFF), ("STATX_BASIC_STATS", 0x7FF)):
        if mask & bits == bits:
            more = [words for words in (_more_of_statx(mask & ~bits),) if words]
            return "|".join([name, *more])
    return constants.STATX.bits(mask)


def _more_of_statx(rest: int) -> str:
    words = [name for name, bit in (("STATX_MNT_ID", 0x1000), ("STATX_DIOALIGN", 0x2000)) if rest & bit]
    left = rest & ~0x3000
    return "|".join([*words, hexa_of(left)] if left else words)


extended_status = packed("I4xQ12xH10xQ208x", _statx)


def statx_mask(_call: Call, value: int) -> str:
    """The mask argument of statx(2)."""
    return _statx_mask(value & 0xFFFF_FFFF)


def statx_flags(_call: Call, value: int) -> str:
    """The flags argument of statx(2): how up to date, then the flags of all -at calls."""
    how, rest = constants.STATX_SYNC.split(value & 0xFFFF_FFFF)
    others = [constants.AT.bits(rest)] if rest else []
    return "|".join([*(how or ["AT_STATX_SYNC_AS_STAT"]), *others])


def _statfs(*v: int) -> str:
    kind, size, blocks, free, available, files, files_free, first, second, longest, fragment, flags = v
    return (
        f"{{f_type={constants.FILE_SYSTEMS.one(kind)}, f_bsize={size}, f_blocks={blocks}, f_bfree={free}, "
        f"f_bavail={available}, f_files={files}, f_ffree={files_free}, "
        f"f_fsid={{val=[{hexa_of(first)}, {hexa_of(second)}]}}, f_namelen={longest}, f_frsize={fragment}, "
        f"f_flags={constants.MOUNT.bits(flags)}}}"
    )


file_system = packed("qqQQQQQII" + "qqq32x", _statfs)


def entries(call: Call, value: int) -> str:
    """What getdents(2) gave: how many entries."""
    raw = None if call.failed or call.result is None else read(call, value, call.result)
    if raw is None:
        return address_of(value)
    count = at = 0
    while at + _DIRENT.size <= len(raw) and (length := _DIRENT.unpack_from(raw, at)[2]):
        count, at = count + 1, at + length
    return f"{address_of(value)} /* {count} {'entry' if count == 1 else 'entries'} */"


# ---- times


def spec(seconds: int, nanoseconds: int) -> str:
    """A struct timespec."""
    return f"{{tv_sec={seconds}, tv_nsec={nanoseconds & _INFINITY}}}"


def val(seconds: int, microseconds: int) -> str:
    """A struct timeval."""
    return f"{{tv_sec={seconds}, tv_usec={microseconds & _INFINITY}}}"


timespec, told_timespec = given("qq", spec), packed("qq", spec)
timeval, told_timeval = given("qq", val), packed("qq", val)


def _file_time(seconds: int, nanoseconds: int) -> str:
    special = {_UTIME_NOW: "UTIME_NOW", _UTIME_OMIT: "UTIME_OMIT"}.get(nanoseconds)
    return special or spec(seconds, nanoseconds) + _when(seconds, f".{nanoseconds:09}")


def _when(seconds: int, fraction: str) -> str:
    """The date of a file's time, as a comment; none for 0, and for what no calendar has."""
    try:
        moment = time.localtime(seconds)
    except (OverflowError, OSError, ValueError):
        return ""
    return time.strftime(f" /* %Y-%m-%dT%H:%M:%S{fraction}%z */", moment) if seconds or fraction.strip(".0") else ""


file_times = given("qqqq", lambda *v: f"[{_file_time(*v[:2])}, {_file_time(*v[2:])}]")
file_timevals = given("qqqq", lambda *v: f"[{val(*v[:2])}, {val(*v[2:])}]")
utime_times = given("qq", lambda *v: f"{{actime={v[0]}, modtime={v[1]}}}")
_itimerval = ("qqqq", lambda *v: f"{{it_interval={val(*v[:2])}, it_value={val(*v[2:])}}}")
interval_timer, told_interval_timer = given(*_itimerval), packed(*_itimerval)
_itimerspec = ("qqqq", lambda *v: f"{{it_interval={spec(*v[:2])}, it_value={spec(*v[2:])}}}")
timer_setting, told_timer_setting = given(*_itimerspec), packed(*_itimerspec)


def sleep_rest(call: Call, value: int) -> str:
    """What a sleep leaves of its time: told only where a signal ended it."""
    raw = read(call, value, 16) if call.result == -4 or call.result is None else None
    return address_of(value) if raw is None else spec(*struct.unpack("<qq", raw))


def seconds(call: Call, value: int) -> str:
    """The time_t that time(2) stores."""
    raw = None if call.failed else read(call, value, 8)
    return address_of(value) if raw is None else f"[{int.from_bytes(raw, 'little')}]"


# ---- limits, use, names


def _limit(value: int) -> str:
    if value == _INFINITY:
        return "RLIM64_INFINITY"
    return f"{value // 1024}*1024" if value > 1024 and value % 1024 == 0 else str(value)


_rlimit = ("QQ", lambda soft, hard: f"{{rlim_cur={_limit(soft)}, rlim_max={_limit(hard)}}}")
limit, told_limit = given(*_rlimit), packed(*_rlimit)
_old_rlimit = ("QQ", lambda soft, hard: _rlimit[1](soft, hard).replace("RLIM64_", "RLIM_"))
old_limit, told_old_limit = given(*_old_rlimit), packed(*_old_rlimit)
usage = packed("qqqq112x", lambda *v: f"{{ru_utime={val(*v[:2])}, ru_stime={val(*v[2:])}, ...}}")


def _name(raw: bytes) -> str:
    return quoted(raw.split(b"\0")[0])


system_name = packed(
    "65s65s260x",
    lambda system, node: f"{{sysname={_name(system)}, nodename={_name(node)}, ...}}",
)


def _sysinfo(*v: int) -> str:
    names = (
        *("totalram", "freeram", "sharedram", "bufferram", "totalswap", "freeswap", "procs"),
        *("totalhigh", "freehigh", "mem_unit"),
    )
    rest = ", ".join(f"{name}={value}" for name, value in zip(names, v[4:], strict=True))
    return f"{{uptime={v[0]}, loads=[{v[1]}, {v[2]}, {v[3]}], {rest}}}"


system_info = packed("q3Q6QHxxxxxxQQI4x", _sysinfo)
cpu_times = packed("4q", lambda *v: f"{{tms_utime={v[0]}, tms_stime={v[1]}, tms_cutime={v[2]}, tms_cstime={v[3]}}}")


def numbers(call: Call, value: int) -> str:
    """What getgroups(2) gave."""
    count = call.result or 0
    raw = None if call.failed or not call.int(0) else read(call, value, 4 * count)
    return address_of(value) if raw is None else "[" + ", ".join(map(str, struct.unpack(f"<{count}I", raw))) + "]"


def stored(call: Call, value: int) -> str:
    """An int that the call stored at an address."""
    raw = None if call.failed else read(call, value, 4)
    return address_of(value) if raw is None else f"[{signed(int.from_bytes(raw, 'little'))}]"


def offset_at(call: Call, value: int) -> str:
    """An off_t at an address."""
    raw = read(call, value, 8)
    return address_of(value) if raw is None else f"[{int.from_bytes(raw, 'little', signed=True)}]"


def processors(call: Call, value: int) -> str:
    """The CPUs that sched_getaffinity(2) gave."""
    raw = None if call.failed or call.result is None else read(call, value, call.result)
    if raw is None:
        return address_of(value)
    mask = int.from_bytes(raw, "little")
    return "[" + " ".join(str(cpu) for cpu in range(mask.bit_length()) if mask >> cpu & 1) + "]"
