"""Time as the guest sees it: it starts when the run starts and then moves only with what the guest does.

Elapsed time is counted, not measured, so that two runs see the same intervals whatever the host was busy with. Only
the *start* is the host's (or the `--sandbox`'s fixed one): `ls -l` and `make` compare it with the files' times.
"""

# A loop that waits for the clock must end: every look moves it on. 20 us is a slow system call's time.
_STEP_NS = 20_000
# So must one that asks over and over for something else, while what it waits for comes with time. About what it takes
# to serve a system call here.
CALL_NS = 10_000
SANDBOX_START_NS = 1_700_000_000 * 1_000_000_000


class Clock:
    """Owner of the guest's time, in nanoseconds."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.elapsed_ns = 0
        self.idle_ns = 0

    def read(self) -> int:
        """Nanoseconds since the start; every reading moves the clock on."""
        self.elapsed_ns += _STEP_NS
        return self.elapsed_ns

    def realtime(self) -> int:
        """Nanoseconds since the Epoch."""
        return self.start_ns + self.read()

    def run(self, nanoseconds: int) -> None:
        """Let the time pass that the guest computes."""
        self.elapsed_ns += nanoseconds

    def advance_to(self, elapsed_ns: int) -> None:
        """Let the time pass that a sleeping guest waits for."""
        if elapsed_ns > self.elapsed_ns:
            self.idle_ns += elapsed_ns - self.elapsed_ns
            self.elapsed_ns = elapsed_ns

    @property
    def cpu_ns(self) -> int:
        """Nanoseconds in which the guest did not wait."""
        return self.elapsed_ns - self.idle_ns
