"""Numbers that have names: one of several (`SEEK_SET`), or bits (`O_RDWR|O_CLOEXEC`)."""

from functools import cached_property


class Names:
    """A table of names, written as `NAME=number`; `unknown` is what a comment says of a number without one."""

    def __init__(self, unknown: str, text: str) -> None:
        self.unknown = unknown
        self._text = text

    @cached_property
    def pairs(self) -> tuple[tuple[str, int], ...]:
        """Names and numbers, in the order in which they are listed."""
        split = (word.partition("=") for word in self._text.split())
        return tuple((name, int(number, 0)) for name, _, number in split)

    @cached_property
    def by_number(self) -> dict[int, str]:
        """The name of each number."""
        return {number: name for name, number in self.pairs}

    def one(self, value: int) -> str:
        """The name of a number, or the number with a comment."""
        return self.by_number.get(value) or f"{value:#x} /* {self.unknown} */".replace("0x0 ", "0 ")

    def bits(self, value: int, *, zero: str = "0") -> str:
        """The names of the bits that are set, and a number for the rest; `zero` where there is none."""
        if not value:
            return zero
        words, rest = self.split(value)
        if not words:
            return f"{rest:#x} /* {self.unknown} */"
        return "|".join([*words, f"{rest:#x}"] if rest else words)

    def split(self, value: int) -> tuple[list[str], int]:
        """The names of the bits that are set, and what is left."""
        words = []
        for name, bits in self.pairs:
            if bits and value & bits == bits:
                words.append(name)
                value &= ~bits
        return words, value
