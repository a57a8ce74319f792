"""What a report amounts to: which findings count, the totals, the one sentence, the exit status. Pure functions."""

from collections.abc import Iterable, Iterator
from typing import get_args

import msgspec
from msgspec import UNSET

from emuleak.errors import BadOption
from emuleak.report.document import Exit, Finding, LeakKind, Report

LEAK_KINDS: tuple[LeakKind, ...] = get_args(LeakKind)
MISUSE_KINDS: dict[str, tuple[str, str]] = {
    "double-free": ("double free", "double frees"),
    "invalid-free": ("invalid free", "invalid frees"),
    "mismatched-free": ("mismatched free", "mismatched frees"),
    "invalid-realloc": ("invalid realloc", "invalid reallocs"),
    "use-after-free": ("use after free", "uses after free"),
    "heap-overflow": ("heap overflow", "heap overflows"),
    "heap-underflow": ("heap underflow", "heap underflows"),
    "write-after-free": ("write after free", "writes after free"),
    "invalid-size": ("invalid size", "invalid sizes"),
    "invalid-alignment": ("invalid alignment", "invalid alignments"),
    "realloc-zero": ("realloc to no bytes", "reallocs to no bytes"),
}
DEFINED_MISUSE = frozenset({"realloc-zero"})
MISUSE = "misuse"
FAIL_ON_DEFAULT = frozenset({"definitely-lost", "possibly-lost", MISUSE})

STATUS_FOUND = 23
STATUS_STOPPED = 124
SENTENCE_WIDTH = 100

_CRASHES = frozenset({4, 5, 6, 7, 8, 11, 31})  # ILL TRAP ABRT BUS FPE SEGV SYS
_VALGRIND_NAMES = {
    "definite": "definitely-lost",
    "indirect": "indirectly-lost",
    "possible": "possibly-lost",
    "reachable": "still-reachable",
}


class Total(msgspec.Struct, frozen=True):
    """How much of one sort there is."""

    findings: int = 0
    bytes: int = 0
    blocks: int = 0

    def __add__(self, other: "Total") -> "Total":
        return Total(self.findings + other.findings, self.bytes + other.bytes, self.blocks + other.blocks)


class Totals(msgspec.Struct, frozen=True):
    """Sums over all findings: the program's leaks by kind, what libraries keep, misuse in order of occurrence."""

    leaks: dict[LeakKind, Total]
    library: Total
    misuse: dict[str, int]

    @property
    def lost(self) -> Total:
        """All that the program lost. A block lost indirectly is no leak of its own: it goes with its owner."""
        definite, indirect, possible = (self.leaks[kind] for kind in LEAK_KINDS[:3])
        sum_ = definite + indirect + possible
        return Total(definite.findings + possible.findings or indirect.findings, sum_.bytes, sum_.blocks)


def is_leak(finding: Finding) -> bool:
    """Whether the finding is about a block not freed; everything else is misuse."""
    return finding.kind == "leak"


def leak_kind(finding: Finding) -> LeakKind:
    """The kind of a leak, taken for the worst where a document does not say."""
    return finding.leak_kind if finding.leak_kind is not UNSET else "definitely-lost"


def totals(findings: Iterable[Finding]) -> Totals:
    """Add up the findings."""
    sums: dict[str, Total] = {}
    misuse: dict[str, int] = {}
    for finding in findings:
        if not is_leak(finding):
            misuse[finding.kind] = misuse.get(finding.kind, 0) + 1
            continue
        key = "library" if finding.owner == "library" else leak_kind(finding)
        sums[key] = sums.get(key, Total()) + Total(1, finding.bytes, finding.blocks)
    leaks = {kind: sums.get(kind, Total()) for kind in LEAK_KINDS}
    return Totals(leaks, sums.get("library", Total()), misuse)


# -- which findings count


def counts(finding: Finding, fail_on: frozenset[str] = FAIL_ON_DEFAULT) -> bool:
    """Whether this finding makes the run fail. What a library keeps, or an older report knew, never does.

    A misuse that a C library defines counts only where it is named itself: programs rely on it.
    """
    if finding.baseline == "known":
        return False
    if is_leak(finding):
        return finding.owner == "program" and leak_kind(finding) in fail_on
    return (MISUSE in fail_on and finding.kind not in DEFINED_MISUSE) or finding.kind in fail_on


def counting(report: Report, fail_on: frozenset[str] = FAIL_ON_DEFAULT) -> Iterator[Finding]:
    """The findings that count."""
    return (finding for finding in report.findings if counts(finding, fail_on))


def parse_fail_on(text: str) -> frozenset[str]:
    """The value of `--fail-on`: kinds separated by commas; `misuse`, `all` and `none`; valgrind's short names."""
    kinds: set[str] = set()
    for word in filter(None, (part.strip() for part in text.split(","))):
        kind = _VALGRIND_NAMES.get(word, word)
        if kind == "all":
            kinds.update(LEAK_KINDS, (MISUSE,))
        elif kind in LEAK_KINDS or kind in MISUSE_KINDS or kind == MISUSE:
            kinds.add(kind)
        elif kind == "new":
            raise BadOption("--fail-on new: new compared with what? Give --baseline FILE, too")
        elif kind != "none":
            choices = ", ".join((*LEAK_KINDS, MISUSE, *MISUSE_KINDS, "all", "none"))
            raise BadOption(f"--fail-on: unknown kind {word!r}; choose from {choices}")
    return frozenset(kinds)


