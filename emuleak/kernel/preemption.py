"""Taking the CPU from a thread that does not call the kernel: the timer interrupt of the emulated machine.

Only a process that has a second thread or an armed timer, or that runs while another process could run or waits for a
time, is interrupted, from the moment when that is so; all others run at full speed and never come here. A tick comes
after an exact number of basic blocks, so every run is interrupted at the same instructions. Each tick moves the clock
on, which is what `alarm(1); while (!done);` waits for.

With a seed the threads are switched by chance: after slices of all lengths, after system calls, and in any order. Some
are held back for a while wherever they were: a race is lost when one thread comes a long way between two instructions
of another. The same seed gives the same run.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from emuleak.machine import Machine

if TYPE_CHECKING:
    from random import Random

    from emuleak.kernel.core import Kernel

# What a block takes on the guest's CPU: some five instructions. About what emulation takes, so that a loop that waits
# for a second is over after about that.
_BLOCK_NS: Final = 10
_SLICE: Final = 100_000  # blocks: a millisecond
# By chance: slices are counted in instructions, since a race is lost between two of them. Where threads talk to the
# kernel, and so perhaps to each other, slices are short; one that only computes gets longer ones each time.
_INSTRUCTION_NS: Final = 2
_SHORT_SLICE, _LONG_SLICE = 40, 200_000
_SLICES_PER_CALL: Final = 8  # each at most this part of what was run since the last system call
_A_FEW, _VERY_FEW = 20, 4  # until code that must not be interrupted is looked at again
_CALLS_PER_SWITCH, _SWITCHES_PER_HOLD = 4, 12
_SHORTEST_HOLD, _LONGEST_HOLD = 1000, 1_000_000  # instructions of others


class Preemption:
    """Owner of the slices of one process. `may_interrupt` says whether its CPU is in code that may be.

    With a `chance` threads are switched by it; without, in turn, after slices of the same length.
    """

    def __init__(self, machine: Machine, chance: "Random | None") -> None:
        self._machine = machine
        self._random = chance
        self.begun = False
        self._granted = 0
        self._ran = self._ran_at_call = 0
        self._held: dict[int, int] = {}  # by thread id: until how many instructions have run
        self.may_interrupt: Callable[[], bool] = lambda: True

    def begin(self) -> None:
        """There is somebody to give way to, or a time to come: from now on slices end."""
        if not self.begun:
            self.begun = True
            self._machine.count(instructions=self._random is not None)
            self._grant()

    def tick(self, kernel: "Kernel") -> None:
        """A slice is over, and the CPU stands still: let its time pass, and others run if they can."""
        if not self.may_interrupt():
            more = _A_FEW if self._random is None else _VERY_FEW
            self._granted += more
            self._machine.grant(more)
            return
        self._ran += self._granted
        kernel.clock.run(self._granted * (_BLOCK_NS if self._random is None else _INSTRUCTION_NS))
        kernel.system.expire()
        if kernel.ending is None and not kernel.threads.switch_wanted and kernel.others_may_run():
            kernel.threads.preempt()
        self._grant()

    def chosen(self, tids: Sequence[int]) -> int:
        """Which of the threads that could run does: its place among their ids."""
        if self._random is None or len(tids) == 1:
            return 0
        free = [place for place, tid in enumerate(tids) if self._held.get(tid, 0) <= self._ran]
        if not free:
            first = min(range(len(tids)), key=lambda place: self._held[tids[place]])
            del self._held[tids[first]]
            return first
        return free[int(self._random.random() * len(free))]

    def switches_after_call(self) -> bool:
        """Whether the thread that called the kernel shall give way after it, for no other reason."""
        self._ran_at_call = self._ran
        return self._random is not None and self._random.random() * _CALLS_PER_SWITCH < 1

    def gave_way(self, tid: int) -> None:
        """A thread that could have gone on gave way: perhaps it is held back."""
        if self._random is not None and self._random.random() * _SWITCHES_PER_HOLD < 1:
            stretch = (_LONGEST_HOLD / _SHORTEST_HOLD) ** self._random.random()
            self._held[tid] = self._ran + int(_SHORTEST_HOLD * stretch)

    def _grant(self) -> None:
        self._granted = _SLICE
        if self._random is not None:
            # Each order of magnitude is as likely as any other.
            longest = (self._ran - self._ran_at_call) // _SLICES_PER_CALL
            self._granted = int(min(max(longest, _SHORT_SLICE), _LONG_SLICE) ** self._random.random())
        self._machine.grant(self._granted)
