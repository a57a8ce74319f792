"""The heap over time: few samples, the peak among them, whatever the program does."""

from hypothesis import given, settings
from hypothesis import strategies as st

from emuleak.events import Growth, Log

STEPS = st.tuples(st.integers(0, 1 << 20), st.integers(0, 1 << 40), st.integers(0, 1 << 20))


def grown(steps):
    growth, added, tick = Growth(), [], 0
    for step, size, blocks in steps:
        tick += step
        growth.add(tick, size, blocks)
        added.append((tick, size, blocks))
    return growth.samples(), added


@given(st.lists(STEPS, min_size=1, max_size=60), st.integers(1, 80))
@settings(deadline=None)
def test_samples_are_few_true_and_in_order_with_the_peak_and_the_end(steps, rounds):
    samples, added = grown(steps * rounds)
    assert len(samples) <= Growth.LIMIT
    assert set(samples) <= set(added)
    assert [sample[0] for sample in samples] == sorted(sample[0] for sample in samples)
    assert max(size for _, size, _ in samples) == max(size for _, size, _ in added)
    assert samples[-1] == added[-1]


@given(st.lists(STEPS, max_size=200))
def test_the_same_run_gives_the_same_samples(steps):
    assert grown(steps) == grown(steps)


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 99), st.just(1)), min_size=1, max_size=Growth.LIMIT - 1))
def test_a_short_run_keeps_every_sample(steps):
    samples, added = grown(steps)
    assert samples == added


def test_a_long_run_is_sampled_evenly_and_every_stride_keeps_its_highest():
    ticks = 1_000_000
    samples, _ = grown((1, tick % 7919, tick) for tick in range(ticks))
    assert Growth.LIMIT // 4 < len(samples) <= Growth.LIMIT
    stride = 1024  # the first power of two of which a million ticks are less than LIMIT
    of_stride = {tick // stride: size for tick, size, _ in samples[:-1]}
    for number in range(ticks // stride):
        inside = range(number * stride or 1, (number + 1) * stride)
        assert of_stride[number] == max((tick - 1) % 7919 for tick in inside)


def test_samples_far_apart_do_not_stop_it():
    growth = Growth()
    for exponent in range(63):
        for offset in range(40):
            growth.add((1 << exponent) + min(offset, (1 << exponent) - 1), exponent, offset)
    assert len(growth.samples()) <= Growth.LIMIT
    assert max(size for _, size, _ in growth.samples()) == 62


def test_nothing_added_is_no_samples():
    assert Growth().samples() == []
    assert Log().growth.samples() == []
