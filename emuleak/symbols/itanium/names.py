"""Names: nested, local, templates, operators, constructors; and whole symbols."""

import re
from collections.abc import Sequence

from emuleak.symbols.itanium.cursor import MAX_TEXT, Type, Unreadable
from emuleak.symbols.itanium.expressions import OPERATORS
from emuleak.symbols.itanium.types import Types

STANDARD = {
    "a": ("std::allocator", "allocator"),
    "b": ("std::basic_string", "basic_string"),
    "s": ("std::string", "basic_string"),
    "i": ("std::istream", "basic_istream"),
    "o": ("std::ostream", "basic_ostream"),
    "d": ("std::iostream", "basic_iostream"),
}
# A constructor or destructor repeats the class's own name, so GNU spells these out in front of one.
SPELLED_OUT = {
    "s": "std::basic_string<char, std::char_traits<char>, std::allocator<char> >",
    "i": "std::basic_istream<char, std::char_traits<char> >",
    "o": "std::basic_ostream<char, std::char_traits<char> >",
    "d": "std::basic_iostream<char, std::char_traits<char> >",
}
SPECIAL_TYPES = {
    "TV": "vtable for ", "TT": "VTT for ", "TI": "typeinfo for ", "TS": "typeinfo name for ",
}  # fmt: skip
SPECIAL_NAMES = {
    "GV": "guard variable for ", "TH": "TLS init function for ", "TW": "TLS wrapper function for ",
}  # fmt: skip


class Name:
    """A name on its way to a symbol: what follows it depends on how it ended."""

    __slots__ = ("no_result", "suffix", "templated", "type")

    def __init__(self, text: Type, *, no_result: bool = False, suffix: str = "") -> None:
        self.type = text
        self.templated = False
        self.no_result = no_result
        self.suffix = suffix


