"""The ledger: what is entered together is what would have been entered call by call; and batches, the form of calls."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emuleak import ledger as ledger_module
from emuleak import quarantine as quarantine_module
from emuleak.batch import Batch
from emuleak.events import OPS, SIZE_MASK, Block, Log, Op, Record, record_of, releasers
from emuleak.ledger import Ledger
from emuleak.memory import HEAP_BASE, AddressSpace
from emuleak.quarantine import Quarantine
from emuleak.redzones import usable_size

MEMORY = AddressSpace()
MAKERS: tuple[Op, ...] = ("malloc", "calloc", "operator new", "operator new[]")
Books = tuple[list[Record], list[Block], list[Block | None], int, int, list[Record]]


def at(number: int) -> int:
    return HEAP_BASE + 16 + 1024 * number


class Script:
    """Calls as an allocator would serve them: no address is given out twice before it left quarantine."""

    def __init__(self) -> None:
        self.live: dict[int, Record] = {}
        self.sizes: dict[int, int] = {}
        self.calls = self.next = 0

    def make(self, op: Op, size: int) -> Record:
        self.next += 1
        self.sizes[at(self.next)] = size
        self.live[at(self.next)] = record = record_of(op, self.calls & 7, size, at(self.next), self.stack())
        return record

    def free(self, choice: int) -> Record:
        address = sorted(self.live)[choice % len(self.live)]
        made = self.live.pop(address)
        size = made[0] & SIZE_MASK
        held = bytes([choice & 0xFF]) * usable_size(size)
        return record_of(releasers(OPS[made[0] >> 56])[0], 1, size, address, self.stack() + held)

    def lie(self, choice: int) -> Record:
        """Of what never was, or once more; a free before the malloc may be believed if they are entered together."""
        address = at(1000 if choice > self.next else choice)
        size = self.sizes.get(address, 8)
        self.live.pop(address, None)
        return record_of("free", 0, size, address, b"liar...." + bytes(usable_size(size)))

    def stack(self) -> bytes:
        self.calls += 1
        return self.calls.to_bytes(8, "little") * (self.calls % 3)


actions = st.one_of(
    st.tuples(st.sampled_from(MAKERS), st.integers(0, 1000)),
    st.tuples(st.just("free"), st.integers(0, 1 << 16)),
    st.just(("drain", 0)),
    st.just(("ask", 0)),
    st.tuples(st.just("lie"), st.integers(0, 20)),
)


def batches(script: list[tuple[str, int]], lies: bool) -> list[list[Record] | None]:
    """The batches of a script; None where somebody asks for what is live."""
    calls, found, maker = Script(), [], [[]]
    for what, number in script:
        if what in MAKERS:
            maker[-1].append(calls.make(what, number))
        elif what == "free" and calls.live:
            maker[-1].append(calls.free(number))
        elif what == "lie" and lies:  # a second free, or one of what never was
            maker[-1].append(calls.lie(number))
        elif what in {"drain", "ask"}:
            found.append(maker[-1])
            maker.append([])
            if what == "ask":
                found.append(None)
    return [*found, maker[-1]]


def books(told: list[list[Record] | None], few: int, most: int, bound: int) -> Books:
    """What the ledger and the quarantine say in the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "_FEW", few)
        patch.setattr(ledger_module, "_MOST_KEPT", most)
        patch.setattr(ledger_module, "_MOST_EARLIER", most)
        patch.setattr(quarantine_module, "QUARANTINE_BLOCKS", bound)
        log, strangers, left = Log(), [], []
        quarantine = Quarantine(MEMORY)
        ledger = Ledger(log, quarantine, strangers.append)
        for calls in told:
            if calls is None:
                assert list(ledger.live) == [record[1] for record in ledger.live.values()]
                continue
            batch = Batch.of(calls)
            growth = [size for size, release in zip(batch.growth(), batch.releases(), strict=True) if release]
            ledger.add(batch, len(growth), -sum(growth))
            if ledger.is_full:
                ledger.settle()
                left += [entry for shelf in quarantine.overflowing() for entry in shelf]
        ledger.settle()
        by_address = [quarantine.get(at(number)) for number in range(60)]
        left += [entry for shelf in quarantine.copy_for(MEMORY).overflowing() for entry in shelf]
        return list(log.live.values()), list(quarantine.blocks()), by_address, quarantine.bytes, len(left), strangers


@settings(max_examples=300, deadline=None)
@given(script=st.lists(actions, max_size=120), lies=st.booleans(), bound=st.sampled_from([0, 3, 10, 1000]))
def test_together_is_as_one_by_one(script: list[tuple[str, int]], lies: bool, bound: int) -> None:
    told = batches(script, lies)
    assert books(told, few=0, most=1 << 30, bound=bound) == books(told, few=1 << 30, most=0, bound=bound)


def test_pairs_are_entered_together() -> None:
    """So that the test above compares two things."""
    script = Script()
    calls = [step() for _ in range(600) for step in (lambda: script.make("malloc", 24), lambda: script.free(0))]
    log, quarantine = Log(), Quarantine(MEMORY)
    ledger = Ledger(log, quarantine, pytest.fail)
    ledger.add(Batch.of(calls), 600, 600 * 24)
    one_by_one: Callable[[], None] = lambda: pytest.fail("the calls were taken apart")  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Batch, "fields", one_by_one)
        assert not ledger.live
    assert len(quarantine) == 600


def test_calls_are_entered_only_when_somebody_looks() -> None:
    log = Log()
    ledger = Ledger(log, Quarantine(MEMORY), pytest.fail)
    record = record_of("malloc", 0, 24, at(0), b"made....")
    ledger.add(Batch.of([record]), 0, 0)
    assert ledger.waits
    later = record_of("malloc", 0, 5000, at(9), b"later...")
    ledger.born(later)
    assert list(log.live.values()) == [record, later]
    assert not ledger.waits


@given(
    st.lists(
        st.builds(record_of, st.sampled_from(OPS), st.integers(0, 9), st.integers(0, 1 << 39), st.integers(0, 1 << 47),
                  st.binary(max_size=40)),
        max_size=20,
    )
)  # fmt: skip
def test_a_batch_is_its_calls(calls: list[Record]) -> None:
    batch = Batch.of(calls)
    released = [call for call in calls if call[0] >> 56 in {1, 13, 14, 17, 18, 19, 20, 21, 22}]
    assert batch.calls() == calls
    assert len(batch) == len(calls)
    assert batch.addresses() == [address for _, address, _ in calls]
    assert list(batch.released()) == released
    assert batch.units() == [address >> 4 & 0xFFFF_FFFF for _, address, _ in calls]
    assert list(batch.made()) == [call for call in calls if call not in released]
    for unit in set(batch.units()):
        assert list(batch.made({unit})) == [call for call in batch.made() if call[1] >> 4 & 0xFFFF_FFFF == unit]
        assert batch.released_at({unit}) == [at for _, at, _ in released if at >> 4 & 0xFFFF_FFFF == unit]
    assert batch.growth() == [(-1 if call in released else 1) * (call[0] & SIZE_MASK) for call in calls]
