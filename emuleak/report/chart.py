"""The heap over time as the lines of a drawing: a path and the marks on two axes. Pure arithmetic."""

from collections.abc import Sequence
from typing import NamedTuple

from emuleak.report.document import Sample

SIDE = 1000  # the drawing's width and height in its own units
_MARKS = 4
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


class Mark(NamedTuple):
    """A place on an axis in percent of its length, and what is written there."""

    at: float
    label: str


class Chart(NamedTuple):
    """The area under the curve and its upper edge as SVG path data; `peak` is the sample with the most bytes."""

    area: str
    edge: str
    sizes: Sequence[Mark]
    ticks: Sequence[Mark]
    peak: Sample
    peak_x: float
    peak_y: float


def chart(samples: Sequence[Sample]) -> Chart:
    """The drawing of at least one sample; bytes upwards, ticks to the right. The heap changes in steps."""
    first, last = samples[0].tick, max(samples[-1].tick, samples[0].tick + 1)
    peak = max(samples, key=lambda sample: sample.bytes)
    step = _power_of_two(max(1, -(-peak.bytes // _MARKS)))
    top = step * max(1, -(-peak.bytes // step)) if peak.bytes else _MARKS

    def x(tick: int) -> float:
        return round(SIDE * (tick - first) / (last - first), 2)

    def y(size: int) -> float:
        return round(SIDE - SIDE * size / top, 2)

    edge = f"M0 {y(samples[0].bytes):g}" + "".join(f"H{x(s.tick):g}V{y(s.bytes):g}" for s in samples[1:]) + f"H{SIDE}"
    return Chart(
        area=f"{edge}V{SIDE}H0Z",
        edge=edge,
        sizes=[Mark(y(size) / SIDE * 100, size_label(size)) for size in range(0, top + 1, step if peak.bytes else top)],
        ticks=[Mark(x(tick) / SIDE * 100, f"{tick:,}") for tick in _round_ticks(first, last)],
        peak=peak,
        peak_x=x(peak.tick) / SIDE * 100,
        peak_y=y(peak.bytes) / SIDE * 100,
    )


def size_label(size: int) -> str:
    """A size in the largest unit of which there is at least one: `1.5 KiB`, `96 bytes`."""
    if size < 1024:
        return f"{size} byte" if size == 1 else f"{size} bytes"
    unit = min((size.bit_length() - 1) // 10, len(_UNITS) - 1)
    return f"{size / (1 << 10 * unit):.3g} {_UNITS[unit]}"


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _round_ticks(first: int, last: int) -> list[int]:
    """Two to five or so multiples of 1, 2 or 5 times a power of ten."""
    least = max(1, (last - first) // _MARKS)
    power = 10 ** (len(str(least)) - 1)
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)
    return list(range(-(-first // step) * step, last + 1, step))
