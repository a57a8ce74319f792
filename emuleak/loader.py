"""Start a program as Linux does: map it and its interpreter, build the first stack, keep the list of modules.

`Image` is what a file says; `Module` is an image at an address. The program's libraries are mapped later, by the
guest's own ld.so, and reported here by the kernel's mmap: that is why `Process.modules` grows while the guest runs.
"""

import bisect
import os
import random
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from emuleak.elf import Image, read_image, read_program
from emuleak.elf_header import open_file
from emuleak.errors import BadProgram
from emuleak.memory import (
    EXEC,
    GATE_BASE,
    HEAP_BASE,
    HEAP_SIZE,
    PROGRAM_BASE,
    READ,
    STACK_TOP,
    WRITE,
    AddressSpace,
    OutOfAddressSpace,
    Region,
    page_ceil,
    page_floor,
)

STACK_SIZE = 8 << 20  # RLIMIT_STACK's usual 8 MiB
_MAX_ARGUMENTS = 2 << 20  # a quarter of the stack, as execve(2) allows

# Auxiliary vector types (include/uapi/linux/auxvec.h).
_AT_PHDR, _AT_PHENT, _AT_PHNUM, _AT_PAGESZ, _AT_BASE, _AT_FLAGS, _AT_ENTRY = 3, 4, 5, 6, 7, 8, 9
_AT_UID, _AT_EUID, _AT_GID, _AT_EGID, _AT_PLATFORM, _AT_HWCAP, _AT_CLKTCK = 11, 12, 13, 14, 15, 16, 17
_AT_SECURE, _AT_RANDOM, _AT_HWCAP2, _AT_EXECFN = 23, 25, 26, 31
_HWCAP = 0x178BFBFF  # CPUID.1:EDX of the emulated CPU
_WORD = (1 << 64) - 1  # addresses wrap around as the CPU's do


OwnMalloc = Literal["auto", "serve", "keep"]
"""What becomes of a malloc that a program brings along: replaced unless it wraps another one, always, or never."""


class Module(msgspec.Struct, frozen=True):
    """An image in memory: a guest address is a link-time address plus `bias`."""

    image: Image
    bias: int

    @property
    def start(self) -> int:
        """Its lowest guest address."""
        return page_floor(self.image.start + self.bias)

    @property
    def end(self) -> int:
        """One past its highest guest address."""
        return page_ceil(self.image.end + self.bias)

    @property
    def path(self) -> str:
        """The file it was mapped from."""
        return self.image.path

    @property
    def name(self) -> str:
        """The file's base name."""
        return os.path.basename(self.image.path)

    def address_of(self, function: str) -> int | None:
        """The guest address of a function it defines."""
        value = self.image.functions.get(function)
        return None if value is None else value + self.bias


