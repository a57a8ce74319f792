"""Text as XML 1.0 can carry it: what it has no way to say is written as an escape that a person can read.

XML 1.0 has no form for control characters, lone surrogates and U+FFFE, not even as a character reference: a document
with one of them is refused as a whole.
"""

from emuleak.report.paper import clean


def escaped(text: str) -> str:
    """One line of text for an element or a double-quoted attribute."""
    return _markup_escaped(clean(text))


def escaped_lines(text: str) -> str:
    """Text for an element, its line breaks kept."""
    return _markup_escaped("\n".join(map(clean, text.split("\n"))))


def _markup_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def leaf(name: str, text: object, indent: str = "") -> str:
    """An element with nothing but text in it, on a line of its own."""
    return f"{indent}<{name}>{escaped(str(text))}</{name}>\n"
