"""printf(3) for a format and a va_list of the guest's (x86-64 psABI, 3.5.7): what VALGRIND_PRINTF is given."""

import re
from decimal import Context, Decimal
from typing import Final

from emuleak.memory import AddressSpace

_GENERAL_END: Final = 48
_VECTOR_END: Final = 176
_FORMAT: Final = re.compile(rb"%([-+ #0']*)(\*|\d+)?(?:\.(\*|-?\d*))?(hh|h|ll|l|q|L|j|z|t)?(.)", re.DOTALL)
_BITS: Final = {b"hh": 8, b"h": 16, b"": 32}
_WORD: Final = 64
# Wider than anybody reads; a format can ask for 2 GiB of blanks.
_WIDEST: Final = 1 << 16
_EXACT: Final = Context(prec=20_000, Emax=99_999, Emin=-99_999)


class VaList:
    """The arguments of a call in progress: each method takes the next one. Raises Fault."""

    def __init__(self, memory: AddressSpace, address: int) -> None:
        head = memory.read(address, 24)
        self._memory = memory
        self._general = int.from_bytes(head[:4], "little")
        self._vector = int.from_bytes(head[4:8], "little")
        self._overflow = int.from_bytes(head[8:16], "little")
        self._saved = int.from_bytes(head[16:24], "little")

    def word(self) -> int:
        """An integer or a pointer."""
        if self._general < _GENERAL_END:
            at, self._general = self._saved + self._general, self._general + 8
        else:
            at, self._overflow = self._overflow, self._overflow + 8
        return self._memory.word(at)

    def double(self) -> float:
        """A double."""
        if self._vector < _VECTOR_END:
            at, self._vector = self._saved + self._vector, self._vector + 16
        else:
            at, self._overflow = self._overflow, self._overflow + 8
        return float(memoryview(self._memory.read(at, 8)).cast("d")[0])

    def long_double(self) -> float | Decimal:
        """A long double: as a float where that is the same number."""
        at = self._overflow + 15 & -16
        self._overflow = at + 16
        return extended(int.from_bytes(self._memory.read(at, 10), "little"))

    def string(self, address: int, limit: int | None) -> bytes:
        """What a pointer points to: up to its NUL, or `limit` bytes."""
        if not address:
            return b"(null)" if limit is None or limit >= len("(null)") else b""
        if limit is None:
            return self._memory.cstring(address)
        found = bytearray()
        while len(found) < limit and (byte := self._memory.read(address + len(found), 1)) != b"\0":
            found += byte
        return bytes(found)

    def wide(self, address: int, limit: int | None) -> bytes:
        """As `string`, of wchar_t, in UTF-8; `limit` counts bytes of that, and no character is cut."""
        if not address:
            return self.string(0, limit)
        found = b""
        while code := int.from_bytes(self._memory.read(address, 4), "little"):
            more = _character(code)
            if limit is not None and len(found) + len(more) > limit:
                break
            found, address = found + more, address + 4
        return found


def extended(bits: int) -> float | Decimal:
    """The value of an x87 number of 80 bits (Intel SDM, volume 1, 4.2.2)."""
    mantissa, exponent, negative = bits & (1 << 64) - 1, bits >> 64 & 0x7FFF, bits >> 79
    sign = -1 if negative else 1
    if exponent == 0x7FFF:
        return sign * (float("nan") if mantissa << 1 & (1 << 64) - 1 else float("inf"))
    power = max(exponent, 1) - 16383 - 63
    exact = _EXACT.multiply(Decimal(mantissa), _EXACT.power(Decimal(2), power)) * sign
    near = float(exact)
    return near if Decimal(near) == exact else exact


def formatted(template: bytes, arguments: VaList) -> bytes:
    """What printf would write. A conversion that C does not know is written as it stands. Raises Fault."""
    out, at = [], 0
    for match in _FORMAT.finditer(template):
        out += [template[at : match.start()], _converted(match, arguments)]
        at = match.end()
    return b"".join([*out, template[at:]])


def _converted(match: "re.Match[bytes]", arguments: VaList) -> bytes:
    flags, kind, length = match[1], match[5], match[4] or b""
    width = _number(match[2], arguments) or 0
    if width < 0:
        flags, width = flags + b"-", -width
    precision = None if match[3] is None else _number(match[3] or b"0", arguments)
    if precision is not None and precision < 0:
        precision = None
    width = min(width, _WIDEST)
    if kind in b"diuoxXp":
        return _padded(*_integer(kind, length, flags, precision, arguments.word()), flags, width, precision)
    if kind in b"fFeEgGaA":
        value = arguments.long_double() if length == b"L" else arguments.double()
        return _floating(kind, flags, width, precision, value)
    if kind in b"csCS":
        return _padded(b"", _text(kind, length, precision, arguments), flags.replace(b"0", b""), width, None)
    if kind == b"n":
        arguments.word()  # nothing is written into the guest
        return b""
    return b"%" if kind == b"%" else match[0]


