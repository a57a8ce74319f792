"""Whatever a guest asks of the kernel, the answer is a number: random system calls, in the sandbox.

The calls go through the kernel's own dispatch, with a machine that has no CPU. A Python exception, a call that takes
too long or a change of the host's directory is a hole.
"""

import os
import random
import resource
import struct
import time
from types import SimpleNamespace

import pytest
from sandbox_guest import START_NS

from emuleak import kernel
from emuleak.kernel.abi import ERRNO
from emuleak.kernel.clock import Clock
from emuleak.kernel.sandbox import Sandbox, SandboxFiles
from emuleak.kernel.table import TABLE, Path, Pointer
from emuleak.machine import Machine
from emuleak.memory import READ, WRITE, AddressSpace, Region

BASE, SIZE = 0x7FFF_0000_0000, 1 << 20
UNREADABLE = BASE + SIZE
STRINGS = (
    b"", b".", b"..", b"/", b"a", b"b", b"a/b", b"/tmp/x", b"../../../..", b"/proc/self/fd/3", b"/proc/self/root/tmp",
    b"/proc/self/exe", b"/proc/self/maps", b"/proc/1/root", b"/dev/null", b"/dev/full", b"/dev/tty", b"/etc/passwd",
    b"/usr/lib", b"/proc/self/fd", b"/dev/stdin", b"x" * 255, b"x" * 256, b"d/" * 2100, b"\xff\xfe", b"user.name",
    b"/proc/self/cwd/a", b"/home/user/fifo", b"/lib64/ld-linux-x86-64.so.2", b"\x01\0/tmp/socket",
    b"\x01\0/tmp/listener", b"\x01\0\0name",
)  # fmt: skip
NUMBERS = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 16, 64, 100, 255, 256, 1000, 4095, 4096, 4097, 0o100, 0o102, 0o1102, 0o200000,
    0o10000000, 0o20200002, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, -1, -2, -100, -4096, 1 << 31, 1 << 32, 1 << 47,
    1 << 62, 1 << 63, (1 << 63) - 1, 1 << 20, 65536, 4711, 4712, 10, 11, 15, 17, 19,
)  # fmt: skip
# These end the process or wait, as they should: what they do is tested elsewhere.
# What the parameters of handlers usually are.
LIKELY = {
    "domain": (1,), "kind": (1, 2, 5), "protocol": (0,), "flags": (0, 0, 1, 2, 0x22, 0o102, 0o100, 0o2, 0x400, 0x1000),
    "prot": (0, 1, 3), "mode": (0o644, 0o755, 0o10644, 0o140644, 0), "addrlen": (2, 16, 110), "level": (1,),
    "name": (2, 4, 7, 13, 17, 20), "size": (0, 1, 24, 64, 4096), "length": (0, 1, 24, 64, 4096, 65536),
    "count": (0, 1, 64),
    "iovcnt": (0, 1, 2), "offset": (0, 1, 4096), "owner": (1000, 0xFFFF_FFFF), "group": (1000, 0xFFFF_FFFF),
    "sigsetsize": (8,), "request": (0x5401, 0x541B, 0x5421, 0x5450), "how": (0, 1, 2), "backlog": (1, 5),
    "addr": (0, BASE + 0x40, BASE + 0x9000), "old": (BASE + 0x10000,), "old_size": (4096,), "new_size": (8192,),
}  # fmt: skip
ENDING = {"exit", "exit_group", "rt_sigreturn"}
LONGEST = 5.0  # seconds that one call may take
M64 = (1 << 64) - 1


