"""The state that all layers of the parser share: where it stands, and what `S_` and `T_` refer to."""

from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

# A name of a few hundred bytes can double itself with every substitution: stop before it fills the memory.
MAX_TEXT = 1 << 16
MAX_DEPTH = 160


class Unreadable(Exception):
    """The text is not a mangled name, or uses a corner of the grammar that is not read here."""


Kind = Literal["", "function", "array", "reference", "rvalue", "pack"]


class Type(NamedTuple):
    """A type, or anything else that can be substituted: a name, a template argument.

    `base` is the last simple name without template arguments, as constructors repeat it. `items` is set for packs.
    `parameter` is n for a bare `T<n>_`: a substitution by it means the n-th argument of the template that uses it.
    """

    left: str
    right: str = ""
    kind: Kind = ""
    base: str = ""
    items: "tuple[Type, ...]" = ()
    parameter: int | None = None

    def __str__(self) -> str:
        if self.kind == "pack":
            return ", ".join(str(item) for item in self.items if not item.is_empty_pack)
        return self.left + self.right

    @property
    def is_empty_pack(self) -> bool:
        """A pack without elements takes its comma with it."""
        return self.kind == "pack" and all(item.is_empty_pack for item in self.items)


class Cursor(ABC):
    """A mangled name, the position in it, and the dictionaries of the compression scheme."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.depth = 0
        self.substitutions: list[Type] = []
        self.arguments: list[Type] | None = None
        self.deferred = False
        self.in_lambda = False
        self.bare_name = ""
        self.pack_index: int | None = None
        self.pack_length: int | None = None

    def peek(self, length: int = 1) -> str:
        """Give the next characters without taking them; shorter at the end."""
        return self.text[self.at : self.at + length]

    def take(self, wanted: str) -> bool:
        """Step over `wanted` if it comes next."""
        if self.text.startswith(wanted, self.at):
            self.at += len(wanted)
            return True
        return False

    def need(self, wanted: str) -> None:
        """Step over `wanted`, which the grammar demands here."""
        if not self.take(wanted):
            raise Unreadable(self.text)

    def any_char(self) -> str:
        """Take one character, whatever it is."""
        if self.at >= len(self.text):
            raise Unreadable(self.text)
        self.at += 1
        return self.text[self.at - 1]

    def digits(self) -> str:
        """Take decimal digits; empty if there are none."""
        start = self.at
        while "0" <= self.peek() <= "9":
            self.at += 1
        return self.text[start : self.at]

    def number(self) -> int:
        """Take a decimal number without sign."""
        digits = self.digits()
        if not digits or len(digits) > 9:
            raise Unreadable(self.text)
        return int(digits)

    def index(self, base: int = 10) -> int:
        """Take `_` as 0 and `<number>_` as number + 1, the way S_, T_ and lambdas are counted."""
        if self.take("_"):
            return 0
        start = self.at
        while self.peek().isalnum():
            self.at += 1
        digits = self.text[start : self.at]
        self.need("_")
        try:
            return int(digits, base) + 1
        except ValueError as error:
            raise Unreadable(self.text) from error

    def remember(self, item: Type) -> Type:
        """Make `item` the next thing that an `S<n>_` can refer to."""
        if len(item.left) + len(item.right) > MAX_TEXT:
            raise Unreadable(self.text)
        self.substitutions.append(item)
        return item

    def enter(self) -> None:
        """Count one level of nesting; pair with `leave`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable(self.text)

    def leave(self) -> None:
        """End one level of nesting."""
        self.depth -= 1

    def substituted(self) -> Type:
        """Read what follows the S of an `S_` or `S<n>_`."""
        index = self.index(36)
        if index >= len(self.substitutions):
            raise Unreadable(self.text)
        item = self.substitutions[index]
        return item if item.parameter is None else self._argument(item.parameter)

    def template_parameter(self) -> Type:
        """Read `T_` or `T<n>_`: the template argument it stands for."""
        self.need("T")
        index = self.index()
        return self._argument(index)._replace(parameter=None if self.in_lambda or self.deferred else index)

    def _argument(self, index: int) -> Type:
        if self.in_lambda:
            return Type(f"auto:{index + 1}")
        if self.deferred:
            # `operator T()` names its type before the arguments are known: mark the place.
            return Type(f"\0{index}\0")
        if self.arguments is None or index >= len(self.arguments):
            raise Unreadable(self.text)
        argument = self.arguments[index]
        if argument.kind == "pack" and self.pack_index is not None:
            self.pack_length = len(argument.items)
            if self.pack_index < len(argument.items):
                return argument.items[self.pack_index]
            return Type("")
        return argument

    @abstractmethod
    def encoding(self, *, outermost: bool = False) -> str:
        """Read a function or a variable with all that belongs to it."""

    @abstractmethod
    def type(self) -> Type:
        """Read a type."""

    @abstractmethod
    def unqualified(self, scope: Type | None = None) -> Type:
        """Read one simple name: an identifier, an operator, a constructor, a lambda."""

    @abstractmethod
    def class_name(self) -> Type:
        """Read the name of a class or an enumeration."""

    @abstractmethod
    def template_arguments(self, *, tag: bool = False) -> str:
        """Read `I ... E` and give it as `<...>`; `tag` makes them what `T_` refers to."""

    @abstractmethod
    def parameters(self) -> str:
        """Read parameter types up to the end of the function, and give `(...)`."""

    @abstractmethod
    def expression(self) -> str:
        """Read an expression of a template argument or of decltype."""
