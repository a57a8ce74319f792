"""Strings and buffers as string constants of C, see strace(1): a byte that cannot be shown as an octal escape."""

from typing import Final

_ESCAPES: Final = {ord(letter): "\\" + name for letter, name in zip('\n\t\v\f\r"\\', 'ntvfr"\\', strict=True)}
_DECIMALS: Final = frozenset(b"0123456789")


def quoted(data: bytes, longest: int | None = None) -> str:
    """The bytes in quotes; with dots behind when there are more than `longest`."""
    shown = data if longest is None else data[:longest]
    return f'"{_escaped(shown)}"' + ("..." if len(shown) < len(data) else "")


def hexadecimal(data: bytes, longest: int) -> str:
    """The bytes in quotes, each as two hexadecimal digits: for what is never text."""
    dots = "..." if len(data) > longest else ""
    return '"' + "".join(f"\\x{byte:02x}" for byte in data[:longest]) + '"' + dots


def _escaped(data: bytes) -> str:
    pieces = []
    for index, byte in enumerate(data):
        if byte in _ESCAPES:
            pieces.append(_ESCAPES[byte])
        elif 0x20 <= byte < 0x7F:
            pieces.append(chr(byte))
        else:
            # A digit behind it would be taken for a part of the escape.
            width = "03o" if data[index + 1 : index + 2] and data[index + 1] in _DECIMALS else "o"
            pieces.append(f"\\{byte:{width}}")
    return "".join(pieces)
