"""Signals: their names and default actions, what the program installed for them, and those that wait to be delivered.

Sending is here; when a thread takes what was sent to it is in delivery.py, the system calls are in sigcalls.py.
Sources: signal(7), and kernel/signal.c of Linux 6.1 where the manual leaves the order open.
"""

import struct
from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from emuleak.kernel.abi import SyscallError

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel
    from emuleak.kernel.threads import Thread

_IN_ORDER: Final = (
    *(
        "HUP",
        "INT",
        "QUIT",
        "ILL",
        "TRAP",
        "ABRT",
        "BUS",
        "FPE",
        "KILL",
        "USR1",
        "SEGV",
        "USR2",
        "PIPE",
        "ALRM",
        "TERM",
    ),
    *("STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO"),
    *("PWR", "SYS"),
)
NAMES: Final = {number: f"SIG{name}" for number, name in enumerate(_IN_ORDER, start=1)}
NUMBERS: Final = {name: number for number, name in NAMES.items()}
LAST: Final = 64
_PENDING_MAX: Final = 31_000  # RLIMIT_SIGPENDING
_FIRST_REALTIME: Final = 32  # the kernel's: glibc keeps 32 and 33 to itself

DEFAULT, IGNORE = 0, 1  # SIG_DFL, SIG_IGN
SA_RESTORER, SA_ONSTACK, SA_RESTART = 0x0400_0000, 0x0800_0000, 0x1000_0000
SA_NODEFER, SA_RESETHAND = 0x4000_0000, 0x8000_0000
_MINSIGSTKSZ: Final = 2048
SS_ONSTACK, SS_DISABLE, SS_AUTODISARM = 1, 2, 1 << 31

# si_code, include/uapi/asm-generic/siginfo.h
SI_USER, SI_KERNEL, SI_TIMER, SI_TKILL = 0, 0x80, -2, -6


class Default(Enum):
    """What happens to a process that installed nothing, see signal(7)."""

    TERMINATE = "term"
    CORE = "core"
    IGNORE = "ignore"
    STOP = "stop"
    CONTINUE = "continue"


def _numbers(names: str) -> frozenset[int]:
    return frozenset(NUMBERS[f"SIG{name}"] for name in names.split())


_CORE: Final = _numbers("QUIT ILL TRAP ABRT BUS FPE SEGV XCPU XFSZ SYS")
_STOP: Final = _numbers("STOP TSTP TTIN TTOU")
_IGNORED: Final = _numbers("CHLD URG WINCH")
SIGILL, SIGKILL, SIGSTOP, SIGCONT, SIGSEGV = (
    NUMBERS[name] for name in ("SIGILL", "SIGKILL", "SIGSTOP", "SIGCONT", "SIGSEGV")
)
# Those that an instruction raises go first: their context must be that instruction's.
_SYNCHRONOUS: Final = _numbers("ILL TRAP BUS FPE SEGV SYS")


def bit(number: int) -> int:
    """The signal's bit in a sigset_t."""
    return 1 << (number - 1)


UNBLOCKABLE: Final = bit(SIGKILL) | bit(SIGSTOP)
_STOPPING_BITS: Final = sum(map(bit, _STOP))


def name_of(number: int) -> str:
    """`SIGSEGV` for 11; `signal 40` for one without a name of its own."""
    return NAMES.get(number, f"signal {number}")


def default_of(number: int) -> Default:
    """The default action of a signal; a real-time one ends the process."""
    for numbers, action in ((_CORE, Default.CORE), (_STOP, Default.STOP), (_IGNORED, Default.IGNORE)):
        if number in numbers:
            return action
    return Default.CONTINUE if number == SIGCONT else Default.TERMINATE


class Action(NamedTuple):
    """struct kernel_sigaction, in its order."""

    handler: int = DEFAULT
    flags: int = 0
    restorer: int = 0
    mask: int = 0


class Siginfo(msgspec.Struct, frozen=True):
    """One signal on its way. `details` is what siginfo_t holds behind its first three numbers.

    `address` is set for a signal that the CPU raised: where the program failed, for the report.
    """

    number: int
    code: int = SI_USER
    details: bytes = b""
    errno: int = 0
    address: int | None = None

    def packed(self) -> bytes:
        """siginfo_t."""
        return (struct.pack("<iii4x", self.number, self.errno, self.code) + self.details).ljust(SIGINFO_SIZE, b"\0")

    @classmethod
    def from_sender(cls, kernel: "Kernel", number: int, code: int = SI_USER) -> "Siginfo":
        """As kill(2) and tgkill(2) fill it for a signal that `kernel`'s process sends."""
        return cls(number, code, struct.pack("<ii", kernel.identity.pid, kernel.identity.uid))


