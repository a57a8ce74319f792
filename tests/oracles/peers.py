"""The programs of the host that the judges need: absent they mean a skip, in CI a failure."""

import functools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

import pytest


def absent(reason: str) -> NoReturn:
    """Skip the test, or fail it where CI=true promises that every peer is installed."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def need(name: str) -> str:
    """The path of a peer program."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        absent(f"{name}: the corpus is built and judged on x86-64 Linux only")
    path = shutil.which(name)
    if path is None:
        absent(f"{name} is not installed")
    return path


@functools.cache
def version(name: str) -> str:
    """What a peer says of itself with --version."""
    return subprocess.run([need(name), "--version"], capture_output=True, text=True, check=True).stdout


def cache_directory() -> Path:
    """Where binaries and verdicts are kept between tests, workers and sessions; EMULEAK_TEST_CACHE moves it."""
    base = os.environ.get("EMULEAK_TEST_CACHE")
    path = Path(base) if base else Path(tempfile.gettempdir()) / f"emuleak-corpus-{os.getuid()}"
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        raise PermissionError(f"{path} belongs to somebody else")
    return path
