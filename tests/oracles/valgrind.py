"""Ask valgrind: run a command under memcheck and parse its XML.

Two runs: with --xml=yes valgrind 3.19 says nothing of the totals ("total heap usage"), in text mode it says nothing of
the objects of frames. The second run skips the search for leaks. Answers are cached by the content of the binary.
"""

import hashlib
import json
import re
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path, PurePath

from oracles.build import locked, write_atomically
from oracles.native import execute
from oracles.peers import cache_directory, need, version
from oracles.shapes import Finding, Frame, Heap, Run, Summary

COMMON = ("--num-callers=50", "--run-libc-freeres=no", "--run-cxx-freeres=no", "--default-suppressions=no")
LEAKS = ("--leak-check=full", "--show-leak-kinds=all", "--xml=yes")
TOTALS = ("--leak-check=no",)

LEAK_KIND = {
    "Leak_DefinitelyLost": "definitely-lost",
    "Leak_IndirectlyLost": "indirectly-lost",
    "Leak_PossiblyLost": "possibly-lost",
    "Leak_StillReachable": "still-reachable",
}

# Blocks that libc keeps for itself although the program's call made it ask: the buffers of its streams, the vectors
# of thread-local storage, locales, time zones, lists of exit handlers.
KEPT_BY_LIBC = frozenset(
    {"_IO_file_doallocate", "_IO_wfile_doallocate", "allocate_dtv", "allocate_dtv_entry", "_nl_make_l10nflist"}
    | {"_nl_load_locale_from_archive", "tzset_internal", "__new_exitfn", "init_cacheinfo", "_dl_new_object"}
)

DIRECT = re.compile(r"\(([\d,]+) direct, [\d,]+ indirect\)")
USAGE = re.compile(r"total heap usage: ([\d,]+) allocs, ([\d,]+) frees, ([\d,]+) bytes allocated")
IN_USE = re.compile(r"in use at exit: ([\d,]+) bytes in ([\d,]+) blocks")
STACKS = ("stack", "allocated")
INSIDE_FREED = re.compile(r"is (\d+) bytes inside .*block of size [\d,]+ free'd")


class ValgrindError(Exception):
    """Valgrind itself did not do what it was asked to."""


def check(
    program: Path, arguments: Sequence[str] = (), *, stdin: Path | None = None, flags: Sequence[str] = ()
) -> Summary:
    """What valgrind says of one run of the program."""
    key = hashlib.sha256()
    content = stdin.read_bytes() if stdin else b""
    for part in (program.read_bytes(), content, "\0".join([*COMMON, *flags, "", *arguments]).encode(), _code()):
        key.update(hashlib.sha256(part).digest())
    target = cache_directory() / "valgrind" / f"{key.hexdigest()[:24]}.json"
    target.parent.mkdir(exist_ok=True)
    with locked(target):
        if not target.exists():
            summary = _check(program, arguments, stdin, flags)
            write_atomically(target, dump(summary).encode())
    return load(target.read_text())


def _code() -> bytes:
    return Path(__file__).read_bytes() + version("valgrind").encode()


def _check(program: Path, arguments: Sequence[str], stdin: Path | None, flags: Sequence[str]) -> Summary:
    with tempfile.TemporaryDirectory(prefix="emuleak-valgrind-") as name:
        answer, log = Path(name, "answer.xml"), Path(name, "log.txt")
        command = [need("valgrind"), *COMMON, *flags]
        run = execute([*command, *LEAKS, f"--xml-file={answer}", program, *arguments], stdin)
        execute([*command, *TOTALS, f"--log-file={log}", program, *arguments], stdin)
        if not answer.exists() or not log.exists():
            raise ValgrindError(run.stderr.decode(errors="replace"))
        return read(answer.read_text(errors="replace"), log.read_text(errors="replace"), run)


def read(answer: str, log: str, run: Run) -> Summary:
    """A summary from the XML of one run and the text log of another."""
    root = ET.fromstring(answer)
    findings, other = [], []
    for error in root.iter("error"):
        finding = _finding(error)
        if finding:
            findings.append(finding)
        else:
            other.append(f"{error.findtext('kind')}: {error.findtext('what')} {_stacks(error)[0][:3]}")
    return Summary(run, heap(log), tuple(findings), tuple(other))


