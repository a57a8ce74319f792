"""Debian's packages, see deb(5): an ar archive of a version, a tar archive of control files and one of the files.

Whoever made a package may be anybody: nothing of it is believed before it was checked.
"""

import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, BinaryIO, Final

import msgspec

from emuleak.errors import BadOption

_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60
_MOST_CONTROL: Final = 1 << 20
_ARCHITECTURES: Final = ("amd64", "all")


class Package(msgspec.Struct, frozen=True):
    """What a package's control file says of it."""

    name: str
    version: str
    architecture: str


class _Part(io.RawIOBase):
    """A part of a file, from `start` on, `size` bytes long."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size - self._at))
        self._file.seek(self._start + self._at)
        data = self._file.read(wanted)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


class DebianPackage:
    """An open package. Raises BadOption for what is none, or not for x86-64."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._file: BinaryIO = open(path, "rb")  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise BadOption(f"{path}: {(error.strerror or str(error)).lower()}") from None
        try:
            self._members = dict(self._read_members())
            self.package = self._control()
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @contextmanager
    def files(self) -> "Iterator[tarfile.TarFile]":
        """The archive of its files, to be read once from front to back. Raises BadOption."""
        with self._tar("data") as archive:
            yield archive

    def _bad(self, why: str) -> BadOption:
        return BadOption(f"{self.path}: is no Debian package that can be read: {why}")

    def _read_members(self) -> Iterator[tuple[str, _Part]]:
        """The members of the ar archive by name."""
        if self._file.read(len(_MAGIC)) != _MAGIC:
            raise self._bad("it is no ar archive")
        end = self._file.seek(0, os.SEEK_END)
        at = len(_MAGIC)
        while at + _HEADER <= end:
            self._file.seek(at)
            header = self._file.read(_HEADER)
            digits = header[48:58].strip()
            if header[58:60] != b"`\n" or not digits.isdigit() or at + _HEADER + int(digits) > end:
                raise self._bad("it is damaged or was cut off")
            name = header[:16].strip().rstrip(b"/").decode("ascii", "replace")
            yield name, _Part(self._file, at + _HEADER, int(digits))
            at += _HEADER + int(digits) + int(digits) % 2

    def _control(self) -> Package:
        with self._tar("control") as archive:
            for member in archive:
                if member.name.lstrip("./") == "control" and member.isreg():
                    content = archive.extractfile(member)
                    text = b"" if content is None else content.read(_MOST_CONTROL)
                    return self._package(text.decode("utf-8", "replace"))
        raise self._bad("it has no control file")

    def _package(self, text: str) -> Package:
        fields = dict(line.partition(":")[::2] for line in text.splitlines() if line[:1] not in {" ", "\t", ""})
        name, version, architecture = (fields.get(each, "").strip() for each in ("Package", "Version", "Architecture"))
        if not name or not version:
            raise self._bad("its control file names no package")
        if architecture not in _ARCHITECTURES:
            raise BadOption(f"{self.path}: is for {architecture or 'no architecture'}; only amd64 programs run")
        return Package(name, version, architecture)

    @contextmanager
    def _tar(self, stem: str) -> "Iterator[tarfile.TarFile]":
        name = next((each for each in self._members if each.startswith(f"{stem}.tar")), None)
        if name is None:
            raise self._bad(f"it has no {stem}.tar")
        part = self._members[name]
        part.seek(0)
        try:
            with self._decompressed(name, part) as plain, tarfile.open(fileobj=plain, mode="r|") as archive:
                yield archive
        except (tarfile.TarError, EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # a failure to write what was read
            raise self._bad(f"{name} is damaged") from None
        except Exception as error:
            if type(error).__name__ in {"LZMAError", "ZstdError", "error"}:
                raise self._bad(f"{name} is damaged") from None
            raise

    def _decompressed(self, name: str, part: _Part) -> IO[bytes]:
        """The bytes of a member, whatever packed them."""
        source = io.BufferedReader(part)
        suffix = name.rpartition(".")[2]
        if suffix == "tar":
            return source
        if suffix in {"xz", "lzma"}:
            import lzma  # noqa: PLC0415

            return lzma.open(source)
        if suffix == "gz":
            import gzip  # noqa: PLC0415

            unzipped: IO[bytes] = gzip.open(source)  # type: ignore[assignment]  # noqa: SIM115 - the caller closes it
            return unzipped
        if suffix == "bz2":
            import bz2  # noqa: PLC0415

            return bz2.open(source)
        if suffix == "zst":
            return self._zstd(source)
        raise self._bad(f"{name} is compressed in an unknown way")

    def _zstd(self, source: BinaryIO) -> IO[bytes]:
        """By the standard library from Python 3.14 on, else by the package zstandard. Raises BadOption."""
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
        except ImportError:
            try:
                import zstandard  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415
            except ImportError:
                raise BadOption(f"{self.path}: is compressed by zstd; to read it: pip install zstandard") from None
            found: IO[bytes] = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
            return found
        opened: IO[bytes] = zstd.open(source)
        return opened
