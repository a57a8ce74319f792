"""Client requests of valgrind and memcheck: what each does here. docs/client-requests.md tells users of it."""

import struct
from collections.abc import Callable
from contextlib import closing
from typing import Final, NamedTuple

from emuleak.custom_blocks import CustomBlocks
from emuleak.events import SIZE_MASK, Call
from emuleak.hooks.requests import Request
from emuleak.interfaces.guest import Guest
from emuleak.interfaces.guestcalls import GuestCalls
from emuleak.interfaces.leakcheck import ANY, CHANGED, LeakChecks
from emuleak.interfaces.messages import Messages

TOOL_BASE: Final = ord("M") << 24 | ord("C") << 16
_METAPOOL, _AUTO_FREE = 2, 1
_DONE: Final = -1  # what memcheck answers to MAKE_MEM_*
_SOURCE_SIZE: Final = 50  # of the caller's 64 bytes valgrind uses so many
_QUICK: Final = 1

Handler = Callable[["ClientRequests", Request], int | None]


class Entry(NamedTuple):
    """What becomes of one request; without a handler it is answered as if nobody listened."""

    name: str
    handler: Handler | None = None


class ClientRequests:
    """Serves requests. Each method is one; it returns the answer, or None if the answer comes later."""

    def __init__(self, guest: Guest, custom: CustomBlocks, checks: LeakChecks, calls: GuestCalls) -> None:
        self._guest = guest
        self._custom = custom
        self._checks = checks
        self._calls = calls
        self._messages = Messages(guest)
        self._stacks = 0
        self._silent: dict[int, tuple[int, int]] = {}  # thread to (depth, misuses when it began)

    def copy_for(
        self, guest: Guest, custom: CustomBlocks, checks: LeakChecks, calls: GuestCalls, thread: int
    ) -> "ClientRequests":
        """Those of a process that `thread` forked: it is thread 0 there, and nothing was done wrong yet."""
        copy = ClientRequests(guest, custom, checks, calls)
        copy._stacks, copy._messages = self._stacks, self._messages.copy_for(guest)
        if thread in self._silent:
            copy._silent[0] = (self._silent[thread][0], 0)
        return copy

    def serve(self, request: Request) -> int | None:
        """The answer to a request. Raises Fault for pointers that lead nowhere."""
        entry = REQUESTS.get(request.number)
        if entry is None or entry.handler is None:
            return request.default
        self._guest.gate.drain()
        answer = entry.handler(self, request)
        for pool in self._custom.unknown_pools:
            self._guest.kernel.note(f"{entry.name} of a pool that was never created, {pool:#x}: nothing was done")
        self._custom.unknown_pools.clear()
        return answer

    # ---- the core's

    def running(self, _request: Request) -> int:
        """Yes: what the program does for valgrind it shall do for emuleak."""
        return 1

    def discard_translations(self, request: Request) -> int:
        """The code there was written anew."""
        self._guest.machine.flush_code()
        return request.default

    def call(self, request: Request) -> int | None:
        """Call a function with the number of the thread, from 1, and up to three arguments."""
        function, *arguments = request.arguments
        self._calls.begin(function, (self._guest.thread + 1, *arguments[:3]), "rdx")
        return None

    def count_errors(self, _request: Request) -> int:
        """Misuses so far, and leaks that full checks have shown."""
        return len(self._guest.heap.log.misuses) + self._checks.errors

    def monitor_command(self, request: Request) -> int:
        """There is no gdb server to be spoken to."""
        self._guest.kernel.note("VALGRIND_MONITOR_COMMAND: there is no gdb server; nothing was done")
        return request.default

    def print(self, request: Request) -> int:
        """Write a message."""
        template, place, *_ = request.arguments
        return self._messages.write(template, place)

    def print_backtrace(self, request: Request) -> int:
        """Write a message and the stack."""
        template, place, *_ = request.arguments
        return self._messages.write_backtrace(template, place)

    def register_stack(self, request: Request) -> int:
        """A stack of the program's own, `[start, end]`: what lies below the stack pointer in it is dead."""
        low, high = sorted(request.arguments[:2])
        self._stacks += 1
        self._guest.heap.log.declared.stacks[self._stacks] = (low, high + 1)
        return self._stacks

    def deregister_stack(self, request: Request) -> int:
        """It is none any more."""
        self._guest.heap.log.declared.stacks.pop(request.arguments[0], None)
        return request.default

    def change_stack(self, request: Request) -> int:
        """It lies elsewhere."""
        number, *bounds = request.arguments[:3]
        stacks = self._guest.heap.log.declared.stacks
        if number in stacks:
            stacks[number] = (min(bounds), max(bounds) + 1)
        return request.default

    def map_to_source(self, request: Request) -> int:
        """Write the file and the line of an address."""
        address, buffer, *_ = request.arguments
        with closing(self._guest.symbolizer()) as symbolizer:
            frame = symbolizer.frames_at(address)[0]
        text = f"{frame.file.rpartition('/')[2]}:{frame.line}" if frame.file else ""
        self._guest.memory.write(buffer, text.encode()[: _SOURCE_SIZE - 1] + b"\0")
        return 0

    def silence(self, request: Request) -> int:
        """What a thread does wrong between `disable` and `enable` is not reported."""
        thread, misuses = self._guest.thread, self._guest.heap.log.misuses
        depth, start = self._silent.get(thread, (0, len(misuses)))
        more = 1 if request.arguments[0] == 1 else -1
        if depth + more > 0:
            self._silent[thread] = (depth + more, start)
        elif depth:
            del self._silent[thread]
            misuses[start:] = [event for event in misuses[start:] if event.thread != thread]
        return request.default

    # ---- blocks

    def malloc_like(self, request: Request) -> int:
        """A block of the program's own."""
        address, size, redzone, *_ = request.arguments
        if address:
            self._custom.allocated(address, size & SIZE_MASK, redzone, self._guest.stack(), self._guest.thread)
        return request.default

    def resize_in_place(self, request: Request) -> int:
        """Such a block has another size."""
        address, old, new, redzone, _ = request.arguments
        guest = self._guest
        self._custom.resized(address, old, new & SIZE_MASK, redzone, guest.stack(), guest.thread)
        return request.default

    def free_like(self, request: Request) -> int:
        """Such a block is released."""
        address, redzone, *_ = request.arguments
        guest, stack = self._guest, self._guest.stack()
        record = guest.heap.log.live.get(address)
        if record is not None and address not in guest.heap.log.declared.blocks:
            self._custom.mismatched(record, stack, guest.thread)
            guest.heap.handle(Call("free", address, 0, 0, stack, guest.thread))
        else:
            self._custom.freed(address, redzone, stack, guest.thread)
        return request.default

    # ---- pools

    def create_pool(self, request: Request) -> int:
        """A pool, by its name."""
        pool, redzone, _zeroed, flags, _ = request.arguments
        self._custom.create_pool(pool, redzone, meta=bool(flags & _METAPOOL), auto_free=bool(flags & _AUTO_FREE))
        return request.default

    def destroy_pool(self, request: Request) -> int:
        """It is gone with all its blocks."""
        self._custom.destroy_pool(request.arguments[0])
        return request.default

    def pool_alloc(self, request: Request) -> int:
        """A block in a pool."""
        pool, address, size, *_ = request.arguments
        self._custom.pool_allocated(pool, address, size & SIZE_MASK, self._guest.stack(), self._guest.thread)
        return request.default

    def pool_free(self, request: Request) -> int:
        """It is released."""
        pool, address, *_ = request.arguments
        self._custom.pool_freed(pool, address, self._guest.stack(), self._guest.thread)
        return request.default

    def trim_pool(self, request: Request) -> int:
        """Only the blocks in a range stay."""
        pool, address, size, *_ = request.arguments
        self._custom.trim_pool(pool, address, size, self._guest.stack())
        return request.default

    def move_pool(self, request: Request) -> int:
        """A pool has another name."""
        self._custom.move_pool(*request.arguments[:2])
        return request.default

    def change_pool(self, request: Request) -> int:
        """A block of a pool lies elsewhere."""
        pool, old, new, size, _ = request.arguments
        self._custom.change_pool(pool, old, new, size & SIZE_MASK, self._guest.stack(), self._guest.thread)
        return request.default

    def pool_exists(self, request: Request) -> int:
        """Whether there is such a pool."""
        return int(self._custom.pool_exists(request.arguments[0]))

    # ---- memcheck's

    def no_access(self, request: Request) -> int:
        """What a range holds counts no longer."""
        self._custom.close(*request.arguments[:2])
        return _DONE

    def accessible(self, request: Request) -> int:
        """A range is in use again."""
        self._custom.open(*request.arguments[:2])
        return _DONE

    def done(self, _request: Request) -> int:
        """Nothing is to be done: undefined bytes are not known."""
        return _DONE

    def leak_check(self, request: Request) -> int:
        """Look for leaks now."""
        how, which, *_ = request.arguments
        self._checks.check(self._guest.stack(), full=how != _QUICK, which=which if which <= CHANGED else ANY)
        return request.default

    def count_leaks(self, request: Request) -> int:
        """What the last check found, in bytes."""
        return self._write_amounts(request, 0)

    def count_leak_blocks(self, request: Request) -> int:
        """What the last check found, in blocks."""
        return self._write_amounts(request, 1)

    def _write_amounts(self, request: Request, part: int) -> int:
        for place, amount in zip(request.arguments, self._checks.amounts, strict=False):
            self._guest.memory.write(place, struct.pack("<Q", amount[part]))
        return request.default


