"""Hooking strategies: where in the guest a call of the allocator is stopped. One class a file."""

from emuleak.errors import BadOption
from emuleak.events import OPS
from emuleak.hooks.base import HookStrategy
from emuleak.hooks.breakpoints import Breakpoints
from emuleak.hooks.complete import Complete
from emuleak.hooks.entry import Entry
from emuleak.hooks.gate import Gate
from emuleak.hooks.inspection import inspection
from emuleak.hooks.moments import Moments
from emuleak.hooks.operators import Unseen
from emuleak.hooks.plt import Plt

STRATEGIES: tuple[type[HookStrategy], ...] = (Complete, Entry)


def strategy(name: str) -> HookStrategy:
    """The strategy called `name`. Raises BadOption."""
    for kind in STRATEGIES:
        if kind.name == name:
            return kind()
    raise BadOption(f"no hooking strategy is called '{name}'; there are: {', '.join(kind.name for kind in STRATEGIES)}")


__all__ = [
    "OPS",
    "STRATEGIES",
    "Breakpoints",
    "Gate",
    "HookStrategy",
    "Moments",
    "Plt",
    "Unseen",
    "inspection",
    "strategy",
]
