"""Printers of waiting: statuses of children, futexes, poll, select, epoll."""

import struct
from collections.abc import Iterator
from typing import Final

from emuleak.strace import constants, netconstants
from emuleak.strace.call import Call, signed
from emuleak.strace.records import spec
from emuleak.strace.signalvalues import set_text, signal_name
from emuleak.strace.values import address_of, file_of, hexa_of, read

_PRIVATE, _REALTIME = 128, 256
_POLLFD: Final = struct.Struct("<ihh")
_EVENT: Final = struct.Struct("<IQ")
_MOST_DESCRIPTORS: Final = 1024
_MATCH_ANY: Final = 0xFFFF_FFFF


# ---- children


def status_text(status: int) -> str:
    """The status that wait(2) stores, as the macros that take it apart."""
    if status & 0x7F == 0:
        return f"{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}"
    if status & 0xFF == 0x7F:
        return f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(status >> 8 & 0xFF)}}}"
    if status == 0xFFFF:
        return "{WIFCONTINUED(s)}"
    dumped = " && WCOREDUMP(s)" if status & 0x80 else ""
    return f"{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(status & 0x7F)}{dumped}}}"


def child_status(call: Call, value: int) -> str:
    """The status argument of wait4(2); nothing is stored where no child was found."""
    raw = None if call.failed or not call.result else read(call, value, 4)
    return address_of(value) if raw is None else f"[{status_text(int.from_bytes(raw, 'little'))}]"


# ---- futex


def futex_operation(_call: Call, value: int) -> str:
    """The op argument of futex(2)."""
    value &= 0xFFFF_FFFF
    name = constants.FUTEX.by_number.get(value & 0x7F)
    if name is None or (value & _REALTIME and value & 0x7F not in {0, 9, 11, 13}) or value & ~0x1FF:
        return f"{value:#x} /* FUTEX_??? */"
    return name + ("_PRIVATE" if value & _PRIVATE else "") + ("|FUTEX_CLOCK_REALTIME" if value & _REALTIME else "")


def futex_arguments(call: Call) -> str:
    """The arguments of futex(2): which there are, and what they mean, depends on the operation."""
    address, operation, value, fourth, fifth, sixth = call.registers
    command = operation & 0x7F
    timeout = _time_at(call, fourth)
    number, last = str(value & _M32), str(sixth & _M32)
    count = str(fourth & _M32)
    forms = {
        0: (number, timeout),
        9: (number, timeout, _bitset(sixth)),
        1: (number,),
        10: (number, _bitset(sixth)),
        3: (number, count, address_of(fifth)),
        4: (number, count, address_of(fifth), last),
        12: (number, count, address_of(fifth), last),
        5: (number, count, address_of(fifth), _wake_operation(sixth)),
        6: (timeout,),
        13: (timeout,),
        11: (number, timeout, address_of(fifth)),
        7: (),
        8: (),
    }
    words = forms.get(command, (number, address_of(fourth), address_of(fifth), last))
    return ", ".join((address_of(address), futex_operation(call, operation), *words))


_M32: Final = 0xFFFF_FFFF


def _bitset(value: int) -> str:
    return "FUTEX_BITSET_MATCH_ANY" if value & _M32 == _MATCH_ANY else hexa_of(value & _M32)


def _wake_operation(value: int) -> str:
    operations = {0: "FUTEX_OP_SET", 1: "FUTEX_OP_ADD", 2: "FUTEX_OP_OR", 3: "FUTEX_OP_ANDN", 4: "FUTEX_OP_XOR"}
    comparisons = ("EQ", "NE", "LT", "LE", "GT", "GE")
    operation, compare = value >> 28 & 7, value >> 24 & 0xF
    shift = "FUTEX_OP_OPARG_SHIFT<<28|" if value >> 31 & 1 else ""
    first = operations.get(operation, hexa_of(operation))
    second = f"FUTEX_OP_CMP_{comparisons[compare]}" if compare < len(comparisons) else hexa_of(compare)
    return f"{shift}{first}<<28|{hexa_of(value >> 12 & 0xFFF)}<<12|{second}<<24|{hexa_of(value & 0xFFF)}"