class Parser(Types):
    """All layers together: `Parser(text).symbol()`."""

    def symbol(self) -> str:
        """Give the readable form of a `_Z` name; raise Unreadable if it is none."""
        self.need("_Z")
        text = self.encoding(outermost=True)
        if self.at != len(self.text):
            raise Unreadable(self.text)
        return text

    def encoding(self, *, outermost: bool = False) -> str:
        """Read a function with its parameters, a variable, or a special name."""
        if self.peek() in {"G", "T"} and self.peek():
            return self._special()
        outer = self.arguments
        self.enter()
        self.arguments = outer if outer is not None and not outermost else None
        try:
            return self._function_or_variable(outermost=outermost)
        finally:
            self.leave()
            if not outermost:
                self.arguments = outer

    def _function_or_variable(self, *, outermost: bool) -> str:
        name = self._name(tag=True)
        text = self._fill_deferred(str(name.type))
        self.bare_name = "" if name.templated or name.suffix else text
        if self.peek() in {"", "E", "."}:
            return text + name.suffix
        result = Type("")
        if name.templated and not name.no_result:
            result = self._result(outermost=outermost)
        return f"{result.left}{text}{self.parameters()}{name.suffix}{result.right}"

    def _result(self, *, outermost: bool) -> Type:
        """Read the result type of a template function; it is only shown in front of the whole symbol."""
        result = self.type()
        if not outermost:
            return Type("")
        # `char (&f()) [2]`: the name stands inside the declarator.
        return result if result.right else result._replace(left=result.left + " ")

    def _fill_deferred(self, text: str) -> str:
        if "\0" not in text:
            return text
        arguments = self.arguments or []

        def fill(found: re.Match[str]) -> str:
            index = int(found[1])
            if index >= len(arguments):
                raise Unreadable(self.text)
            return str(arguments[index])

        return re.sub("\0(\\d+)\0", fill, text)

    def parameters(self) -> str:
        """Read parameter types up to the end of the function, and give `(...)`."""
        found: list[str] = []
        while self.peek() not in {"", "E", ".", "Q"} and self.peek(2) not in {"RE", "OE"}:
            parameter = self.type()
            if not parameter.is_empty_pack:
                found.append(str(parameter))
        text = ", ".join(found)
        if len(text) > MAX_TEXT:
            raise Unreadable(self.text)
        return "()" if text == "void" else f"({text})"

    def _special(self) -> str:
        two = self.peek(2)
        self.at += 2
        if two in SPECIAL_TYPES:
            return SPECIAL_TYPES[two] + str(self.type())
        if two in SPECIAL_NAMES:
            return SPECIAL_NAMES[two] + str(self._name().type)
        if two in {"Th", "Tv"}:
            self._call_offset(two[1])
            return ("non-virtual" if two == "Th" else "virtual") + " thunk to " + self.encoding()
        if two == "Tc":
            self._call_offset(self.any_char())
            self._call_offset(self.any_char())
            return "covariant return thunk to " + self.encoding()
        if two == "TC":
            derived = self.type()
            self.digits()
            self.need("_")
            return f"construction vtable for {self.type()}-in-{derived}"
        if two == "GT":
            return (
                "transaction clone for " if self.any_char() == "t" else "non-transaction clone for "
            ) + self.encoding()
        if two == "GR":
            name = self._name().type
            return f"reference temporary #{self.index(36) if self.peek() else 0} for {name}"
        raise Unreadable(self.text)

    def _call_offset(self, kind: str) -> None:
        for _ in range(2 if kind == "v" else 1):
            self.take("n")
            self.number()
            self.need("_")

    def class_name(self) -> Type:
        """Read the name of a class or an enumeration."""
        return self._name().type

    def _name(self, *, tag: bool = False) -> Name:
        self.enter()
        try:
            if self.peek() == "N":
                return self._nested(tag=tag)
            if self.peek() == "Z":
                return self._local(tag=tag)
            return self._unscoped(tag=tag)
        finally:
            self.leave()

    def _unscoped(self, *, tag: bool) -> Name:
        known = False
        if self.peek() == "S" and self.peek(2) != "St":
            self.at += 1
            known = not self.peek().islower()
            item = self.substituted() if known else self._standard()
        else:
            in_std = self.take("St")
            simple = self._operator_or_simple()
            item = Type(f"std::{simple.left}" if in_std else simple.left, base=simple.base)
        name = Name(item, no_result=item.base.startswith("\2"))
        if self.peek() == "I":
            if not known and item.base and not self._is_standard(item):
                self.remember(item)
            name.type = Type(item.left + self._space(item.left) + self.template_arguments(tag=tag), base=item.base)
            name.templated = True
        return name

    def _is_standard(self, item: Type) -> bool:
        return any(item.left == text for text, _ in STANDARD.values()) and self.text[self.at - 2] == "S"

    @staticmethod
    def _space(name: str) -> str:
        return " " if name.endswith("<") else ""

    def _standard(self) -> Type:
        letter = self.any_char()
        if letter not in STANDARD:
            raise Unreadable(self.text)
        text, base = STANDARD[letter]
        if self.peek() in {"C", "D"} and letter in SPELLED_OUT:
            text = SPELLED_OUT[letter]
        return Type(text + self._abi_tags(), base=base)

    def _nested(self, *, tag: bool) -> Name:
        self.need("N")
        qualifiers = self.qualifiers()
        qualifiers += " &" if self.take("R") else " &&" if self.take("O") else ""
        self.take("H")
        scope: Type | None = None
        name = Name(Type(""), suffix=qualifiers)
        while not self.take("E"):
            self.take("L")
            before, scope = scope, self._prefix(scope, name, tag=tag)
            if self.peek() != "E" and scope is not before and not self._reused:
                self.remember(scope)
        if scope is None:
            raise Unreadable(self.text)
        name.type = scope
        return name

    _reused = False

    def _prefix(self, scope: Type | None, name: Name, *, tag: bool) -> Type:
        """Read one step of a nested name; `_reused` says that it is no new substitution."""
        self._reused = False
        next_char = self.peek()
        if next_char == "I" and scope is not None:
            name.templated = True
            text = scope.left + self._space(scope.left) + self.template_arguments(tag=tag)
            return Type(text, base=scope.base)
        name.templated = False
        if next_char == "S" and self.peek(2) != "St" and scope is None:
            self.at += 1
            self._reused = True
            return self._standard() if self.peek().islower() else self.substituted()
        if next_char == "S" and self.take("St"):
            self._reused = True
            return Type("std", base="std")
        if next_char == "T":
            return self.template_parameter()
        if self.peek(2) in {"Dt", "DT"}:
            self.at += 2
            text = self.expression()
            self.need("E")
            return Type(f"decltype ({text})")
        if next_char == "M" and scope is not None:
            self.at += 1
            self._reused = True
            return scope
        simple = self.unqualified(scope)
        name.no_result = simple.base.startswith("\2")
        return Type(f"{scope}::{simple.left}" if scope is not None else simple.left, base=simple.base)

    def _local(self, *, tag: bool) -> Name:
        self.need("Z")
        saved = self.arguments
        function = self.encoding_in_scope()
        self.need("E")
        if self.take("s"):
            self._discriminator()
            return Name(Type(f"{function}::string literal"))
        default = ""
        if self.take("d"):
            default = f"{{default arg#{self.index() + 1}}}::"
        name = self._name(tag=tag)
        self._discriminator()
        if not tag:
            self.arguments = saved
        name.type = Type(f"{function}::{default}{name.type}", base=name.type.base)
        return name

    def encoding_in_scope(self) -> str:
        """Read the function around a local name; its template arguments stay what `T_` refers to."""
        if self.peek() in {"G", "T"} and self.peek():
            return self._special()
        return self._function_or_variable(outermost=False)

    def _discriminator(self) -> None:
        if self.take("__"):
            self.number()
            self.need("_")
        elif self.peek() == "_" and self.peek(2)[1:].isdigit():
            self.at += 2

    def _operator_or_simple(self) -> Type:
        self.take("L")
        return self.unqualified()

    def unqualified(self, scope: Type | None = None) -> Type:
        """Read one simple name. A base that starts with `\\2` says that no result type is mangled."""
        next_char = self.peek()
        if next_char.isdigit():
            item = self._identifier()
        elif next_char in {"C", "D"} and self.peek(2) != "DC":
            item = self._structor(scope)
        elif next_char == "U":
            item = self._unnamed()
        elif next_char == "D":
            raise Unreadable(self.text)
        else:
            item = self._operator()
        tags = self._abi_tags()
        return item._replace(left=item.left + tags) if tags else item

    def _abi_tags(self) -> str:
        tags = ""
        while self.take("B"):
            tags += f"[abi:{self._identifier().left}]"
        return tags

    def _identifier(self) -> Type:
        length = self.number()
        text = self.text[self.at : self.at + length]
        if len(text) != length or not length:
            raise Unreadable(self.text)
        self.at += length
        # gcc and clang call the anonymous namespace _GLOBAL__N_<something>.
        if text.startswith(("_GLOBAL__N", "_GLOBAL_.N", "_GLOBAL_$N")):
            text = "(anonymous namespace)"
        return Type(text, base=text)

    def _structor(self, scope: Type | None) -> Type:
        if scope is None:
            raise Unreadable(self.text)
        tilde = "~" if self.any_char() == "D" else ""
        inherited = not tilde and self.take("I")
        if self.any_char() not in "0123456789":
            raise Unreadable(self.text)
        base = scope.base.removeprefix("\2")
        if inherited:
            # Spelled as GNU does: with the name of the base class whose constructor it is.
            base = self.type().base
        return Type(f"{tilde}{base}", base=f"\2{base}")

    def _unnamed(self) -> Type:
        self.need("U")
        if self.take("t"):
            text = f"{{unnamed type#{self.index() + 1}}}"
        elif self.take("l"):
            outer, self.in_lambda = self.in_lambda, True
            parameters = self.parameters()
            self.in_lambda = outer
            self.need("E")
            text = f"{{lambda{parameters}#{self.index() + 1}}}"
        else:
            raise Unreadable(self.text)
        return Type(text, base=text)

    def _operator(self) -> Type:
        two = self.peek(2)
        self.at += 2
        if two == "cv":
            outer, self.deferred = self.deferred, True
            text = f"operator {self.type()}"
            self.deferred = outer
            return Type(text, base=f"\2{text}")
        if two == "li":
            text = f'operator"" {self._identifier().left}'
        elif two in OPERATORS:
            spelling = OPERATORS[two]
            text = "operator" + (" " if spelling[0].islower() else "") + spelling
        else:
            raise Unreadable(self.text)
        return Type(text, base=text)

    def template_arguments(self, *, tag: bool = False) -> str:
        """Read `I ... E` and give it as `<...>`; `tag` makes them what `T_` refers to."""
        self.need("I")
        deferred, self.deferred = self.deferred, False
        found: list[Type] = []
        if tag:
            self.arguments = found
        while not self.take("E"):
            # T_ among the arguments of the name itself refers to what stands to the left of it.
            found.append(self._template_argument())
        self.deferred = deferred
        shown = ", ".join(str(item) for item in found if not item.is_empty_pack)
        # GNU does not notice the > in front of an empty pack that it printed and took back.
        return f"<{shown} >" if shown.endswith(">") and not ends_in_empty_pack(found) else f"<{shown}>"

    def _template_argument(self) -> Type:
        self.enter()
        try:
            if self.take("X"):
                text = self.expression()
                self.need("E")
                return Type(text)
            if self.peek() == "L":
                return Type(self.expression())
            if self.take("J"):
                items: list[Type] = []
                while not self.take("E"):
                    items.append(self._template_argument())
                return Type("", kind="pack", items=tuple(items))
            return self.type()
        finally:
            self.leave()


def ends_in_empty_pack(items: Sequence[Type]) -> bool:
    """Say whether the last of several arguments, or the last of its own elements, is an empty pack."""
    if not items or items[-1].kind != "pack":
        return False
    return items[-1].is_empty_pack or ends_in_empty_pack(items[-1].items)