SIGINFO_SIZE: Final = 128


class Pending:
    """Signals that were sent and not yet taken: a standard one once, real-time ones as often as they were sent."""

    def __init__(self) -> None:
        self._queue: list[Siginfo] = []

    @property
    def bits(self) -> int:
        """As a sigset_t."""
        bits = 0
        for info in self._queue:
            bits |= bit(info.number)
        return bits

    def __iter__(self) -> Iterator[Siginfo]:
        return iter(tuple(self._queue))

    def add(self, info: Siginfo) -> bool:
        """Let one more wait; False when it is a standard signal that waits already, or too many wait."""
        if info.number < _FIRST_REALTIME and self.bits & bit(info.number):
            return False
        if len(self._queue) >= _PENDING_MAX:
            return False
        self._queue.append(info)
        return True

    def take(self, allowed: int) -> Siginfo | None:
        """The next whose bit is in `allowed`: the lowest number, of one number the first sent."""
        ready = [info for info in self._queue if bit(info.number) & allowed]
        if not ready:
            return None
        chosen = min(ready, key=lambda info: (info.number not in _SYNCHRONOUS, info.number))
        self._queue.remove(chosen)
        return chosen

    def holds(self, info: Siginfo) -> bool:
        """Whether this very signal still waits."""
        return any(each is info for each in self._queue)

    def replace(self, old: Siginfo, new: Siginfo) -> None:
        """Let `new` wait in the place of `old`."""
        self._queue = [new if each is old else each for each in self._queue]

    def discard(self, bits: int) -> None:
        """Forget what waits of these signals."""
        self._queue = [info for info in self._queue if not bit(info.number) & bits]


class AlternateStack(msgspec.Struct, frozen=True):
    """What sigaltstack(2) was told: `base` and `size` in bytes; a size of 0 is none."""

    base: int = 0
    flags: int = SS_DISABLE
    size: int = 0

    @classmethod
    def asked(cls, base: int, flags: int, size: int) -> "AlternateStack":
        """As a program describes it. Raises SyscallError."""
        if flags & ~SS_AUTODISARM not in {0, SS_ONSTACK, SS_DISABLE}:
            raise SyscallError("EINVAL")
        if flags & SS_DISABLE:
            return cls(0, flags, 0)
        if size < _MINSIGSTKSZ:
            raise SyscallError("ENOMEM")
        return cls(base, flags, size)

    def holds(self, sp: int) -> bool:
        """Whether a thread with this stack pointer runs on it."""
        return not self.flags & SS_AUTODISARM and 0 < sp - self.base <= self.size

    def state(self, sp: int) -> int:
        """SS_DISABLE, SS_ONSTACK, or 0 for one that is there to be used."""
        if not self.size:
            return SS_DISABLE
        return SS_ONSTACK if self.holds(sp) else 0


class Trap(msgspec.Struct, frozen=True):
    """What a signal frame tells of the thread's last CPU exception: vector, error code, the faulting address."""

    vector: int = 0
    error: int = 0
    cr2: int = 0


class ThreadSignals(msgspec.Struct, eq=False):
    """A thread's part of the state."""

    mask: int = 0
    pending: Pending = msgspec.field(default_factory=Pending)
    stack: AlternateStack = AlternateStack()
    trap: Trap = Trap()
    saved_mask: int | None = None  # to come back when a call that replaced the mask, like sigsuspend(2), is over
    notified: bool = False  # something for it to take before it goes back to the program (TIF_SIGPENDING)
    returning: bool = False  # it called rt_sigreturn(2)
    awaited: int = 0  # the set of sigtimedwait(2) while it waits there
    info_at: int = 0  # where that call wants the siginfo_t, or 0

    def wants(self, number: int) -> bool:
        """Whether the signal would be taken at once."""
        return not self.mask & ~self.awaited & bit(number)

    def fork(self) -> "ThreadSignals":
        """What the only thread of a new process begins with."""
        return ThreadSignals(mask=self.mask if self.saved_mask is None else self.saved_mask, stack=self.stack)


