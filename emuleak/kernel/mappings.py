"""Files shown in memory: where the pages of mmap(2) come from, and how what is stored in them reaches the file.

A shared mapping is a copy of the file that is kept in step with it, not the file's own memory. Copy and file are made
alike at msync(2), when the mapping goes, when the process ends, and around every read and write of the same file by
the process. In between, other processes that mapped it themselves do not see what is stored; other mappings of the same
process show the same copy (views.py).
"""

from collections.abc import Callable, Iterator

from emuleak.kernel import abi
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.descriptions import Description, release, writable
from emuleak.memory import PAGE, WRITE, AddressSpace, Region

_END = 1 << 63


class FilePages:
    """The pages of one file that one mmap(2) shows. They keep its description open."""

    def __init__(self, file: Description, *, shared: bool) -> None:
        self.file = file
        self.shared = shared
        self.stores = shared and writable(file)
        status = file.stat()
        self.identity = (status.st_dev, status.st_ino)
        self.processes = 1  # in how many it is shown: those that forked share it
        self._known: dict[int, bytes] = {}  # of a page, by its offset: what the file held when last they were alike
        file.references += 1

    def load(self, offset: int, window: memoryview, /) -> bool:
        """Fill a page at its first touch; False behind the file's end, where Linux sends SIGBUS."""
        data = self._read(offset, len(window))
        if not data:
            return False
        window[:] = data.ljust(len(window), b"\0")
        if self.stores:
            self._known[offset] = bytes(window)
        return True

    def settle(self, offset: int, window: memoryview) -> None:
        """Make a loaded page and the file alike: bytes the program changed go there, others come from there.

        Raises SyscallError, OSError when they cannot be stored.
        """
        there = self._read(offset, len(window))
        size = len(there)
        there = there.ljust(len(window), b"\0")
        mine = bytes(window)
        known = self._known.get(offset, mine)
        if known == there:
            merged = mine
        elif known == mine:
            merged = there
        else:
            merged = bytes(m if m != k else t for m, k, t in zip(mine, known, there, strict=True))
        if merged != there:
            self._store(merged[:size], offset)
        window[:] = merged
        if self.stores:
            self._known[offset] = merged

    def close(self) -> None:
        """No page is mapped any more in one of the processes."""
        self.processes -= 1
        if self.processes:
            return
        self.file.references -= 1
        release(self.file)

    def _read(self, offset: int, length: int) -> bytes:
        window = bytearray(length)
        try:
            return bytes(window[: self.file.pread_into(memoryview(window), offset)])
        except (OSError, SyscallError):
            return b""  # a page that cannot be read is one that is not there: SIGBUS, too

    def _store(self, data: bytes, offset: int) -> None:
        """pwrite(2), which on Linux would append to a file opened so."""
        flags = self.file.flags
        if flags & abi.O_APPEND:
            self.file.set_flags(flags & ~abi.O_APPEND)
        try:
            while data:
                count = self.file.write(data, offset)
                data, offset = data[count:], offset + count
        finally:
            if flags & abi.O_APPEND:
                self.file.set_flags(flags)


class FileMappings:
    """Owner of all FilePages of a process. `note` is told what could not be stored where nobody can be told EIO."""

    def __init__(self, memory: AddressSpace, note: Callable[[str], None]) -> None:
        self._memory = memory
        self._note = note
        self._sources: list[FilePages] = []

    def fork(self, memory: AddressSpace, note: Callable[[str], None]) -> "FileMappings":
        """A child's, whose memory is a copy that shows the same pages."""
        child = FileMappings(memory, note)
        child._sources = list(self._sources)
        for source in child._sources:
            source.processes += 1
        return child

    def show(self, file: Description, *, shared: bool) -> FilePages:
        """A new source of pages of `file`, to be given to a region at once."""
        source = FilePages(file, shared=shared)
        self._sources.append(source)
        return source

    def check(self, start: int, end: int, prot: int) -> None:
        """Raise SyscallError EACCES if a file that is not open for writing would become so by its mapping."""
        for region in self._memory.overlapping(start, end) if prot & WRITE else ():
            source = region.source
            if isinstance(source, FilePages) and source.shared and not source.stores:
                raise SyscallError("EACCES")

    def sync(self, start: int, end: int) -> None:
        """Store what was changed in `[start, end)`. Raises SyscallError, OSError."""
        for source, offset, address in self._loaded(start, end):
            source.settle(offset, self._memory.peek(address, PAGE))

    def leave(self, start: int, end: int) -> None:
        """The same before `[start, end)` is unmapped or may no longer be written: failing is silent there."""
        for source, offset, address in self._loaded(start, end):
            try:
                source.settle(offset, self._memory.peek(address, PAGE))
            except (OSError, SyscallError) as error:
                self._note(f"writes to the shared mapping of {source.file.path} were lost: {error}")

    def forget(self, gone: list[Region]) -> None:
        """Close the sources that these regions, which are no longer mapped, were the last to show."""
        left = {id(region.source) for region in self._memory.regions() if region.source is not None}
        for region in gone:
            source = region.source
            if isinstance(source, FilePages) and source in self._sources and id(source) not in left:
                self._sources.remove(source)
                source.close()

    def agree(self, file: Description) -> None:
        """Make `file` and every shared mapping of it alike."""
        if not any(source.shared for source in self._sources):
            return
        status = file.stat()
        mine = [each for each in self._sources if each.shared and each.identity == (status.st_dev, status.st_ino)]
        for region in self._memory.regions() if mine else ():
            if region.source in mine:
                self.leave(region.start, region.end)

    def close(self) -> None:
        """The process has ended: store everything."""
        self.leave(0, _END)
        for source in self._sources:
            source.close()
        self._sources.clear()

    def _loaded(self, start: int, end: int) -> Iterator[tuple[FilePages, int, int]]:
        """Source, offset and address of each page in a range that was loaded into a shared mapping."""
        for region in self._memory.overlapping(start, end) if start < end else ():
            source = region.source
            if not isinstance(source, FilePages) or not source.shared:
                continue
            for low, high in self._memory.touched(max(start, region.start), min(end, region.end)):
                for address in range(low, high, PAGE):
                    yield source, region.offset + address - region.start, address
