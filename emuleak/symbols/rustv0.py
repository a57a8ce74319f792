"""Rust's second mangling scheme, `_R...`: RFC 2603, and the rustc book's "v0 Symbol Format".

The spelling is that of binutils' c++filt: without the hashes of crates. A back reference may repeat what came before,
so the length of the result is bounded, not only the depth.
"""

from collections.abc import Callable
from typing import Final

_BASIC: Final = {
    "a": "i8", "b": "bool", "c": "char", "d": "f64", "e": "str", "f": "f32", "h": "u8", "i": "isize", "j": "usize",
    "l": "i32", "m": "u32", "n": "i128", "o": "u128", "s": "i16", "t": "u16", "u": "()", "v": "...", "x": "i64",
    "y": "u64", "z": "!", "p": "_",
}  # fmt: skip
_POINTERS: Final = {"R": "&", "Q": "&mut ", "P": "*const ", "O": "*mut "}
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ESCAPES: Final = {"\t": "\\t", "\r": "\\r", "\n": "\\n", "'": "\\'", "\\": "\\\\"}
_DEEPEST: Final = 200
_LONGEST: Final = 1 << 16  # characters


class UnreadableRust(Exception):
    """The name is none of this scheme."""


def demangle_v0(name: str) -> str:
    """The readable form of a name that starts with `_R`. Raises UnreadableRust."""
    if not name.startswith("_R") or not name.isascii():
        raise UnreadableRust
    parser = _Parser(name[2:])
    text = parser.path(value=True)
    if parser.rest():
        parser.path(value=False)  # the crate that made the instance
    if parser.rest():
        raise UnreadableRust
    return text


