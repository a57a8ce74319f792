"""Files that are written after a run: what is wrong with them is said before it."""

import os

from emuleak.errors import BadOption


def check(option: str, target: str) -> None:
    """Find out before a long run, not after it, that its result cannot be written. Raises BadOption."""
    directory = os.path.dirname(target) or "."
    if os.path.isdir(target) or not target:
        raise BadOption(f"{option} {target}: is a directory; give a file")
    if not os.path.isdir(directory):
        raise BadOption(f"{option} {target}: there is no directory {directory}")
    if not os.access(target if os.path.exists(target) else directory, os.W_OK):
        raise BadOption(f"{option} {target}: permission denied")
