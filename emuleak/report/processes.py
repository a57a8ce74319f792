"""What other processes than the first did wrong: the findings of each at its end, then of all together.

A block that a forked process has from its parent, and leaves as it was, is no leak of its own: the parent still has it.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import UNSET

from emuleak.events import Block, Record
from emuleak.findings.finding import Finding
from emuleak.findings.frames import Symbolizer
from emuleak.findings.leaks import leaks
from emuleak.findings.misuse import Misuses
from emuleak.report.remains import Remains

if TYPE_CHECKING:
    from emuleak.events import Log
    from emuleak.kernel.core import Kernel
    from emuleak.loader import Process
    from emuleak.stacks.unwinder import Unwinder

_DAMAGE: Final = frozenset({"heap-overflow", "heap-underflow", "write-after-free"})


def in_use(log: "Log") -> Iterable[Record]:
    """The blocks that a leak could be of."""
    if not log.declared:
        return log.live.values()
    from emuleak.findings.declared import active  # noqa: PLC0415 - most programs declare nothing

    return active(log)


def is_worth_a_look(log: "Log", inherited: Mapping[int, Record]) -> bool:
    """Whether a process has misused the heap or leaves blocks of its own; what it inherited is known by identity."""
    return bool(log.misuses or _own(log, inherited))


def _own(log: "Log", inherited: Mapping[int, Record]) -> set[int]:
    """The addresses of the blocks that a process has not from its parent."""
    return {record[1] for record in in_use(log) if id(record) not in inherited}


def misuses_of(kernel: "Kernel", process: "Process", log: "Log", symbolizer: Symbolizer) -> list[Finding]:
    """What a process has misused so far."""
    threads = kernel.threads.had_several
    return Misuses(kernel.memory, process, symbolizer, threads=threads).findings(log.misuses)


def findings_of(
    kernel: "Kernel",
    process: "Process",
    log: "Log",
    unwinder: "Unwinder",
    symbolizer: Symbolizer,
    freed: Callable[[], Sequence[Block]],
    inherited: Mapping[int, Record],
) -> list[Finding]:
    """The findings of a process that has ended: misuse, and what it leaves of its own that is the program's."""
    found = misuses_of(kernel, process, log, symbolizer)
    own = _own(log, inherited)
    if not own:
        return found
    remains = Remains(kernel, process, log, unwinder, symbolizer, freed)
    verdicts = [verdict for verdict in remains.verdicts() if verdict.block.address in own]
    lost = leaks(verdicts, symbolizer, remains.reasons, threads=kernel.threads.had_several)
    return [*found, *(leak for leak in lost if leak.owner == "program")]


def marked(finding: Finding, process: str) -> Finding:
    """The finding as one of a process: `4712, forked by 4711`."""
    return msgspec.structs.replace(
        finding, process=process, why=f"{finding.why} This was in process {process}.".strip()
    )


def merged(first: Iterable[Finding], others: Iterable[Finding]) -> list[Finding]:
    """The findings of other processes, those of one place together; damage that the first has, too, is told there."""
    told = {_mistake(finding) for finding in first if finding.kind in _DAMAGE}
    found: dict[Hashable, list[Finding]] = {}
    for finding in others:
        key = _mistake(finding)
        if finding.kind not in _DAMAGE or key not in told:
            found.setdefault(key, []).append(finding)
    return [_together(each) for each in found.values()]


def _mistake(finding: Finding) -> Hashable:
    return finding.kind, finding.leak_kind, finding.access, finding.stack, finding.allocated, finding.freed


def _together(findings: Sequence[Finding]) -> Finding:
    one, more = findings[0], len({finding.process for finding in findings}) - 1
    process, why = one.process, one.why
    if process is not UNSET and more:
        process = f"{process}, and {more} other{'s' if more > 1 else ''}"
        why = why.replace(str(one.process), process)
    size, blocks = sum(finding.bytes for finding in findings), sum(finding.blocks for finding in findings)
    return msgspec.structs.replace(one, bytes=size, blocks=blocks, process=process, why=why)
