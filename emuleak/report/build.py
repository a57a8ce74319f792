"""From the end of a run to its report: scan what is left, ask the detectors, put figures and findings together."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET

from emuleak.disasm import dead_registers, red_zone_slots
from emuleak.events import Block
from emuleak.findings.finding import Frame
from emuleak.findings.frames import Symbolizer
from emuleak.findings.heuristics import Heuristics
from emuleak.findings.leaks import leaks
from emuleak.findings.misuse import Misuses
from emuleak.findings.reachability import Scan, Verdict
from emuleak.findings.roots import LiveThread, roots
from emuleak.kernel.core import Ending, Kernel
from emuleak.kernel.signals import name_of
from emuleak.loader import Process
from emuleak.machine import DWARF_REGISTERS
from emuleak.memory import HEAP_BASE, HEAP_SIZE, AddressSpace
from emuleak.report.document import Exit, HeapSummary, Report
from emuleak.stacks.unwinder import Unwinder, dwarf_numbered

if TYPE_CHECKING:
    from emuleak.events import Log

# A block this large is read by the pages that were touched: an untouched gigabyte holds no pointer.
_SPARSE = 1 << 20
# rbx, rbp, r12-r15: what a function gives back as it found it (x86-64 psABI, 3.2.1).
_CALLEE_SAVED = (3, 6, 12, 13, 14, 15)
_LONGEST = 1 << 16  # bytes of a function's code that are read to see what it keeps where


def build(
    kernel: Kernel,
    process: Process,
    log: "Log",
    unwinder: Unwinder,
    argv: Sequence[str],
    sysroot: str,
) -> Report:
    """The report of a run that has ended (`kernel.ending` is set)."""
    ending = kernel.ending
    assert ending is not None
    symbolizer = Symbolizer(process, sysroot)
    misuses = Misuses(kernel.memory, process, symbolizer).findings(log.misuses)
    lost = leaks(_verdicts(kernel, process, log, ending, symbolizer), symbolizer) if log.live else []
    counts = log.counts
    return Report(
        program=process.program.path,
        arguments=tuple(argv[1:]),
        exit=_exit(ending, kernel, unwinder, symbolizer),
        heap=HeapSummary(
            allocs=counts.allocs,
            frees=counts.frees,
            bytes_allocated=counts.bytes_allocated,
            peak_bytes=counts.peak_bytes,
            in_use_bytes=counts.in_use_bytes,
            in_use_blocks=counts.in_use_blocks,
        ),
        incomplete=tuple(
            what if times == 1 else f"{what} ({times} times)" for what, times in kernel.incomplete.items()
        ),
        findings=(*misuses, *lost),
    )


def _verdicts(kernel: Kernel, process: Process, log: "Log", ending: Ending, symbolizer: Symbolizer) -> list[Verdict]:
    """The scan of what is left."""
    memory = kernel.memory
    others = [
        LiveThread(kernel.machine.registers_of(other.context), _CALLEE_SAVED) for other in kernel.threads.others()
    ]
    threads = [_running_thread(kernel, process, symbolizer, ending), *others]
    scan = Scan(log.blocks(), lambda block: _contents(memory, block), Heuristics(memory).counts_as_start)
    return scan.run(roots(memory, process, threads, _joined(kernel)))


def _running_thread(kernel: Kernel, process: Process, symbolizer: Symbolizer, ending: Ending) -> LiveThread:
    """What the thread that had the CPU holds.

    In a system call only callee-saved registers count: the others hold what libc's wrapper left there. Where it was
    stopped in the midst of a function, the words of its red zone do, too; where it crashed, no register that the next
    instructions would have overwritten anyway.
    """
    registers = kernel.machine.registers()
    if ending.address is None and not ending.stopped:
        return LiveThread(registers, _CALLEE_SAVED)
    everything = range(len(DWARF_REGISTERS))
    position = kernel.machine.get("rip")
    module = process.module_at(position)
    function = None if module is None else symbolizer.symbols(module).function_range(position - module.bias)
    if module is None or function is None:
        return LiveThread(registers, everything)
    start, end = function[1] + module.bias, min(function[2] + module.bias, function[1] + module.bias + _LONGEST)
    slots = red_zone_slots(
        bytes(kernel.memory.peek(start, end - start)), start, kernel.machine.get("rsp"), kernel.machine.get("rbp")
    )
    dead = frozenset[str]()
    if not ending.stopped and position < end:
        dead = dead_registers(bytes(kernel.memory.peek(position, end - position)), position)
    alive = [number for number in everything if DWARF_REGISTERS[number] not in dead]
    return LiveThread(registers, alive, slots)


def _joined(kernel: Kernel) -> list[int]:
    """The last stack pointers of the threads that were joined: glibc then writes -1 over the thread id (nptl)."""
    return [
        pointer
        for pointer, clear_tid in kernel.threads.ended
        if clear_tid and kernel.memory.region_at(clear_tid) and kernel.memory.read(clear_tid, 4) == b"\xff\xff\xff\xff"
    ]


def _contents(memory: AddressSpace, block: Block) -> bytes:
    if not HEAP_BASE <= block.address <= HEAP_BASE + HEAP_SIZE - block.size:
        return b""  # a block that only a guest which wrote to the gate's data spoke of
    if block.size < _SPARSE:
        return bytes(memory.peek(block.address, block.size))
    end = block.address + block.size
    pieces = []
    for low, high in memory.touched(block.address, end):
        low, high = max(low, block.address), min(high, end)  # noqa: PLW2901
        pieces.append(bytes(memory.peek(low, high - low)))
    return b"".join(pieces)


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


def _crash_stack(kernel: Kernel, unwinder: Unwinder, symbolizer: Symbolizer, *, exact: bool) -> tuple[Frame, ...]:
    """The running thread's stack: at the instruction that failed, or in the system call that raised the signal."""
    return symbolizer.stack(unwinder.walk(dwarf_numbered(kernel.machine.registers()), exact=exact))
