"""Read the mangled names of the Itanium C++ ABI, as g++ and clang++ write them.

A parser in four layers over one cursor: names, types, expressions, and the state they share. It builds text directly
instead of a tree. A type is two pieces of text, what stands left and what stands right of a declared name, because C
declarators wrap around it: `void (*` and `)(int)`.

Source: Itanium C++ ABI, section 5.1 "External Names". The spelling is that of GNU `c++filt -i`.
"""

from emuleak.symbols.itanium.cursor import Unreadable
from emuleak.symbols.itanium.names import Parser

__all__ = ["Parser", "Unreadable"]
