"""What happened in one finding, step by step in the order of time: only what the report knows, no guesses."""

from collections.abc import Callable, Iterator

import msgspec
from msgspec import UNSET, UnsetType

from emuleak.report.document import Exit, Finding, Frame
from emuleak.report.verdict import is_crash, is_leak, leak_kind, number, signal_name


class Step(msgspec.Struct, frozen=True):
    """One step; the stack, if any, is where it happened."""

    text: str
    stack: tuple[Frame, ...] = ()


def story(finding: Finding, exit_: Exit) -> list[Step]:
    """The steps that led to the finding. `exit_` is how the program ended."""
    if is_leak(finding):
        return list(_leak(finding, exit_))
    return list(_STORIES.get(finding.kind, _misuse)(finding))


# ---- leaks


def _leak(finding: Finding, exit_: Exit) -> Iterator[Step]:
    one = finding.blocks == 1
    it, was = ("It", "was") if one else ("They", "were")
    yield Step(_allocated(finding), finding.stack)
    yield Step(f"{it} {was} not freed, neither on the way nor at the end.")
    if leak_kind(finding) == "definitely-lost":
        whose = "to it" if one else "to each of them"
        yield Step(
            f"Some time before the end the last pointer {whose} went away: it was overwritten, or the memory that held "
            "it was given up."
        )
    yield Step(
        f"{_ending(exit_)} emuleak then looked through the registers, the stacks, the global variables and all memory "
        f"to which they lead. {finding.why}"
    )
    if finding.chain is not UNSET and finding.chain:
        yield Step(f"The way to it: {' -> '.join(finding.chain)}.")
    if leak_kind(finding) != "definitely-lost" and not _ended_itself(exit_):
        yield Step("The program did not come to its own end. What it would have freed later cannot be known.")


def _allocated(finding: Finding) -> str:
    by = _by(finding.maker)
    if finding.blocks == 1:
        return f"A block of {number(finding.bytes, 'byte')} was allocated{by}{_thread(finding)}:"
    blocks = f"{number(finding.blocks, 'block')}, {number(finding.bytes, 'byte')} in all,"
    return f"{blocks} were allocated{by} by the same calls{_thread(finding)}:"


def _ended_itself(exit_: Exit) -> bool:
    return exit_.stopped is UNSET and exit_.signal is None


def _ending(exit_: Exit) -> str:
    if exit_.stopped is not UNSET:
        return f"emuleak stopped the program: {exit_.stopped}."
    if exit_.signal is not None:
        return f"The program {'crashed with' if is_crash(exit_) else 'was ended by'} {signal_name(exit_)}."
    return f"The program ended with exit status {exit_.code}."


# ---- misuse


def _misuse(finding: Finding) -> Iterator[Step]:
    """Of any kind: the block's life as far as it is known, then the mistake."""
    yield from _past(finding)
    yield _mistake(finding, f"Then this happened{_thread(finding)}.")


def _past(finding: Finding) -> Iterator[Step]:
    if finding.allocated:
        yield Step(f"{_block(finding)} was allocated{_by(finding.maker)}:", finding.allocated)
    if finding.freed:
        yield Step("It was freed. From here on no pointer to it was valid:", finding.freed)


def _mistake(finding: Finding, text: str) -> Step:
    """The last step: what happened, the finding's own reason, how often."""
    told = f"{text} {finding.why}".strip()
    if finding.blocks > 1:
        told += f" It happened {number(finding.blocks, 'time')} with the same stacks; this is the first time."
    return Step(f"{told.rstrip('.')}:" if finding.stack else told, finding.stack)


def _released(finding: Finding) -> Iterator[Step]:
    yield from _past(finding)
    verb = "realloc" if finding.kind == "invalid-realloc" else "free"
    function = finding.releaser if finding.releaser is not UNSET else verb
    pointer = "A pointer" if finding.address is UNSET else f"The pointer {finding.address}"
    yield _mistake(finding, f"{pointer} was given to {function}{_thread(finding)}.")


def _accessed(finding: Finding) -> Iterator[Step]:
    """Caught in the act, where `access` is given; else the damage was noticed after it was done."""
    if finding.access is not UNSET:
        yield from _past(finding)
        size = "" if finding.size is UNSET else f" {number(finding.size, 'byte')}"
        at = "" if finding.address is UNSET else f" at {finding.address}"
        verb = "read" if finding.access == "read" else "wrote"
        yield _mistake(finding, f"The program {verb}{size}{at}{_thread(finding)}.")
        return
    yield from _past(finding)
    yield Step(f"Memory changed that the program must not write to{_where(finding)}. The moment itself was not seen.")
    known = finding.stack in {finding.allocated, finding.freed}
    noticed = msgspec.structs.replace(finding, stack=()) if known else finding
    yield _mistake(noticed, "The damage was noticed.")


def _where(finding: Finding) -> str:
    if finding.offset is UNSET:
        return ""
    distance = number(abs(finding.offset), "byte")
    return {
        "heap-overflow": f", {distance} behind the block's end",
        "heap-underflow": f", {distance} before the block's start",
    }.get(finding.kind, f", {distance} from the freed block's start")


def _requested(finding: Finding) -> Iterator[Step]:
    yield from _past(finding)
    function = finding.maker if finding.maker is not UNSET else "The allocator"
    yield _mistake(finding, f"{function} was called{_thread(finding)}.")


_STORIES: dict[str, Callable[[Finding], Iterator[Step]]] = {
    "double-free": _released,
    "invalid-free": _released,
    "mismatched-free": _released,
    "invalid-realloc": _released,
    "use-after-free": _accessed,
    "heap-overflow": _accessed,
    "heap-underflow": _accessed,
    "write-after-free": _accessed,
    "invalid-size": _requested,
    "invalid-alignment": _requested,
    "realloc-zero": _requested,
}


# ---- words


def _block(finding: Finding) -> str:
    """The block, with its size where the finding is about one alone: of several only the sum is known."""
    return f"A block of {number(finding.bytes, 'byte')}" if finding.blocks == 1 else "The block"


def _by(function: str | UnsetType) -> str:
    return "" if function is UNSET else f" by {function}"


def _thread(finding: Finding) -> str:
    return "" if finding.thread is UNSET else f" in thread {finding.thread}"
