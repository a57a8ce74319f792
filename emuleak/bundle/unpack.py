"""Unpacking a bundle where the host keeps caches, under names that every host can have."""

import os
import shutil
import tempfile
from collections import Counter
from contextlib import closing
from typing import Final

import msgspec

from emuleak.bundle.archive import Bundle
from emuleak.bundle.manifest import FOR_REPORTS, Manifest, is_portable
from emuleak.errors import BadOption
from emuleak.image_cache import cache_directory

_TIME: Final = 315_532_800  # 1980-01-01, as in the archive: programs may look at it
_DONE: Final = ".complete"
_ELSEWHERE: Final = ".files"


class Unpacked(msgspec.Struct, frozen=True):
    """A bundle on the host's disk: below `directory` what reports are made of, by its paths; `files` the program's."""

    directory: str
    manifest: Manifest
    files: dict[str, str]

    @property
    def program(self) -> str:
        """The host's file of the program."""
        return self.files[self.manifest.program]


def unpacked(path: str) -> Unpacked:
    """Unpack a bundle, unless that was done before. Raises BadProgram, BadOption."""
    with closing(Bundle(path)) as bundle:
        directory = _directory(bundle.digest)
        try:
            if not os.path.exists(os.path.join(directory, _DONE)):
                _unpack(bundle, directory)
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadOption(f"{path}: cannot be unpacked into {directory}: {reason.lower()}") from None
        places = _places(bundle.manifest, directory)
        files = {each.path: places[each.path] for each in bundle.manifest.files if each.role not in FOR_REPORTS}
        return Unpacked(directory, bundle.manifest, files)


def _directory(digest: str) -> str:
    base = cache_directory() or os.path.join(tempfile.gettempdir(), f"emuleak-{digest[:8]}")
    return os.path.join(base, "bundles", digest[:32])


def _places(manifest: Manifest, directory: str) -> dict[str, str]:
    """Where each file goes: to its own path, or where the host cannot have that, to one of its bytes' name."""
    taken = Counter(each.path.casefold() for each in manifest.files)
    folders = {folder.casefold() for each in manifest.files for folder in _parents(each.path)}
    places = {}
    for entry in manifest.files:
        key = entry.path.casefold()
        own = is_portable(entry.path) and taken[key] == 1 and key not in folders
        names = entry.path.split("/")[1:] if own else [_ELSEWHERE, f"{entry.sha256[:40]}.{entry.mode:o}"]
        places[entry.path] = os.path.join(directory, *names)
    return places


def _parents(path: str) -> list[str]:
    return [path[:at] for at, letter in enumerate(path) if letter == "/" and at]


def _unpack(bundle: Bundle, directory: str) -> None:
    """Into a directory of its own, which gets its name when it is whole. Raises OSError, BadProgram."""
    parent = os.path.dirname(directory)
    os.makedirs(parent, exist_ok=True)
    temporary = tempfile.mkdtemp(dir=parent)
    try:
        places = _places(bundle.manifest, temporary)
        for entry in bundle.manifest.files:
            place = places[entry.path]
            if not os.path.exists(place):
                os.makedirs(os.path.dirname(place), exist_ok=True)
                bundle.unpack(entry.sha256, entry.size, place)
                os.chmod(place, entry.mode & 0o777 | 0o600)
                os.utime(place, (_TIME, _TIME))
        with open(os.path.join(temporary, _DONE), "wb"):
            pass
        _name(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _name(temporary: str, directory: str) -> None:
    """Give it its name; somebody else may have been faster."""
    try:
        os.rename(temporary, directory)
    except OSError:
        if not os.path.exists(os.path.join(directory, _DONE)):
            shutil.rmtree(directory, ignore_errors=True)
            os.rename(temporary, directory)
