"""Placement policies: where a block goes, one policy a file."""

from emuleak.allocators.base import ALIGNMENT, GAP, Allocator
from emuleak.allocators.exact import ExactFit

__all__ = ["ALIGNMENT", "GAP", "Allocator", "ExactFit"]
