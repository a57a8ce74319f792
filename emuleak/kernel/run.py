"""Run the guest to its end: let the CPU go, switch threads where they give way, turn CPU exceptions into signals."""

from emuleak.kernel.core import Kernel
from emuleak.kernel.delivery import deliver
from emuleak.kernel.faults import located, siginfo_of, trap_of
from emuleak.kernel.signals import force
from emuleak.machine import CpuException


def run(kernel: Kernel) -> None:
    """Return when `kernel.ending` is set."""
    machine, threads = kernel.machine, kernel.threads
    while kernel.ending is None:
        exception = machine.run()
        threads.settle()
        if exception is not None:
            _signal(kernel, exception)
        _back_to_program(kernel)


def _back_to_program(kernel: Kernel) -> None:
    """Have a thread on the CPU that took its signals: only now do its registers stand still to be changed."""
    while kernel.ending is None:
        if kernel.threads.switch_wanted:
            _switch(kernel)
        if kernel.ending is None:
            deliver(kernel)
        if not kernel.threads.switch_wanted:
            return


def _switch(kernel: Kernel) -> None:
    """Put the next thread on the CPU; while all wait, time passes. Ends the process when none can ever run."""
    threads, timers, clock = kernel.threads, kernel.timers, kernel.clock
    threads.leave()
    while kernel.ending is None:
        timers.expire(kernel)
        threads.expire(clock.elapsed_ns)
        if threads.runnable:
            threads.resume()
            return
        times = [*threads.deadlines(), *timers.deadlines()]
        if not times:
            kernel.end(stopped="deadlock: every thread waits for another")
            return
        clock.advance_to(min(times))


def _signal(kernel: Kernel, exception: CpuException) -> None:
    exception = located(kernel, exception)
    kernel.threads.current.signals.trap = trap_of(kernel, exception)
    force(kernel, siginfo_of(kernel, exception))