_R = ClientRequests
REQUESTS: Final[dict[int, Entry]] = {
    0x1001: Entry("RUNNING_ON_VALGRIND", _R.running),
    0x1002: Entry("DISCARD_TRANSLATIONS", _R.discard_translations),
    0x1101: Entry("CLIENT_CALL0", _R.call),
    0x1102: Entry("CLIENT_CALL1", _R.call),
    0x1103: Entry("CLIENT_CALL2", _R.call),
    0x1104: Entry("CLIENT_CALL3", _R.call),
    0x1201: Entry("COUNT_ERRORS", _R.count_errors),
    0x1202: Entry("GDB_MONITOR_COMMAND", _R.monitor_command),
    0x1203: Entry("CLO_CHANGE"),
    0x1301: Entry("MALLOCLIKE_BLOCK", _R.malloc_like),
    0x130B: Entry("RESIZEINPLACE_BLOCK", _R.resize_in_place),
    0x1302: Entry("FREELIKE_BLOCK", _R.free_like),
    0x1303: Entry("CREATE_MEMPOOL", _R.create_pool),
    0x1304: Entry("DESTROY_MEMPOOL", _R.destroy_pool),
    0x1305: Entry("MEMPOOL_ALLOC", _R.pool_alloc),
    0x1306: Entry("MEMPOOL_FREE", _R.pool_free),
    0x1307: Entry("MEMPOOL_TRIM", _R.trim_pool),
    0x1308: Entry("MOVE_MEMPOOL", _R.move_pool),
    0x1309: Entry("MEMPOOL_CHANGE", _R.change_pool),
    0x130A: Entry("MEMPOOL_EXISTS", _R.pool_exists),
    # Their va_list is handed over as one word, which it is not on x86-64; valgrind.h has not used them since 2010.
    0x1401: Entry("PRINTF"),
    0x1402: Entry("PRINTF_BACKTRACE"),
    0x1403: Entry("PRINTF_VALIST_BY_REF", _R.print),
    0x1404: Entry("PRINTF_BACKTRACE_VALIST_BY_REF", _R.print_backtrace),
    0x1501: Entry("STACK_REGISTER", _R.register_stack),
    0x1502: Entry("STACK_DEREGISTER", _R.deregister_stack),
    0x1503: Entry("STACK_CHANGE", _R.change_stack),
    0x1601: Entry("LOAD_PDB_DEBUGINFO"),
    0x1701: Entry("MAP_IP_TO_SRCLOC", _R.map_to_source),
    0x1801: Entry("CHANGE_ERR_DISABLEMENT", _R.silence),
    0x1901: Entry("VEX_INIT_FOR_IRI"),
    0x1902: Entry("INNER_THREADS"),
    TOOL_BASE: Entry("MAKE_MEM_NOACCESS", _R.no_access),
    TOOL_BASE + 1: Entry("MAKE_MEM_UNDEFINED", _R.accessible),
    TOOL_BASE + 2: Entry("MAKE_MEM_DEFINED", _R.accessible),
    TOOL_BASE + 3: Entry("DISCARD"),
    TOOL_BASE + 4: Entry("CHECK_MEM_IS_ADDRESSABLE"),
    TOOL_BASE + 5: Entry("CHECK_MEM_IS_DEFINED"),
    TOOL_BASE + 6: Entry("DO_LEAK_CHECK", _R.leak_check),
    TOOL_BASE + 7: Entry("COUNT_LEAKS", _R.count_leaks),
    TOOL_BASE + 8: Entry("GET_VBITS"),
    TOOL_BASE + 9: Entry("SET_VBITS"),
    TOOL_BASE + 10: Entry("CREATE_BLOCK"),
    TOOL_BASE + 11: Entry("MAKE_MEM_DEFINED_IF_ADDRESSABLE", _R.done),
    TOOL_BASE + 12: Entry("COUNT_LEAK_BLOCKS", _R.count_leak_blocks),
    TOOL_BASE + 13: Entry("ENABLE_ADDR_ERROR_REPORTING_IN_RANGE"),
    TOOL_BASE + 14: Entry("DISABLE_ADDR_ERROR_REPORTING_IN_RANGE"),
    TOOL_BASE + 256: Entry("MEMCHECK_RECORD_OVERLAP_ERROR"),
}