class Process:
    """The modules of a running program, in the order they were mapped: the program, its interpreter, the libraries.

    `is_checked` unless it is a program that runs on without anybody keeping books on its heap.
    """

    def __init__(self, program: Module, interpreter: Module | None, stack_pointer: int) -> None:
        self.program = program
        self.interpreter = interpreter
        self.stack_pointer = stack_pointer
        self.own_malloc: OwnMalloc = "auto"
        self.is_checked = True
        self.modules: list[Module] = []
        self.listeners: list[Callable[[Module], None]] = []
        self.names: Mapping[str, str] = {}  # how files are called in reports, where not by their own paths
        self._sorted: list[Module] = []
        self._starts: list[int] = []

    def copy(self) -> "Process":
        """The same modules, in a process that was forked; nobody listens yet."""
        copy = Process(self.program, self.interpreter, self.stack_pointer)
        copy.modules, copy.own_malloc, copy.names = list(self.modules), self.own_malloc, self.names
        copy._sorted, copy._starts = list(self._sorted), list(self._starts)
        return copy

    @property
    def entry(self) -> int:
        """Where the CPU starts: the interpreter's entry point, or the program's if it has none."""
        first = self.interpreter or self.program
        return first.image.entry + first.bias & _WORD

    def add_initial(self) -> None:
        """Tell the listeners of what is mapped before the guest runs."""
        self.add(self.program)
        if self.interpreter is not None:
            self.add(self.interpreter)

    def add(self, module: Module) -> None:
        """Tell the listeners of a module that was mapped; it takes the place of one that was unmapped there."""
        overlapped = [m for m in self._sorted if m.start < module.end and module.start < m.end]
        for old in overlapped:
            index = self._sorted.index(old)
            del self._sorted[index], self._starts[index]
        self.modules.append(module)
        index = bisect.bisect_left(self._starts, module.start)
        self._starts.insert(index, module.start)
        self._sorted.insert(index, module)
        for listener in self.listeners:
            listener(module)

    def module_at(self, address: int) -> Module | None:
        """The module whose range holds `address`."""
        index = bisect.bisect_right(self._starts, address) - 1
        if index >= 0 and address < self._sorted[index].end:
            return self._sorted[index]
        return None

    def was_code(self, start: int, end: int, path: str) -> int:
        """The start of a module that once was within `[start, end)`, unless it is that file's at `start`; 0 for none.

        Where another module comes to lie the addresses in stacks would mean two things.
        """
        found = (each for each in self.modules if each.start < end and start < each.end)
        return max((each.start for each in found if (each.path, each.start) != (path, start)), default=0)

    def file_mapped(self, region: Region) -> None:
        """Notice a module: ld.so (or dlopen) mapped the code segment of a library, the bytes of which are in place."""
        if not region.prot & EXEC:
            return
        module = self.module_at(region.start)
        if module is not None and module.path == region.path:
            return
        try:
            image = read_image(region.path)
        except BadProgram:
            return  # some other file mapped executable: no module, and nothing of ours to hook
        for segment in image.segments:
            if segment.prot & EXEC and page_floor(segment.offset) == region.offset:
                self.add(Module(image, region.start - page_floor(segment.address)))
                return


def load(
    memory: AddressSpace,
    path: str,
    argv: Sequence[str],
    environment: Mapping[str, str] | Sequence[str],
    find: Callable[[str], str],
    identity: tuple[int, int],
    seed: int,
    shown: str = "",
) -> Process:
    """Map the program at the host path `path` and its interpreter, and build the stack.

    The environment is a mapping, or its strings as they are. `find` turns a guest path into a host path (the sysroot);
    `identity` is (uid, gid). The program is told that it is the file `shown`, if there is another name than `path`.
    Raises BadProgram.
    """
    image = read_program(path)
    program = _map_image(memory, image, None if image.fixed else PROGRAM_BASE)
    interpreter = _load_interpreter(memory, image, find)
    auxiliary = _auxiliary_vector(program, interpreter, identity)
    stack_pointer = _build_stack(memory, argv, environment, auxiliary, shown or path, seed)
    return Process(program, interpreter, stack_pointer)


def _load_interpreter(memory: AddressSpace, image: Image, find: Callable[[str], str]) -> Module | None:
    if not image.interpreter:
        return None
    path = find(image.interpreter)
    if not os.path.exists(path):
        raise BadProgram(
            f"{image.path}: its interpreter {image.interpreter} does not exist; "
            "install the libc it was built for, or name the directory that holds it with --sysroot"
        )
    try:
        return _map_image(memory, read_image(path), None)
    except BadProgram as error:
        raise BadProgram(f"{image.path}: its interpreter cannot be loaded: {error}") from None


