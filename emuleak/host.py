"""What differs between the hosts that Python runs on, in one place: constants, identities, names of files.

Elsewhere the package uses what Python has on every host, or asks with `hasattr` and does without.
"""

import os
import sys
from typing import Final

_SOMEBODY: Final = (1000, 1000)  # who a user is on a host that has no numbers for them


def flag(name: str) -> int:
    """A constant of the module os by its name, such as O_NONBLOCK; 0 on a host that has none."""
    value: int = getattr(os, name, 0)
    return value


def user_and_group() -> tuple[int, int]:
    """The ids that files of this user belong to."""
    return (os.getuid(), os.getgid()) if hasattr(os, "getuid") else _SOMEBODY


def groups() -> tuple[int, ...]:
    """The other groups that the user is in."""
    return tuple(os.getgroups()) if hasattr(os, "getgroups") else ()


def terminal_name(fd: int) -> str:
    """The path of the terminal that a descriptor is; empty where it is none or has no name. Raises OSError."""
    return os.ttyname(fd) if hasattr(os, "ttyname") and os.isatty(fd) else ""


def guest_path(path: str) -> str:
    """An absolute path of the host's as one of Linux's: with its slashes, and without a drive."""
    if os.sep != "/":
        path = path.replace(os.sep, "/")
    if path[1:3] == ":/":
        path = path[2:]
    return path


def data_directory() -> str | None:
    """Where a user's programs keep their data; None for a user without a home."""
    places = {"win32": ("LOCALAPPDATA", "AppData/Local"), "darwin": ("", "Library/Application Support")}
    variable, below = places.get(sys.platform, ("XDG_DATA_HOME", ".local/share"))
    given = os.environ.get(variable, "") if variable else ""
    if os.path.isabs(given):
        return given
    home = os.path.expanduser("~")
    return os.path.join(home, *below.split("/")) if os.path.isabs(home) else None
