"""Writing and reading the ZIP archive of a bundle."""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Final

import msgspec

from emuleak.bundle.manifest import FILES, MANIFEST, Manifest, decoded
from emuleak.errors import BadProgram

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first date that a ZIP archive knows
_UNIX: Final = 3
_LEVEL: Final = 6
_PIECE: Final = 1 << 20
_MOST_BYTES: Final = 16 << 30
_MOST_MANIFEST: Final = 64 << 20


def digest_of(path: str) -> tuple[str, int]:
    """SHA-256 and size of a file. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def write(target: str, manifest: Manifest, sources: Mapping[str, str]) -> None:
    """Write a bundle; `sources` has the host's file of each digest. Raises OSError."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
    temporary = f"{target}.part"
    try:
        with zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(_info(MANIFEST), text, compresslevel=_LEVEL)
            for digest in sorted(sources):
                _copy(archive, digest, sources[digest])
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _copy(archive: zipfile.ZipFile, digest: str, path: str) -> None:
    with archive.open(_info(FILES + digest), "w", force_zip64=True) as out, open(path, "rb") as file:
        while piece := file.read(_PIECE):
            out.write(piece)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type, info.create_system, info.external_attr = zipfile.ZIP_DEFLATED, _UNIX, 0o644 << 16
    return info


class Bundle:
    """A bundle that is read. Raises BadProgram for what is none, or damaged."""

    def __init__(self, path: str) -> None:
        self.path = path
        try:
            self._archive = zipfile.ZipFile(path)
            info = self._archive.getinfo(MANIFEST)
            if info.file_size > _MOST_MANIFEST:
                raise BadProgram(f"{path}: is corrupt: its manifest has {info.file_size:,} bytes")
            raw = self._archive.read(info)
        except (zipfile.BadZipFile, KeyError, zlib.error, NotImplementedError, EOFError):
            raise BadProgram(f"{path}: is no bundle; emuleak bundle PROG makes one") from None
        except OSError as error:
            raise BadProgram(f"{path}: {(error.strerror or str(error)).lower()}") from None
        self.manifest = decoded(raw, path)
        # What is in a bundle is known by its manifest, which holds the digests of all.
        self.digest = hashlib.sha256(raw).hexdigest()
        if sum({each.sha256: each.size for each in self.manifest.files}.values()) > _MOST_BYTES:
            raise BadProgram(f"{path}: is corrupt: it says that it holds more than {_MOST_BYTES:,} bytes")

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def unpack(self, digest: str, size: int, target: str) -> None:
        """Write the file of a digest. Raises BadProgram where it is not what the manifest says; OSError."""
        told, done = hashlib.sha256(), 0
        try:
            with self._archive.open(FILES + digest) as source, open(target, "wb") as out:
                while done <= size and (piece := source.read(_PIECE)):
                    told.update(piece)
                    done += len(piece)
                    out.write(piece)
        except (zipfile.BadZipFile, KeyError, zlib.error, NotImplementedError, EOFError):
            raise self._damaged() from None
        if done != size or told.hexdigest() != digest:
            raise self._damaged()

    def _damaged(self) -> BadProgram:
        return BadProgram(f"{self.path}: is damaged: copy it again or bundle the program again")