class Bare:
    """A kernel with all its parts, and a machine that is never run."""

    def __init__(self, seed: int) -> None:
        self.memory = AddressSpace()
        self.memory.map(Region(BASE, BASE + SIZE, READ | WRITE, "anonymous"))
        self.memory.map(Region(UNREADABLE, UNREADABLE + 4096, 0, "anonymous"))
        self.machine = Machine(self.memory)
        sandbox = Sandbox(max_file_bytes=4 << 20, max_files=500, max_descriptors=64)
        program = os.path.realpath("/bin/true")
        self.files = SandboxFiles(sandbox, program, START_NS, sysroot="/", stdin=b"input", capture=True, seed=seed)
        clock = Clock(START_NS)
        self.kernel = kernel.Kernel(self.machine, self.memory, self.files, kernel.Identity(), clock)
        self.kernel.start(BASE, BASE + SIZE - 4096, program, ("true",), 0x5555_5560_0000)
        limits = self.kernel.identity.limits
        self.files.on_limits(self.kernel.note, lambda reason: self.kernel.end(stopped=reason), limits, clock.read)

    def furnish(self) -> None:
        """Open one of each kind, so that descriptors 3 to 15 mean something."""
        numbers = {handler.name: number for number, handler in TABLE.items()}
        at = BASE + 0x9000

        def call(name: str, *arguments: int) -> int:
            result = self.kernel.dispatch(numbers[name], (*arguments, *[0] * (6 - len(arguments))))
            assert result is not None
            assert result >= 0, f"{name}: {result}"
            return result

        def text(data: bytes) -> int:
            self.memory.poke(at, data + b"\0")
            return at

        call("mkdir", text(b"a"), 0o755)
        call("open", text(b"a"), 0, 0)
        call("open", text(b"b"), 0o102, 0o644)
        call("write", 4, BASE, 20_000)
        call("pipe2", at, 0o4000)
        call("socketpair", 1, 1, 0, at)
        call("epoll_create1", 0)
        call("eventfd2", 3, 0o4000)
        call("timerfd_create", 1, 0o4000)
        call("memfd_create", text(b"m"), 2)
        listener = call("socket", 1, 1 | 0o4000, 0)
        call("bind", listener, text(b"\x01\0/tmp/listener"), 16)
        call("listen", listener, 5)
        call("open", text(b"/proc/self/fd"), 0, 0)
        call("mknod", text(b"fifo"), 0o10644, 0)
        call("open", text(b"fifo"), 0o4002, 0)

    def close(self) -> None:
        self.files.close_all()
        for part in (self.kernel, self.files, self.machine):
            vars(part).clear()
        self.memory.close()


