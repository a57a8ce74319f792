"""Options and fixtures of the whole test suite."""

import signal
from pathlib import Path

import pytest
from kernel_guest import guest, tree  # noqa: F401 - fixtures

GOLDEN = Path(__file__).parent / "golden"


# Native programs inherit what is ignored: a suite that was started by nohup(1) would compare with something else.
signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files with what is produced now")


class Golden:
    """Compares text with a golden file, or rewrites the file."""

    def __init__(self, *, update: bool) -> None:
        self.update = update

    def check(self, name: str, text: str) -> None:
        path = GOLDEN / name
        if self.update:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
        assert path.is_file(), f"no golden file {name}: run pytest --update-golden and look at what it writes"
        assert text == path.read_text(encoding="utf-8")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    return Golden(update=request.config.getoption("--update-golden"))
