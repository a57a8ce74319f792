"""The lines that strace writes: whose call it is, where the result stands, and calls that another line cuts in two."""

from typing import Final, TextIO

from emuleak.strace.call import Call

_RESULT_COLUMN: Final = 40


class Lines:
    """Writes to `out`. `always_pid`: each line starts with it (-f with -o), else only while there are several."""

    def __init__(self, out: TextIO, *, always_pid: bool) -> None:
        self._out = out
        self._always_pid = always_pid
        self.traced = 1  # how many threads there are
        self._open: int | None = None  # whose line is not finished
        self._column = 0

    def whole(self, tid: int, text: str) -> None:
        """A line that is no call."""
        self.break_off()
        self._write(self._who(tid) + text + "\n")

    def begin(self, tid: int, call: Call, arguments: str) -> None:
        """A call is made."""
        self.break_off()
        self._column = 0
        self._write(f"{self._who(tid)}{call.name}({arguments}")
        self._open = tid
        self._out.flush()

    def end(self, tid: int, call: Call, arguments: str, result: str) -> None:
        """It is over: the rest of its arguments, and its result."""
        if self._open != tid:
            self.break_off()
            self._column = 0
            self._write(f"{self._who(tid)}<... {call.name} resumed>")
        self._write(f"{arguments})")
        self._write(" " * max(1, _RESULT_COLUMN - self._column) + f"= {result}\n")
        self._open = None
        self._out.flush()

    def lose(self, tid: int, call: Call) -> None:
        """The thread will never come back from the call."""
        if self._open == tid:
            self._write(" <unfinished ...>")
        self.end(tid, call, "", "?")

    def break_off(self) -> None:
        """Another line is to follow: a call that is not over stays unfinished."""
        if self._open is not None:
            self._write(" <unfinished ...>\n")
            self._open = None

    def _who(self, tid: int) -> str:
        if self._always_pid:
            return f"{tid:<5} "
        return f"[pid {tid:>5}] " if self.traced > 1 else ""

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._column += len(text)
