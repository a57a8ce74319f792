"""Files of suppressions: valgrind's and LeakSanitizer's, told apart by their first line that says something.

    {                                       # of which nothing below can be said
       what a person calls it               leak:part_of_a_name
       Memcheck,Addrcheck:Leak              leak:^whole_name$
       match-leak-kinds: definite           leak:lib*.so
       fun:malloc
       ...
       obj:*/libz.so*
       src:inflate.c
    }

`src:inflate.c:123` names a line, too. What valgrind 3.19 refuses is refused here, and in the same line, but for kinds
that came later.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from emuleak.errors import BadOption
from emuleak.findings.suppression import (
    ACCESSES,
    FOREIGN,
    LEAK_KINDS,
    MISUSES,
    AnySuppression,
    LeakPattern,
    Location,
    Suppression,
)

KINDS: Final = frozenset({"Leak", *MISUSES, *ACCESSES, *FOREIGN})
_TOOL: Final = "Memcheck"
_LEAK: Final = "leak:"
_MATCH: Final = "match-leak-kinds:"
_CALL: Final = re.compile(r"[^(]+\([^)]*\)")
_LONGEST_SHOWN: Final = 60


class Line(NamedTuple):
    """One line that says something: without the blanks around it, counted from 1."""

    number: int
    text: str


def read_suppressions(path: str) -> tuple[AnySuppression, ...]:
    """The suppressions in a file, in their order. Raises BadOption that names the file and the line."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadOption(f"{path}: cannot read the suppressions: {reason}") from None
    return parse_suppressions(content.decode("utf-8", "surrogateescape"), path)


def parse_suppressions(text: str, path: str) -> tuple[AnySuppression, ...]:
    """The suppressions in a text; `path` is what messages call it. Raises BadOption."""
    lines = _Lines(text, path)
    if lines.first.startswith(_LEAK):
        return tuple(_patterns(lines))
    return tuple(_blocks(lines))


class _Lines:
    """The lines that say something: comments and empty lines are passed over, as valgrind does."""

    def __init__(self, text: str, path: str) -> None:
        # Only a line feed ends a line: a form feed, say, may stand in a file's name.
        stripped = ((number, line.strip(" \t\r\f\v")) for number, line in enumerate(text.split("\n"), 1))
        self._lines = [Line(number, line) for number, line in stripped if line and not line.startswith("#")]
        self._at = 0
        self._path = path

    @property
    def first(self) -> str:
        return self._lines[0].text if self._lines else ""

    def next(self) -> Line | None:
        """The next line, None at the end."""
        if self._at == len(self._lines):
            return None
        self._at += 1
        return self._lines[self._at - 1]

    def need(self, what: str) -> Line:
        """The next line, of which a suppression needs one more."""
        line = self.next()
        if line is None:
            number = self._lines[-1].number if self._lines else 1
            raise self.error(number, f"the file ends where {what} was to follow")
        return line

    def place(self, line: Line) -> str:
        return f"{self._path}:{line.number}"

    def error(self, number: int, what: str) -> BadOption:
        return BadOption(f"{self._path}:{number}: {what}")

    def wrong(self, line: Line, what: str) -> BadOption:
        """The error for a line that is not what it should be."""
        text = line.text if len(line.text) <= _LONGEST_SHOWN else line.text[:_LONGEST_SHOWN] + "..."
        return self.error(line.number, f"{what}, not '{text}'")


# ---- LeakSanitizer's


def _patterns(lines: _Lines) -> Iterator[LeakPattern]:
    while (line := lines.next()) is not None:
        pattern = line.text.removeprefix(_LEAK)
        if pattern == line.text:
            raise lines.wrong(line, "expected 'leak:PATTERN'")
        if not pattern:
            raise lines.error(line.number, "there is no pattern after 'leak:'; 'leak:*' stands for every leak")
        yield LeakPattern(pattern, lines.place(line))


# ---- valgrind's


def _blocks(lines: _Lines) -> Iterator[Suppression]:
    while (line := lines.next()) is not None:
        if line.text != "{":
            raise lines.wrong(line, "expected '{' (valgrind's syntax) or 'leak:PATTERN' (LeakSanitizer's)")
        name = lines.need("a name")
        if name.text == "}":
            raise lines.error(name.number, "a suppression must have a name, a kind and a stack")
        suppression = _block(lines, name)
        if suppression is not None:
            yield suppression


def _block(lines: _Lines, name: Line) -> Suppression | None:
    """The rest of a suppression behind its name; None for another tool's."""
    line = lines.need("'Memcheck:KIND'")
    tools, colon, kind = line.text.partition(":")
    if not colon:
        raise lines.wrong(line, "expected 'TOOL:KIND', such as Memcheck:Leak")
    if _TOOL not in tools.split(","):
        _skip(lines)
        return None
    if kind not in KINDS:
        raise lines.wrong(line, f"expected a kind that memcheck knows ({', '.join(sorted(KINDS))})")
    leak_kinds, following = _extra(lines, kind)
    stack = tuple(_stack(lines, following))
    return Suppression(name.text, lines.place(name), kind, leak_kinds, stack)


def _skip(lines: _Lines) -> None:
    while lines.need("'}'").text != "}":
        pass


def _extra(lines: _Lines, kind: str) -> tuple[frozenset[str], Line]:
    """What stands between the kind and the stack for some kinds; and the line after it."""
    every = frozenset[str](LEAK_KINDS.values())
    line = lines.need("a stack")
    if kind == "Leak":
        if not line.text.startswith(_MATCH):
            return every, line
        return _leak_kinds(lines, line), lines.need("a stack")
    if kind == "Param":
        if _is_location(line):
            raise lines.wrong(line, "expected a system call's parameter, such as write(buf)")
        return every, lines.need("a stack")
    if kind == "FishyValue":
        if not _CALL.match(line.text):
            raise lines.wrong(line, "expected 'FUNCTION(ARGUMENT)', such as malloc(size)")
        return every, lines.need("a stack")
    return every, line


def _leak_kinds(lines: _Lines, line: Line) -> frozenset[str]:
    words = line.text.removeprefix(_MATCH).strip()
    if words == "all":
        return frozenset(LEAK_KINDS.values())
    if words == "none":
        return frozenset()
    if not set(words.split(",")) <= LEAK_KINDS.keys():
        choices = ", ".join(LEAK_KINDS)
        raise lines.wrong(line, f"expected kinds of leaks ({choices}) with commas and no blanks between, all or none")
    return frozenset(LEAK_KINDS[word] for word in words.split(","))


def _stack(lines: _Lines, line: Line) -> Iterator[Location | None]:
    """The stack, whose first line was read already."""
    start, only_wildcards = line, True
    while line.text != "}":
        if line.text == "...":
            yield None
        else:
            only_wildcards = False
            yield _location(lines, line)
        line = lines.need("'}'")
    if line is start:
        raise lines.error(line.number, "the suppression has no stack")
    if only_wildcards:
        raise lines.error(line.number, "the stack has nothing but '...': it would suppress everything")


def _is_location(line: Line) -> bool:
    return line.text == "..." or line.text.startswith(("fun:", "obj:", "src:"))


def _location(lines: _Lines, line: Line) -> Location:
    sort, colon, pattern = line.text.partition(":")
    match sort if colon else "":
        case "fun" | "obj" | "src" as known:
            return Location(known, pattern)
    raise lines.wrong(line, "expected '...' or a line that starts with 'fun:', 'obj:' or 'src:'")
