"""The quarantine: what of freed blocks is kept, in what order they leave, what is noticed of them."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emuleak import quarantine as quarantine_module
from emuleak.events import NO_STACK, block_of, record_of
from emuleak.memory import HEAP_BASE, AddressSpace
from emuleak.quarantine import QUARANTINE_BLOCKS, QUARANTINE_BYTES, Quarantine, kept_bytes
from emuleak.redzones import LEAD, TAIL, lay_freed, usable_size

MEMORY = AddressSpace()
STEP = 1 << 20


def freed(quarantine: Quarantine, address: int, size: int, stack: bytes = b"freed...", content: bytes = b"") -> None:
    """Free a block as the heap does."""
    MEMORY.poke(address, content.ljust(usable_size(size), b"\0"))
    lay_freed(MEMORY, address, usable_size(size))
    quarantine.add(record_of("malloc", 3, size, address, b"made...."), stack)


def left(quarantine: Quarantine) -> list[int]:
    """The addresses of the blocks that leave now."""
    return [address for shelf in quarantine.overflowing() for address in shelf.addresses()]


def at(number: int) -> int:
    return HEAP_BASE + STEP * (number + 1)


@settings(max_examples=100, deadline=None)
@given(
    size=st.one_of(st.integers(0, 1100), st.sampled_from([65_536, 65_537, 200_000])),
    frames=st.integers(0, 5),
    content=st.binary(max_size=200),
)
def test_what_was_freed_comes_back_as_it_was(size: int, frames: int, content: bytes) -> None:
    stack, content = b"12345678" * frames, content[:size]
    quarantine = Quarantine(MEMORY)
    freed(quarantine, at(0), size, stack, content)
    block = quarantine.get(at(0))
    assert block == block_of(record_of("malloc", 3, size, at(0), b"made...."), stack)
    assert list(quarantine.blocks()) == [block]
    ((_, rest),) = quarantine
    assert rest == stack + content.ljust(usable_size(size), b"\0")[: kept_bytes(size)]
    assert list(quarantine.damaged()) == []
    assert quarantine.get(at(1)) is None


def test_small_blocks_are_kept_whole_and_of_large_ones_the_beginning() -> None:
    for size in (0, 1, 24, 1000, 60_000):
        assert kept_bytes(size) == usable_size(size)
    assert 0 < kept_bytes(200_000) == kept_bytes(1 << 30) < 10_000


@pytest.mark.parametrize("size", [0, 7, 24, 100, 1000, 1001, 40_000])
def test_a_write_is_noticed_wherever_it_goes(size: int) -> None:
    usable = usable_size(size)
    for offset in {-LEAD, -9, -1, 0, size, usable - 1, usable, usable + TAIL - 1}:
        quarantine = Quarantine(MEMORY)
        freed(quarantine, at(0), size)
        MEMORY.poke(at(0) + offset, b"!")
        ((block, damage),) = quarantine.damaged()
        assert block.address == at(0)
        assert damage[:3] == ("write-after-free", offset, 1)


def test_of_a_large_block_the_beginning_is_watched() -> None:
    quarantine = Quarantine(MEMORY)
    freed(quarantine, at(0), 200_000)
    MEMORY.poke(at(0) + kept_bytes(200_000), b"not noticed")
    assert list(quarantine.damaged()) == []
    MEMORY.poke(at(0) + kept_bytes(200_000) - 1, b"!")
    assert [damage[:3] for _, damage in quarantine.damaged()] == [("write-after-free", kept_bytes(200_000) - 1, 1)]


def test_a_write_of_what_was_there_is_no_write() -> None:
    quarantine = Quarantine(MEMORY)
    freed(quarantine, at(0), 24, content=b"as it was")
    MEMORY.poke(at(0), b"as it was")
    assert list(quarantine.damaged()) == []


# ---- bounds


def test_the_oldest_leave_first_until_the_rest_is_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BYTES", 1000)
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BLOCKS", 4)
    quarantine = Quarantine(MEMORY)
    for number, size in enumerate([100, 200, 300, 400]):
        freed(quarantine, at(number), size)
    assert quarantine.overflowing() == []
    freed(quarantine, at(4), 0)
    assert left(quarantine) == [at(0)]
    freed(quarantine, at(5), 600)
    assert left(quarantine) == [at(1), at(2)]
    assert (len(quarantine), quarantine.bytes) == (3, 1000)
    freed(quarantine, at(6), 5000)
    assert left(quarantine) == [at(3), at(4), at(5), at(6)]
    assert (len(quarantine), quarantine.bytes) == (0, 0)


def test_its_bounds_are_valgrinds_in_bytes() -> None:
    assert QUARANTINE_BYTES == 20_000_000
    assert QUARANTINE_BLOCKS >= 100_000


@pytest.mark.parametrize("asked", ["never", "once", "often"])
def test_the_index_is_the_entries_whenever_it_is_asked(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a plain dictionary; a block's address comes back once it has left."""
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BLOCKS", 20)
    quarantine, known, choice = Quarantine(MEMORY), {}, random.Random(7)
    for turn in range(400):
        address = choice.choice([a for a in map(at, range(40)) if a not in known])
        freed(quarantine, address, 24, turn.to_bytes(8, "little"))
        known[address] = turn.to_bytes(8, "little")
        for shelf in quarantine.overflowing():
            for address in shelf.addresses():
                del known[address]
        if asked == "often" or (asked == "once" and turn == 100):
            for each in map(at, range(40)):
                found = quarantine.get(each)
                assert (found and found.freed) == known.get(each)
    found = {each: block.freed for each in map(at, range(40)) if (block := quarantine.get(each))}
    assert found == known
    assert [block.freed for block in quarantine.blocks()] == list(known.values())


def test_a_guest_that_lies_may_free_a_block_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """By writing to the gate's records; nothing may fail of it."""
    quarantine = Quarantine(MEMORY)
    for _ in range(2):
        freed(quarantine, at(0), 24)
    assert quarantine.get(at(0)) is not None
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BLOCKS", 0)
    assert sum(map(len, quarantine.overflowing())) == 2
    assert quarantine.get(at(0)) is None


@pytest.mark.parametrize("address", [0, HEAP_BASE, (1 << 64) - 16, 1 << 62])
@pytest.mark.parametrize("size", [0, 24, 1001, (1 << 40) - 1])
@pytest.mark.parametrize("held", [b"", b"short", b"x" * 5000])
def test_a_guest_that_lies_may_free_what_never_was(address: int, size: int, held: bytes) -> None:
    quarantine = Quarantine(MEMORY)
    quarantine.enter([(record_of("malloc", 0, size, address, NO_STACK), held)])
    for block, damage in quarantine.damaged():
        assert block.address == address
        assert damage.kind == "write-after-free"
    assert quarantine.get(address) is not None
