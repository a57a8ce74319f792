"""The emulated CPU says of freed blocks what Python says: whether all are as they were."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emuleak.batch import Batch
from emuleak.events import FAMILY_BY_CODE, OPS, Log, Op, Record, record_of, releasers
from emuleak.hooks import Gate, inspection
from emuleak.ledger import Ledger
from emuleak.machine import Machine
from emuleak.memory import HEAP_BASE, HEAP_SIZE, PAGE, READ, WRITE, AddressSpace, Region
from emuleak.quarantine import Quarantine
from emuleak.redzones import LEAD, TAIL, lay, lay_freed, usable_size

STEP = 2048
MAKERS: tuple[Op, ...] = ("malloc", "operator new", "operator new[]")


class Guest:
    """A machine whose gate was drained."""

    def __init__(self) -> None:
        self.memory = AddressSpace()
        self.machine = Machine(self.memory)
        self.gate = Gate(self.machine, self.memory)
        self.memory.map(Region(HEAP_BASE, HEAP_BASE + HEAP_SIZE, READ | WRITE, "heap"))

    def batch(self, blocks: list[tuple[Op, int, bytes, bool]]) -> tuple[Batch, list[int]]:
        """Blocks that were made, and freed where it is said, as the gate hands them on; and where they are."""
        calls: list[Record] = []
        addresses = [HEAP_BASE + 4096 + STEP * number for number in range(len(blocks))]
        for address, (op, size, content, is_freed) in zip(addresses, blocks, strict=True):
            usable = usable_size(size)
            lay(self.memory, address, size, usable, FAMILY_BY_CODE[OPS.index(op)])
            self.memory.poke(address, content[:size].ljust(size, b"\0"))
            calls.append(record_of(op, 1, size, address, b"makes..."))
            if is_freed:
                held = bytes(self.memory.peek(address, usable))
                lay_freed(self.memory, address, usable)
                calls.append(record_of(releasers(op)[-1], 1, size, address, b"frees..." + held))
        batch = Batch.of(calls)
        return Batch(batch.records, batch.area, drained=True), addresses


@pytest.fixture(scope="module")
def guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.memory.aliases.remove(0, 1 << 64)


blocks = st.lists(
    st.tuples(st.sampled_from(MAKERS), st.integers(0, 1000), st.binary(max_size=40), st.booleans()),
    min_size=1,
    max_size=12,
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blocks=blocks, data=st.data())
def test_every_changed_byte_is_seen_and_no_other(
    guest: Guest, blocks: list[tuple[Op, int, bytes, bool]], data: st.DataObject
) -> None:
    batch, addresses = guest.batch(blocks)
    number = data.draw(st.integers(0, len(blocks) - 1))
    at = addresses[number] + data.draw(st.integers(-LEAD - 8, usable_size(blocks[number][1]) + TAIL + 7))
    inside = addresses[number] - LEAD <= at < addresses[number] + usable_size(blocks[number][1]) + TAIL
    before = guest.machine.registers()
    with inspection(guest.machine, guest.memory) as are_intact:
        assert are_intact(batch)
        guest.memory.poke(at, bytes([guest.memory.peek(at, 1)[0] ^ 0x10]))
        assert are_intact(batch) is not (inside and blocks[number][3])
        guest.memory.poke(at, bytes([guest.memory.peek(at, 1)[0] ^ 0x10]))
        assert are_intact(batch)
    assert guest.machine.registers() == before


def test_a_block_that_cannot_be_read_is_not_called_intact(guest: Guest) -> None:
    batch, (address,) = guest.batch([("malloc", 24, b"", True)])
    guest.memory.unmap(address & -PAGE, PAGE)
    with inspection(guest.machine, guest.memory) as are_intact:
        assert not are_intact(batch)
    guest.memory.map(Region(address & -PAGE, (address & -PAGE) + PAGE, READ | WRITE, "heap"))


def test_what_did_not_come_from_the_ring_is_not_looked_at(guest: Guest) -> None:
    record = record_of("free", 0, 24, HEAP_BASE + 4096, bytes(24))
    with inspection(guest.machine, guest.memory) as are_intact:
        assert not are_intact(Batch.of([record]))


def test_the_quarantine_asks_for_what_is_whole(guest: Guest) -> None:
    """Of a batch of which some have left Python looks at the rest."""
    batch, addresses = guest.batch([("malloc", 24, b"held", True)] * 600)
    asked: list[Batch] = []
    quarantine = Quarantine(guest.memory)
    ledger = Ledger(Log(), quarantine, pytest.fail)
    ledger.add(batch, 600, 600 * 24)
    ledger.settle()
    assert list(quarantine.damaged(None, lambda batch: not asked.append(batch))) == []
    assert asked == [batch]
    guest.memory.poke(addresses[7], b"late")
    with inspection(guest.machine, guest.memory) as are_intact:
        ((block, damage),) = quarantine.damaged(None, are_intact)
    assert (block.address, block.stack, block.freed) == (addresses[7], b"makes...", b"frees...")
    assert damage[:3] == ("write-after-free", 0, 4)
