"""Suppressions: which findings a user does not want to hear of, and whether one speaks of a finding. Pure.

Two kinds are known: a stack as valgrind's files write it, and a pattern as LeakSanitizer's do. What a suppression is
compared with is a `View`: the finding as valgrind would have seen it.

Sources: the Valgrind manual, section 2.5 (suppressing errors), the Memcheck manual, section 4.4 (writing
suppression files), and what valgrind 3.19 does; the wiki of the sanitizers, AddressSanitizerLeakSanitizer.
"""

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Final, Literal

import msgspec
from msgspec import UNSET

from emuleak.findings.finding import Finding, LeakKind

LEAK_KINDS: Final[dict[str, LeakKind]] = {
    "definite": "definitely-lost",
    "indirect": "indirectly-lost",
    "possible": "possibly-lost",
    "reachable": "still-reachable",
}
# What memcheck calls the misuses that emuleak finds, too.
MISUSES: Final[dict[str, frozenset[str]]] = {
    "Free": frozenset({"double-free", "invalid-free", "mismatched-free", "invalid-realloc"}),
    "FishyValue": frozenset({"invalid-size"}),
    "ReallocZero": frozenset({"realloc-zero"}),
    "BadSize": frozenset({"invalid-size"}),
    "BadAlign": frozenset({"invalid-alignment"}),
}
# Reads and writes outside blocks, by the size of the access in bytes. A block that was found damaged only when it was
# freed is none of these: valgrind would have reported the write, which nobody here has seen.
ACCESSES: Final = {f"Addr{size}": size for size in (1, 2, 4, 8, 16, 32)}
_ACCESS_KINDS: Final = frozenset({"use-after-free", "heap-overflow", "heap-underflow"})
# What memcheck looks for and emuleak does not: read, and never needed.
FOREIGN: Final = frozenset({
    "Param", "User", "CoreMem", "Jump", "Cond", "Overlap", "Mempool",
    *(f"Value{size}" for size in (0, 1, 2, 4, 8, 16, 32)),
})  # fmt: skip


class FrameView(msgspec.Struct, frozen=True):
    """One frame under all the names by which a suppression may call it: functions mangled or not, objects, files."""

    functions: tuple[str, ...]
    objects: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


class View(msgspec.Struct, frozen=True):
    """A finding as valgrind would have seen it: `stacks` are the forms that its stack may have there.

    They differ in the first frames, which in valgrind are the allocator's own.
    """

    finding: Finding
    stacks: tuple[tuple[FrameView, ...], ...]


class Location(msgspec.Struct, frozen=True):
    """One line of a suppressed stack; `pattern` has `*` and `?` for any text and any character."""

    sort: Literal["fun", "obj", "src"]
    pattern: str

    def matches(self, frame: FrameView) -> bool:
        """Whether the frame has a name of this sort that the whole pattern stands for."""
        names = {"fun": frame.functions, "obj": frame.objects, "src": frame.files}[self.sort]
        match = glob(self.pattern).match
        return any(match(name) for name in names)


class Suppression(msgspec.Struct, frozen=True, dict=True):
    """What valgrind calls a suppression. `stack` has None for `...`, any number of frames; `place` is `FILE:LINE`.

    `kind` is memcheck's name of the error, `leak_kinds` matter to leaks only.
    """

    name: str
    place: str
    kind: str
    leak_kinds: frozenset[str]
    stack: tuple[Location | None, ...]

    @property
    def applies(self) -> bool:
        """Whether emuleak looks for errors of this kind at all."""
        return self.kind not in FOREIGN

    def matches(self, view: View) -> bool:
        """Whether the finding is of this kind and its stack begins as this one."""
        return self._is_kind_of(view.finding) and any(self._begins(stack) for stack in view.stacks)

    def _is_kind_of(self, finding: Finding) -> bool:
        if finding.kind == "leak":
            return self.kind == "Leak" and finding.leak_kind in self.leak_kinds
        if self.kind in ACCESSES:
            return finding.kind in _ACCESS_KINDS and finding.access is not UNSET and finding.size == ACCESSES[self.kind]
        return finding.kind in MISUSES.get(self.kind, ())

    @cached_property
    def _runs(self) -> list[tuple[Location, ...]]:
        """The locations between the `...`; the first run stands at the very start and may be empty."""
        runs: list[list[Location]] = [[]]
        for location in self.stack:
            if location is None:
                runs.append([])
            else:
                runs[-1].append(location)
        return [tuple(run) for run in runs]

    def _begins(self, frames: Sequence[FrameView]) -> bool:
        first, *others = self._runs
        if not _stands_at(first, frames, 0):
            return False
        at = len(first)
        # The end is open, so for every run the first place where it stands is as good as any.
        for run in others:
            found = next((start for start in range(at, len(frames) + 1) if _stands_at(run, frames, start)), None)
            if found is None:
                return False
            at = found + len(run)
        return True


def _stands_at(run: Sequence[Location], frames: Sequence[FrameView], start: int) -> bool:
    if start + len(run) > len(frames):
        return False
    return all(location.matches(frames[start + index]) for index, location in enumerate(run))


class LeakPattern(msgspec.Struct, frozen=True):
    """What LeakSanitizer calls a suppression: part of the name of a function, a file or a module of a leak's stack."""

    pattern: str
    place: str

    @property
    def name(self) -> str:
        """As it stands in the file."""
        return f"leak:{self.pattern}"

    @property
    def applies(self) -> bool:
        """Emuleak looks for leaks."""
        return True

    def matches(self, view: View) -> bool:
        """Whether the finding is a leak with such a frame."""
        if view.finding.kind != "leak":
            return False
        match = part(self.pattern).match
        frames = (frame for stack in view.stacks for frame in stack)
        return any(match(name) for frame in frames for name in (*frame.functions, *frame.objects, *frame.files))


AnySuppression = Suppression | LeakPattern


@lru_cache(maxsize=4096)
def glob(pattern: str) -> re.Pattern[str]:
    """An expression for the whole of a text: `*` is any text, `?` any character, all else itself."""
    return _expression(pattern.split("*"), query=".", open_start=False, open_end=False)


@lru_cache(maxsize=4096)
def part(pattern: str) -> re.Pattern[str]:
    """An expression for a part of a text: `*` is any text, `^` before and `$` behind bind it to start and end."""
    body, dollar, _ = pattern.removeprefix("^").partition("$")
    return _expression(body.split("*"), query=r"\?", open_start=not pattern.startswith("^"), open_end=not dollar)


def _expression(pieces: Sequence[str], *, query: str, open_start: bool, open_end: bool) -> re.Pattern[str]:
    """Pieces with any text between them. Each is looked for once (atomic groups): no pattern takes exponential time."""
    fixed = [re.escape(piece).replace(r"\?", query) for piece in pieces]
    text = f"(?>.*?{fixed[0]})" if open_start else fixed[0]
    if len(fixed) == 1:
        return re.compile(_closed(text, fixed[0], open_start=open_start, open_end=open_end), re.DOTALL)
    text += "".join(f"(?>.*?{piece})" for piece in fixed[1:-1])
    last = f"(?>.*?{fixed[-1]})" if open_end else rf".*{fixed[-1]}\Z"
    return re.compile(text + last, re.DOTALL)


def _closed(text: str, only: str, *, open_start: bool, open_end: bool) -> str:
    if open_end:
        return text
    return rf".*{only}\Z" if open_start else rf"{only}\Z"
