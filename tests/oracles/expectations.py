"""Read what a program's comments promise of it.

At the line of a defect, which is the innermost line of the program's own source in the stack:

    p = malloc(40);     /* EXPECT leak definitely-lost bytes=40 blocks=1 */
    free(p);            /* EXPECT double-free */
    x = fgets(...);     /* ALLOW leak still-reachable */            may be found, need not be
    p = xmalloc(40);    /* EXPECT[optimised] leak ... */            only in variants that answer to the tag
    return malloc(40);  /* EXPECT[!O2] leak ... */                  only in those that do not

What was written beside or into a block (heap-overflow, heap-underflow, write-after-free) is promised at the line where
the block was allocated: who wrote is known to valgrind, but not to emuleak.

And anywhere, by habit at the head:

    /* CLEAN */                             the program has no defect: nothing may be found
    /* EXIT 3 */  /* SIGNAL SIGABRT */      how it ends, when not with status 0
    /* FLAGS -pthread */                    what it needs to be built
    /* SKIP static: reason */               a variant, or a tag, in which it makes no sense
    /* VALGRIND-FLAGS --soname-synonyms=... */
    /* VALGRIND differs: reason */          on a line with EXPECT or ALLOW: valgrind does not see this line so
    /* VALGRIND totals differ: reason */    the heap's totals are not valgrind's
    /* VALGRIND output differs: reason */   nor what the program writes
    /* VALGRIND cannot: reason */           it cannot run the program at all

Comments are read strictly: one that begins with one of these words and cannot be understood is an error.
"""

import re
import signal
from dataclasses import dataclass, field
from pathlib import Path

from oracles.build import VARIANTS, Variant
from oracles.shapes import ACCESS_KINDS, DAMAGE_KINDS, LEAK_KINDS, MISUSE_KINDS, REQUEST_KINDS, Key, Size

COMMENT = re.compile(r"/\*\s*(.*?)\s*\*/|//\s*(.*?)\s*(?=/\*|//|$)")
WORD = re.compile(r"(EXPECT|ALLOW|CLEAN|EXIT|SIGNAL|FLAGS|SKIP|VALGRIND)(?![a-z])")
EXPECT = re.compile(r"(EXPECT|ALLOW)(?:\[(!?[\w-]+)\])? (.+)")
LEAK = re.compile(r"leak ([\w-]+)(?: bytes=(\d+) blocks=(\d+))?")
SKIP = re.compile(r"([\w-]+): \S.*")
DIFFERS = re.compile(r"VALGRIND (cannot|differs|totals differ|output differs): (\S.*)")


class BadExpectationError(ValueError):
    """A comment that begins as an expectation and is none."""


@dataclass(frozen=True)
class Expectation:
    """One defect promised (or, with `required` False, tolerated) at a line."""

    key: Key
    size: Size | None
    required: bool = True
    tag: str | None = None


@dataclass
class Expectations:
    """All that the comments of one program say."""

    source: str
    defects: list[Expectation] = field(default_factory=list)
    clean: bool = False
    exit_code: int = 0
    signal: int | None = None
    flags: tuple[str, ...] = ()
    valgrind_flags: tuple[str, ...] = ()
    skipped: set[str] = field(default_factory=set)
    differing_lines: dict[int, str] = field(default_factory=dict)
    differing_totals: str | None = None
    differing_output: str | None = None
    valgrind_cannot: str | None = None

    def holds_in(self, variant: Variant) -> bool:
        """Whether the program is meant to be built so."""
        return not any(variant.answers_to(tag) for tag in self.skipped)

    def required(self, variant: Variant) -> dict[Key, Size]:
        """What must be found, summed by line and kind."""
        sums: dict[Key, Size] = {}
        for defect in self._of(variant, required=True):
            before = sums.get(defect.key, Size(0, 0))
            size = defect.size or Size(0, 0)
            sums[defect.key] = Size(before.bytes + size.bytes, before.blocks + size.blocks)
        return sums

    def allowed(self, variant: Variant) -> set[Key]:
        """What may be found."""
        return {defect.key for defect in self._of(variant, required=False)}

    def misuses(self, variant: Variant) -> bool:
        """Whether libc would end the program on the host: then the native run is no measure."""
        return any(defect.key.kind in MISUSE_KINDS + DAMAGE_KINDS for defect in self._of(variant, required=True))

    def _of(self, variant: Variant, *, required: bool) -> list[Expectation]:
        return [
            defect
            for defect in self.defects
            if defect.required is required and (defect.tag is None or variant.answers_to(defect.tag))
        ]


def read(source: Path) -> Expectations:
    """The expectations in the comments of a source file."""
    return parse(source.read_text(encoding="utf-8"), source.name)


def parse(text: str, source: str) -> Expectations:
    """The expectations in the comments of a text."""
    result = Expectations(source)
    for number, line in enumerate(text.splitlines(), 1):
        for match in COMMENT.finditer(line):
            comment = match[1] or match[2] or ""
            if WORD.match(comment):
                _take(result, comment, number)
    if result.clean == bool(result.defects):
        raise BadExpectationError(f"{source}: needs either CLEAN or an EXPECT")
    tags = {defect.tag for defect in result.defects if defect.tag} | result.skipped
    known = {name for variant in VARIANTS.values() for name in (variant.name, *variant.tags)}
    if unknown := {tag.removeprefix("!") for tag in tags} - known:
        raise BadExpectationError(f"{source}: no variant answers to {unknown}")
    return result


def _take(result: Expectations, comment: str, line: int) -> None:
    bad = BadExpectationError(f"{result.source}:{line}: cannot understand {comment!r}")
    word, _, rest = comment.partition(" ")
    if match := EXPECT.fullmatch(comment):
        result.defects.append(_defect(match, Key("", None, result.source, line), bad))
    elif match := DIFFERS.fullmatch(comment):
        _take_difference(result, match[1], match[2], line)
    elif not _take_setting(result, word, rest):
        raise bad


def _take_difference(result: Expectations, what: str, reason: str, line: int) -> None:
    match what:
        case "cannot":
            result.valgrind_cannot = reason
        case "totals differ":
            result.differing_totals = reason
        case "output differs":
            result.differing_output = reason
        case _:
            result.differing_lines[line] = reason


def _take_setting(result: Expectations, word: str, rest: str) -> bool:
    match word:
        case "CLEAN" if not rest:
            result.clean = True
        case "EXIT" if rest.isdigit():
            result.exit_code = int(rest)
        case "SIGNAL" if rest in signal.Signals.__members__:
            result.signal = signal.Signals[rest]
        case "FLAGS" if rest:
            result.flags += tuple(rest.split())
        case "VALGRIND-FLAGS" if rest:
            result.valgrind_flags += tuple(rest.split())
        case "SKIP" if found := SKIP.fullmatch(rest):
            result.skipped.add(found[1])
        case _:
            return False
    return True


def _defect(match: re.Match[str], place: Key, bad: BadExpectationError) -> Expectation:
    required = match[1] == "EXPECT"
    if leak := LEAK.fullmatch(match[3]):
        if leak[1] not in LEAK_KINDS or (leak[2] is None) is required:
            raise bad
        size = Size(int(leak[2]), int(leak[3])) if leak[2] else None
        return Expectation(place._replace(kind="leak", leak_kind=leak[1]), size, required, match[2])
    if match[3] not in MISUSE_KINDS + DAMAGE_KINDS + REQUEST_KINDS + ACCESS_KINDS:
        raise bad
    return Expectation(place._replace(kind=match[3]), None, required, match[2])
