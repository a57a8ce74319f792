"""The walls of `--sandbox`: the files that a guest sees there, and the limits that hold.

Every path is resolved by memorytree.py, in nodes; the handlers of system calls get places that no function of the
host's accepts, so a handler that went past the tree would fail and not escape. What nodes may show of the host is
decided here, before the guest runs.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from emuleak.errors import BadOption
from emuleak.kernel.abi import AT_FDCWD, SyscallError
from emuleak.kernel.descriptions import Description
from emuleak.kernel.hosttree import Tree
from emuleak.kernel.layout import HOME, PASSWORD_FILES, SYSTEM, USER, guest_program
from emuleak.kernel.memoryfiles import MemoryFile
from emuleak.kernel.memorytree import MemoryTree, Place, Where
from emuleak.kernel.nodefiles import NodeDirectory
from emuleak.kernel.nodes import SEARCH_BIT, Device, File, Folder, Link, Named, Node, Owner, Volume
from emuleak.kernel.opening import open_node, path_of
from emuleak.kernel.outputs import Allowance, Captured, Output
from emuleak.kernel.pipes import PipeEnd
from emuleak.kernel.procnodes import MOUNTINFO, MOUNTS, proc_folder
from emuleak.kernel.quota import Quota
from emuleak.kernel.sockets import Socket
from emuleak.kernel.vfs import FileSystem, check_path

_DEVICES = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}  # minor numbers; the major one is 1
_ROOT = Owner(0, 0)
_RLIMIT_NPROC, _RLIMIT_NOFILE = 6, 7
_THREADS = 256
_PIPES_MAX = 64 << 20
MAX_SECONDS = 60.0  # of a run for which nobody says another limit


class Sandbox(msgspec.Struct, frozen=True):
    """What a sandboxed run is given: sizes in bytes.

    `files` maps paths of the guest's to contents, or to files and directories of the host's. A relative path starts in
    the guest's home. `max_output` bounds standard output and standard error together, `max_file_bytes` and `max_files`
    what the guest writes to files, `max_descriptors` what it has open at a time.

    `system`, where it is given, is all that there is besides: the host's files by the guest's paths.
    """

    files: Mapping[str, bytes | str] = msgspec.field(default_factory=dict)
    max_output: int = 64 << 20
    max_file_bytes: int = 256 << 20
    max_files: int = 20_000
    max_descriptors: int = 1024
    system: Mapping[str, str] | None = None


class SandboxFiles(FileSystem):
    """A process's files in the sandbox."""

    def __init__(
        self, sandbox: Sandbox, program: str, start_ns: int, *, sysroot: str, stdin: bytes | str | None, capture: bool,
        seed: int,
    ) -> None:  # fmt: skip
        self.allowance = Allowance(sandbox.max_output)
        self.quota = Quota(sandbox.max_file_bytes, sandbox.max_files)
        self.max_descriptors = sandbox.max_descriptors
        self.volume = Volume(self.quota, start_ns)
        self._tree = MemoryTree(self.volume, USER, lambda: start_ns)
        if stdin is None and sandbox.system is None:
            stdin = b""
        super().__init__(sysroot=sysroot, stdin=stdin, capture=capture, seed=seed, cwd="/")
        self.cpus = 1
        self._names: dict[str, str] = {}
        self._family = [self]  # the files of all processes
        self._furnish(sandbox.system)
        for guest, content in sandbox.files.items():
            self._grant(guest, content)
        self._place_program(program, sandbox.system or {})
        self.here = self._folder(HOME, USER)
        self.fresh_proc()

    # ---- the furniture

    def _furnish(self, system: Mapping[str, str] | None) -> None:
        """What every program finds: its system, devices, /proc, places to write."""
        if system is not None:
            for path, host in system.items():
                self._show(path, host, _ROOT)
        elif self.sysroot:
            self._tree.root.show_source(os.path.realpath(self.sysroot))
        else:
            for path in SYSTEM:
                self._show(path, path, _ROOT)
        for path, text in PASSWORD_FILES.items():
            if self._lookup(path) is None:
                self._put(path, File(self.volume, 0o644, _ROOT, self.volume.start), _ROOT)
                node = self._lookup(path)
                assert isinstance(node, File)
                node.content.write(0, text)
        for path in ("/tmp", "/var/tmp", "/dev/shm"):
            folder = self._folder(path, _ROOT)
            folder.mode = stat.S_IFDIR | 0o1777
        self._folder(os.path.dirname(HOME), _ROOT)
        self._folder(HOME, USER)
        self._furnish_devices()
        self._put("/proc", proc_folder(self.volume, lambda: self._asking), _ROOT)

    def _furnish_devices(self) -> None:
        sources = {"null": lambda _size: b"", "zero": bytes, "full": bytes}
        for name, minor in _DEVICES.items():
            source = sources.get(name, self._random_bytes)
            self._put(f"/dev/{name}", Device(self.volume, 1 << 8 | minor, source), _ROOT)
        self._put("/dev/tty", Device(self.volume, 5 << 8, None), _ROOT)
        links = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
        for name, target in links.items():
            self._put(f"/dev/{name}", Link(self.volume, _ROOT, self.volume.start, target), _ROOT)

    def _folder(self, path: str, owner: Owner) -> Folder:
        """The folder at an absolute path, made with its parents as `owner`'s where there is none. Raises BadOption."""
        here = self._tree.root
        for name in filter(None, path.split("/")):
            node = here.get(name)
            if isinstance(node, Link):
                node = self._tree.node(Place(here, name))
            if node is None:
                node = Folder(self.volume, 0o755, owner, self.volume.start)
                here.add(name, node, self.volume.start)
            if not isinstance(node, Folder):
                raise BadOption(f"--file: {path}: {name} is a file there, not a directory")
            here = node
        return here

    def _put(self, path: str, node: Node, owner: Owner) -> None:
        """Enter a node, in the place of what was there."""
        parent, _, name = path.rpartition("/")
        folder = self._folder(parent, owner)
        if folder.get(name) is not None:
            folder.remove(name, self.volume.start)
            folder.gone.discard(name)
        folder.add(name, node, self.volume.start)

    def _show(self, path: str, host: str, owner: Owner) -> bool:
        """Let the guest see a file or a directory of the host's; whether there is one."""
        try:
            status = os.lstat(host)
        except OSError:
            return False
        node = self.volume.show(host, status, owner)
        if node is not None:
            self._put(path, node, owner)
        return node is not None

    def _grant(self, guest: str, content: bytes | str) -> None:
        """One of the files that were named. Raises BadOption."""
        path = granted_path(guest)
        if isinstance(content, bytes):
            node = File(self.volume, 0o644, USER, self.volume.start)
            self._put(path, node, USER)
            node.content.write(0, content)
        elif not self._show(path, os.path.realpath(content), USER):
            raise BadOption(f"--file {content}: no such file or directory")

    def _place_program(self, program: str, system: Mapping[str, str]) -> None:
        """The program itself, at a place that tells nothing of the host's directories, or where `system` has it."""
        host = os.path.realpath(program)
        guest = next((path for path, file in system.items() if file == program), guest_program(host))
        if self._lookup(guest) is None and self._show(guest, host, _ROOT if guest == host else USER):
            node = self._lookup(guest)
            assert node is not None
            node.mode |= 0o555
        self._names = {host: guest, program: guest, os.path.abspath(program): guest}
        self.program = guest

    def _lookup(self, path: str) -> Node | None:
        try:
            return self._tree.node(Place(self._tree.root, path))
        except SyscallError:
            return None

    def _open_standard(self, stdin: bytes | str | None, *, capture: bool) -> None:
        """Descriptor 0 is what was given, 1 and 2 can be written to and nothing else."""
        super()._open_standard(stdin, capture=True)
        for fd in (1, 2):
            try:
                self._table[fd] = Captured(fd, self.allowance) if capture else Output(fd, self.allowance)
            except OSError:
                del self._table[fd]
                continue
            self._table[fd].references = 1

        self._messages = self._table.get(2)

    def messages(self) -> Description | None:
        """The stream that was there at the start: what emuleak says is not for the guest to read."""
        return self._messages

    def fresh_proc(self) -> None:
        """What of /proc/self would tell of the host."""
        self.proc["mounts"] = lambda: MOUNTS
        self.proc["mountinfo"] = lambda: MOUNTINFO

    # ---- what the handlers ask

    @property
    def tree(self) -> Tree:
        """The one tree; who asks last is whose /proc/self it shows."""
        self._tree.asking = self
        return self._tree

    @tree.setter
    def tree(self, _tree: Tree) -> None:
        """The sandbox has its own."""

    @property
    def root(self) -> Folder:
        """Where the tree begins."""
        return self._tree.root

    @property
    def _asking(self) -> "SandboxFiles":
        asking = self._tree.asking
        assert isinstance(asking, SandboxFiles)
        return asking

    def on_limits(
        self,
        note: Callable[[str], None],
        end: Callable[[str], None],
        limits: dict[int, tuple[int, int]],
        now: Callable[[], int],
    ) -> None:
        """Who hears of limits that were reached, and who ends the run."""
        self.quota.note = note
        self._tree.now = now
        self.allowance.exhausted = end
        limits |= {_RLIMIT_NPROC: (_THREADS, _THREADS), _RLIMIT_NOFILE: (self.max_descriptors, self.max_descriptors)}

    def leads(self, name: str) -> Node:
        """Where the links of /proc/self lead. Raises SyscallError."""
        if name == "exe":
            return self._tree.node(Place(self._tree.root, self.program))
        return self.here if name == "cwd" else self._tree.root

    def lowest(self, minimum: int = 0) -> int:
        """The lowest free descriptor; that there is none is told in the report, too."""
        try:
            return super().lowest(minimum)
        except SyscallError:
            if self.limit >= self.max_descriptors:
                self.quota.note(f"the limit of {self.limit} descriptors was reached: the program was told EMFILE")
            raise

    def place(self, fd: int, description: Description, *, cloexec: bool = False) -> None:
        """Give a description its descriptor; files of memfd_create(2) count as other files do."""
        if type(description) is MemoryFile:
            description.quota = self.quota
        super().place(fd, description, cloexec=cloexec)

    def admit(self, description: Description) -> None:
        """Refuse to write where pipes and sockets hold too much already: one takes a long write as a whole."""
        if not isinstance(description, PipeEnd | Socket):
            return
        opened = {id(each): each for files in self._family for each in files.opened()}
        held = sum(each.held() for each in opened.values() if isinstance(each, PipeEnd | Socket))
        if held > _PIPES_MAX:
            self.quota.note(
                f"the limit of {_PIPES_MAX} bytes in pipes and sockets was reached: the program was told ENOMEM"
            )
            raise SyscallError("ENOMEM")

    def resolve(self, dirfd: int, path: str, *, empty: bool = False) -> Any:
        """The place that a path means. Raises SyscallError."""
        check_path(path, empty=empty)
        if path.startswith("/"):
            return Place(self._tree.root, path)
        if dirfd == AT_FDCWD:
            return Place(self.here, path)
        description = self.get(dirfd)
        if not path:
            anchor = description.anchor()
            if anchor is None:
                raise SyscallError("EINVAL")
            return anchor
        if not isinstance(description, NodeDirectory):
            raise SyscallError("ENOTDIR")
        return Place(description.folder, path)

    def _where(self, path: Any) -> Where:
        return Place(self._tree.root, path) if isinstance(path, str) else path

    def host_path(self, path: Any) -> Where:
        """The place itself: no function of the host's accepts it."""
        return self._where(path)

    def host_file(self, path: Any) -> str:
        """The host's file that holds what a path names, unchanged; "" where there is none."""
        try:
            found = self._tree.find(self._where(path))
        except SyscallError:
            return ""
        node = found.node
        if not isinstance(node, File) or not node.content.host:
            return ""
        host = node.content.host
        if found.plain:  # and no link of /proc/self, which tells nothing of where it leads
            self._names[host] = self._names[os.path.realpath(host)] = path_of(found)
        return host

    def make_fifo(self, place: Any, mode: int) -> None:
        """mkfifo(3). Raises SyscallError."""
        self.tree.mknod(place, stat.S_IFIFO | mode & ~self.umask)
        node = self._tree.node(place)
        if isinstance(node, Named) and node.fifo is not None:
            self.fifos[0, node.inode] = node.fifo

    def part(self, pid: int, ppid: int) -> None:
        """Own what another process must not see changed; the tree, the quotas and the limits are everybody's."""
        super().part(pid, ppid)
        self.fresh_proc()
        self._family.append(self)

    def close_all(self) -> None:
        """The process has ended."""
        super().close_all()
        self._family[:] = [each for each in self._family if each is not self]

    def shown(self, host: str) -> str:
        """How the guest knows what was loaded from a host path."""
        return self._names.get(host, host)

    def special(self, path: Any) -> str | None:
        """Nothing is served from outside of the tree."""
        del path
        return None

    @contextmanager
    def creating(self) -> Iterator[int]:
        """The tree knows no umask."""
        yield self.umask

    def identity(self, place: Any) -> str:
        """The number of the inode."""
        return f"inode {self.tree.stat(place).st_ino}"

    def current_directory(self) -> str:
        """getcwd(2). Raises SyscallError ENOENT."""
        return self.here.path()

    def change_directory(self, path: Any) -> None:
        """chdir(2). Raises SyscallError."""
        self.tree  # noqa: B018 - a path may lead through /proc/self
        node = self._tree.node(self._where(path))
        if not isinstance(node, Folder):
            raise SyscallError("ENOTDIR")
        self._tree.owner.need(node, SEARCH_BIT)
        self.here = node

    def check_resolution(self, dirfd: int, pathname: str, resolve: int) -> None:
        """Only what refuses nothing is done."""
        del dirfd, pathname
        if resolve:
            self.quota.note(
                "the RESOLVE_ flags of openat2(2) are not emulated in the sandbox: the program was told ENOSYS"
            )
            raise SyscallError("ENOSYS")

    def stat(self, path: Any, *, follow: bool = True) -> os.stat_result:
        """stat(2) or lstat(2). Raises SyscallError."""
        return self.tree.stat(self._where(path), follow=follow)

    def readlink(self, path: Any) -> str:
        """readlink(2). Raises SyscallError."""
        self.tree  # noqa: B018
        return self._tree.readlink(self._where(path))

    def open(self, path: Any, flags: int, mode: int) -> Description:
        """open(2). Raises SyscallError, WouldBlock."""
        self.tree  # noqa: B018
        return open_node(self._tree, self._where(path), flags, mode & 0o7777 & ~self.umask)


def granted_path(guest: str) -> str:
    """The absolute path at which a file is granted. Raises BadOption for one that leaves the guest's home."""
    path = guest if guest.startswith("/") else f"{HOME}/{guest}"
    names = [name for name in path.split("/") if name not in {"", "."}]
    if not guest or ".." in names or not names or names[0] in {"proc", "dev"}:
        raise BadOption(f"--file: a file cannot be placed at {guest!r} in the sandbox")
    return "/" + "/".join(names)
