"""pytest plugin: the fixture `emuleak` runs a program and fails the test over what it does to the heap.

    def test_parser(emuleak):
        report = emuleak(["build/parser", "input.txt"], stdin=b"...")
        assert report.stdout == b"ok\\n"

A call fails the test at once, with the report as its message, unless it is given `check=False`. The marker `emuleak`
and the ini options `emuleak_fail_on` and `emuleak_suppressions` say what counts. Every pytest loads this module, so
the emulator is imported by the fixture's first call.
"""

import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from emuleak.api import Kinds, RunReport, StrPath

_OPTIONS: Final = frozenset({"fail_on", "allow", "suppressions", "max_seconds"})
_MARKER: Final = (
    "emuleak(fail_on=..., allow=[...], suppressions=[...], max_seconds=...): what the fixture `emuleak` counts as a "
    "failure in this test"
)
_SHOWN: Final = 4000  # characters of a program's output, the last ones, beside a failed test


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the ini options."""
    parser.addini("emuleak_fail_on", "findings of the fixture `emuleak` that count, as emuleak run --fail-on")
    parser.addini("emuleak_suppressions", "files of suppressions for the fixture `emuleak`", type="paths", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def emuleak(request: pytest.FixtureRequest) -> "Runner":
    """Run programs under emuleak: `report = emuleak(["prog", "arg"], stdin=b"...")` fails over leaks and misuse."""
    return Runner(request.node)


class Runner:
    """What the fixture `emuleak` is: call it to run a program."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._options = _marked(item)

    def __call__(
        self,
        args: "Sequence[StrPath]",
        *,
        check: bool = True,
        fail_on: "Kinds | None" = None,
        allow: Iterable[str] = (),
        suppressions: "Iterable[StrPath]" = (),
        **options: Any,
    ) -> "RunReport":
        """Run a program as `emuleak.run` does, which says what the other options are; the report.

        Fails the test where the report is not clean and `check` is true, and where the program cannot be run.
        `fail_on` goes before the marker's, which goes before the ini file's; what may be and what is suppressed adds
        up.
        """
        __tracebackhide__ = True
        from emuleak import EmuleakError, run  # noqa: PLC0415 - every pytest imports this module, few run a program

        counted = self._counted(fail_on)
        allowed = [*_listed("allow", self._options), *_one_or_more(allow)]
        if "max_seconds" in self._options:
            options.setdefault("max_seconds", self._options["max_seconds"])
        try:
            report = run(args, suppressions=[*self._suppressions(), *_one_or_more(suppressions)], **options)
            clean = report.is_clean(counted, allowed)
            text = report.text(fail_on=counted)
        except EmuleakError as error:
            pytest.fail(f"emuleak: error: {error}", pytrace=False)
        command = _command(args)
        self._keep(command, report)
        if check and not clean:
            pytest.fail(f"{_caller()}: {command}\n{text}", pytrace=False)
        self._item.add_report_section("call", f"emuleak report of {command}", text)
        return report

    def _counted(self, fail_on: "Kinds | None") -> "Kinds | None":
        if fail_on is not None:
            return fail_on
        counted: Kinds | None = self._options.get("fail_on")
        if counted is not None:
            return counted
        return self._item.config.getini("emuleak_fail_on") or None

    def _suppressions(self) -> "Iterator[StrPath]":
        """Those of the ini file, which are relative to it, and those of the marker, relative to pytest's root."""
        yield from self._item.config.getini("emuleak_suppressions")
        for path in _listed("suppressions", self._options):
            yield self._item.config.rootpath / path

    def _keep(self, command: str, report: "RunReport") -> None:
        """Show what the program wrote if the test fails."""
        for name, data in (("stdout", report.stdout), ("stderr", report.stderr)):
            if data:
                text = data.decode(errors="replace")
                shown = text if len(text) <= _SHOWN else f"... {len(text) - _SHOWN} characters ...\n{text[-_SHOWN:]}"
                self._item.add_report_section("call", f"{name} of {command}", shown)


def _marked(item: pytest.Item) -> dict[str, Any]:
    """The options of the markers: of several the one closest to the test wins, option by option."""
    options: dict[str, Any] = {}
    for marker in item.iter_markers("emuleak"):
        unknown = sorted(marker.kwargs.keys() - _OPTIONS)
        if unknown or marker.args:
            given = unknown[0] if unknown else repr(marker.args[0])
            pytest.fail(f"emuleak marker: {given}: give {', '.join(sorted(_OPTIONS))} by name", pytrace=False)
        options = {**marker.kwargs, **options}
    return options


def _listed(name: str, options: dict[str, Any]) -> list[Any]:
    return _one_or_more(options.get(name, ()))


def _one_or_more(value: Any) -> list[Any]:
    return [value] if isinstance(value, str | os.PathLike) else list(value)


def _command(args: "Sequence[StrPath]") -> str:
    return shlex.join(os.fsdecode(word) for word in args)


def _caller() -> str:
    """`test_parser.py:12`: where the fixture was called."""
    frame = sys._getframe(2)  # noqa: SLF001 - without the sources that inspect.stack() would read
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
