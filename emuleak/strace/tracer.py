"""Follows the calls and signals of all processes of a run and has them written as strace(1) writes them."""

import sys
from typing import TYPE_CHECKING, Final

from emuleak.kernel.core import Kernel
from emuleak.kernel.lives import outcome
from emuleak.kernel.signals import DEFAULT, LAST, Default, Siginfo, default_of
from emuleak.strace import text
from emuleak.strace.call import Call, Style, signed_long
from emuleak.strace.lines import Lines
from emuleak.strace.numbers import NAMES
from emuleak.strace.selection import Selection
from emuleak.strace.signalvalues import siginfo, signal_name
from emuleak.strace.summary import Summary
from emuleak.strace.values import read

if TYPE_CHECKING:
    from emuleak.kernel.threads import Thread
    from emuleak.loader import Process

_CLONE_THREAD: Final = 0x10000
_NEVER_RETURN: Final = frozenset(("exit", "exit_group"))
_ADDRESS_LENGTHS: Final = {
    **dict.fromkeys(("accept", "accept4", "getsockname", "getpeername"), 2),
    "recvfrom": 5,
    "getsockopt": 4,
}
_CLD_EXITED: Final = 1
_EINTR: Final = -4
_SYSCALL: Final = b"\x0f\x05"
# A child's end wakes these as well as it sends the signal: they are made again before the signal is looked at.
_MAY_TAKE_IT: Final = frozenset(("wait4", "waitid"))