def _number(text: bytes | None, arguments: VaList) -> int | None:
    """A width or a precision: given in the format, or as an argument."""
    if text == b"*":
        return _signed(arguments.word(), 32)
    return None if text is None else int(text)


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


def _integer(kind: bytes, length: bytes, flags: bytes, precision: int | None, word: int) -> tuple[bytes, bytes]:
    """The sign or the prefix, and the digits."""
    bits = _BITS.get(length, _WORD)
    if kind == b"p":
        return (b"0x", b"%x" % word) if word else (b"", b"(nil)")
    if kind in b"di":
        value = _signed(word, bits)
        sign = b"-" if value < 0 else b"+" if b"+" in flags else b" " if b" " in flags else b""
        return sign, _digits(b"%d" % abs(value), precision)
    value = word & (1 << bits) - 1
    digits = _digits({b"u": b"%d", b"o": b"%o", b"x": b"%x", b"X": b"%X"}[kind] % value, precision)
    if b"#" in flags and kind == b"o" and not digits.startswith(b"0"):
        return b"", b"0" + digits
    return (b"0" + kind if b"#" in flags and kind in b"xX" and value else b""), digits


def _digits(digits: bytes, precision: int | None) -> bytes:
    if precision == 0 and digits == b"0":
        return b""
    return digits.rjust(min(precision or 0, _WIDEST), b"0")


def _padded(head: bytes, body: bytes, flags: bytes, width: int, precision: int | None) -> bytes:
    if b"-" in flags:
        return (head + body).ljust(width)
    if b"0" in flags and precision is None:
        return head + body.rjust(width - len(head), b"0")
    return (head + body).rjust(width)


def _text(kind: bytes, length: bytes, precision: int | None, arguments: VaList) -> bytes:
    word = arguments.word()
    if kind in b"cC":
        return _character(word & 0xFFFF_FFFF) if kind == b"C" or length == b"l" else bytes([word & 0xFF])
    return (arguments.wide if kind == b"S" or length == b"l" else arguments.string)(word, precision)


def _character(code: int) -> bytes:
    """A wchar_t in UTF-8; one that is none as a question mark."""
    return chr(code).encode("utf-8", "replace") if code <= 0x10FFFF else b"?"


def _floating(kind: bytes, flags: bytes, width: int, precision: int | None, value: float | Decimal) -> bytes:
    letter, signed = kind.decode(), (b"-" if str(value).startswith("-") else b"")
    sign = signed or (b"+" if b"+" in flags else b" " if b" " in flags else b"")
    value = value.copy_abs() if isinstance(value, Decimal) else abs(value)
    if value != value or value == float("inf"):  # noqa: PLR0124 - only a NaN differs from itself
        word = "nan" if value != value else "inf"  # noqa: PLR0124
        return _padded(
            sign, (word.upper() if letter.isupper() else word).encode(), flags.replace(b"0", b""), width, None
        )
    if letter in "aA":
        text = _padded(sign + b"0x", _hexadecimal(float(value), precision), flags, width, None)
        return text.upper() if letter == "A" else text
    places = min(6 if precision is None else precision, _WIDEST)
    hash_ = "#" if b"#" in flags else ""
    if isinstance(value, Decimal) and letter not in "gG":
        body = f"{value:.{places}{letter}}"
    else:
        body = f"%{hash_}.{places}{letter}" % float(value)
    return _padded(sign, body.encode(), flags, width, None)


def _hexadecimal(value: float, precision: int | None) -> bytes:
    """The digits of `%a` behind its 0x."""
    if precision is not None and precision < 13 and value:
        mantissa, exponent = value.hex()[2:].split("p")
        digits = round(int(mantissa.replace(".", ""), 16) / 16 ** (13 - precision))
        text = f"{digits:0{precision + 1}x}"
        return (text[:-precision] + "." + text[-precision:] if precision else text).encode() + f"p{exponent}".encode()
    mantissa, exponent = value.hex()[2:].split("p")
    whole, _, rest = mantissa.partition(".")
    rest = rest.rstrip("0") if precision is None else rest.ljust(min(precision, _WIDEST), "0")[:precision]
    return (f"{whole}.{rest}" if rest else whole).encode() + f"p{exponent}".encode()
