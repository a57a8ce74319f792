"""Run unmodified x86-64 Linux programs on an emulated CPU and say what they lose of the heap.

    report = emuleak.run(["build/parser", "input.txt"])
    report.assert_clean()

The names below are imported when they are first used: `import emuleak` alone costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emuleak import errors
    from emuleak._version import __version__
    from emuleak.api import LeaksFound, RunReport, run
    from emuleak.errors import BadOption, BadProgram, EmuleakError, MachineFailure
    from emuleak.report.document import Finding, Frame, Report

__all__ = [
    "BadOption",
    "BadProgram",
    "EmuleakError",
    "Finding",
    "Frame",
    "LeaksFound",
    "MachineFailure",
    "Report",
    "RunReport",
    "__version__",
    "errors",
    "run",
]

# name -> the module it is found in
_PLACES = {
    **dict.fromkeys(("BadOption", "BadProgram", "EmuleakError", "MachineFailure"), "emuleak.errors"),
    **dict.fromkeys(("Finding", "Frame", "Report"), "emuleak.report.document"),
    **dict.fromkeys(("LeaksFound", "RunReport", "run"), "emuleak.api"),
    "__version__": "emuleak._version",
}


def __getattr__(name: str) -> object:
    """Import a public name on its first use (PEP 562)."""
    if name == "errors":
        return import_module("emuleak.errors")
    if name not in _PLACES:
        raise AttributeError(f"module 'emuleak' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
