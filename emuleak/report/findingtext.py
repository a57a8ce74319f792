"""One finding as text: heading, reason, stacks, and the line of source that is to blame."""

import posixpath
from collections.abc import Iterator, Sequence

from msgspec import UNSET

from emuleak.report.document import Finding, Frame
from emuleak.report.entries import Entry
from emuleak.report.paper import WIDTH, Paper, clean, clipped, wrapped
from emuleak.report.source import SourceLine, Sources
from emuleak.report.stacktext import is_system, place, short_path, stack_lines
from emuleak.report.verdict import amount, is_leak, leak_kind, misuse_name, number

BODY = "    "
STACK = "      "
_MAX_TRIED = 64
_LONG_CHAIN = 3  # a root, at least one block between, the block itself

_LEAK_STYLES = {"definitely-lost": "bad", "indirectly-lost": "warn", "possibly-lost": "warn"}

STANDINGS: dict[str, str] = {
    "new": "It is new: the baseline does not know it.",
    "grown": "The baseline knows it, but not as much of it.",
    "changed": "The baseline knows it as a kind of leak that is less grave.",
}


class FindingText:
    """Writes findings on paper; knows the working directory and the sources, and notices missing line numbers."""

    def __init__(self, paper: Paper, program: str, cwd: str | None, sources: Sources) -> None:
        self._paper = paper
        self._program = program
        self._name = posixpath.basename(program)
        self._cwd = cwd
        self._sources = sources
        self._program_frames = 0
        self._program_lines = 0

    def write(self, ordinal: int, entry: Entry) -> None:
        """Write one numbered finding, or the group that it stands for."""
        finding = entry.finding
        title, rest, style = heading(entry)
        self._paper.line((f"[{ordinal:,}] ", "title"), (title, style), (f": {rest}" if rest else "", "title"))
        self._write_why(finding.why)
        self._write_chain(finding)
        self._write_why(STANDINGS.get(finding.baseline, "") if finding.baseline is not UNSET else "")
        self._write_why(merger(entry, self._cwd))
        self.write_stack(finding.stack)
        for label, stack in (("freed here:", finding.freed), ("allocated here:", finding.allocated)):
            if stack:
                self._paper.line(f"{BODY}{label}")
                self.write_stack(stack, context=0)

    def write_stack(self, stack: Sequence[Frame], context: int = 1) -> None:
        """Write the stack and the source of its most telling frame."""
        for spans in stack_lines(stack, self._cwd, STACK):
            self._paper.line(*spans)
        self._count_lines(stack)
        for index, frame in by_interest(stack):
            excerpt = self._sources.excerpt(frame.file, frame.line, context)
            if excerpt:
                if context or index:
                    self._paper.gap()
                self._write_excerpt(excerpt, "" if index == 0 else place(frame, self._cwd))
                return

    def write_note(self) -> None:
        """After all findings: what would have made them easier to read."""
        if self._program_frames and not self._program_lines:
            self._paper.gap()
            name = short_path(self._program, self._cwd)
            self._paper.line((f"{name} has no line numbers: compile it with -g to see files and lines.", "warn"))

    def _write_why(self, why: str) -> None:
        for line in wrapped(why, BODY, BODY):
            self._paper.line(line)

    def _write_chain(self, finding: Finding) -> None:
        """The way from the root to the block, where there is more to it than the reason says."""
        if finding.chain is UNSET or len(finding.chain) < _LONG_CHAIN:
            return
        arrow = "   "
        for name in finding.chain:
            for line in wrapped(name, f"{STACK}{arrow}", f"{STACK}     "):
                self._paper.line((line, "quiet"))
            arrow = "-> "

    def _write_excerpt(self, excerpt: Sequence[SourceLine], title: str) -> None:
        if title:
            self._paper.line(STACK, (f"{title}:", "place"))
        digits = len(str(excerpt[-1].number))
        for line in excerpt:
            gutter = f"{STACK}{'>' if line.here else ' '} {line.number:>{digits}} | "
            text = clipped(clean(line.text), WIDTH - len(gutter))
            if line.here:
                self._paper.line((gutter, "bad"), (text, "title"))
            else:
                self._paper.line((gutter + text, "quiet"))
        self._paper.gap()

    def _count_lines(self, stack: Sequence[Frame]) -> None:
        own = [frame for frame in stack if posixpath.basename(frame.object) == self._name]
        self._program_frames += len(own)
        self._program_lines += sum(frame.file is not None for frame in own)


def merger(entry: Entry, cwd: str | None) -> str:
    """What else the finding of an entry stands for, `""` when it stands for itself alone."""
    if entry.findings == 1:
        return ""
    if entry.site is None:
        return f"It happened {number(entry.findings, 'time')} with the same stacks; this was the first."
    where = place(entry.site, cwd)
    where = where if where.startswith("in ") else f"at {where}"
    biggest = amount(entry.finding.bytes, entry.finding.blocks)
    return f"{number(entry.findings, 'different stack')} allocate {where}; the one that lost most ({biggest}):"


def by_interest(stack: Sequence[Frame]) -> Iterator[tuple[int, Frame]]:
    """Frames whose source is worth a try: the program's own first, then what its libraries' headers put into it."""
    lined = [(index, frame) for index, frame in enumerate(stack) if frame.file is not None][:_MAX_TRIED]
    own = [item for item in lined if not is_system(item[1])]
    return iter(own or lined)


def heading(entry: Entry) -> tuple[str, str, str]:
    """What, how much, and the style of the first."""
    finding = entry.finding
    if is_leak(finding):
        kind = leak_kind(finding)
        title = kind.replace("-", " ").capitalize()
        return title, amount(entry.bytes, entry.blocks), _LEAK_STYLES.get(kind, "title")
    return clean(misuse_name(finding.kind)).capitalize(), clean(_subject(finding)), "bad"


def _subject(finding: Finding) -> str:
    """What a misuse was done to: `read of 4 bytes at 0x4c3f2a0 (block of 64 bytes)`."""
    if finding.offset is not UNSET and finding.address is not UNSET:
        side = {"heap-overflow": "behind a block", "heap-underflow": "before a block"}.get(finding.kind, "in a block")
        size = number(finding.bytes // max(finding.blocks, 1), "byte")
        many = f", in {number(finding.blocks, 'such block')}" if finding.blocks > 1 else ""
        return f"at {finding.address}, {side} of {size}{many}"
    words = []
    if finding.access is not UNSET:
        words.append(f"{finding.access} of")
    if finding.size is not UNSET:
        words.append(number(finding.size, "byte"))
    if finding.address is not UNSET:
        words.append(f"at {finding.address}" if words else finding.address)
    size = number(finding.bytes, "byte")
    if finding.blocks and finding.bytes == 0 and finding.maker is UNSET:
        words.append(f"({number(finding.blocks, 'time')})" if finding.blocks > 1 else "")  # there is no block
    elif finding.blocks:
        words.append(f"(block of {size})" if finding.blocks == 1 else f"({amount(finding.bytes, finding.blocks)})")
    return " ".join(filter(None, words))
