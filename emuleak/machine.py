"""The emulated CPU: registers, traps, running and stopping.

How it is set up, and why (Unicorn 2.1.4):

- CPU model EPYC: the default Haswell runs `rep stos` three times slower, older models die at the first SSE instruction.
- The *virtual TLB* with a page table of our own: stores cost 3 ns, with the built-in TLB 38-50 ns.
- Callbacks are registered raw (310 ns a call; 850 ns through a binding). A raw callback that raises prints a line and
  lets emulation go on, so each one here catches, stores the exception, stops the CPU, and `run` raises it again.
- No memory hook and no global code hook: one of either slows every access of the guest 6 to 150 times.
"""

import ctypes
import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from emuleak import engine
from emuleak.arena import Arena
from emuleak.engine import Context, Engine
from emuleak.errors import MachineFailure
from emuleak.memory import EXEC, GATE_BASE, PAGE, READ, WRITE, AddressSpace, Fault
from emuleak.vexscan import VexScan

if TYPE_CHECKING:
    from emuleak.blockcounter import BlockCounter

# DWARF's numbering of the general registers (x86-64 psABI, figure 3.36): the order in which stacks ask for them.
DWARF_REGISTERS: Final = (
    "rax",
    "rdx",
    "rcx",
    "rbx",
    "rsi",
    "rdi",
    "rbp",
    "rsp",
    *(f"r{n}" for n in range(8, 16)),
    "rip",
)
_SYSCALL_REGISTERS: Final = ("rax", "rdi", "rsi", "rdx", "r10", "r8", "r9")

_uc: Final = engine.library

# Never reached: emu_start wants an address to stop at, and 0 is where a call through a null pointer goes.
_NOWHERE: Final = 0xFFFF_8000_0000_0000

_FILL = ctypes.CFUNCTYPE(
    ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p
)
_INTERRUPT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_void_p)
_SYSCALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)
_ENTRY = ctypes.c_uint64 * 2
_NEED = {engine.MEM_READ: READ, engine.MEM_WRITE: WRITE, engine.MEM_FETCH: EXEC}
_ACCESS = {engine.MEM_READ: "read", engine.MEM_WRITE: "write", engine.MEM_FETCH: "execute"}

# The CPU's TLB starts small and is only resized at a flush: asking for one after this many fills, then after twice as
# many, lets it grow with the program (a tree search: 2.0 s -> 0.34 s).
_FIRST_FLUSH: Final = 256
_LAST_FLUSH: Final = 1 << 17
# It grows only when 70 % of its entries are in use, but each page has one place in it: long before, pages push each
# other out, and every fill costs 1 us. So from here on it is made to look full (xz: 593,000 fills -> 52,000).
_FIRST_WIDENING: Final = 1 << 13
_LAST_WIDENING: Final = 1 << 16
# Pages outside of every arena, looked up for this purpose only and forgotten at once.
_UNUSED_PAGES: Final = 0x7000_0000_0000

_LONGEST_INSTRUCTION: Final = 15
_HLT: Final = 0xF4
_UD2: Final = b"\x0f\x0b"
DIVIDE_ERROR, DEBUG, BREAKPOINT, INVALID_OPCODE, GENERAL_PROTECTION, PAGE_FAULT = 0, 1, 3, 6, 13, 14
X87_ERROR, ALIGNMENT, SIMD_ERROR = 16, 17, 19


class CpuException(msgspec.Struct, frozen=True):
    """The CPU could not go on: `vector` as in the Intel SDM, volume 3, chapter 6; RIP is at the instruction.

    For PAGE_FAULT `address` is what was accessed and `access` is "read", "write" or "execute".
    """

    vector: int
    address: int = 0
    access: str = ""