def heap(log: str) -> Heap:
    """The totals in a text log."""
    usage, in_use = USAGE.search(log), IN_USE.search(log)
    if usage is None or in_use is None:
        raise ValgrindError(f"no HEAP SUMMARY in\n{log[-2000:]}")
    return Heap(*(_number(text) for text in (*usage.groups(), *in_use.groups())))


def _number(text: str) -> int:
    return int(text.replace(",", ""))


def _finding(error: ET.Element) -> Finding | None:
    kind = error.findtext("kind", "")
    stack = _without_wrappers(_stacks(error)[0])
    if kind in LEAK_KIND:
        size = int(error.findtext("xwhat/leakedbytes", "0"))
        if direct := DIRECT.search(error.findtext("xwhat/text", "")):
            size = _number(direct[1])
        blocks = int(error.findtext("xwhat/leakedblocks", "0"))
        return Finding("leak", LEAK_KIND[kind], size, blocks, _owner(stack), stack)
    ours = _misuse(error, kind)
    # The last of an error's stacks is that of the block's allocation, also where another says who freed it.
    return Finding(ours, None, 0, 1, "program", stack, _without_wrappers(_stacks(error)[-1])) if ours else None


def _misuse(error: ET.Element, kind: str) -> str | None:
    where = error.findtext("auxwhat", "")
    match kind:
        case "InvalidFree":
            if _stacks(error)[0][0].function.startswith("realloc"):
                return "invalid-realloc"
            inside = INSIDE_FREED.search(where)
            return "double-free" if inside and inside[1] == "0" else "invalid-free"
        case "MismatchedFree":
            return "mismatched-free"
        case "FishyValue":
            return "invalid-size"
        case "InvalidRead":
            return _access(where, ("use-after-free", "overread", "overread"))
        case "InvalidWrite":
            return _access(where, ("write-after-free", "heap-overflow", "heap-underflow"))
    return None


def _access(where: str, kinds: tuple[str, str, str]) -> str:
    freed, after, before = kinds
    if "block of size" in where and "free'd" in where:
        return freed
    if "bytes after a block" in where:
        return after
    if "bytes before a block" in where:
        return before
    return "invalid-access"


def _stacks(error: ET.Element) -> list[tuple[Frame, ...]]:
    return [tuple(_frames(stack)) for stack in error.iter("stack")]


def _frames(stack: ET.Element) -> Iterator[Frame]:
    for frame in stack.iter("frame"):
        file, directory, line = frame.findtext("file"), frame.findtext("dir"), frame.findtext("line")
        if file and directory:
            file = str(PurePath(directory, file))
        yield Frame(frame.findtext("fn", "???"), file, int(line) if line else None, frame.findtext("obj", "???"))


def _without_wrappers(stack: tuple[Frame, ...]) -> tuple[Frame, ...]:
    first = next((n for n, frame in enumerate(stack) if "vgpreload" not in frame.object), len(stack))
    return stack[first:]


def _owner(stack: tuple[Frame, ...]) -> str:
    """The library's own: what no line of a program outside the system's directories asked for, or what libc keeps."""
    mine = next((n for n, frame in enumerate(stack) if frame.file and not _of_the_system(frame)), None)
    if mine is None or any(frame.function in KEPT_BY_LIBC for frame in stack[:mine]):
        return "library"
    return "program"


def _of_the_system(frame: Frame) -> bool:
    return frame.object.startswith(("/usr/lib", "/lib"))


def dump(summary: Summary) -> str:
    """A summary as JSON."""
    document = asdict(summary)
    for name in ("stdout", "stderr"):
        document["run"][name] = document["run"][name].decode("latin-1")
    return json.dumps(document)


def load(text: str) -> Summary:
    """The summary that `dump` wrote."""
    document = json.loads(text)
    run = document["run"]
    for name in ("stdout", "stderr"):
        run[name] = run[name].encode("latin-1")
    findings = tuple(
        Finding(**{**finding, **{name: tuple(Frame(**frame) for frame in finding[name]) for name in STACKS}})
        for finding in document["findings"]
    )
    return Summary(Run(**run), Heap(**document["heap"]), findings, tuple(document["other"]))