def _time_at(call: Call, address: int) -> str:
    raw = read(call, address, 16)
    return address_of(address) if raw is None else spec(*struct.unpack("<qq", raw))


# ---- poll


def _polled(call: Call) -> Iterator[tuple[int, int, int]]:
    count = min(call.registers[1] & _M32, _MOST_DESCRIPTORS)
    raw = read(call, call.registers[0], count * _POLLFD.size)
    return _POLLFD.iter_unpack(raw or b"")


def polled(call: Call, value: int) -> str:
    """The fds argument of poll(2)."""
    count = call.registers[1] & _M32
    if read(call, value, min(count, _MOST_DESCRIPTORS) * _POLLFD.size) is None:
        return address_of(value)
    items = []
    for fd, events, _ in _polled(call):
        asked = "" if fd < 0 else f", events={netconstants.POLL.bits(events & 0xFFFF)}"
        items.append(f"{{fd={fd}{file_of(call, fd)}{asked}}}")
    shown = items if len(items) <= call.style.longest else [*items[: call.style.longest], "..."]
    return "[" + ", ".join(shown) + "]"


def poll_note(call: Call) -> str:
    """What is behind the result of poll(2): the descriptors about which there is something to tell."""
    if call.result == 0:
        return " (Timeout)"
    if call.failed:
        return ""
    found = [(fd, told) for fd, _, told in _polled(call) if told]
    words = [f"{{fd={fd}{file_of(call, fd)}, revents={netconstants.POLL.bits(told & 0xFFFF)}}}" for fd, told in found]
    return f" ([{', '.join(words)}])"


# ---- select


def _members(call: Call, address: int) -> list[int] | None:
    count = min(max(call.int(0), 0), _MOST_DESCRIPTORS)
    raw = read(call, address, (count + 63) // 64 * 8)
    if raw is None:
        return None
    mask = int.from_bytes(raw, "little")
    return [fd for fd in range(count) if mask >> fd & 1]


def descriptor_set(call: Call, value: int) -> str:
    """An fd_set of select(2)."""
    members = _members(call, value)
    if members is None:
        return address_of(value)
    return "[" + " ".join(f"{fd}{file_of(call, fd)}" for fd in members) + "]"


def select_note(call: Call) -> str:
    """What is behind the result of select(2): the sets that it left, and the time."""
    if call.result == 0:
        return " (Timeout)"
    if call.failed:
        return ""
    words = []
    for name, index in (("in", 1), ("out", 2), ("except", 3)):
        members = _members(call, call.registers[index]) if call.registers[index] else None
        if members:
            words.append(f"{name} [{' '.join(map(str, members))}]")
    if call.registers[4]:
        text = _time_at(call, call.registers[4])
        words.append("left " + (text.replace("nsec", "usec") if call.name == "select" else text))
    return f" ({', '.join(words)})" if words else ""


def select_mask(call: Call, value: int) -> str:
    """The last argument of pselect6: a struct of a pointer and a size."""
    raw = read(call, value, 16)
    if raw is None:
        return address_of(value)
    where, size = struct.unpack("<QQ", raw)
    return f"{{sigmask={mask_at(call, where)}, sigsetsize={size}}}"


def mask_at(call: Call, value: int) -> str:
    """A sigset_t for the time of a wait."""
    raw = read(call, value, 8)
    return address_of(value) if raw is None else set_text(int.from_bytes(raw, "little"))


# ---- epoll


def _event(events: int, data: int) -> str:
    return f"{{events={netconstants.EPOLL.bits(events)}, data={{u32={data & _M32}, u64={data}}}}}"


def epoll_event(call: Call, value: int) -> str:
    """The event argument of epoll_ctl(2), which a deletion ignores."""
    raw = None if call.int(1) == 2 else read(call, value, _EVENT.size)
    return address_of(value) if raw is None else _event(*_EVENT.unpack(raw))


def epoll_events(call: Call, value: int) -> str:
    """The events that epoll_wait(2) gave."""
    count = signed(call.result or 0)
    raw = None if call.failed else read(call, value, count * _EVENT.size) if count else b""
    if raw is None:
        return address_of(value)
    return "[" + ", ".join(_event(*each) for each in _EVENT.iter_unpack(raw)) + "]"
