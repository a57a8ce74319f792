"""System calls on memory: mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2) and their kin."""

from collections.abc import Container

from msgspec.structs import replace

from emuleak.kernel.abi import SyscallError
from emuleak.kernel.core import Kernel
from emuleak.kernel.descriptions import Description, writable
from emuleak.kernel.mappings import FileMappings
from emuleak.kernel.table import Int, Pointer, UInt, ULong, syscall
from emuleak.memory import (
    PAGE,
    PAGE_SHIFT,
    READ,
    WRITE,
    OutOfAddressSpace,
    PageSource,
    Region,
    page_ceil,
    page_floor,
)

_MAP_SHARED, _MAP_PRIVATE, _MAP_SHARED_VALIDATE, _MAP_TYPE = 1, 2, 3, 0xF
_MAP_FIXED, _MAP_ANONYMOUS, _MAP_32BIT = 0x10, 0x20, 0x40
_MAP_FIXED_NOREPLACE = 0x100000
_MREMAP_MAYMOVE, _MREMAP_FIXED, _MREMAP_DONTUNMAP = 1, 2, 4
_MADV_DONTNEED, _MADV_FREE, _MADV_REMOVE = 4, 8, 9
_TASK_SIZE = (1 << 47) - PAGE
_LOW_TOP = 1 << 31
_PROT_BITS = 7
_READ_AT_ONCE = 64 << 20  # bytes of a private file mapping; a larger one is read as it is used


@syscall(9)
def mmap(kernel: Kernel, addr: Pointer, length: ULong, prot: Int, flags: Int, fd: Int, offset: ULong) -> int:
    """mmap(2)."""
    if not flags & _MAP_ANONYMOUS and not offset % PAGE:
        kernel.files.get(fd)
    if length == 0 or offset % PAGE or (flags & _MAP_TYPE) not in {_MAP_SHARED, _MAP_PRIVATE, _MAP_SHARED_VALIDATE}:
        raise SyscallError("EINVAL")
    size = page_ceil(length)
    if size > _TASK_SIZE:
        raise SyscallError("ENOMEM")
    file = None if flags & _MAP_ANONYMOUS else kernel.files.mappable(fd, prot & WRITE and flags & _MAP_SHARED)
    if file is not None and offset + size >> 63:
        raise SyscallError("EOVERFLOW")
    start = _place(kernel, addr, size, flags, "" if file is None else file.path)
    shared = (flags & _MAP_TYPE) != _MAP_PRIVATE
    access = prot & _PROT_BITS
    _unmap(kernel, start, size)
    if file is None:
        kernel.memory.map(Region(start, start + size, access, "anonymous", shared=shared))
        return start
    region = _show(kernel, file, Region(start, start + size, access, "file", file.path, offset, shared))
    kernel.on_map(replace(region, path=file.host_name()))
    return start


def _show(kernel: Kernel, file: Description, region: Region) -> Region:
    """Map a file: what is private and not huge is read at once, which is cheaper than page by page."""
    size = region.end - region.start
    if region.shared and kernel.files.mappings is not None and _is_shown(kernel, file, region):
        return kernel.memory.region_at(region.start) or region
    if region.shared or size > _READ_AT_ONCE:
        region = replace(region, source=_mappings(kernel).show(file, shared=region.shared))
    kernel.memory.map(region)
    if region.source is None:
        file.pread_into(kernel.memory.peek(region.start, size), region.offset)
    return region


def _is_shown(kernel: Kernel, file: Description, region: Region) -> bool:
    """Map a file that is mapped as shared already, if it is: both then show the same memory."""
    from emuleak.kernel.views import source_of, view  # noqa: PLC0415 - few programs map a file twice

    status = file.stat()
    source = source_of(kernel, (status.st_dev, status.st_ino), stores=writable(file))
    if source is None:
        return False
    region = replace(region, source=source)
    kernel.memory.map(region)
    view(kernel, region)
    return True


