"""`-c`: how often each system call was made, and how often it failed."""

from typing import TextIO

from emuleak.strace.call import Call


class Summary:
    """Counts calls. There are no times: what a call takes here says nothing of the program."""

    def __init__(self) -> None:
        self._calls: dict[str, int] = {}
        self._errors: dict[str, int] = {}

    def count(self, call: Call) -> None:
        """One more call that is over."""
        self._calls[call.name] = self._calls.get(call.name, 0) + 1
        if call.failed:
            self._errors[call.name] = self._errors.get(call.name, 0) + 1

    def write(self, out: TextIO) -> None:
        """The table, the most frequent first; calls of equal number by name."""
        rule = f"{'-' * 9} {'-' * 9} {'-' * 16}\n"
        out.write(f"{'calls':>9} {'errors':>9} syscall\n{rule}")
        out.writelines(
            f"{count:>9} {self._errors.get(name, ''):>9} {name}\n"
            for name, count in sorted(self._calls.items(), key=lambda item: (-item[1], item[0]))
        )
        out.write(rule)
        out.write(f"{sum(self._calls.values()):>9} {sum(self._errors.values()) or '':>9} total\n")