def _bias(memory: AddressSpace, image: Image, base: int | None) -> int:
    """What is added to link-time addresses: 0, what leads to `base` or the next aligned address, or to a hole.

    Raises BadProgram when the image does not fit.
    """
    size = page_ceil(image.end) - page_floor(image.start)
    if image.fixed:
        taken = ((GATE_BASE, HEAP_BASE + HEAP_SIZE), (STACK_TOP - STACK_SIZE, STACK_TOP))
        if not memory.can_hold(image.start, 1) or any(a < image.end and image.start < b for a, b in taken):
            raise BadProgram(f"{image.path}: is linked at {image.start:#x}, where no program can be loaded")
        start = page_floor(image.start)
    elif base is None:
        try:
            start = memory.find_hole(size)
        except OutOfAddressSpace:
            start = 0
    else:
        start = -(-base // image.alignment) * image.alignment
    if not memory.can_hold(start, size):
        raise BadProgram(f"{image.path}: cannot allocate memory: it wants {size:,} bytes")
    return start - page_floor(image.start)


def _map_image(memory: AddressSpace, image: Image, base: int | None) -> Module:
    """Map the PT_LOAD segments as `elf_map` does (fs/binfmt_elf.c): at their address, at `base`, or in a hole."""
    bias = _bias(memory, image, base)
    with open_file(image.path) as file:
        for segment in image.segments:
            low, high = page_floor(segment.address + bias), page_ceil(segment.address + segment.memory_size + bias)
            offset = page_floor(segment.offset)
            memory.map(Region(low, high, segment.prot, "file", image.path, offset))
            # A segment without .bss shows the file to the end of its last page, one with .bss reads as zero there.
            length = segment.offset + segment.file_size - offset
            if segment.memory_size == segment.file_size:
                length = page_ceil(length)
            file.seek(offset)
            file.readinto(memory.peek(low, min(length, high - low)))
    return Module(image, bias)


def _auxiliary_vector(program: Module, interpreter: Module | None, identity: tuple[int, int]) -> list[tuple[int, int]]:
    image, (uid, gid) = program.image, identity
    return [
        (_AT_PAGESZ, 4096),
        (_AT_CLKTCK, 100),
        (_AT_PHDR, image.program_headers + program.bias),
        (_AT_PHENT, 56),
        (_AT_PHNUM, image.program_header_count),
        (_AT_BASE, interpreter.bias if interpreter else 0),
        (_AT_FLAGS, 0),
        (_AT_ENTRY, image.entry + program.bias),
        (_AT_UID, uid),
        (_AT_EUID, uid),
        (_AT_GID, gid),
        (_AT_EGID, gid),
        (_AT_SECURE, 0),
        (_AT_HWCAP, _HWCAP),
        (_AT_HWCAP2, 2),
    ]


def _build_stack(
    memory: AddressSpace,
    argv: Sequence[str],
    environment: Mapping[str, str] | Sequence[str],
    auxiliary: list[tuple[int, int]],
    path: str,
    seed: int,
) -> int:
    """argc, argv, envp and auxv as the x86-64 psABI (section 3.4.1) lays them out; the stack pointer."""
    memory.map(Region(STACK_TOP - STACK_SIZE, STACK_TOP, READ | WRITE, "stack"))
    top = STACK_TOP - 8

    def push(data: bytes) -> int:
        nonlocal top
        top -= len(data)
        if STACK_TOP - top > _MAX_ARGUMENTS:
            raise BadProgram(f"{path}: its arguments and environment are longer than {_MAX_ARGUMENTS} bytes")
        memory.poke(top, data)
        return top

    name = push(os.fsencode(path) + b"\0")
    if isinstance(environment, Mapping):
        environment = [f"{key}={value}" for key, value in environment.items()]
    strings = [os.fsencode(variable) for variable in environment]
    variables = [push(string + b"\0") for string in reversed(strings)][::-1]
    arguments = [push(os.fsencode(argument) + b"\0") for argument in reversed(argv)][::-1]
    platform = push(b"x86_64\0")
    random_bytes = push(random.Random(seed).randbytes(16))
    vector = [len(arguments), *arguments, 0, *variables, 0]
    for key, value in (*auxiliary, (_AT_EXECFN, name), (_AT_PLATFORM, platform), (_AT_RANDOM, random_bytes), (0, 0)):
        vector += (key, value & _WORD)
    top = (top - 8 * len(vector)) & ~15
    memory.poke(top, struct.pack(f"<{len(vector)}Q", *vector))
    return top
