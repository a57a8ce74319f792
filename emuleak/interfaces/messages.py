"""What the program says through valgrind: VALGRIND_PRINTF and its kin, written as valgrind writes it."""

import re
from contextlib import closing
from typing import Final

from emuleak.events import return_addresses
from emuleak.interfaces.guest import Guest
from emuleak.interfaces.printf import VaList, formatted

_LINE: Final = re.compile(rb"[^\n]*\n|[^\n]+")


class Messages:
    """Remembers whether the last message ended its line: only a new line starts with the process's number."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self._at_left = True

    def copy_for(self, guest: Guest) -> "Messages":
        """Those of a forked process."""
        copy = Messages(guest)
        copy._at_left = self._at_left
        return copy

    def write(self, template: int, arguments: int) -> int:
        """Format and write; the number of bytes of the message. Raises Fault for a pointer that is none."""
        memory = self._guest.memory
        text = formatted(memory.cstring(template), VaList(memory, arguments))
        self._write(text)
        return len(text)

    def write_backtrace(self, template: int, arguments: int) -> int:
        """As `write`, and the stack behind it."""
        written = self.write(template, arguments)
        with closing(self._guest.symbolizer()) as symbolizer:
            frames = symbolizer.stack([address - 1 for address in return_addresses(self._guest.stack())])
        head = f"=={self._guest.kernel.identity.pid}==   "
        for number, frame in enumerate(frames):
            file = f"{frame.file.rpartition('/')[2]}:{frame.line}" if frame.file else f"in {frame.object}"
            text = f"{head} {'by' if number else 'at'} 0x{int(frame.pc, 16):X}: {frame.function} ({file})\n"
            self._guest.write_stderr(text.encode("utf-8", "surrogateescape"))
            if frame.function == "main":
                break
        return written

    def _write(self, text: bytes) -> None:
        prefix = b"**%d** " % self._guest.kernel.identity.pid
        out = b""
        for line in _LINE.findall(text):
            out += (prefix if self._at_left else b"") + line
            self._at_left = line.endswith(b"\n")
        self._guest.write_stderr(out)
