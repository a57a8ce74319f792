"""A system call as text: what stands before its result, and the result."""

import os
from collections.abc import Sequence
from typing import Final

from emuleak.strace.call import After, Call, Style, signed
from emuleak.strace.errors import ERRORS
from emuleak.strace.processvalues import control_result
from emuleak.strace.prototypes import GIVE_DESCRIPTOR, PROTOTYPES, WHOLES, Argument
from emuleak.strace.quoting import quoted
from emuleak.strace.signalvalues import set_text
from emuleak.strace.values import descriptor, file_of, hexa, octal
from emuleak.strace.waits import poll_note, select_note

_HEXADECIMAL: Final = frozenset(("mmap", "brk", "mremap", "shmat", "personality"))
_UNKNOWN: Final[tuple[Argument, ...]] = (hexa,) * 6

# What the kernel answers inside of a call that a signal ends (include/linux/errno.h), and which call gets which:
# ERESTARTSYS is for all others.
_RESTARTS: Final = {
    "ERESTARTSYS": "To be restarted if SA_RESTART is set",
    "ERESTARTNOHAND": "To be restarted if no handler",
    "ERESTART_RESTARTBLOCK": "Interrupted by signal",
}
_NO_HANDLER: Final = frozenset(("pause", "rt_sigsuspend", "select", "pselect6", "ppoll"))
_BLOCK: Final = frozenset(("nanosleep", "clock_nanosleep", "poll"))
_OPTIONAL_LAST: Final = frozenset(("fcntl", "ioctl"))  # their last argument is there or not
_PLAIN: Final = frozenset(("epoll_wait", "epoll_pwait", "rt_sigtimedwait"))


def arguments(call: Call) -> str:
    """The arguments as far as they are known before the call; with a comma behind where more are to come."""
    whole = WHOLES.get(call.name)
    if whole is not None:
        return whole.before(call)
    if call.name == "rt_sigreturn":
        return _returning(call)
    prototype = PROTOTYPES.get(call.name, _UNKNOWN)
    first = _first_after(prototype)
    words = [argument(call, value) for argument, value in zip(prototype[:first], call.registers, strict=False)]  # type: ignore[operator]
    more = first < len(prototype)
    if more and call.name in _OPTIONAL_LAST:
        more = prototype[first].printer(call, call.registers[first]) is not None  # type: ignore[union-attr]
    return ", ".join([*(word for word in words if word is not None), *([""] if more and words else [])])


def is_to_be_continued(call: Call) -> bool:
    """Whether there are arguments that are known only when the call is over."""
    prototype = PROTOTYPES.get(call.name, _UNKNOWN)
    return _first_after(prototype) < len(prototype)


def _first_after(prototype: tuple[Argument, ...]) -> int:
    """The index of the first argument that is known only afterwards."""
    return next((index for index, each in enumerate(prototype) if isinstance(each, After)), len(prototype))


def rest(call: Call) -> str:
    """The arguments that are known only when the call is over."""
    whole = WHOLES.get(call.name)
    if whole is not None:
        return whole.after(call)
    prototype = PROTOTYPES.get(call.name, _UNKNOWN)
    first = _first_after(prototype)
    words = []
    for argument, value in zip(prototype[first:], call.registers[first:], strict=False):
        printer = argument.printer if isinstance(argument, After) else argument
        word = printer(call, value)
        if word is not None:
            words.append(word)
    return ", ".join(words)


def _returning(call: Call) -> str:
    """rt_sigreturn has no arguments: strace tells the mask that its frame holds."""
    from emuleak.kernel.sigframe import saved_mask  # noqa: PLC0415 - few programs have handlers

    mask = saved_mask(call.kernel)
    return "{mask=" + ("..." if mask is None else set_text(mask)) + "}"


def result(call: Call) -> str:
    """What stands behind the equals sign."""
    value = call.result
    assert value is not None
    if call.failed:
        name, message = ERRORS.get(-value, (f"errno {-value}", "Unknown error"))
        return f"-1 {name} ({message})"
    if call.name in _HEXADECIMAL:
        return hexa(call, value & (1 << 64) - 1)
    if call.name == "umask":
        return octal(value)
    if call.name in GIVE_DESCRIPTOR:
        return f"{value}{file_of(call, value)}"
    if call.name == "fcntl":
        return control_result(call) or (descriptor(call, value) if call.int(1) in {0, 0x406} else str(value))
    note = ""
    if call.name in {"poll", "ppoll"}:
        note = poll_note(call)
    elif call.name in {"select", "pselect6"}:
        note = select_note(call)
    return f"{value}{note}"


def interrupted(call: Call) -> str:
    """What stands there when a signal has ended the wait."""
    if call.name in _PLAIN:
        return "-1 EINTR (Interrupted system call)"
    timed = call.name == "futex" and call.registers[3] and signed(call.registers[1]) & 0x7F in {0, 9}
    name = "ERESTARTSYS"
    if call.name in _BLOCK or timed:
        name = "ERESTART_RESTARTBLOCK"
    elif call.name in _NO_HANDLER:
        name = "ERESTARTNOHAND"
    return f"? {name} ({_RESTARTS[name]})"


def program_call(program: str, argv: Sequence[str], environment_at: int, count: int, style: Style) -> str:
    """The arguments of the execve(2) by which the first program came to be, which nobody made."""
    shown = [quoted(os.fsencode(word), style.longest) for word in argv[: style.longest]]
    words = ", ".join(shown if len(shown) == len(argv) else [*shown, "..."])
    variables = f"{environment_at:#x} /* {count} var{'' if count == 1 else 's'} */"
    return f"{quoted(os.fsencode(program))}, [{words}], {variables}"
