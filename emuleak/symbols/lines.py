"""What every reader of line information offers, whichever package stands behind it."""

from typing import NamedTuple, Protocol


class SourceFrame(NamedTuple):
    """One function at an address: its name as the debug information has it (mangled), file, line (None for 0)."""

    name: str
    file: str | None
    line: int | None


class LineReader(Protocol):
    """Source positions of one object file, by link-time address."""

    def frames(self, address: int) -> tuple[SourceFrame, ...]:
        """Give the functions at `address`, the innermost inlined one first; empty if nothing is known.

        Never raises for damaged debug information: what cannot be read is unknown.
        """
