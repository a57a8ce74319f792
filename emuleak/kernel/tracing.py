"""Who is told of system calls and signals as they happen, as ptrace(2) lets a tracer be told. Most runs have nobody."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from emuleak.kernel.core import Kernel
    from emuleak.kernel.signals import Siginfo


class Tracer(Protocol):
    """One tracer for all processes of a run."""

    def dispatch(self, kernel: "Kernel", number: int, registers: tuple[int, ...], /) -> int | None:
        """Serve the call by `kernel.dispatch`, and tell of it."""

    def goes_on(self, kernel: "Kernel", /) -> None:
        """The process's running thread is about to execute instructions: a call in which it waited may be over."""

    def taken(self, kernel: "Kernel", info: "Siginfo", /) -> None:
        """The running thread takes a signal; where a handler is to run, the call in which it waited has ended."""

    def dropped(self, kernel: "Kernel", info: "Siginfo", /) -> None:
        """A signal was sent that does nothing as things are."""
