"""A hundred thousand findings are written in seconds, without a second copy in memory."""

import time
import tracemalloc
from collections.abc import Iterable

import pytest
from test_report_golden import frame, leak, report

from emuleak.report.writers import WRITERS, writer

SECONDS = 15  # about five times what a slow machine takes
MEGABYTES = 30


class Sink:
    """A stream that only counts."""

    def __init__(self) -> None:
        self.characters = 0

    def write(self, text: str) -> int:
        self.characters += len(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def isatty(self) -> bool:
        return False


def bulk(findings: int, stacks: int = 1000, depth: int = 10):
    levels = range(depth)
    pool = [tuple(frame(f"f{level}_{n}", f"src/{level}.c", n + 1) for level in levels) for n in range(stacks)]
    return report(*(leak(8 + index % 99, 1, *pool[index % stacks]) for index in range(findings)))


@pytest.mark.parametrize("format_", WRITERS)
def test_a_hundred_thousand_findings(format_):
    document, sink = bulk(100_000), Sink()
    start = time.perf_counter()
    writer(format_).write(document, sink)
    assert time.perf_counter() - start < SECONDS
    assert sink.characters > 30_000


@pytest.mark.parametrize("format_", WRITERS)
def test_memory_is_bounded(format_):
    document = bulk(20_000)
    tracemalloc.start()
    try:
        writer(format_).write(document, Sink())
        assert tracemalloc.get_traced_memory()[1] < MEGABYTES << 20
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["sarif", "valgrind-xml", "junit"])
def test_the_text_of_a_hundred_thousand_findings_never_exists_as_a_whole(format_):
    document, sink = bulk(100_000, stacks=100, depth=1), Sink()
    tracemalloc.start()
    try:
        writer(format_).write(document, sink)
        assert tracemalloc.get_traced_memory()[1] < MEGABYTES << 20 < sink.characters
    finally:
        tracemalloc.stop()