def _mappings(kernel: Kernel) -> FileMappings:
    """The books of what is mapped from files; most programs need none."""
    if kernel.files.mappings is None:
        kernel.files.mappings = FileMappings(kernel.memory, kernel.note)
    return kernel.files.mappings


def _unmap(kernel: Kernel, start: int, size: int) -> None:
    """Remove what is mapped in a range, after it was stored where it belongs."""
    mappings = kernel.files.mappings
    if mappings is None:
        kernel.memory.unmap(start, size)
        return
    mappings.leave(start, start + size)
    gone = kernel.memory.overlapping(start, start + size)
    kernel.memory.unmap(start, size)
    mappings.forget(gone)


def _place(kernel: Kernel, addr: int, size: int, flags: int, path: str = "") -> int:
    """Where a mapping goes: where it must, where it would like to, or the highest hole."""
    if flags & (_MAP_FIXED | _MAP_FIXED_NOREPLACE):
        return _place_fixed(kernel, addr, size, flags)
    hint = page_floor(addr)
    if hint and kernel.memory.can_hold(hint, size) and not kernel.memory.overlapping(hint, hint + size):
        return hint
    try:
        if flags & _MAP_32BIT:
            return kernel.memory.find_hole(size, _LOW_TOP, 1 << 30)
        return _hole(kernel, size, path)
    except OutOfAddressSpace:
        raise SyscallError("ENOMEM") from None


def _hole(kernel: Kernel, size: int, path: str) -> int:
    """The highest hole where no code of another file has been: stacks of unloaded plug-ins must stay legible."""
    start = kernel.memory.find_hole(size)
    while top := kernel.was_code(start, start + size, path):
        start = kernel.memory.find_hole(size, top)
    return start


def _place_fixed(kernel: Kernel, addr: int, size: int, flags: int) -> int:
    """Check an address that mmap(2) must obey."""
    if addr % PAGE:
        raise SyscallError("EINVAL")
    if not kernel.memory.can_hold(addr, size):
        raise SyscallError("ENOMEM")
    there = kernel.memory.overlapping(addr, addr + size)
    if flags & _MAP_FIXED_NOREPLACE and there:
        raise SyscallError("EEXIST")
    if any(region.kind in {"gate", "heap"} for region in there):
        raise SyscallError("ENOMEM")
    return addr


def _range(kernel: Kernel, addr: int, length: int, ours: Container[str] = ("gate", "heap")) -> int:
    """Check a range the guest names; its length in whole pages. The gate's and the heap's pages are not the guest's."""
    if addr % PAGE:
        raise SyscallError("EINVAL")
    size = page_ceil(length)
    if size > _TASK_SIZE or addr + size > _TASK_SIZE:
        raise SyscallError("EINVAL")
    if any(region.kind in ours for region in kernel.memory.overlapping(addr, addr + size)):
        raise SyscallError("EINVAL")
    return size


@syscall(11)
def munmap(kernel: Kernel, addr: Pointer, length: ULong) -> int:
    """munmap(2)."""
    size = _range(kernel, addr, length)
    if size == 0:
        raise SyscallError("EINVAL")
    _unmap(kernel, addr, size)
    return 0


@syscall(10)
def mprotect(kernel: Kernel, addr: Pointer, length: ULong, prot: Int) -> int:
    """mprotect(2), of the heap's pages, too: a program may put code or a guard page into a block of its own."""
    size = _range(kernel, addr, length, ("gate",))
    mappings = kernel.files.mappings
    if mappings is not None:
        mappings.check(addr, addr + size, prot)
        if not prot & WRITE:
            mappings.leave(addr, addr + size)
    if size and not kernel.memory.protect(addr, size, prot & _PROT_BITS):
        raise SyscallError("ENOMEM")
    return 0


@syscall(329)
def pkey_mprotect(kernel: Kernel, addr: Pointer, length: ULong, prot: Int, pkey: Int) -> int:
    """pkey_mprotect(2): the CPU has no protection keys, see pkeys(7)."""
    if pkey != -1:
        raise SyscallError("EINVAL")
    return mprotect(kernel, addr, length, prot)


