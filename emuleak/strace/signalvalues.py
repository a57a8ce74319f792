"""Printers of signals: their names, sets, actions, stacks, and siginfo_t."""

import struct
from typing import Final

from emuleak.kernel.signals import NAMES, SI_KERNEL, SI_TIMER, SI_TKILL, SI_USER
from emuleak.strace import constants
from emuleak.strace.call import Call, signed
from emuleak.strace.values import address_of, given, read

_FIRST_REALTIME, _LAST = 32, 64
_SIGSET_BYTES: Final = 8
_CODES: Final = {
    "SIGCHLD": ("CLD_EXITED", "CLD_KILLED", "CLD_DUMPED", "CLD_TRAPPED", "CLD_STOPPED", "CLD_CONTINUED"),
    "SIGSEGV": ("SEGV_MAPERR", "SEGV_ACCERR", "SEGV_BNDERR", "SEGV_PKUERR"),
    "SIGBUS": ("BUS_ADRALN", "BUS_ADRERR", "BUS_OBJERR"),
    "SIGFPE": (*("FPE_INTDIV", "FPE_INTOVF", "FPE_FLTDIV", "FPE_FLTOVF", "FPE_FLTUND"), *("FPE_FLTRES", "FPE_FLTINV")),
    "SIGILL": ("ILL_ILLOPC", "ILL_ILLOPN", "ILL_ILLADR", "ILL_ILLTRP", "ILL_PRVOPC", "ILL_PRVREG"),
    "SIGTRAP": ("TRAP_BRKPT", "TRAP_TRACE", "TRAP_BRANCH", "TRAP_HWBKPT"),
}
_SENDERS: Final = {
    SI_USER: "SI_USER",
    SI_KERNEL: "SI_KERNEL",
    SI_TIMER: "SI_TIMER",
    SI_TKILL: "SI_TKILL",
    -1: "SI_QUEUE",
    -3: "SI_MESGQ",
}
_FAULTS: Final = frozenset(("SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP"))
_EXITED: Final = "CLD_EXITED"


def signal_name(number: int) -> str:
    """As strace writes it: real-time signals count from 32."""
    if number in NAMES:
        return NAMES[number]
    if number == _FIRST_REALTIME:
        return "SIGRTMIN"
    return f"SIGRT_{number - _FIRST_REALTIME}" if _FIRST_REALTIME < number <= _LAST else str(number)


def signal(_call: Call, value: int) -> str:
    """A signal's number."""
    return signal_name(signed(value))


def set_text(mask: int) -> str:
    """A sigset_t: the names without SIG, or those that are missing behind a ~."""
    head = ""
    if mask.bit_count() >= _LAST * 2 // 3:
        head, mask = "~", ~mask & (1 << _LAST) - 1
    names = [signal_name(number).removeprefix("SIG") for number in range(1, _LAST + 1) if mask >> (number - 1) & 1]
    return f"{head}[{' '.join(names)}]"


signal_set = given("Q", set_text)


def told_set(call: Call, value: int) -> str:
    """A sigset_t that the call stored."""
    return address_of(value) if call.failed else signal_set(call, value)


def _action(handler: int, flags: int, restorer: int, mask: int) -> str:
    text = f"{{sa_handler={ {0: 'SIG_DFL', 1: 'SIG_IGN'}.get(handler) or address_of(handler) }, "
    text += f"sa_mask={set_text(mask)}, sa_flags={constants.SIGACTION.bits(flags)}"
    if flags & 0x0400_0000:
        text += f", sa_restorer={address_of(restorer)}"
    return text + "}"


action = given("QQQQ", _action)


def told_action(call: Call, value: int) -> str:
    """A struct sigaction that the call stored."""
    return address_of(value) if call.failed else action(call, value)


def _stack(base: int, flags: int, size: int) -> str:
    return f"{{ss_sp={address_of(base)}, ss_flags={constants.SIGALTSTACK.bits(flags)}, ss_size={size}}}"


stack = given("QI4xQ", _stack)


def told_stack(call: Call, value: int) -> str:
    """A stack_t that the call stored."""
    return address_of(value) if call.failed else stack(call, value)


def siginfo(packed: bytes) -> str:
    """A siginfo_t, by what its signal and its code say is in it."""
    number, error, code = struct.unpack_from("<iii", packed)
    name, code_name = signal_name(number), _code(signal_name(number), code)
    fields = [f"si_signo={name}", f"si_code={code_name}"]
    if error:
        fields.append(f"si_errno={error}")
    fields += _details(name, code, code_name, packed[16:])
    return "{" + ", ".join(fields) + "}"


def _code(name: str, code: int) -> str:
    special = _CODES.get(name, ())
    if 1 <= code <= len(special):
        return special[code - 1]
    return _SENDERS.get(code, f"{code:#x}")


def _details(name: str, code: int, code_name: str, rest: bytes) -> list[str]:
    """What is behind the first three numbers."""
    pid, uid, status = struct.unpack_from("<iIi", rest)
    if name == "SIGCHLD" and code > 0:
        told = str(status) if code_name == _EXITED else signal_name(status)
        user, system = struct.unpack_from("<qq", rest, 16)
        return [f"si_pid={pid}", f"si_uid={uid}", f"si_status={told}", f"si_utime={user}", f"si_stime={system}"]
    if name in _FAULTS and code > 0 and code != SI_KERNEL:
        return [f"si_addr={address_of(struct.unpack_from('<Q', rest)[0])}"]
    if code == SI_KERNEL:
        return ["si_addr=NULL"] if name in _FAULTS else []
    value = struct.unpack_from("<Q", rest, 8)[0]
    if code == SI_TIMER:
        return [f"si_timerid={hexa(pid)}", f"si_overrun={uid}", *_value(value)]
    sender = [f"si_pid={pid}", f"si_uid={uid}"]
    return sender + _value(value) if code == -1 else sender


def hexa(value: int) -> str:
    """A timer's id."""
    return f"{value:#x}" if value else "0"


def _value(value: int) -> list[str]:
    return [f"si_int={signed(value)}", f"si_ptr={address_of(value)}"]


def told_siginfo(call: Call, value: int) -> str:
    """A siginfo_t that the call stored."""
    raw = None if call.failed else read(call, value, 128)
    if raw is None:
        return address_of(value)
    return siginfo(raw) if any(raw) else "{}"


def given_siginfo(call: Call, value: int) -> str:
    """A siginfo_t that the program filled in."""
    raw = read(call, value, 128)
    return address_of(value) if raw is None else siginfo(raw)
