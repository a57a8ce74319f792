"""Every placement policy: what it gives is aligned, large enough, inside its range, and nobody else's."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from emuleak import allocators
from emuleak.allocators import ALIGNMENT, GAP, Allocator, ExactFit

BASE, SIZE = 0x6000_0000_0000, 1 << 26
PROTOCOL = ("malloc", "memalign", "reserve", "free", "usable_size")

MakePolicy = Callable[[int, int], Allocator]


def policies() -> list[type]:
    """The classes of the package that have all of the protocol's methods."""
    found = []
    for module in pkgutil.iter_modules(allocators.__path__, "emuleak.allocators."):
        for kind in vars(importlib.import_module(module.name)).values():
            concrete = inspect.isclass(kind) and kind is not Allocator and kind.__module__ == module.name
            if concrete and all(hasattr(kind, name) for name in PROTOCOL):
                found.append(kind)
    return found


POLICIES = policies()
every_policy = pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)

sizes = st.one_of(st.integers(0, 200), st.integers(0, 1 << 18), st.sampled_from([0, 1, 15, 16, 17, 4096, 65536, 65537]))
alignments = st.integers(0, 13).map(lambda exponent: 1 << exponent)


class Placement(RuleBasedStateMachine):
    """Compares a policy with a list of the ranges that are taken."""

    make: MakePolicy
    blocks = Bundle("blocks")

    def __init__(self) -> None:
        super().__init__()
        self.policy = type(self).make(BASE, SIZE)
        # Does the same, but gives blocks one by one where the other reserves many.
        self.twin = type(self).make(BASE, SIZE)
        self.taken: dict[int, int] = {}

    def given_out(self, address: int, size: int, alignment: int) -> int:
        assert address, "exhausted, though fewer blocks than fit were ever asked for"
        usable = self.policy.usable_size(address)
        assert address % max(alignment, ALIGNMENT) == 0
        assert usable >= size
        assert address >= BASE
        assert address + usable + GAP <= BASE + SIZE
        for start, length in self.taken.items():
            assert address + usable + GAP <= start or start + length + GAP <= address
        self.taken[address] = usable
        return address

    @rule(target=blocks, size=sizes)
    def malloc(self, size: int) -> int:
        address = self.policy.malloc(size)
        assert self.twin.malloc(size) == address
        return self.given_out(address, size, ALIGNMENT)

    @rule(target=blocks, size=st.integers(0, 5000), count=st.integers(0, 8))
    def reserve(self, size: int, count: int) -> MultipleResults[int]:
        addresses = self.policy.reserve(size, count)
        assert addresses == [self.twin.malloc(size) for _ in range(count)]
        return multiple(*(self.given_out(address, size, ALIGNMENT) for address in addresses))

    @rule(target=blocks, size=sizes, alignment=alignments)
    def memalign(self, size: int, alignment: int) -> int:
        address = self.policy.memalign(alignment, size)
        assert self.twin.memalign(alignment, size) == address
        return self.given_out(address, size, alignment)

    @rule(block=consumes(blocks))
    def free(self, block: int) -> None:
        self.policy.free(block)
        self.twin.free(block)
        del self.taken[block]

    @rule(target=blocks, block=consumes(blocks), size=sizes)
    def free_then_malloc(self, block: int, size: int) -> int:
        self.free(block)
        return self.malloc(size)

    @invariant()
    def nothing_changed_its_size(self) -> None:
        for address, usable in self.taken.items():
            assert self.policy.usable_size(address) == usable


@every_policy
def test_against_a_list_of_ranges(policy: type) -> None:
    machine = type(policy.__name__, (Placement,), {"make": policy})
    run_state_machine_as_test(machine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))


@every_policy
@settings(max_examples=100, deadline=None)
@given(size=st.integers(0, 300), alignment=alignments, room=st.integers(16, 256).map(lambda words: words * 16))
def test_exhaustion_is_zero_and_no_overlap(policy: type, size: int, alignment: int, room: int) -> None:
    small = policy(BASE, room)
    taken: list[tuple[int, int]] = []
    while address := small.memalign(alignment, size):
        taken.append((address, address + small.usable_size(address) + GAP))
        assert len(taken) <= room // (ALIGNMENT + GAP)
    taken.sort()
    assert all(end <= start for (_, end), (start, _) in pairwise(taken))
    assert all(start >= BASE and end <= BASE + room for start, end in taken)
    assert small.malloc(room) == 0
    assert small.malloc((1 << 63) - 1) == 0


@every_policy
@settings(max_examples=100, deadline=None)
@given(size=st.integers(0, 300), count=st.integers(0, 200), room=st.integers(16, 256).map(lambda words: words * 16))
def test_reserving_more_than_there_is_gives_what_there_is(policy: type, size: int, count: int, room: int) -> None:
    small, twin = policy(BASE, room), policy(BASE, room)
    assert small.reserve(size, count) == [address for _ in range(count) if (address := twin.malloc(size))]
    assert small.malloc(size) == twin.malloc(size)


@every_policy
def test_what_was_freed_serves_again_after_exhaustion(policy: type) -> None:
    small = policy(BASE, 1 << 16)
    taken = []
    while address := small.malloc(100):
        taken.append(address)
    for address in taken:
        small.free(address)
    again = [small.malloc(100) for _ in taken]
    assert 0 not in again
    assert len(set(again)) == len(again)


@every_policy
@pytest.mark.parametrize("alignment", [16, 64, 4096])
def test_a_loop_of_aligned_blocks_does_not_use_up_the_range(policy: type, alignment: int) -> None:
    small = policy(BASE, 1 << 16)
    for _ in range(1000):
        address = small.memalign(alignment, 4000)
        assert address
        small.free(address)


@every_policy
def test_a_buffer_that_grows_finds_the_places_of_its_forerunners(policy: type) -> None:
    """As realloc does it: the next one is placed before the last one is freed."""
    space = policy(BASE, 1 << 30)
    last = space.malloc(16)
    for size in range(32, 8 << 20, 4096):
        following = space.malloc(size)
        assert following, f"exhausted at {size} bytes"
        space.free(last)
        last = following


def test_addresses_ascend_in_order_of_allocation() -> None:
    policy = ExactFit(BASE, SIZE)
    addresses = [policy.malloc(size) for size in (1, 100_000, 16, 5, 3000)] + [policy.memalign(4096, 1)]
    assert addresses == sorted(addresses)
    assert policy.top > addresses[-1]


def test_a_large_block_gives_away_an_eighth_at_most() -> None:
    policy = ExactFit(BASE, 1 << 36)
    for size in (65_537, 100_000, 1 << 20, (1 << 20) + 1, 123_456_789):
        assert size <= policy.usable_size(policy.malloc(size)) <= size + size // 8


def test_there_is_a_policy() -> None:
    assert ExactFit in POLICIES
