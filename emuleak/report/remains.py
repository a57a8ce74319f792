"""What is left when a run has ended: the scan of it, and the reasons of what the scan says when somebody asks."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from emuleak.disasm import dead_registers, red_zone_slots
from emuleak.events import Block, FailedRealloc
from emuleak.findings.frames import Symbolizer
from emuleak.findings.heuristics import Heuristics
from emuleak.findings.reachability import Scan, Verdict
from emuleak.findings.roots import LiveThread, roots
from emuleak.kernel.core import Ending, Kernel
from emuleak.loader import Process
from emuleak.machine import DWARF_REGISTERS
from emuleak.memory import HEAP_BASE, HEAP_SIZE, AddressSpace
from emuleak.stacks.unwinder import LiveFrame, Unwinder, dwarf_numbered

if TYPE_CHECKING:
    from emuleak.events import Log
    from emuleak.findings.reasons import Reasons

# A block this large is read by the pages that were touched: an untouched gigabyte holds no pointer.
_SPARSE = 1 << 20
# rbx, rbp, r12-r15: what a function gives back as it found it (x86-64 psABI, 3.2.1).
_CALLEE_SAVED = (3, 6, 12, 13, 14, 15)
_RSP = DWARF_REGISTERS.index("rsp")
_LONGEST = 1 << 16  # bytes of a function's code that are read to see what it keeps where


class _Thread(NamedTuple):
    number: int
    live: LiveThread
    pointer: int
    exact: bool  # its RIP is the instruction that was executing


class Remains:
    """The guest's memory and threads at the end of its run (`kernel.ending` is set), or at a moment of it.

    Then `ending` says how the running thread was stopped.
    """

    def __init__(
        self,
        kernel: Kernel,
        process: Process,
        log: "Log",
        unwinder: Unwinder,
        symbolizer: Symbolizer,
        freed: Callable[[], Sequence[Block]],
        ending: Ending | None = None,
    ) -> None:
        ending = ending or kernel.ending
        assert ending is not None
        self._kernel = kernel
        self._process = process
        self._log = log
        self._unwinder = unwinder
        self._symbolizer = symbolizer
        self._freed = freed
        self._threads = _threads(kernel, process, symbolizer, ending)
        self._scan, self._verdicts = self._marked([thread.live for thread in self._threads])

    def verdicts(self) -> list[Verdict]:
        """The verdict on every block that was left, in the order of allocation."""
        return self._verdicts

    def reasons(self) -> "Reasons":
        """What says why; it is made when there is something to say it of."""
        from emuleak.findings.holders import Holders, RunningThread  # noqa: PLC0415 - a clean program needs none of it
        from emuleak.findings.homes import Homes  # noqa: PLC0415
        from emuleak.findings.reasons import Reasons, World  # noqa: PLC0415

        memory, frames = self._kernel.memory, [self._frames(thread) for thread in self._threads]
        running = [
            RunningThread(thread.number, sorted(thread.live.alive), thread.pointer, calls)
            for thread, calls in zip(self._threads, frames, strict=True)
        ]
        holders = Holders(self._process, self._symbolizer, running, memory)
        world = World(
            symbolizer=self._symbolizer,
            holders=holders,
            homes=Homes(memory, self._process, self._symbolizer, self._unwinder, holders),
            freed=self._freed,
            freed_contents=lambda block: _contents(memory, block),
            had_returned=lambda number: self._had_returned(frames[0][number + 1]),
            failed_realloc=self._failed_realloc,
            word=memory.word,
        )
        return Reasons(self._scan, world, len(self._verdicts))

    def _marked(self, threads: Sequence[LiveThread]) -> tuple[Scan, list[Verdict]]:
        memory, declared = self._kernel.memory, self._log.declared
        starts = roots(memory, self._process, threads, _joined(self._kernel), declared.stacks.values())
        if declared:
            from emuleak.findings.declared import marked  # noqa: PLC0415 - most programs declare nothing

            return marked(memory, self._log, starts, [thread.registers[_RSP] for thread in threads])
        scan = Scan(self._log.blocks(), lambda block: _contents(memory, block), Heuristics(memory).counts_as_start)
        return scan, scan.run(starts)

    def _failed_realloc(self, address: int) -> FailedRealloc | None:
        failed = self._log.failed_reallocs.get(address)
        return failed if failed is not None and failed.record is self._log.live.get(address) else None

    def _frames(self, thread: _Thread) -> list[LiveFrame]:
        return self._unwinder.frames(dwarf_numbered(thread.live.registers), exact=thread.exact)

    def _had_returned(self, caller: LiveFrame) -> Scan:
        """The scan as it would be if the running thread had returned to this call."""
        registers = tuple(caller.registers.get(number, 0) for number in range(len(DWARF_REGISTERS)))
        others = [thread.live for thread in self._threads[1:]]
        return self._marked([LiveThread(registers, _CALLEE_SAVED), *others])[0]


def _threads(kernel: Kernel, process: Process, symbolizer: Symbolizer, ending: Ending) -> list[_Thread]:
    """The live threads, first the one that had the CPU."""
    machine, threads = kernel.machine, kernel.threads
    live = _running_thread(kernel, process, symbolizer, ending)
    exact = ending.address is not None
    found = [_Thread(threads.current.number, live, machine.get("fs_base"), exact)]
    for other in threads.others():
        registers = LiveThread(machine.registers_of(other.context), _CALLEE_SAVED)
        pointer = machine.thread_pointer_of(other.context)
        found.append(_Thread(other.number, registers, pointer, exact=False))
    return found


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
