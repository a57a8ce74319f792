"""What stands in `emuleak.toml` or `[tool.emuleak]`: options by their names, checked as those of the command line."""

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

import click

from emuleak.cli.config import SHARED
from emuleak.errors import BadOption

# What belongs to one run, not to a project; and what writes files: the working directory may be somebody else's.
_OF_ONE_RUN: Final = frozenset({"config", "no-config", "stdin", "output", "trace", "gen-suppressions", "help"})
_PATHS: Final = frozenset({"FILE", "DIR"})
_LIST_IN_ONE: Final = "KINDS"  # a list that the command line takes as words with commas between


def read(path: str, command: click.Command) -> dict[str, Any] | None:
    """The defaults for the command's parameters, by their names; None for a pyproject.toml without our table.

    Relative paths start at the file's directory. Raises BadOption that names the file and the key.
    """
    table = _table(path)
    if table is None:
        return None
    known = _configurable(command)
    defaults: dict[str, Any] = {}
    given: dict[str, str] = {}
    for key, value in table.items():
        name = key.replace("_", "-")
        if name not in known:
            raise BadOption(f"{path}: unknown key '{key}'{_hint(name, command, known)}")
        if name in given:
            raise BadOption(f"{path}: '{given[name]}' and '{key}' are the same key")
        given[name] = key
        option = known[name]
        assert option.name is not None
        defaults[option.name] = _value(f"{path}: {key}", value, option, os.path.dirname(path))
    return defaults


def _table(path: str) -> Mapping[str, Any] | None:
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise BadOption(f"{path}: cannot be read: {error.strerror}; --no-config does without") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadOption(f"{path}: is no TOML: {error}") from None
    if os.path.basename(path) != SHARED:
        return document
    tool = document.get("tool", {})
    table = tool.get("emuleak") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise BadOption(f"{path}: tool.emuleak must be a table")
    return table


def _configurable(command: click.Command) -> dict[str, click.Option]:
    options = (option for option in command.params if isinstance(option, click.Option))
    named = {name.removeprefix("--"): option for option in options for name in option.opts if name.startswith("--")}
    return {name: option for name, option in named.items() if name not in _OF_ONE_RUN}


def _hint(name: str, command: click.Command, known: Mapping[str, click.Option]) -> str:
    if any(f"--{name}" in parameter.opts for parameter in command.params):
        return f"; --{name} can only be given on the command line"
    close = get_close_matches(name, known, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(sorted(known))}"


def _value(what: str, value: object, option: click.Option, directory: str) -> Any:  # Any: whatever click converts to
    """The value as the option's own type. Raises BadOption."""
    if option.multiple:
        return [_one(what, item, option, directory) for item in _list(what, value)]
    if option.metavar == _LIST_IN_ONE and isinstance(value, list):
        value = ",".join(_one(what, item, option, directory) for item in value)
    return _one(what, value, option, directory)


def _list(what: str, value: object) -> list[object]:
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise BadOption(f"{what}: must be a string or a list of strings, not {_toml_name(value)}")
    return value


def _one(what: str, value: object, option: click.Option, directory: str) -> Any:
    _check_type(what, value, option)
    if option.metavar in _PATHS:
        return os.path.join(directory, str(value))
    if option.is_flag or option.metavar == _LIST_IN_ONE:
        return value
    try:
        return option.type.convert(value, option, None)
    except click.BadParameter as error:
        raise BadOption(f"{what}: {error.message.rstrip('.')}") from None


_TYPES: Final[dict[str, tuple[type, ...]]] = {
    "seconds": (int, float),
    "size": (int, str),
    "status": (int,),
}


def _check_type(what: str, value: object, option: click.Option) -> None:
    wanted = (bool,) if option.is_flag else _TYPES.get(option.type.name, (str,))
    # In Python True is an integer, in TOML it is not.
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        names = " or ".join(_NAMES[type_] for type_ in wanted)
        raise BadOption(f"{what}: must be {names}, not {_toml_name(value)}")


_NAMES: Final[dict[type, str]] = {
    bool: "true or false",
    int: "a number",
    float: "a number with a point",
    str: "a string",
    list: "a list",
    dict: "a table",
}


def _toml_name(value: object) -> str:
    return next((name for type_, name in _NAMES.items() if isinstance(value, type_)), "a date or time")
