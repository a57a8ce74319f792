"""What of the host's system a sandboxed guest sees, and what stands in for the rest.

Of a sysroot that was named everything is shown. Of the host's own root only what ld.so and libc read, or a program's
interpreter and its libraries: no one's home, no configuration, no programs, no logs.
"""

import os
from collections.abc import Sequence
from typing import Final

from emuleak.kernel.nodes import Owner

HOME: Final = "/home/user"
USER: Final = Owner(1000, 1000)

SYSTEM: Final = (
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/local/lib",
    "/usr/share/i18n",
    "/usr/share/locale",
    "/usr/share/terminfo",
    "/usr/share/zoneinfo",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
)
# Where programs belong to the system: these keep their place, by which some find their own files.
_PROGRAMS: Final = ("/bin", "/sbin", "/usr", "/lib", "/opt")

PASSWORD_FILES: Final = {
    "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n",
    "/etc/group": b"root:x:0:\nuser:x:1000:\n",
    "/etc/hosts": b"127.0.0.1 localhost\n",
    "/etc/nsswitch.conf": b"passwd: files\ngroup: files\nhosts: files\n",
}


def guest_program(host: str) -> str:
    """Where the guest has the program that the host has at the real path `host`."""
    if any(host.startswith(f"{place}/") for place in _PROGRAMS):
        return host
    return f"{HOME}/{os.path.basename(host)}"


def guest_arguments(program: str, arguments: Sequence[str]) -> tuple[str, ...]:
    """The arguments of a program that was named by a path of the host's: the first says where the guest has it."""
    first, *rest = arguments
    guest = guest_program(os.path.realpath(program))
    if "/" in first or os.sep in first:
        first = f"./{os.path.basename(guest)}" if os.path.dirname(guest) == HOME else guest
    return (first, *rest)