@syscall(330)
def pkey_alloc(_kernel: Kernel, flags: UInt, rights: UInt) -> int:
    """pkey_alloc(2)."""
    raise SyscallError("EINVAL" if flags or rights & ~3 else "ENOSPC")


@syscall(331)
def pkey_free(_kernel: Kernel, _pkey: Int) -> int:
    """pkey_free(2)."""
    raise SyscallError("EINVAL")


@syscall(25)
def mremap(kernel: Kernel, old: Pointer, old_size: ULong, new_size: ULong, flags: Int, target: Pointer) -> int:
    """mremap(2), without MREMAP_DONTUNMAP."""
    before, after = _range(kernel, old, old_size), page_ceil(new_size)
    if after == 0 or flags & ~(_MREMAP_MAYMOVE | _MREMAP_FIXED) or before == 0:
        raise SyscallError("EINVAL")
    memory = kernel.memory
    region = memory.region_at(old)
    if region is None or region.end < old + before:
        raise SyscallError("EFAULT")
    if after > _TASK_SIZE:
        raise SyscallError("ENOMEM")
    if not flags & _MREMAP_FIXED and after <= before:
        if after < before:
            _unmap(kernel, old + after, before - after)
        return old
    start = _mremap_target(kernel, old, before, after, flags, target)
    source = _source(kernel, region) if after > before else region.source
    offset = region.offset + old - region.start
    if start == old:
        memory.map(replace(region, start=old + before, end=old + after, offset=offset + before, source=source))
        return old
    _unmap(kernel, start, after)
    moved = replace(region, start=start, end=start + after, offset=offset, source=source)
    _move(kernel, region, old, min(before, after), moved)
    _unmap(kernel, old, before)
    return start


def _source(kernel: Kernel, region: Region) -> PageSource | None:
    """Where the pages come from by which a mapping grows. Raises SyscallError, OSError when its file is gone."""
    if region.kind != "file" or region.source is not None:
        return region.source
    file = kernel.files.open(region.path, 0, 0)
    return _mappings(kernel).show(file, shared=False)


def _move(kernel: Kernel, region: Region, old: int, length: int, moved: Region) -> None:
    """Map `moved` and bring there what was in `length` bytes from `old`, a part of `region`."""
    memory = kernel.memory
    memory.map(moved)
    if moved.source is not None and moved.shared:
        # The file holds it: the pages are loaded where they are touched next.
        _mappings(kernel).leave(old, old + length)
        return
    untouched_are_known = region.kind != "file" or region.source is not None
    pieces = memory.touched(old, old + length) if untouched_are_known else [(old, old + length)]
    for low, high in list(pieces):
        memory.poke(moved.start + low - old, memory.peek(low, high - low))


def _mremap_target(kernel: Kernel, old: int, before: int, after: int, flags: int, target: int) -> int:
    memory = kernel.memory
    if flags & _MREMAP_FIXED:
        if not flags & _MREMAP_MAYMOVE:
            raise SyscallError("EINVAL")
        size = _range(kernel, target, after)
        if target < old + before and old < target + size:
            raise SyscallError("EINVAL")
        return _place(kernel, target, size, _MAP_FIXED)
    grows = memory.can_hold(old, after) and not memory.overlapping(old + before, old + after)
    if grows:
        return old
    if not flags & _MREMAP_MAYMOVE:
        raise SyscallError("ENOMEM")
    return _place(kernel, 0, after, 0)


@syscall(12)
def brk(kernel: Kernel, addr: Pointer) -> int:
    """brk(2): the system call returns the break there is, moved or not."""
    memory = kernel.memory
    old, new = page_ceil(kernel.brk), page_ceil(addr)
    if addr < kernel.brk_start or not memory.can_hold(kernel.brk_start, new - kernel.brk_start):
        return kernel.brk
    if new > old:
        if memory.overlapping(old, new):
            return kernel.brk
        memory.map(Region(old, new, READ | WRITE, "brk"))
    elif new < old:
        _unmap(kernel, new, old - new)
    kernel.brk = addr
    return addr


