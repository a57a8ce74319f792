"""`-e`: which system calls and which signals are told, see "Filtering" in strace(1)."""

import re
from collections.abc import Iterable
from typing import Final

from emuleak.errors import BadOption
from emuleak.kernel.signals import NAMES as SIGNAL_NAMES
from emuleak.strace.classes import CLASSES
from emuleak.strace.numbers import NAMES

_ALL_CALLS: Final = frozenset(NAMES.values())
_NUMBERS_OF_SIGNALS: Final = {name: number for number, name in SIGNAL_NAMES.items()}


class Selection:
    """What `-e` expressions select; everything where there is none. The last of a kind counts."""

    def __init__(self, expressions: Iterable[str] = ()) -> None:
        self._calls: frozenset[str] | None = None
        self._signals: frozenset[int] | None = None
        for expression in expressions:
            self._add(expression)

    def shows(self, name: str) -> bool:
        """Whether a system call is told."""
        return self._calls is None or name in self._calls

    def shows_signal(self, number: int) -> bool:
        """Whether a signal is told."""
        return self._signals is None or number in self._signals

    def _add(self, expression: str) -> None:
        qualifier, equals, words = expression.partition("=")
        if not equals:
            qualifier, words = "trace", expression
        if qualifier in {"trace", "t"}:
            self._calls = _calls(words)
        elif qualifier in {"signal", "signals", "s"}:
            self._signals = _signals(words)
        else:
            raise BadOption(f"-e {expression}: only trace= and signal= are known here")


def _split(words: str) -> tuple[bool, list[str]]:
    """Whether the list says what is left out, and its words."""
    negated = words.startswith("!")
    return negated, [word for word in words.removeprefix("!").split(",") if word]


def _calls(words: str) -> frozenset[str]:
    negated, names = _split(words)
    chosen: set[str] = set()
    for name in names:
        chosen |= _named(name)
    return _ALL_CALLS - chosen if negated else frozenset(chosen)


def _named(word: str) -> frozenset[str]:
    """The calls that one word stands for. Raises BadOption."""
    name = word.removeprefix("?")
    if name in {"all", "none"}:
        return _ALL_CALLS if name == "all" else frozenset()
    if name.startswith("/"):
        try:
            pattern = re.compile(name[1:])
        except re.error as error:
            raise BadOption(f"-e trace={word}: {error}") from None
        return frozenset(each for each in _ALL_CALLS if pattern.search(each))
    if name.startswith("%") and name[1:] in CLASSES:
        return CLASSES[name[1:]]
    if name in _ALL_CALLS:
        return frozenset({name})
    if name in CLASSES:  # as strace allowed before it had the %
        return CLASSES[name]
    if word.startswith("?"):
        return frozenset()
    known = ", ".join(f"%{each}" for each in sorted(CLASSES))
    raise BadOption(f"-e trace={word}: there is no such system call; classes are {known}")


def _signals(words: str) -> frozenset[int]:
    negated, names = _split(words)
    chosen: set[int] = set()
    for name in names:
        full = name.upper() if name.upper().startswith("SIG") else f"SIG{name.upper()}"
        if name in {"all", "none"}:
            chosen |= set(range(1, 65)) if name == "all" else set()
        elif full in _NUMBERS_OF_SIGNALS:
            chosen.add(_NUMBERS_OF_SIGNALS[full])
        else:
            raise BadOption(f"-e signal={name}: there is no such signal")
    return frozenset(range(1, 65)) - chosen if negated else frozenset(chosen)