class SignalTable:
    """The process's part of the state: the actions, and what was sent to no thread in particular."""

    def __init__(self) -> None:
        self._actions: dict[int, Action] = {}
        self.pending = Pending()

    def fork(self, *, reset: bool = False) -> "SignalTable":
        """A new process's: the same actions, nothing pending; with `reset` no handlers, as for a new program."""
        table = SignalTable()
        table._actions = {
            number: action if action.handler == IGNORE or not reset else _NOTHING
            for number, action in self._actions.items()
        }
        return table

    def action(self, number: int) -> Action:
        """What was installed for a signal."""
        return self._actions.get(number, _NOTHING)

    def install(self, number: int, action: Action) -> None:
        """Set the action of a signal."""
        self._actions[number] = action

    def ignores(self, number: int) -> bool:
        """Whether the signal does nothing as things are, so that it need not even wait."""
        handler = self.action(number).handler
        passive = default_of(number) in {Default.IGNORE, Default.CONTINUE}
        return handler == IGNORE or (handler == DEFAULT and passive)


_NOTHING: Final = Action()


# ---- sending


def send(kernel: "Kernel", info: Siginfo, thread: "Thread | None" = None) -> bool:
    """Send a signal to a thread, or to the process. False when it was dropped: one like it waits, or it is ignored."""
    if info.number == SIGKILL:
        kernel.end(signal=SIGKILL)
        return True
    _cancel_opposite(kernel, info.number)
    if info.number == SIGCONT:
        kernel.go_on()
    first = thread or kernel.threads.first()
    # A blocked signal is kept even if it is ignored: the action may be another by the time it is unblocked.
    if kernel.signals.ignores(info.number) and first.signals.wants(info.number) and not _awaited(first, info.number):
        if kernel.tracer is not None:
            kernel.tracer.dropped(kernel, info)
        return False
    queue = thread.signals.pending if thread else kernel.signals.pending
    if not queue.add(info):
        return False
    candidates = [thread] if thread else [first, *kernel.threads.every()]
    target = next((each for each in candidates if each.signals.wants(info.number)), None)
    if target is not None:
        _notify(kernel, target)
    return True


def force(kernel: "Kernel", info: Siginfo) -> None:
    """Send the running thread a signal it cannot escape: where it blocks or ignores it, the default action comes."""
    state, signals = kernel.threads.current.signals, kernel.signals
    if state.mask & bit(info.number) or signals.action(info.number).handler == IGNORE:
        signals.install(info.number, _NOTHING)
        state.mask &= ~bit(info.number)
    state.pending.discard(bit(info.number))
    state.pending.add(info)
    state.notified = True


def set_mask(kernel: "Kernel", mask: int) -> None:
    """Give the running thread another mask; what it lets through is delivered before the thread goes on."""
    thread = kernel.threads.current
    thread.signals.mask = mask & ~UNBLOCKABLE
    recalculate(kernel, thread)
    # What this thread now blocks may be for another one.
    for info in kernel.signals.pending:
        target = next((each for each in kernel.threads.every() if each.signals.wants(info.number)), None)
        if target not in {None, thread}:
            _notify(kernel, target)


def recalculate(kernel: "Kernel", thread: "Thread") -> None:
    """See whether anything waits that the thread does not block."""
    state = thread.signals
    if (state.pending.bits | kernel.signals.pending.bits) & ~state.mask:
        _notify(kernel, thread)
    else:
        state.notified = False


def _awaited(thread: "Thread", number: int) -> bool:
    return bool(thread.signals.awaited & bit(number))


def _cancel_opposite(kernel: "Kernel", number: int) -> None:
    """SIGCONT takes back signals that would stop the process, and they SIGCONT."""
    opposite = _STOPPING_BITS if number == SIGCONT else bit(SIGCONT) if number in _STOP else 0
    if opposite:
        for queue in (kernel.signals.pending, *(each.signals.pending for each in kernel.threads.every())):
            queue.discard(opposite)


def _notify(kernel: "Kernel", thread: "Thread") -> None:
    """Make the thread look at its signals before it next runs the program."""
    thread.signals.notified = True
    if thread is kernel.threads.current:
        kernel.machine.stop()
    kernel.threads.interrupt(thread)
