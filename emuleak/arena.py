"""A range of guest addresses backed by one block of host memory, reserved once and paid for page by page."""

import ctypes
import mmap
import sys

_MAP_NORESERVE = 0x4000  # Linux's number; the name is missing from Python 3.11's mmap module


class Arena:
    """A range of guest addresses backed by reserved host memory; `words` sees it as 64-bit words."""

    def __init__(self, base: int, size: int) -> None:
        self.base, self.size, self.end = base, size, base + size
        self._map = _reserve(size)
        self.view = memoryview(self._map)
        self.words = self.view.cast("Q")
        self.host = ctypes.addressof(ctypes.c_char.from_buffer(self._map))

    def close(self) -> None:
        """Give the reserved addresses back, now or when the last window on them is gone; `host` then points nowhere."""
        self.view.release()
        self.words.release()
        del self._map

    def zero(self, offset: int, length: int) -> None:
        """Make whole pages read as zero again and give their memory back to the host."""
        if hasattr(self._map, "madvise") and sys.platform == "linux":
            self._map.madvise(mmap.MADV_DONTNEED, offset, length)
            return
        for start in range(offset, offset + length, 1 << 20):
            stop = min(start + (1 << 20), offset + length)
            self.view[start:stop] = bytes(stop - start)


def _reserve(size: int) -> mmap.mmap:
    """Reserve `size` bytes of host address space that cost nothing until they are touched."""
    if sys.platform == "win32":
        return mmap.mmap(-1, size)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    if sys.platform == "linux":
        flags |= _MAP_NORESERVE
    return mmap.mmap(-1, size, flags=flags)
