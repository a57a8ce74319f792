"""Ctrl-C and SIGTERM end the guest, not emuleak: the report of what was seen until then is still written.

A Python signal handler runs only between two Python instructions, and a guest in a loop never comes to one. So a thread
waits for the byte that the C-level handler writes and stops the CPU. A guest that waits in a call of the host's - for
input, for a reader of its output - is on the main thread, where the Python handler makes that call fail with EINTR.
"""

import errno
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Final

from emuleak.kernel import hostfiles, vfs

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from emuleak.kernel.core import Kernel

    class Run(Protocol):
        """What can be ended: a session, or anything else that runs a guest. See session.Session."""

        running: bool
        nudge: "Callable[[], None]"
        kernel: "Kernel"

        def stop(self, reason: str, /) -> None:
            """End the guest; from any thread."""


REASONS: Final = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
STATUS: Final = {reason: 128 + number for number, reason in REASONS.items()}

# timeout(1) sends its signal to the process and then to its group: the same order twice within a moment.
_SAME_ORDER_SECONDS: Final = 0.15
# The modules that wait for the host. They keep no books, so a call there may fail at any instruction.
_WAITING: Final = frozenset({hostfiles.__name__, vfs.__name__})
# Wakes the main thread out of a host call when a budget runs out; ignored by default, so that it is never harmful.
_NUDGE: Final[int | None] = getattr(signal, "SIGURG", None)


class Interruption:
    """Knows the session once there is one. Asked again, or when there is no guest to end, it ends emuleak at once."""

    def __init__(self) -> None:
        self.session: Run | None = None
        self._first: float | None = None
        self._main = threading.get_ident()

    def watch(self, session: "Run") -> None:
        """From now on it is this session's guest that is ended."""
        session.nudge = self._nudge
        self.session = session

    def order(self, number: int) -> None:
        """One signal has come; called on a thread of its own."""
        reason = REASONS.get(signal.Signals(number))
        if reason is None:
            return
        now = time.monotonic()
        if self._first is not None:
            if now - self._first > _SAME_ORDER_SECONDS:
                os._exit(128 + number)
        elif self.session is None or not self.session.running:
            os._exit(128 + number)
        else:
            self._first = now
            self.session.stop(reason)

    def handle(self, _number: int, frame: FrameType | None) -> None:
        """The Python handler. Raises InterruptedError out of a host call, as a signal does without SA_RESTART."""
        session = self.session
        if session is None or not session.running or session.kernel.ending is None or frame is None:
            return  # `order` will end the run; then a nudge comes
        if frame.f_globals.get("__name__") in _WAITING:
            raise InterruptedError(errno.EINTR, "the run is over")

    def _nudge(self) -> None:
        if _NUDGE is not None:
            signal.pthread_kill(self._main, _NUDGE)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Install the handlers for as long as the block runs; to be called on the main thread."""
    reading, writing = os.pipe()  # a pair of sockets would do as well, and costs 4 ms to import
    if hasattr(os, "set_blocking"):  # Windows asks for it only where the writing end is a socket
        os.set_blocking(writing, False)
    interruption = Interruption()

    def listen() -> None:
        while data := os.read(reading, 64):
            for number in data:
                interruption.order(number)

    numbers = [*REASONS, *([] if _NUDGE is None else [_NUDGE])]
    previous = {number: signal.signal(number, interruption.handle) for number in numbers}
    previous_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield interruption
    finally:
        signal.set_wakeup_fd(previous_fd)
        for number, handler in previous.items():
            signal.signal(number, handler)
        os.close(writing)
        listener.join()
        os.close(reading)
