"""Quantities on the command line: seconds, sizes with a unit, exit statuses."""

import math
from typing import Any, Final

import click

_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class _Seconds(click.ParamType):  # type: ignore[type-arg]
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"'{value}' is no number of seconds", param, ctx)
        if not (seconds > 0 and math.isfinite(seconds)):
            self.fail(f"'{value}' must be more than 0 seconds", param, ctx)
        return seconds


class _Size(click.ParamType):  # type: ignore[type-arg]
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value).upper().removesuffix("B").removesuffix("I")
        number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS and text[-1:] else (text, "")
        try:
            size = int(float(number) * _UNITS[unit])
        except (ValueError, OverflowError):
            self.fail(f"'{value}' is no size: give bytes, or a number with K, M or G", param, ctx)
        if size <= 0:
            self.fail(f"'{value}' must be more than 0 bytes", param, ctx)
        return size


class _Status(click.ParamType):  # type: ignore[type-arg]
    name = "status"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        text = str(value)
        if not (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255):
            self.fail(f"'{value}' is no exit status: give a number from 0 to 255", param, ctx)
        return int(text)


SECONDS: Final = _Seconds()
SIZE: Final = _Size()
STATUS: Final = _Status()
