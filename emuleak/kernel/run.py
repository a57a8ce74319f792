"""Run the guest to its end: give processes their turns, let the CPU go, turn CPU exceptions into signals."""

from emuleak.kernel.core import Kernel
from emuleak.kernel.delivery import deliver
from emuleak.kernel.faults import located, siginfo_of, trap_of
from emuleak.kernel.lives import finish
from emuleak.kernel.signals import force
from emuleak.kernel.system import System
from emuleak.machine import CpuException


def run(system: System) -> None:
    """Return when every process has ended, or the run was stopped."""
    while system.alive() and not system.stopped:
        kernel = system.turn()
        if kernel is not None and kernel.ending is None:
            _run_on(kernel)
        for each in system.alive():
            if each.ending is not None:
                finish(each)
    for each in system.alive():
        each.end(signal=9)
        finish(each)


def _run_on(kernel: Kernel) -> None:
    """Let a process run until it gives way or ends; signals are taken while its registers stand still."""
    kernel.resume()
    while not kernel.gives_way():
        deliver(kernel)
        if kernel.gives_way():
            break
        if kernel.tracer is not None:
            kernel.tracer.goes_on(kernel)
        exception = kernel.machine.run()
        kernel.settle()
        if exception is not None and kernel.ending is None:
            _signal(kernel, exception)
        elif kernel.machine.slice_over:
            kernel.threads.preemption.tick(kernel)
    if kernel.ending is None and not kernel.system.stopped:
        kernel.leave()


def _signal(kernel: Kernel, exception: CpuException) -> None:
    exception = located(kernel, exception)
    kernel.threads.current.signals.trap = trap_of(kernel, exception)
    force(kernel, siginfo_of(kernel, exception))