def exit_status(report: Report, fail_on: frozenset[str] = FAIL_ON_DEFAULT, error_exitcode: int = STATUS_FOUND) -> int:
    """The status of `emuleak run`: a run cut short says so even when it found something."""
    if report.exit.stopped is not UNSET:
        return STATUS_STOPPED
    if any(counting(report, fail_on)):
        return error_exitcode
    if report.exit.signal is not None:
        return 128 + report.exit.signal
    return report.exit.code or 0


# -- the sentence


def number(count: int, one: str, many: str | None = None) -> str:
    """A count with its noun: `1 block`, `1,240 bytes`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def amount(size: int, blocks: int) -> str:
    """`1,240 bytes in 7 blocks`."""
    return f"{number(size, 'byte')} in {number(blocks, 'block')}"


def misuse_name(kind: str, count: int = 1) -> str:
    """The words for a kind of misuse, also for one that this version does not know."""
    words = kind.replace("-", " ")
    one, many = MISUSE_KINDS.get(kind, (words, words + "s"))
    return one if count == 1 else many


def signal_name(exit_: Exit) -> str:
    """`SIGSEGV`, or the number where the document has no name."""
    return exit_.signal_name if exit_.signal_name is not UNSET else f"signal {exit_.signal}"


def is_crash(exit_: Exit) -> bool:
    """Whether the signal that ended the program is one that its own mistake raises."""
    return exit_.signal in _CRASHES


def sentence(report: Report) -> str:
    """The verdict in one line, in less detail where the full account would not fit."""
    for detail in (2, 1, 0):
        text = _sentence(report, detail)
        if len(text) <= SENTENCE_WIDTH:
            break
    return text


def _sentence(report: Report, detail: int) -> str:
    sums, ending = totals(report.findings), _ending(report.exit)
    kept_out = number_kept_out(report)
    parts = [ending, _news(report), f"{number(kept_out, 'finding')} kept out" if kept_out else ""]
    no = "no other" if kept_out else "no"
    if sums.lost.findings:
        parts += [_leaks(sums, detail), _misuse(sums, detail)]
    elif sums.misuse:
        parts += [_misuse(sums, detail), f"{no} leaks: {_kept(report, sums, detail)}"]
    else:
        of_the_heap = " of the heap" if detail or not kept_out else ""
        clean = f"until then {no} leaks, {no} misuse" if ending else f"{no} leaks, {no} misuse{of_the_heap}"
        parts += [f"{clean}: {_kept(report, sums, detail)}"]
    if report.incomplete:
        parts.append("emulation incomplete" if detail else "incomplete")
    return "emuleak: " + "; ".join(filter(None, parts))


def number_kept_out(report: Report) -> int:
    """How many findings were suppressed, or lie elsewhere than the user looks."""
    return 0 if report.suppressed is UNSET else sum(one.findings for one in report.suppressed)


def _news(report: Report) -> str:
    """How the run compares with its baseline."""
    baseline = report.baseline
    if baseline is UNSET:
        return ""
    worse = (("new", baseline.new), ("grown", baseline.grown), ("changed for the worse", baseline.changed))
    return ", ".join(f"{count:,} {word}" for word, count in worse if count) or "nothing new"


def _ending(exit_: Exit) -> str:
    if exit_.stopped is not UNSET:
        return "stopped early" if exit_.threads is UNSET else "deadlock"
    if exit_.signal is None:
        return ""
    return f"{'crashed with' if is_crash(exit_) else 'ended by'} {signal_name(exit_)}"


def _leaks(sums: Totals, detail: int) -> str:
    found = [(kind.removesuffix("-lost"), sums.leaks[kind]) for kind in LEAK_KINDS[:3] if sums.leaks[kind].findings]
    if detail == 2 or len(found) == 1:
        account = ", ".join(f"{amount(total.bytes, total.blocks)} {word} lost" for word, total in found)
    elif detail == 1:
        (word, total), *others = found
        first = f"{number(total.bytes, 'byte')} {word}"
        account = ", ".join([first, *(f"{total.bytes:,} {word}" for word, total in others)]) + " lost"
    else:
        account = f"{amount(sums.lost.bytes, sums.lost.blocks)} lost"
    return f"{number(sums.lost.findings, 'leak')}: {account}"


def _misuse(sums: Totals, detail: int) -> str:
    if detail == 0 and len(sums.misuse) > 1:
        return number(sum(sums.misuse.values()), "misuse") + " of the heap"
    return ", ".join(f"{count:,} {misuse_name(kind, count)}" for kind, count in sums.misuse.items())


def _kept(report: Report, sums: Totals, detail: int) -> str:
    """What became of the blocks of a program that lost none."""
    heap, reachable = report.heap, sums.leaks["still-reachable"]
    if heap.in_use_blocks == 0:
        return _all_freed(heap.allocs)
    library = f"libraries kept {number(sums.library.blocks, 'block')}" if sums.library.blocks else ""
    if reachable.blocks:
        kept = f"{amount(reachable.bytes, reachable.blocks)} still reachable"
        return f"{kept}, {library}" if library and detail else kept
    if sums.library.blocks >= heap.in_use_blocks:
        return f"the program freed every block, its {library}"
    return f"{number(heap.in_use_blocks, 'block')} still in use"


def _all_freed(allocs: int) -> str:
    if allocs == 0:
        return "the program allocated nothing"
    return "the only block was freed" if allocs == 1 else f"all {allocs:,} blocks were freed"