class Caller:
    """Chooses calls and arguments; what it finds out - descriptors - it uses again."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.strings: list[int] = [BASE]
        self.prototypes = {
            number: [(name, kind) for name, kind in handler._function.__annotations__.items() if "kernel" not in name]
            for number, handler in TABLE.items()
        }
        self.numbers = sorted(number for number, handler in TABLE.items() if handler.name not in ENDING)

    def fill(self, memory: AddressSpace) -> None:
        """Paths, small numbers and noise, so that a pointer into it means something now and then."""
        choose = self.random
        at = BASE
        self.strings = []
        while at < BASE + 0x8000:
            kind = choose.random()
            if kind < 0.5:
                piece = choose.choice(STRINGS) + b"\0"
                self.strings.append(at)
            elif kind < 0.9:
                words = [choose.choice((*NUMBERS, BASE + choose.randrange(0x8000))) & M64 for _ in range(8)]
                piece = struct.pack("<8Q", *words)
            else:
                piece = choose.randbytes(64)
            piece = piece.ljust(-(-len(piece) // 64) * 64, b"\0")
            memory.poke(at, piece)
            at += len(piece)

    def argument(self) -> int:
        choose = self.random
        kind = choose.random()
        if kind < 0.35:
            return BASE + choose.randrange(0x8000) // 64 * 64
        if kind < 0.6:
            return choose.randrange(12)
        if kind < 0.9:
            return choose.choice(NUMBERS) & M64
        if kind < 0.95:
            return choose.choice((0, UNREADABLE - 8, UNREADABLE, BASE + SIZE - 1, 0x1234_5678_9000, 1 << 47, M64 - 7))
        return choose.getrandbits(64)

    def fitting(self, name: str, kind: object) -> int:
        """An argument that could be meant, by the prototype of the handler."""
        choose = self.random
        if "fd" in name and kind is not Pointer:
            return choose.choice((*range(18), -100)) & M64
        if name in LIKELY and choose.random() < 0.8:
            return choose.choice(LIKELY[name])
        if kind is Path:
            return choose.choice(self.strings)
        if kind is Pointer:
            return choose.choice(
                (0, BASE + choose.randrange(0x8000) // 64 * 64, BASE + choose.randrange(0x8000) // 64 * 64)
            )
        return choose.choice((0, 0, 1, 2, 8, 16, 24, 64, 100, 4096, 0o644, *NUMBERS)) & M64

    def call(self) -> tuple[int, tuple[int, ...]]:
        choose = self.random
        number = choose.choice(self.numbers) if choose.random() < 0.99 else choose.randrange(600)
        known = self.prototypes.get(number, [])
        registers = [
            self.fitting(*known[place]) if place < len(known) and choose.random() < 0.85 else self.argument()
            for place in range(6)
        ]
        return number, tuple(registers)


def runaway(calls: int, seed: int) -> SimpleNamespace:
    """Make so many calls, with a fresh process now and then; what went wrong is raised."""
    caller = Caller(seed)
    seen = SimpleNamespace(results={}, slowest=(0.0, None))
    bare = None
    try:
        for index in range(calls):
            if index % 500 == 0 or bare is None or bare.kernel.ending is not None:
                if bare is not None:
                    bare.close()
                bare = Bare(seed + index)
                caller.fill(bare.memory)
                bare.furnish()
            number, registers = caller.call()
            one_call(bare, number, registers, seen)
            if index % 50 == 0 and bare.memory.region_at(BASE) is not None:
                refill(bare, caller)
    finally:
        if bare is not None:
            bare.close()
    return seen


def refill(bare: Bare, caller: Caller) -> None:
    region = bare.memory.region_at(BASE)
    if region is not None and region.end >= BASE + 0x8000 + 8192 and region.kind == "anonymous":
        caller.fill(bare.memory)


def one_call(bare: Bare, number: int, registers: tuple[int, ...], seen: SimpleNamespace) -> None:
    name = TABLE[number].name if number in TABLE else str(number)
    before = time.process_time()
    try:
        result = bare.kernel.dispatch(number, registers)
    except Exception as error:
        words = ", ".join(map(hex, registers))
        raise AssertionError(f"{name}({words}) raised {type(error).__name__}: {error}") from error
    took = time.process_time() - before
    assert took < LONGEST, f"{name}({', '.join(map(hex, registers))}) took {took:.1f} s"
    if took > seen.slowest[0]:
        seen.slowest = (took, name)
    assert result is None or isinstance(result, int), f"{name} gave {result!r}"
    assert result is None or -4096 < result <= M64, f"{name} gave {result}"
    seen.results.setdefault(name, set()).add("ok" if result is None or result >= 0 else -result)
    threads = bare.kernel.threads
    if result is None and bare.kernel.ending is None:
        # The thread gave way. What it waited for does not matter here.
        threads.waiting.clear()
        threads.runnable.clear()
        threads._switch_wanted = False
        threads.current.leave_call()


def listing(directory: str) -> list[tuple[str, int, int]]:
    return sorted(
        (entry.name, entry.stat(follow_symlinks=False).st_mtime_ns, entry.inode()) for entry in os.scandir(directory)
    )


def check(calls: int, seed: int) -> None:
    watched = ["/etc", "/usr/lib", os.path.dirname(__file__)]
    before = [listing(directory) for directory in watched]
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    seen = runaway(calls, seed)
    assert [listing(directory) for directory in watched] == before
    assert not descriptors or len(os.listdir("/proc/self/fd")) <= descriptors + 3
    assert len(seen.results) > 0.9 * len(TABLE), "hardly any call was made"
    assert sum("ok" in results for results in seen.results.values()) > 100
    assert ERRNO["ENOSYS"] in set.union(*seen.results.values())
    print(f"slowest: {seen.slowest}; {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB")  # noqa: T201


@pytest.mark.parametrize("seed", range(4))
def test_any_system_call_gets_an_answer(seed: int) -> None:
    check(5_000, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 120))
def test_a_million_system_calls_get_an_answer(seed: int) -> None:
    check(50_000, seed)
