"""The bytes of a regular file in memory, with holes; until it is first changed they may still be a host file's."""

import os

from emuleak.host import flag
from emuleak.kernel.abi import SyscallError
from emuleak.kernel.quota import Quota

_CHUNK = 1 << 16
_SIZE_MAX = (1 << 63) - 1
_READ_ONLY = os.O_RDONLY | flag("O_NOFOLLOW") | flag("O_NONBLOCK") | flag("O_BINARY")


class Content:
    """Chunks of 64 KiB by number: one that is missing, or the end of a short one, reads as zeros.

    `host` is the file that still holds the bytes, opened for each read: a guest's descriptors take none of the host's.
    """

    def __init__(self, quota: Quota, *, host: str = "", size: int = 0) -> None:
        self.size = size
        self.host = host
        self._quota = quota
        self._chunks: dict[int, bytearray] = {}

    @property
    def stored(self) -> int:
        """Bytes that are kept, which is fewer than the size where there are holes."""
        return self.size if self.host else sum(map(len, self._chunks.values()))

    def extents(self, step: int) -> list[int]:
        """Multiples of `step` at which something is stored within `step` bytes."""
        if self.host:
            return list(range(0, self.size, step))
        return sorted({number * _CHUNK // step * step for number in self._chunks})

    def read(self, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`; fewer at the end. Raises OSError where a host's file cannot be read."""
        length = max(0, min(length, self.size - start))
        if self.host:
            return self._read_host(start, length)
        out = bytearray(length)
        done = 0
        while done < length:
            number, offset = divmod(start + done, _CHUNK)
            step = min(_CHUNK - offset, length - done)
            if (chunk := self._chunks.get(number)) is not None:
                piece = chunk[offset : offset + step]
                out[done : done + len(piece)] = piece
            done += step
        return bytes(out)

    def _read_host(self, start: int, length: int) -> bytes:
        fd = os.open(self.host, _READ_ONLY)
        try:
            os.lseek(fd, start, os.SEEK_SET)
            pieces = []
            while length > 0 and (piece := os.read(fd, length)):
                pieces.append(piece)
                length -= len(piece)
            return b"".join(pieces)
        finally:
            os.close(fd)

    def write(self, start: int, data: bytes | memoryview) -> int:
        """Store bytes; how many were taken. Raises SyscallError: EFBIG, or ENOSPC when none could be."""
        if start + len(data) > _SIZE_MAX:
            raise SyscallError("EFBIG")
        self.own()
        done = 0
        while done < len(data):
            number, offset = divmod(start + done, _CHUNK)
            piece = data[done : done + _CHUNK - offset]
            try:
                self._store(number, offset, piece)
            except SyscallError:
                if not done:
                    raise
                break
            done += len(piece)
        self.size = max(self.size, start + done)
        return done

    def _store(self, number: int, offset: int, piece: bytes | memoryview) -> None:
        chunk = self._chunks.get(number)
        have = 0 if chunk is None else len(chunk)
        self._quota.take(max(0, offset + len(piece) - have))
        if chunk is None:
            chunk = self._chunks[number] = bytearray()
        if offset > have:
            chunk += bytes(offset - have)
        chunk[offset : offset + len(piece)] = piece

    def truncate(self, size: int) -> None:
        """Cut, or extend by a hole. Raises SyscallError EFBIG, ENOSPC; OSError."""
        if size > _SIZE_MAX:
            raise SyscallError("EFBIG")
        self.own(size)
        if size < self.size:
            last, kept = divmod(size, _CHUNK)
            for number in [number for number in self._chunks if number >= last]:
                chunk = self._chunks[number]
                keep = kept if number == last else 0
                self._quota.take(min(0, keep - len(chunk)))
                del chunk[keep:]
                if not chunk:
                    del self._chunks[number]
        self.size = size

    def own(self, needed: int = _SIZE_MAX) -> None:
        """Take the first `needed` bytes over from the host's file, before something is changed."""
        if not self.host:
            return
        data = memoryview(self._read_host(0, min(needed, self.size)))
        self._quota.take(len(data))
        self.host = ""
        for start in range(0, len(data), _CHUNK):
            self._chunks[start // _CHUNK] = bytearray(data[start : start + _CHUNK])

    def discard(self) -> None:
        """The file is gone: give everything back."""
        if not self.host:
            self._quota.take(-self.stored)
        self._chunks.clear()
        self.host, self.size = "", 0
