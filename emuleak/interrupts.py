"""Ctrl-C while a guest runs under somebody else's Python program.

Python's own handler cannot be left to it: a guest in a loop never comes to a Python instruction, where handlers run;
and what a handler raises in a callback of the CPU's is swallowed by the C frames around it. So Ctrl-C ends the guest,
and KeyboardInterrupt is raised when it has ended.
"""

import errno
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from emuleak.kernel import hostfiles, vfs
from emuleak.session import Session

# The modules that wait for the host. They keep no books, so a call there may fail at any instruction.
_WAITING = frozenset({hostfiles.__name__, vfs.__name__})


@contextmanager
def put_off() -> Iterator[None]:
    """Raise KeyboardInterrupt only at the end of the block: code of C++ in the midst of it might swallow it.

    Does nothing where `interruptible` does nothing.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = threading.Event()
    signal.signal(signal.SIGINT, lambda _number, _frame: pressed.set())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed.is_set():
        raise KeyboardInterrupt


@contextmanager
def interruptible(session: Session) -> Iterator[None]:
    """Raise KeyboardInterrupt at the end of the block if Ctrl-C was pressed in it, which ends the session's guest.

    Does nothing on another thread than the main one, and where the program has a handler of its own for SIGINT.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    pressed = threading.Event()

    def handle(_number: int, frame: FrameType | None) -> None:
        pressed.set()
        session.stop("interrupted")  # though it may be about to begin, or over
        if session.running and frame is not None and frame.f_globals.get("__name__") in _WAITING:
            raise InterruptedError(errno.EINTR, "the run is over")

    signal.signal(signal.SIGINT, handle)
    try:
        with _stopped_by_signals(session):
            yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if pressed.is_set():
            raise KeyboardInterrupt


@contextmanager
def _stopped_by_signals(session: Session) -> Iterator[None]:
    """While the block runs, a thread of its own hears of SIGINT, whatever keeps the main one busy, and ends the guest.

    It hears by way of the byte that the C-level handler writes, and passes it on to who listened before.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)  # noqa: FBT003
    previous = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def listen() -> None:
        while data := ours.recv(64):
            if previous != -1:
                with suppress(OSError):
                    os.write(previous, data)
            if signal.SIGINT in data and session.running:
                session.stop("interrupted")

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(previous, warn_on_full_buffer=False)
        theirs.close()
        listener.join()
        ours.close()
