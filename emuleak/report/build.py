"""From the end of a run to its report: scan what is left, ask the detectors, put figures and findings together."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET

from emuleak.events import Block
from emuleak.findings.finding import Frame
from emuleak.findings.frames import Symbolizer
from emuleak.findings.leaks import leaks
from emuleak.findings.misuse import Misuses
from emuleak.kernel.core import Ending, Kernel
from emuleak.kernel.signals import SIGILL, name_of
from emuleak.loader import Process
from emuleak.report.document import Exit, HeapSummary, Report, Sample
from emuleak.report.remains import Remains
from emuleak.report.remarks import remarks
from emuleak.stacks.unwinder import Unwinder, dwarf_numbered

if TYPE_CHECKING:
    from emuleak.events import Log


def build(
    kernel: Kernel,
    process: Process,
    log: "Log",
    unwinder: Unwinder,
    argv: Sequence[str],
    symbolizer: Symbolizer,
    freed: Callable[[], Sequence[Block]] = tuple,
    *,
    library_stacks: bool = True,
) -> Report:
    """The report of a run that has ended (`kernel.ending` is set).

    `freed` gives the freed blocks of which nothing was given out again since, the oldest first. `library_stacks` as
    for `leaks`.
    """
    ending = kernel.ending
    assert ending is not None
    threads = kernel.threads.had_several
    misuses = Misuses(kernel.memory, process, symbolizer, threads=threads).findings(log.misuses)
    remains = Remains(kernel, process, log, unwinder, symbolizer, freed)
    verdicts = remains.verdicts() if log.live or log.declared else ()
    lost = leaks(verdicts, symbolizer, remains.reasons, library_stacks=library_stacks, threads=threads)
    counts = log.counts
    exit_ = (
        _deadlock(ending, kernel, process, log, unwinder, symbolizer)
        if ending.deadlock
        else _exit(ending, kernel, unwinder, symbolizer)
    )
    return Report(
        program=process.names.get(process.program.path, process.program.path),
        arguments=tuple(argv[1:]),
        exit=exit_,
        heap=HeapSummary(
            allocs=counts.allocs,
            frees=counts.frees,
            bytes_allocated=counts.bytes_allocated,
            peak_bytes=counts.peak_bytes,
            in_use_bytes=counts.in_use_bytes,
            in_use_blocks=counts.in_use_blocks,
        ),
        incomplete=_incomplete(kernel, exit_),
        remarks=remarks(process, kernel.memory, counts.bytes_allocated) or UNSET,
        growth=tuple(Sample(*sample) for sample in log.growth.samples()) or UNSET,
        findings=(*misuses, *lost),
    )


def _exit(ending: Ending, kernel: Kernel, unwinder: Unwinder, symbolizer: Symbolizer) -> Exit:
    if ending.stopped:
        return Exit(code=None, signal=None, stopped=ending.stopped)
    if ending.signal is None:
        return Exit(code=ending.code, signal=None)
    return Exit(
        code=None,
        signal=ending.signal,
        signal_name=name_of(ending.signal),
        address=UNSET if ending.address is None else hex(ending.address),
        stack=_crash_stack(kernel, unwinder, symbolizer, exact=ending.address is not None),
    )


def _incomplete(kernel: Kernel, exit_: Exit) -> tuple[str, ...]:
    """What could not be emulated; first of it an instruction of which the program died."""
    lines = [what if times == 1 else f"{what} ({times} times)" for what, times in kernel.incomplete.items()]
    if exit_.signal == SIGILL and exit_.stack is not UNSET:
        from emuleak.report.lacking import lacking  # noqa: PLC0415 - few programs come to that

        if line := lacking(kernel, exit_.stack):
            lines.insert(0, line)
    return tuple(lines)


def _deadlock(
    ending: Ending, kernel: Kernel, process: Process, log: "Log", unwinder: Unwinder, symbolizer: Symbolizer
) -> Exit:
    from emuleak.report.standstill import standstill  # noqa: PLC0415 - few programs come to that

    threads = tuple(standstill(kernel, process, log, unwinder, symbolizer))
    return Exit(code=None, signal=None, stopped=ending.stopped, threads=threads)


def _crash_stack(kernel: Kernel, unwinder: Unwinder, symbolizer: Symbolizer, *, exact: bool) -> tuple[Frame, ...]:
    """The running thread's stack: at the instruction that failed, or in the system call that raised the signal."""
    return symbolizer.stack(unwinder.walk(dwarf_numbered(kernel.machine.registers()), exact=exact))
