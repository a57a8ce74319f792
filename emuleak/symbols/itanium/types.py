"""Types: built-in, pointers, functions, arrays, pack expansions."""

from abc import ABC

from emuleak.symbols.itanium.cursor import Cursor, Type, Unreadable
from emuleak.symbols.itanium.expressions import Expressions

BUILTIN = {
    "a": "signed char", "b": "bool", "c": "char", "d": "double", "e": "long double", "f": "float", "g": "__float128",
    "h": "unsigned char", "i": "int", "j": "unsigned int", "l": "long", "m": "unsigned long", "n": "__int128",
    "o": "unsigned __int128", "s": "short", "t": "unsigned short", "v": "void", "w": "wchar_t", "x": "long long",
    "y": "unsigned long long", "z": "...",
}  # fmt: skip
BUILTIN_D = {
    "Da": "auto", "Dc": "decltype(auto)", "Dd": "decimal64", "De": "decimal128", "Df": "decimal32", "Dh": "half",
    "Di": "char32_t", "Dn": "decltype(nullptr)", "Ds": "char16_t", "Du": "char8_t",
}  # fmt: skip
QUALIFIERS = {"r": " restrict", "V": " volatile", "K": " const"}


class Types(Expressions, Cursor, ABC):
    """The layer that reads types."""

    def type(self) -> Type:
        """Read a type."""
        self.enter()
        try:
            return self._type()
        finally:
            self.leave()

    def _type(self) -> Type:
        next_char = self.peek()
        if next_char in BUILTIN and next_char:
            self.at += 1
            return Type(BUILTIN[next_char])
        if next_char in QUALIFIERS and next_char:
            return self._qualified()
        if next_char == "D":
            return self._type_d()
        if next_char == "T" and self.peek(2) not in {"Ts", "Tu", "Te"}:
            return self._parameter_type()
        if next_char == "S" and self.peek(2) != "St":
            return self._substituted_type()
        reader = {
            "P": self._pointer, "R": self._reference, "O": self._reference, "F": self._function, "A": self._array,
            "M": self._member_pointer, "u": self._vendor, "C": self._complex,
        }.get(next_char)  # fmt: skip
        return self.remember(reader() if reader else self.class_name())

    def _qualified(self) -> Type:
        # The list of qualifiers is one step: `KV` makes one substitution, not two.
        qualifiers = self.qualifiers()
        inner = self._function() if self.peek() == "F" else self.type()
        return self.remember(qualify(inner, qualifiers))

    def qualifiers(self) -> str:
        """Take `r`, `V`, `K` and give them in the order GNU prints them."""
        found = ""
        while self.peek() in QUALIFIERS and self.peek():
            found = QUALIFIERS[self.any_char()] + found
        return found

    def _type_d(self) -> Type:
        two = self.peek(2)
        if two in BUILTIN_D:
            self.at += 2
            return Type(BUILTIN_D[two])
        if two == "Dp":
            return self.remember(self._expansion())
        if two in {"Dt", "DT"}:
            self.at += 2
            text = self.expression()
            self.need("E")
            return self.remember(Type(f"decltype ({text})"))
        if two == "DF":
            self.at += 2
            bits = self.number()
            suffix = "x" if self.take("x") else ""
            return Type("std::bfloat16_t" if self.take("b") else self._sized_float(bits, suffix))
        if two == "Dv":
            return self.remember(self._vector())
        if two in {"Do", "DO", "Dw", "Dx"}:
            return self.remember(self._function())
        raise Unreadable(self.text)

    def _sized_float(self, bits: int, suffix: str) -> str:
        if not suffix:
            self.need("_")
        return f"_Float{bits}{suffix}"

    def _vector(self) -> Type:
        self.at += 2
        size = str(self.number()) if self.peek().isdigit() else self._bracketed_size()
        self.need("_")
        inner = self.type()
        return Type(f"{inner} __vector({size})")

    def _bracketed_size(self) -> str:
        self.need("_")
        return self.expression()

    def _expansion(self) -> Type:
        """`Dp <type>`: the pattern once for every element of the pack it names."""
        self.at += 2
        start, known = self.at, len(self.substitutions)
        outer = self.pack_index, self.pack_length
        self.pack_index, self.pack_length = 0, None
        items = [self.type()]
        # Not a pack of this template's own (a lambda's `auto...`): the pattern stands for itself.
        length = 1 if self.pack_length is None else self.pack_length
        if self.pack_length is None and self.in_lambda:
            items = [Type(f"{items[0]}...")]
        end, kept = self.at, self.substitutions[known:]
        for index in range(1, length):
            self.at, self.pack_index = start, index
            del self.substitutions[known:]
            items.append(self.type())
        self.substitutions[known:] = kept
        self.at = end
        self.pack_index, self.pack_length = outer
        return Type("", kind="pack", items=tuple(items[:length]))

    def _parameter_type(self) -> Type:
        parameter = self.remember(self.template_parameter())
        if self.peek() == "I" and not self.deferred:
            return self.remember(Type(f"{parameter}{self.template_arguments()}"))
        return parameter._replace(parameter=None)

    def _substituted_type(self) -> Type:
        # Sa, Ss, So ... followed by arguments are names like any other; S_ may take template arguments too.
        if self.peek(2)[1:].islower():
            has_arguments = self.peek(3)[2:] == "I"
            named = self.class_name()
            return self.remember(named) if has_arguments else named
        self.at += 1
        item = self.substituted()
        if self.peek() == "I":
            return self.remember(Type(f"{item}{self.template_arguments()}", base=item.base))
        return item

    def _pointer(self) -> Type:
        self.at += 1
        return declare(self.type(), "*")

    def _reference(self) -> Type:
        rvalue = self.any_char() == "O"
        inner = self.type()
        # Reference collapsing: && only survives on something that is no reference yet.
        if inner.kind == "reference" or (inner.kind == "rvalue" and rvalue):
            return inner
        if inner.kind == "rvalue":
            return Type(inner.left[:-2] + "&", inner.right, "reference")
        return declare(inner, "&&" if rvalue else "&")._replace(kind="rvalue" if rvalue else "reference")

    def _function(self) -> Type:
        throws = ""
        while True:
            if self.take("Do"):
                throws = " noexcept"
            elif self.take("Dx"):
                throws = " transaction_safe"
            else:
                break
        self.need("F")
        self.take("Y")
        result = self.type()
        text = self.parameters()
        suffix = " &" if self.take("R") else " &&" if self.take("O") else ""
        self.need("E")
        return Type(f"{result.left} ", f"{text}{suffix}{throws}{result.right}", "function")

    def _array(self) -> Type:
        self.at += 1
        size = "" if self.peek() == "_" else str(self.number()) if self.peek().isdigit() else self.expression()
        self.need("_")
        inner = self.type()
        # The dimensions of an array of arrays stand side by side.
        rest = inner.right.removeprefix(" ") if inner.kind == "array" else inner.right
        return Type(inner.left, f" [{size}]{rest}", "array")

    def _member_pointer(self) -> Type:
        self.at += 1
        owner = self.type()
        inner = self.type()
        if inner.kind == "function":
            return Type(f"{inner.left}({owner}::*", f"){inner.right}")
        if inner.kind == "array":
            return Type(f"{inner.left} ({owner}::*", f"){inner.right}")
        return Type(f"{inner.left} {owner}::*", inner.right)

    def _vendor(self) -> Type:
        self.at += 1
        length = self.number()
        name = self.text[self.at : self.at + length]
        self.at += length
        return Type(name + (self.template_arguments() if self.peek() == "I" else ""))

    def _complex(self) -> Type:
        self.at += 1
        return Type(f"{self.type()} _Complex")


def declare(inner: Type, mark: str) -> Type:
    """Put a `*` or `&` on a type, in parentheses around functions and arrays."""
    if inner.kind == "pack":
        return Type("", kind="pack", items=tuple(declare(item, mark) for item in inner.items))
    if inner.kind == "function":
        return Type(f"{inner.left}({mark}", f"){inner.right}")
    if inner.kind == "array":
        return Type(f"{inner.left} ({mark}", f"){inner.right}")
    return Type(inner.left + mark, inner.right)


def qualify(inner: Type, qualifiers: str) -> Type:
    """Add const and volatile: after a function's parameters, else at the end of the left side, never twice."""
    if inner.kind == "function":
        return inner._replace(right=inner.right + qualifiers)
    if inner.kind == "pack":
        return Type("", kind="pack", items=tuple(qualify(item, qualifiers) for item in inner.items))
    if inner.kind in {"reference", "rvalue"}:
        return inner
    if qualifiers and inner.left.endswith(qualifiers):
        return inner
    return inner._replace(left=inner.left + qualifiers)