class _Parser:
    """One pass over a name behind its `_R`; each method reads what it is named after, and gives it as text."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth, self._made = text, 0, 0, 0
        self._bound = 0  # lifetimes that the binders around have brought

    def rest(self) -> str:
        """What is not read yet."""
        return self._text[self._at :]

    def _next(self) -> str:
        if self._at >= len(self._text):
            raise UnreadableRust
        self._at += 1
        return self._text[self._at - 1]

    def _take(self, letter: str) -> bool:
        taken = self._text.startswith(letter, self._at)
        self._at += taken
        return taken

    def _deeper(self, read: Callable[[], str]) -> str:
        """Read something that may hold the like of itself. Raises UnreadableRust where that goes too far."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnreadableRust
        text = read()
        self._made += len(text)
        if self._made > _LONGEST * _DEEPEST or len(text) > _LONGEST:
            raise UnreadableRust
        self._depth -= 1
        return text

    def _back(self, read: Callable[[], str]) -> str:
        """Read again what an earlier place holds."""
        start, target = self._at - 1, self._number62()
        if target >= start:
            raise UnreadableRust
        here, self._at = self._at, target
        text = self._deeper(read)
        self._at = here
        return text

    def _until_end(self, read: Callable[[], str]) -> list[str]:
        texts = []
        while not self._take("E"):
            texts.append(read())
        return texts

    # ---- numbers and identifiers

    def _number62(self) -> int:
        value = 0
        if self._take("_"):
            return 0
        while (digit := self._next()) != "_":
            value = value * 62 + _DIGITS.find(digit)
            if digit not in _DIGITS or value > 1 << 64:
                raise UnreadableRust
        return value + 1

    def _optional62(self, tag: str) -> int:
        return self._number62() + 1 if self._take(tag) else 0

    def _identifier(self) -> str:
        punycode = self._take("u")
        start = self._at
        while self.rest()[:1].isdigit():
            self._at += 1
            if self._text[start] == "0":
                break
        digits = self._text[start : self._at]
        if not digits or len(digits) > 6:
            raise UnreadableRust
        self._take("_")
        name = self._text[self._at : self._at + int(digits)]
        if len(name) < int(digits):
            raise UnreadableRust
        self._at += len(name)
        return _from_punycode(name) if punycode else name

    # ---- paths

    def path(self, *, value: bool) -> str:
        """A path; of a `value` the generic arguments follow `::`."""
        return self._deeper(lambda: self._path(value=value))

    def _path(self, *, value: bool) -> str:
        tag = self._next()
        if tag == "C":
            self._optional62("s")
            return self._identifier()
        if tag == "N":
            return self._nested(value=value)
        if tag in "MXY":
            return self._implementation(tag)
        if tag == "I":
            path = self.path(value=value)
            return f"{path}{'::' if value else ''}<{', '.join(self._until_end(self._argument))}>"
        if tag == "B":
            return self._back(lambda: self.path(value=value))
        raise UnreadableRust

    def _nested(self, *, value: bool) -> str:
        namespace = self._next()
        if not namespace.isalpha():
            raise UnreadableRust
        path, number, name = self.path(value=value), self._optional62("s"), self._identifier()
        if namespace.islower():
            return f"{path}::{name}" if name else path
        kind = {"C": "closure", "S": "shim"}.get(namespace, namespace)
        return f"{path}::{{{kind}{':' if name else ''}{name}#{number}}}"

    def _implementation(self, tag: str) -> str:
        if tag != "Y":
            self._optional62("s")
            self.path(value=False)  # where the block stands
        type_ = self._type()
        return f"<{type_}>" if tag == "M" else f"<{type_} as {self.path(value=False)}>"

    def _argument(self) -> str:
        if self._take("L"):
            return self._lifetime(self._number62())
        return self._constant() if self._take("K") else self._type()

    # ---- types

    def _type(self) -> str:
        return self._deeper(self._any_type)

    def _any_type(self) -> str:
        tag = self._next()
        if tag in _BASIC:
            return _BASIC[tag]
        if tag in _POINTERS:
            return self._pointer(tag)
        if tag in "AS":
            element = self._type()
            return f"[{element}; {self._constant()}]" if tag == "A" else f"[{element}]"
        if tag == "T":
            members = self._until_end(self._type)
            return f"({', '.join(members)}{',' if len(members) == 1 else ''})"
        if tag == "F":
            return self._bounded(self._function)
        if tag == "D":
            return self._object()
        if tag == "B":
            return self._back(self._type)
        self._at -= 1
        return self.path(value=False)

    def _pointer(self, tag: str) -> str:
        lifetime = ""
        if tag in "RQ" and self._take("L") and (index := self._number62()):
            lifetime = f"{self._lifetime(index)} "
        return f"{_POINTERS[tag][:1]}{lifetime}{_POINTERS[tag][1:]}{self._type()}"

    def _object(self) -> str:
        """A trait object; the lifetime behind it lies outside of the binder."""
        text = self._bounded(lambda: "dyn " + " + ".join(self._until_end(self._trait)), behind="dyn ")
        if not self._take("L"):
            raise UnreadableRust
        index = self._number62()
        return f"{text} + {self._lifetime(index)}" if index else text

    def _trait(self) -> str:
        path, bindings = self.path(value=False), []
        while self._take("p"):
            name = self._identifier()
            bindings.append(f"{name} = {self._type()}")
        if not bindings:
            return path
        if path.endswith(">"):
            return f"{path[:-1]}, {', '.join(bindings)}>"
        return f"{path}<{', '.join(bindings)}>"

    def _function(self) -> str:
        words = "unsafe " if self._take("U") else ""
        if self._take("K"):
            abi = "C" if self._take("C") else self._identifier().replace("_", "-")
            words += f'extern "{abi}" '
        arguments = ", ".join(self._until_end(self._type))
        result = "" if self._take("u") else f" -> {self._type()}"
        return f"{words}fn({arguments}){result}"

    def _bounded(self, read: Callable[[], str], behind: str = "") -> str:
        """Something that a binder may stand before, which brings lifetimes along."""
        count = self._optional62("G")
        if count > _DEEPEST:
            raise UnreadableRust
        names = []
        for _ in range(count):
            self._bound += 1
            names.append(self._lifetime(1))
        text = read()
        self._bound -= count
        return f"{behind}for<{', '.join(names)}> {text.removeprefix(behind)}" if names else text

    def _lifetime(self, index: int) -> str:
        if not index:
            return "'_"
        depth = self._bound - index
        if depth < 0:
            raise UnreadableRust
        return f"'{chr(ord('a') + depth)}" if depth < 26 else f"'_{depth}"

    # ---- constants

    def _constant(self) -> str:
        tag = self._next()
        if tag == "B":
            return self._back(self._constant)
        if tag == "p":
            return "_"
        minus = "-" if self._take("n") else ""
        start = self._at
        while self._next() != "_":
            pass
        digits = self._text[start : self._at - 1]
        if not all(digit in "0123456789abcdef" for digit in digits):
            raise UnreadableRust
        value = int(digits or "0", 16)
        if tag in "htmyojaslxni":
            return f"{minus}{value if len(digits) <= 16 else '0x' + digits}"
        if tag == "b" and value <= 1:
            return "true" if value else "false"
        if tag == "c" and value <= 0x10FFFF:
            return f"'{_quoted(chr(value))}'"
        raise UnreadableRust


def _quoted(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    return character if " " <= character <= "~" else f"\\u{{{ord(character):x}}}"


def _from_punycode(name: str) -> str:
    basic, _, extended = name.rpartition("_")
    try:
        return (
            f"{basic}-{extended}".encode("ascii").decode("punycode") if basic else extended.encode().decode("punycode")
        )
    except UnicodeError:
        raise UnreadableRust from None