@syscall(28)
def madvise(kernel: Kernel, addr: Pointer, length: ULong, advice: Int) -> int:
    """madvise(2): only the advice that changes what is read back has an effect."""
    size = _range(kernel, addr, length)
    pieces = kernel.memory.overlapping(addr, addr + size)
    if advice in {_MADV_DONTNEED, _MADV_REMOVE}:
        for region in pieces:
            if region.kind != "file":
                low, high = max(addr, region.start), min(addr + size, region.end)
                for start, end in kernel.memory.touched(low, high):
                    kernel.memory.poke(start, bytes(end - start))
    return 0


@syscall(26)
def msync(kernel: Kernel, addr: Pointer, length: ULong, flags: Int) -> int:
    """msync(2): stored at once, MS_ASYNC or not."""
    if flags & ~7 or flags & 5 == 5:
        raise SyscallError("EINVAL")
    size = _range(kernel, addr, length)
    if kernel.files.mappings is not None:
        kernel.files.mappings.sync(addr, addr + size)
    if not _is_mapped(kernel, addr, size):
        raise SyscallError("ENOMEM")
    return 0


def _is_mapped(kernel: Kernel, addr: int, size: int) -> bool:
    """Whether a range has no hole."""
    position = addr
    for region in kernel.memory.overlapping(addr, addr + size) if size else ():
        if region.start > position:
            return False
        position = region.end
    return position >= addr + size


@syscall(27)
def mincore(kernel: Kernel, addr: Pointer, length: ULong, vec: Pointer) -> int:
    """mincore(2): every mapped page is in core."""
    size = _range(kernel, addr, length)
    if not _is_mapped(kernel, addr, size):
        raise SyscallError("ENOMEM")
    kernel.memory.write(vec, b"\1" * (size >> PAGE_SHIFT))
    return 0


@syscall(149)
def mlock(_kernel: Kernel, _addr: Pointer, _length: ULong) -> int:
    """mlock(2): nothing is ever swapped out here."""
    return 0


@syscall(150)
def munlock(_kernel: Kernel, _addr: Pointer, _length: ULong) -> int:
    """munlock(2)."""
    return 0


@syscall(151)
def mlockall(_kernel: Kernel, _flags: Int) -> int:
    """mlockall(2)."""
    return 0


@syscall(152)
def munlockall(_kernel: Kernel) -> int:
    """munlockall(2)."""
    return 0


@syscall(239)
def get_mempolicy(kernel: Kernel, mode: Pointer, nodemask: Pointer, maxnode: ULong, addr: Pointer, flags: ULong) -> int:
    """get_mempolicy(2): a machine of one node, and the default policy."""
    length = (max(maxnode, 1) - 1 + 63) // 64 * 8  # copy_nodes_to_user in mm/mempolicy.c: one bit less than it is told
    if flags & ~7 or (addr and not flags & 3) or (nodemask and not 1 <= maxnode <= 8 * PAGE):
        raise SyscallError("EINVAL")
    if nodemask:
        kernel.memory.write(nodemask, (flags >> 2).to_bytes(8, "little").ljust(length, b"\0")[:length])
    if mode:
        kernel.memory.write(mode, bytes(4))
    return 0


@syscall(238)
def set_mempolicy(_kernel: Kernel, mode: Int, _nodemask: Pointer, _maxnode: ULong) -> int:
    """set_mempolicy(2): where there is one node, every policy is the same."""
    if not 0 <= mode & 0xFFF <= 6:
        raise SyscallError("EINVAL")
    return 0


@syscall(237)
def mbind(_kernel: Kernel, _addr: Pointer, _length: ULong, _mode: Int, _mask: Pointer, _max: ULong) -> int:
    """mbind(2): a machine of one node."""
    return 0
