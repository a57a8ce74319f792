"""Writing the files of packages below a directory, and never anywhere else.

Every path is walked here, component by component, as if the directory were the root: a link that is absolute starts
there again, and ".." of the root is the root. So no name and no link in an archive leads out of it.
"""

import os
import shutil
import stat
import tarfile
from collections.abc import Sequence
from contextlib import closing
from typing import Final

import msgspec

from emuleak.errors import BadOption
from emuleak.sysroot.debian import DebianPackage, Package

RECORD: Final = ".emuleak-sysroot.json"
_MOST_LINKS: Final = 40
_MOST_BYTES: Final = 8 << 30
_MOST_FILES: Final = 500_000
# What a run has no use for, and what would be most of many packages.
_LEFT_OUT: Final = ("usr/share/doc/", "usr/share/man/", "usr/share/info/", "usr/share/lintian/", "usr/share/bug/")


class Record(msgspec.Struct):
    """What was put into a sysroot."""

    packages: dict[str, Package] = msgspec.field(default_factory=dict)


def read_record(directory: str) -> Record | None:
    """The record of a sysroot; None where there is none."""
    try:
        with open(os.path.join(directory, RECORD), "rb") as file:
            return msgspec.json.decode(file.read(), type=Record)
    except (OSError, msgspec.MsgspecError):
        return None


def install(paths: Sequence[str], directory: str) -> list[Package]:
    """Add packages to the sysroot in a directory, which is made. Raises BadOption, OSError."""
    os.makedirs(directory, exist_ok=True)
    record = read_record(directory)
    if record is None:
        if os.listdir(directory):
            raise BadOption(f"--to {directory}: is not empty, and no sysroot that emuleak has made")
        record = Record()
    writer = _Writer(os.path.realpath(directory))
    added = []
    for path in paths:
        with closing(DebianPackage(path)) as package, package.files() as archive:
            for member in archive:
                writer.add(archive, member, path)
            added.append(package.package)
            record.packages[package.package.name] = package.package
    writer.finish()
    with open(os.path.join(directory, RECORD), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
    return added


class _Writer:
    """Writes the members of archives below `root`."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._bytes = self._files = 0
        self._copies: list[tuple[str, str]] = []  # links that the host could not make: (names below root)

    def add(self, archive: tarfile.TarFile, member: tarfile.TarInfo, package: str) -> None:
        """One member: a directory, a file or a link; devices and the like are left out. Raises BadOption, OSError."""
        names = _names(member.name)
        if not names or "/".join((*names, "")).startswith(_LEFT_OUT):
            return
        self._count(member, package)
        parent = self._walk(names[:-1], make=True)
        target = os.path.join(parent, names[-1])
        if member.isdir():
            self._walk(names, make=True)
        elif member.isreg():
            self._file(archive, member, target)
        elif member.issym():
            self._link(member.linkname, parent, target)
        elif member.islnk():
            source = _names(member.linkname)
            place = os.path.join(self._walk(source[:-1], make=False), source[-1]) if source else ""
            if os.path.isfile(place) and not os.path.islink(place):
                _clear(target)
                shutil.copyfile(place, target)

    def finish(self) -> None:
        """Where links cannot be made, what they lead to is there twice."""
        for _ in range(_MOST_LINKS):
            left = []
            for target, name in self._copies:
                place = self._walk(_names(name), make=False)
                if os.path.isfile(place):
                    shutil.copyfile(place, target)
                elif os.path.isdir(place):
                    shutil.copytree(place, target)
                else:
                    left.append((target, name))
            if len(left) == len(self._copies):
                return
            self._copies = left

    def _count(self, member: tarfile.TarInfo, package: str) -> None:
        self._files += 1
        self._bytes += member.size
        if self._files > _MOST_FILES or self._bytes > _MOST_BYTES:
            raise BadOption(
                f"{package}: has more than {_MOST_FILES:,} files or {_MOST_BYTES >> 30} GiB; it was not added"
            )

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, target: str) -> None:
        content = archive.extractfile(member)
        if content is None:
            return
        _clear(target)
        with open(target, "xb") as file:
            shutil.copyfileobj(content, file)
        # Whoever runs emuleak reads it all; nobody's set-uid bit is wanted.
        os.chmod(target, 0o755 if member.mode & 0o111 else 0o644)
        os.utime(target, (member.mtime, member.mtime))

    def _link(self, linkname: str, parent: str, target: str) -> None:
        """A symbolic link, which is made relative: an absolute one would lead to the host's own files."""
        below = os.path.relpath(parent, self._root).replace(os.sep, "/")
        start = [] if below == "." or linkname.startswith("/") else below.split("/")
        names = _normal([*start, *linkname.split("/")])
        if os.path.isdir(target) and not os.path.islink(target):
            return  # as dpkg does: a directory that is there stays
        _clear(target)
        relative = os.path.relpath(os.path.join(self._root, *names), parent)
        try:
            os.symlink(relative, target)
        except (OSError, NotImplementedError):
            self._copies.append((target, "/".join(names)))

    def _walk(self, names: Sequence[str], *, make: bool) -> str:
        """The host's path of a name below the root, links followed inside of it. Raises BadOption, OSError."""
        here: list[str] = []
        rest = list(reversed(names))
        links = 0
        while rest:
            name = rest.pop()
            if name == "..":
                del here[-1:]
                continue
            place = os.path.join(self._root, *here, name)
            if os.path.islink(place):
                links += 1
                if links > _MOST_LINKS:
                    raise BadOption(f"{'/'.join(names)}: its links lead in a circle")
                target = os.readlink(place).replace(os.sep, "/")
                here = [] if target.startswith("/") else here
                rest += reversed([each for each in target.split("/") if each not in {"", "."}])
                continue
            if make and not os.path.isdir(place):
                _clear(place)
                os.mkdir(place)
            here.append(name)
        return os.path.join(self._root, *here)


def _names(path: str) -> list[str]:
    """The components of a member's name; none for one that would leave the directory or could not be on a host."""
    names = [name for name in path.split("/") if name not in {"", "."}]
    bad = any(name == ".." or "\0" in name or (os.sep != "/" and (os.sep in name or ":" in name)) for name in names)
    return [] if bad or names[-1:] == [RECORD] else names


def _normal(names: Sequence[str]) -> list[str]:
    """Without empty components and dots; what would lead above the root stays there."""
    found: list[str] = []
    for name in names:
        if name == "..":
            del found[-1:]
        elif name not in {"", "."}:
            found.append(name)
    return found


def _clear(target: str) -> None:
    """Take away a file or a link, so that nothing is written through it; a directory stays. Raises BadOption."""
    try:
        mode = os.lstat(target).st_mode
    except OSError:
        return
    if stat.S_ISDIR(mode):
        raise BadOption(f"{target}: is a directory there, and a file in the package")
    os.unlink(target)
