"""A guest without a CPU in the sandbox, whose system calls are made by hand."""

import os
from types import SimpleNamespace

from kernel_guest import Guest

from emuleak.kernel.nodes import Owner
from emuleak.kernel.sandbox import Sandbox, SandboxFiles

START_NS = 1_700_000_000 * 10**9


class Boxed(Guest):
    """As `Guest`, with the files of the sandbox; as the user `uid`, by default an ordinary one."""

    def __init__(self, *, uid: int = 1000, gid: int = 1000, **limits: object) -> None:
        super().__init__()
        self.files.close_all()
        self.files = self.kernel.files = SandboxFiles(
            Sandbox(**limits), os.path.realpath("/bin/true"), START_NS, sysroot="/", stdin=b"", capture=True, seed=0
        )
        self.ended: list[str] = []
        limits = self.kernel.identity.limits
        self.files.on_limits(self.notes.append, self.ended.append, limits, lambda: START_NS)
        self.files.limits = limits
        self.files._tree.owner = Owner(uid, gid)
        self.kernel.identity = SimpleNamespace(pid=4711, uid=uid, gid=gid, limits=limits)