class Machine:
    """One x86-64 CPU over an AddressSpace.

    `traps` maps the vector of a software interrupt to a function without arguments; `on_syscall` gets the number and
    the six argument registers and returns the value for RAX, or None to leave the registers as they are.
    """

    def __init__(self, memory: AddressSpace) -> None:
        self.memory = memory
        self.traps: dict[int, Callable[[], None]] = {}
        self.on_syscall: Callable[[int, tuple[int, ...]], int | None] = lambda _nr, _args: -38
        self.page_limit = 1 << 40
        self.on_page_limit: Callable[[], None] = self.stop
        self._engine = Engine()
        self._handle = self._engine.handle
        self._keep: list[object] = []
        self._failure: BaseException | None = None
        self._exception: CpuException | None = None
        self._stopped = False
        self._counter: BlockCounter | None = None
        self.withheld: dict[int, bytes] = {}  # instructions that would have been executed wrongly, by address
        self._suspects: list[int] = []
        self._widening = False
        self._forgotten = 0  # how often the TLB was flushed since it was last considered for widening
        self._arenas: set[int] = set()
        for arena in memory.arenas:
            self.attach(arena)
        memory.on_change = self._forget
        self._scan = VexScan(self._engine, memory, self._suspect)
        self._reader = _BatchReader(self._handle, _SYSCALL_REGISTERS)
        self._dwarf_reader = _BatchReader(self._handle, DWARF_REGISTERS)
        self._hook(engine.HOOK_TLB_FILL, _FILL(self._make_fill()))
        self._hook(engine.HOOK_INTR, _INTERRUPT(self._interrupt))
        self._hook(engine.HOOK_INSN, _SYSCALL(self._make_syscall()), ctypes.c_int(engine.INS_SYSCALL))

    def attach(self, arena: Arena) -> None:
        """Let the CPU reach an arena, at its own addresses, if it does not yet."""
        if arena.base not in self._arenas:
            self._arenas.add(arena.base)
            self._engine.map(arena.base, arena.size, READ | WRITE | EXEC, arena.host)

    # ---- registers

    def get(self, register: str) -> int:
        """The value of one register by its assembler name."""
        return self._engine.read(register)

    def set(self, register: str, value: int) -> None:
        """Write one register. Inside a callback RIP must be written alone: a batch with RIP in it never returns."""
        self._engine.write(register, value)

    def registers(self) -> tuple[int, ...]:
        """All general registers and RIP in DWARF's order."""
        return self._dwarf_reader()

    def save(self) -> Context:
        """The CPU's state (not memory), to be given to `restore`."""
        return self._engine.save()

    def restore(self, context: Context) -> None:
        """Put back what `save` took."""
        self._engine.restore(context)

    @staticmethod
    def registers_of(context: Context) -> tuple[int, ...]:
        """As `registers`, of a saved state."""
        return tuple(context.read(name) for name in DWARF_REGISTERS)

    @staticmethod
    def thread_pointer_of(context: Context) -> int:
        """FS.base of a saved state: where a thread's control block is."""
        return context.read("fs_base")

    # ---- running

    def run(self) -> CpuException | None:
        """Run from RIP until `stop` is called (None) or the CPU cannot go on.

        None also when what it was granted is used up, if that is counted: then `slice_over`.
        Raises what a callback raised, and MachineFailure when Unicorn ends without giving a reason.
        """
        self._exception = None
        self._stopped = False
        status = self._start()
        while self._suspects and not self._stopped:
            self._withhold()
            status = self._start()
        if self._failure is not None:
            raised, self._failure = self._failure, None
            raise raised
        exception = self._ended_by()
        if exception is not None:
            return exception
        if self._stopped:
            return None  # whatever error Unicorn reports of its look-ups after the stop
        if self._counter is not None and self._slice_ended(status):
            return None
        return CpuException(GENERAL_PROTECTION) if status == engine.ERR_OK else self._explain(status)

    def _start(self) -> int:
        return self._engine.start(self.get("rip"), _NOWHERE, self._counter.instructions if self._counter else 0)

    def _suspect(self, block: int) -> None:
        """A block was translated that may hold an AVX instruction; it has not run yet."""
        self._suspects.append(block)
        self._engine.stop()

    def _withhold(self) -> None:
        """Have the CPU refuse the AVX instructions that it would execute as others."""
        from emuleak.disasm import avx_instruction  # noqa: PLC0415 - few programs are built for AVX

        while self._suspects:
            block = self._suspects.pop()
            # A block ends with its page, or with the instruction that goes beyond it.
            found = avx_instruction(self._code(block, -block % PAGE + _LONGEST_INSTRUCTION), block)
            if found is not None:
                at, size = found
                self.withheld[at] = bytes(self.memory.peek(at, size))
                self.memory.poke(at, _UD2)
                self.flush_code()

    def _code(self, address: int, length: int) -> bytes:
        """Bytes of code, up to the end of the page where no more are mapped."""
        try:
            return bytes(self.memory.peek(address, length))
        except Fault:
            return bytes(self.memory.peek(address, -address % PAGE))

    def _ended_by(self) -> CpuException | None:
        """What a callback noted while the CPU ran."""
        return self._exception

    def stop(self) -> None:
        """Make `run` return; may be called from a callback or from another host thread."""
        self._stopped = True
        self._engine.stop()

    def raise_exception(self, vector: int, address: int = 0, access: str = "") -> None:
        """Make `run` return as if the CPU itself had raised `vector`; for a trap that cannot be served."""
        self._exception = CpuException(vector, address, access)
        self._engine.stop()

    def count(self, *, instructions: bool = False) -> None:
        """Count basic blocks, or instructions: from the first `grant` on `run` returns when that is used up."""
        if self._counter is None:
            from emuleak.blockcounter import BlockCounter  # noqa: PLC0415 - programs with one thread need none

            self._counter = BlockCounter(self._engine, single=instructions)
            self.flush_code()

    @property
    def slice_over(self) -> bool:
        """Whether the CPU has used up what was granted."""
        return self._counter is not None and self._counter.over

    def grant(self, number: int) -> None:
        """Let the CPU run for so many of what `count` was told."""
        assert self._counter is not None
        self._counter.grant(number)

    def _slice_ended(self, status: int) -> bool:
        assert self._counter is not None
        if self._counter.instructions and status == engine.ERR_OK:
            self._counter.used_up()
        return self._counter.over

    def flush_code(self) -> None:
        """Forget all translated code: needed after writing over code that may have run."""
        _uc.uc_ctl(self._handle, engine.CTL_TB_FLUSH)

    # ---- callbacks

    def _make_fill(self) -> Callable[..., bool]:
        """The TLB-fill callback, as a closure: attribute look-ups would double its 0.6 us."""
        memory, pages, from_address = self.memory, self.memory.pages, _ENTRY.from_address
        countdown = period = _FIRST_FLUSH

        def fill(_uc: int, address: int, access: int, entry: int, _data: int) -> bool:
            nonlocal countdown, period
            prot = pages.get(address >> 12)
            if prot is None:
                if self._widening:
                    slot = from_address(entry)
                    slot[0], slot[1] = GATE_BASE, READ
                    return True
                prot = memory.fill(address >> 12)
                if len(pages) > self.page_limit:
                    self._guard(self.on_page_limit)
            if not prot & _NEED[access]:
                # Unicorn looks around the address to stop at whenever it stops; that is no doing of the guest's.
                if not _NOWHERE - 4096 <= address < _NOWHERE + 4096:
                    self._exception = CpuException(PAGE_FAULT, address, _ACCESS[access])
                return False
            countdown -= 1
            if not countdown:
                period = min(period * 2, _LAST_FLUSH)
                countdown = period
                self._grow(period >> 1)
            slot = from_address(entry)
            slot[0] = (address ^ prot) & ~0xFFF  # a shared page's entry says where else it lies
            slot[1] = prot & 7
            return True

        return fill

    def _grow(self, fills: int) -> None:
        """Let the TLB grow after so many fills, if they come from its being too small and not from other flushes."""
        if fills < _FIRST_WIDENING:
            _uc.uc_ctl(self._handle, engine.CTL_TLB_FLUSH)
        elif self._forgotten < fills >> 10:
            self._widen(min(fills, _LAST_WIDENING))
        self._forgotten = 0

    def _widen(self, entries: int) -> None:
        """Let the TLB grow to `entries`: fill it, flush it, and again."""
        ignored = ctypes.c_uint64()
        self._widening = True
        size = _FIRST_FLUSH if entries == _FIRST_WIDENING else entries >> 1
        while size < entries:
            for page in range(_UNUSED_PAGES, _UNUSED_PAGES + size * PAGE, PAGE):
                _uc.uc_vmem_translate(self._handle, page, READ, ctypes.byref(ignored))
            _uc.uc_ctl(self._handle, engine.CTL_TLB_FLUSH)
            size *= 2
        self._widening = False

    def _make_syscall(self) -> Callable[..., None]:
        read, write = self._reader, _uc.uc_reg_write
        handle, rax = self._handle, engine.REGISTERS["rax"]
        result = ctypes.c_uint64()
        pointer = ctypes.byref(result)

        def syscall(_uc: int, _data: int) -> None:
            try:
                number, *arguments = read()
                value = self.on_syscall(number, tuple(arguments))
            except BaseException as error:  # noqa: BLE001 - nothing may pass through the C frames; `run` raises it
                self._fail(error)
                return
            if value is not None:
                result.value = value & 0xFFFF_FFFF_FFFF_FFFF
                write(handle, rax, pointer)

        return syscall

    def _interrupt(self, _uc: int, vector: int, _data: int) -> None:
        trap = self.traps.get(vector)
        if trap is not None:
            self._guard(trap)
            return
        self.raise_exception(vector)

    def _guard(self, function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001 - nothing may pass through the C frames; `run` raises it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            self._failure = error
        self.stop()

    # ---- the rest

    def _explain(self, status: int) -> CpuException:
        if status in {engine.ERR_INSN_INVALID, engine.ERR_EXCEPTION}:
            return CpuException(GENERAL_PROTECTION if self._halted() else INVALID_OPCODE)
        if status in {engine.ERR_FETCH_UNMAPPED, engine.ERR_FETCH_PROT}:
            return CpuException(PAGE_FAULT, self.get("rip"), "execute")
        if status in {engine.ERR_READ_UNMAPPED, engine.ERR_WRITE_UNMAPPED}:
            # A translation that leaves the arenas: an address the guest cannot own.
            return CpuException(GENERAL_PROTECTION)
        raise MachineFailure(f"the emulated CPU failed at {self.get('rip'):#x}: {engine.explain(status)}")

    def _halted(self) -> bool:
        """Whether HLT ended the run: Unicorn's guest is in ring 0; in ring 3 it is a protection fault."""
        try:
            return self.memory.peek(self.get("rip") - 1, 1)[0] == _HLT
        except Fault:
            return False

    def _forget(self, code: bool) -> None:
        """Drop cached translations after a mapping changed; `code` when executable pages were among them."""
        self._forgotten += 1
        _uc.uc_ctl(self._handle, engine.CTL_TLB_FLUSH)
        if code:
            self.flush_code()

    def _hook(self, kind: int, callback: object, *extra: object) -> None:
        self._keep.append(callback)
        self._engine.hook(kind, callback, *extra)


class _BatchReader:
    """Reads a fixed set of registers with one call into Unicorn."""

    def __init__(self, handle: ctypes.c_void_p, names: Iterable[str]) -> None:
        ids = [engine.REGISTERS[name] for name in names]
        count = len(ids)
        self._handle, self._count = handle, count
        self._ids = (ctypes.c_int * count)(*ids)
        self._values = (ctypes.c_uint64 * count)()
        base = ctypes.addressof(self._values)
        self._pointers = (ctypes.c_void_p * count)(*[base + 8 * index for index in range(count)])
        self._unpack = struct.Struct(f"<{count}Q").unpack

    def __call__(self) -> tuple[int, ...]:
        _uc.uc_reg_read_batch(self._handle, self._ids, self._pointers, self._count)
        return self._unpack(self._values)
