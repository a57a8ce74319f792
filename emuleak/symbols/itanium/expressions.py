"""Expressions, as they stand in template arguments and decltype: the part that real programs use."""

from abc import ABC

from emuleak.symbols.itanium.cursor import Cursor, Unreadable

OPERATORS = {
    "aN": "&=", "aS": "=", "aa": "&&", "ad": "&", "an": "&", "aw": "co_await", "cl": "()", "cm": ",", "co": "~",
    "dV": "/=", "da": "delete[]", "de": "*", "dl": "delete", "dv": "/", "eO": "^=", "eo": "^", "eq": "==", "ge": ">=",
    "gt": ">", "ix": "[]", "lS": "<<=", "le": "<=", "ls": "<<", "lt": "<", "mI": "-=", "mL": "*=", "mi": "-",
    "ml": "*", "mm": "--", "na": "new[]", "ne": "!=", "ng": "-", "nt": "!", "nw": "new", "oR": "|=", "oo": "||",
    "or": "|", "pL": "+=", "pl": "+", "pm": "->*", "pp": "++", "ps": "+", "pt": "->", "qu": "?", "rM": "%=",
    "rS": ">>=", "rm": "%", "rs": ">>", "ss": "<=>",
}  # fmt: skip
UNARY = frozenset({"ad", "co", "de", "ng", "nt", "ps"})
NOT_BINARY = frozenset({"aw", "cl", "da", "dl", "ix", "mm", "na", "nw", "pp", "pt", "qu"})
BINARY = frozenset(OPERATORS) - UNARY - NOT_BINARY
LITERAL_SUFFIX = {"i": "", "j": "u", "l": "l", "m": "ul", "x": "ll", "y": "ull"}


class Expressions(Cursor, ABC):
    """The layer that reads expressions."""

    def expression(self) -> str:
        """Read an expression of a template argument or of decltype."""
        self.enter()
        try:
            return self._expression()
        finally:
            self.leave()

    def _expression(self) -> str:
        two = self.peek(2)
        if two[:1] == "L":
            return self._literal()
        if two[:1] == "T":
            return str(self.template_parameter())
        if two in {"sr", "gs"} or two[:1].isdigit():
            return self._unresolved()
        if two in {"fp", "fL"}:
            return self._function_parameter()
        self.at += 2
        return self._operation(two)

    def _operation(self, two: str) -> str:
        if two in {"st", "sz", "sZ", "nx", "sp", "cl", "cv", "dt", "pt", "tl", "il", "qu", "ix", "on"}:
            return self._named_form(two)
        if two in BINARY:
            left, right = self.expression(), self.expression()
            text = f"{self._operand(left)}{OPERATORS[two]}{self._operand(right)}"
            # A bare > would end the template arguments.
            return f"({text})" if two == "gt" else text
        if two == "ad" and self.peek(4) in {"L_ZN", "LZN"}:
            # The address of a member needs no parameters to be understood.
            text = self._literal()
            return f"&{self.bare_name or self._operand(text)}"
        if two in UNARY:
            return OPERATORS[two] + self._operand(self.expression())
        raise Unreadable(self.text)

    @staticmethod
    def _operand(text: str) -> str:
        bare = text.isidentifier() or text.startswith("{parm#")
        return text if bare else f"({text})"

    def _named_form(self, form: str) -> str:
        if form == "st":
            return f"sizeof ({self.type()})"
        if form == "sz":
            return f"sizeof ({self.expression()})"
        if form == "sZ":
            return self._pack_size()
        if form == "nx":
            return f"noexcept ({self.expression()})"
        if form == "sp":
            return self.expression()
        if form == "on":
            return self.unqualified().left
        if form in {"cl", "cv", "tl", "il"}:
            return self._with_list(form)
        return self._with_operands(form)

    def _pack_size(self) -> str:
        if self.peek() != "T":
            return f"sizeof... ({self.expression()})"
        outer, self.pack_index = self.pack_index, None
        parameter = self.template_parameter()
        self.pack_index = outer
        return str(len(parameter.items))

    def _with_operands(self, form: str) -> str:
        first = self._operand(self.expression())
        if form == "ix":
            return f"{first}[{self.expression()}]"
        if form == "qu":
            return f"{first}?{self._operand(self.expression())} : {self._operand(self.expression())}"
        member = self._unresolved()
        return f"{first}{'->' if form == 'pt' else '.'}{member}"

    def _with_list(self, form: str) -> str:
        if form == "cv":
            kind = str(self.type())
            if not self.take("_"):
                return f"({kind}){self._operand(self.expression())}"
            return f"({kind})({self._list()})"
        if form == "cl":
            callee = self.expression()
            return f"{self._operand(callee)}({self._list()})"
        return f"{self.type() if form == 'tl' else ''}{{{self._list()}}}"

    def _list(self) -> str:
        found: list[str] = []
        while not self.take("E"):
            found.append(self.expression())
        return ", ".join(found)

    def _unresolved(self) -> str:
        prefix = "::" if self.take("gs") else ""
        if not self.take("sr"):
            return prefix + self._base_name()
        if self.take("N"):
            text = str(self.type())
            while not self.take("E"):
                text += f"::{self._base_name()}"
            return f"{prefix}{text}::{self._base_name()}"
        if self.peek().isdigit():
            levels = [self._base_name()]
            while not self.take("E"):
                levels.append(self._base_name())
            return f"{prefix}{'::'.join(levels)}::{self._base_name()}"
        return f"{prefix}{self.type()}::{self._base_name()}"

    def _base_name(self) -> str:
        self.take("on")
        text = self.unqualified().left
        return text + self.template_arguments() if self.peek() == "I" else text

    def _function_parameter(self) -> str:
        if self.take("fL"):
            self.number()
            self.need("p")
        else:
            self.need("fp")
        if self.take("T"):
            return "this"
        while self.peek() in {"r", "V", "K"} and self.peek():
            self.at += 1
        return f"{{parm#{self.index() + 1}}}"

    def _literal(self) -> str:
        self.need("L")
        if self.take("_Z") or self.take("Z"):
            text = self.encoding()
            self.need("E")
            return text
        letter = self.peek()
        kind = str(self.type())
        negative = "-" if self.take("n") else ""
        start = self.at
        while self.peek() not in {"E", ""}:
            self.at += 1
        value = negative + self.text[start : self.at]
        self.need("E")
        if letter in LITERAL_SUFFIX:
            return value + LITERAL_SUFFIX[letter]
        if letter == "b" and value in {"0", "1"}:
            return "true" if value == "1" else "false"
        return f"({kind}){value}"