class Tracer:
    """See kernel.tracing.Tracer, and kernel.system.Observer. Without `follow` only the first process is told of.

    With a `summary` calls are counted, and nothing is written.
    """

    def __init__(
        self, lines: Lines, selection: Selection, style: Style, *, follow: bool, summary: Summary | None
    ) -> None:
        self._lines = lines
        self._selection = selection
        self._style = style
        self._follow = follow
        self._summary = summary
        self._first: Kernel | None = None
        self._open: dict[int, Call] = {}  # by thread id: the call that is not over
        self._ignored: dict[int, list[Siginfo]] = {}  # by process id: signals that do nothing and were not told yet

    def start(self, kernel: Kernel, program: str, argv: tuple[str, ...], environment_at: int, count: int) -> None:
        """Tell of the execve(2) by which the program came to be."""
        self._first = kernel
        memory_call = Call(kernel, 59, "execve", (0,) * 6, self._style, result=0)
        quoted = text.program_call(program, argv, environment_at, count, self._style)
        if self._shows(memory_call):
            if self._summary is None:
                self._lines.begin(kernel.identity.pid, memory_call, quoted)
            self._finish(kernel.identity.pid, memory_call, "", "0")

    # ---- see kernel.tracing.Tracer

    def dispatch(self, kernel: Kernel, number: int, registers: tuple[int, ...]) -> int | None:
        """See kernel.tracing.Tracer."""
        if not self._follows(kernel):
            return kernel.dispatch(number, registers)
        thread = kernel.threads.current
        tid = thread.tid
        call = self._open.get(tid)
        if call is None:
            self._flush_ignored(kernel, tid)
            call = self._enter(kernel, tid, number, registers)
        result = kernel.dispatch(number, registers)
        if kernel.ending is not None and call.name not in _NEVER_RETURN:
            self._never(tid, call)
        elif result is None or kernel.borrower is not None:
            self._unreturned(kernel, thread, call)
        else:
            self._leave(kernel, tid, call, result)
        return result

    def goes_on(self, kernel: Kernel) -> None:
        """See kernel.tracing.Tracer."""
        if not self._follows(kernel):
            return
        tid = kernel.threads.current.tid
        call = self._open.get(tid)
        if call is None:
            self._flush_ignored(kernel, tid)
        elif not self._repeats(kernel, call):
            self._leave(kernel, tid, call, signed_long(kernel.machine.get("rax")))
        elif self._ignored.get(kernel.identity.pid) and call.name not in _MAY_TAKE_IT:
            self._interrupt(tid, call)
            self._flush_ignored(kernel, tid)

    def taken(self, kernel: Kernel, info: Siginfo) -> None:
        """See kernel.tracing.Tracer."""
        if not self._follows(kernel):
            return
        thread = kernel.threads.current
        call = self._open.get(thread.tid)
        if call is not None:
            result = signed_long(kernel.machine.get("rax"))
            if thread.in_call or result == _EINTR or self._repeats(kernel, call):
                self._interrupt(thread.tid, call)
            else:  # the call is over, and only the thread had not gone on yet
                self._leave(kernel, thread.tid, call, result)
        self._flush_ignored(kernel, thread.tid, info.number)
        self._tell_signal(thread.tid, info)
        self._flush_ignored(kernel, thread.tid)
        stops = default_of(info.number) is Default.STOP and kernel.signals.action(info.number).handler == DEFAULT
        if stops and self._selection.shows_signal(info.number):
            self._say(thread.tid, f"--- stopped by {signal_name(info.number)} ---")

    def dropped(self, kernel: Kernel, info: Siginfo) -> None:
        """See kernel.tracing.Tracer."""
        if self._follow or kernel is self._first:
            self._ignored.setdefault(kernel.identity.pid, []).append(info)

    # ---- see kernel.system.Observer

    def forked(self, parent: Kernel, child: Kernel) -> None:
        """See kernel.system.Observer."""
        if self._follow and parent.tracer is self:
            self._attach(child.identity.pid)

    def leaving(self, kernel: Kernel) -> None:
        """See kernel.system.Observer: of a process that becomes another program, one thread is left."""
        if self._follow:
            self._lines.traced -= len(kernel.threads.every()) - 1

    def executed(self, kernel: Kernel, _process: "Process") -> None:
        """See kernel.system.Observer: execve(2) was a success."""
        for tid, call in list(self._open.items()):
            if call.kernel is kernel:
                del self._open[tid]
                if call.number in {59, 322}:
                    call.result = 0
                    self._finish(tid, call, "", "0")

    def ended(self, kernel: Kernel) -> None:
        """See kernel.system.Observer."""
        if kernel.ending is None or not (self._follow or kernel is self._first):
            return
        pid = kernel.identity.pid
        tids = (
            [pid]
            if not self._follow
            else sorted((thread.tid for thread in kernel.threads.every()), key=lambda tid: tid == pid)
        )
        for tid in tids:
            if (call := self._open.get(tid)) is not None:
                self._never(tid, call, waited=True)
        for tid in tids or [pid]:
            self._tell_end(kernel, tid)
        self._ignored.pop(pid, None)

    # ---- the life of a call

    def _enter(self, kernel: Kernel, tid: int, number: int, registers: tuple[int, ...]) -> Call:
        name = NAMES.get(number) or f"syscall_{number:#x}"
        call = self._open[tid] = Call(kernel, number, name, registers, self._style)
        if self._tells(call):
            self._keep(call)
            self._lines.begin(tid, call, text.arguments(call))
        return call

    def _keep(self, call: Call) -> None:
        """Note what the call may change and its line is to tell."""
        index = _ADDRESS_LENGTHS.get(call.name)
        if index is not None and (raw := read(call, call.registers[index], 4)) is not None:
            call.before[call.registers[index]] = int.from_bytes(raw, "little", signed=True)

    def _leave(self, kernel: Kernel, tid: int, call: Call, result: int) -> None:
        """The call has a result."""
        self._open.pop(tid, None)
        call.result = result
        if self._shows(call):
            ending = text.rest(call) if self._summary is None else ""
            self._finish(tid, call, ending, text.result(call) if self._summary is None else "")
        if self._follow and call.name == "clone" and call.registers[0] & _CLONE_THREAD and result > 0:
            self._attach(result)
        if kernel.ending is None:
            self._flush_ignored(kernel, tid)

    def _unreturned(self, kernel: Kernel, thread: "Thread", call: Call) -> None:
        """The thread does not go on from here: it waits, or it has ended."""
        if call.name in _NEVER_RETURN and (kernel.ending is not None or thread.gone):
            self._open.pop(thread.tid, None)
            if self._shows(call):
                self._finish(thread.tid, call, "", "?")
            if thread.gone:
                self._tell_exit(thread.tid, f"+++ exited with {call.registers[0] & 0xFF} +++")

    def _never(self, tid: int, call: Call, *, waited: bool = False) -> None:
        """The process ended in the call, in which it may have waited."""
        self._open.pop(tid, None)
        if not self._shows(call):
            return
        if self._summary is None and (waited or text.is_to_be_continued(call)):
            self._lines.lose(tid, call)
        else:
            self._finish(tid, call, "", "?")

    def _interrupt(self, tid: int, call: Call) -> None:
        """A signal ends the wait: the call is over, and may be made again."""
        self._open.pop(tid, None)
        call.result = _EINTR
        if self._shows(call):
            self._finish(tid, call, text.rest(call) if self._summary is None else "", text.interrupted(call))

    def _repeats(self, kernel: Kernel, call: Call) -> bool:
        """Whether the running thread stands before its call, and not behind it."""
        machine = kernel.machine
        return machine.get("rax") == call.number and read(call, machine.get("rip"), 2) == _SYSCALL

    def _finish(self, tid: int, call: Call, arguments: str, result: str) -> None:
        if self._summary is not None:
            self._summary.count(call)
        else:
            self._lines.end(tid, call, arguments, result)

    # ---- signals and ends

    def _flush_ignored(self, kernel: Kernel, tid: int, below: int = LAST + 1) -> None:
        """Tell of the signals that did nothing, of those with lower numbers first, as the kernel takes them."""
        waiting = self._ignored.pop(kernel.identity.pid, [])
        for info in sorted((each for each in waiting if each.number < below), key=lambda each: each.number):
            self._tell_signal(tid, info)
        if later := [each for each in waiting if each.number >= below]:
            self._ignored[kernel.identity.pid] = later

    def _tell_signal(self, tid: int, info: Siginfo) -> None:
        if self._selection.shows_signal(info.number):
            self._say(tid, f"--- {signal_name(info.number)} {siginfo(info.packed())} ---")

    def _tell_end(self, kernel: Kernel, tid: int) -> None:
        assert kernel.ending is not None
        code, status = outcome(kernel.ending)
        if kernel.ending.stopped:
            return
        how = f"exited with {status}" if code == _CLD_EXITED else f"killed by {signal_name(status)}"
        self._tell_exit(tid, f"+++ {how} +++")

    def _tell_exit(self, tid: int, words: str) -> None:
        self._say(tid, words)
        self._lines.traced -= 1

    def _attach(self, tid: int) -> None:
        self._lines.traced += 1
        if self._summary is None:
            self._lines.break_off()
            sys.stderr.write(f"strace: Process {tid} attached\n")
            sys.stderr.flush()

    def _say(self, tid: int, words: str) -> None:
        if self._summary is None:
            self._lines.whole(tid, words)

    # ---- what is told

    def _follows(self, kernel: Kernel) -> bool:
        """Whether the running thread is told of: without -f only the first of the first process is."""
        return self._follow or (kernel is self._first and kernel.threads.current.tid == kernel.identity.pid)

    def _shows(self, call: Call) -> bool:
        return self._selection.shows(call.name)

    def _tells(self, call: Call) -> bool:
        return self._summary is None and self._shows(call)
