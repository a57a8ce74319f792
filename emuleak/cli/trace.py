"""`--trace`: every event of the heap as it happens, a line each."""

from typing import TextIO

from emuleak.events import Event
from emuleak.findings.finding import Frame
from emuleak.findings.frames import Symbolizer
from emuleak.loader import Process


class Trace:
    """A listener of the log: `+ 0x600000000010 40 main (a.c:7)`; `-` for a free, `!` for a misuse."""

    def __init__(self, process: Process, out: TextIO, sysroot: str) -> None:
        self._out = out
        self._symbolizer = Symbolizer(process, sysroot)

    def __call__(self, event: Event) -> None:
        """Print one event; a realloc is a `-` and a `+`."""
        frames = self._symbolizer.call(event.stack, event.op)
        place = _place(frames[0]) if frames else "???"
        if event.problem:
            self._out.write(f"! {event.old:#x} {event.problem} {place}\n")
            return
        if event.old:
            self._out.write(f"- {event.old:#x} {'' if event.address else f'{event.size} '}{place}\n")
        if event.address:
            self._out.write(f"+ {event.address:#x} {event.size} {place}\n")


def _place(frame: Frame) -> str:
    if frame.file is None:
        return f"{frame.function} (in {frame.object})"
    return f"{frame.function} ({frame.file.rpartition('/')[2]}:{frame.line})"
