"""The heap: what it answers, what it counts, what it notices, what it never does."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from heap_model import ENOMEM, QUARANTINE_BLOCKS, QUARANTINE_BYTES, AgainstModel
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from oracles.peers import need

from emuleak import quarantine as quarantine_module
from emuleak.allocators import ExactFit
from emuleak.events import Block, Call, HeapCounts, Log, Op
from emuleak.heap import Heap
from emuleak.memory import HEAP_BASE, HEAP_SIZE, AddressSpace, Fault
from emuleak.redzones import usable_size


@pytest.fixture
def small_quarantine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BYTES", QUARANTINE_BYTES)
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BLOCKS", QUARANTINE_BLOCKS)


@pytest.mark.usefixtures("small_quarantine")
def test_against_the_model() -> None:
    run_state_machine_as_test(AgainstModel, settings=settings(max_examples=150, stateful_step_count=50, deadline=None))


# ---- single cases


class Guest:
    """A heap and short ways to call it."""

    def __init__(self) -> None:
        self.memory = AddressSpace()
        self.log = Log()
        self.heap = Heap(self.memory, ExactFit(HEAP_BASE, HEAP_SIZE), self.log)

    def call(self, op: Op, first: int = 0, second: int = 0, third: int = 0) -> int:
        return self.heap.handle(Call(op, first, second, third, b"12345678", 1))


@pytest.fixture
def guest() -> Iterator[Guest]:
    return Guest()


def test_a_freed_block_is_not_given_again_while_it_is_in_quarantine(guest: Guest) -> None:
    first = guest.call("malloc", 100)
    guest.call("free", first)
    later = [guest.call("malloc", 100) for _ in range(1000)]
    assert first not in later
    guest.call("free", first)
    assert [event.problem for event in guest.log.misuses] == ["double-free"]


@pytest.mark.usefixtures("small_quarantine")
def test_the_oldest_leaves_the_quarantine_first(guest: Guest) -> None:
    addresses = [guest.call("malloc", 100) for _ in range(QUARANTINE_BLOCKS + 2)]
    for address in addresses:
        guest.call("free", address)
    for address in addresses:
        guest.call("free", address)
    problems = [event.problem for event in guest.log.misuses]
    assert problems == ["invalid-free"] * 2 + ["double-free"] * QUARANTINE_BLOCKS


def test_calloc_is_zero_where_an_overflow_had_written(guest: Guest) -> None:
    before = guest.call("malloc", 16)
    guest.memory.write(before, b"x" * 500)
    zeroed = guest.call("calloc", 10, 10)
    assert guest.memory.read(zeroed, 100) == bytes(100)


@pytest.mark.parametrize("size", [64, 200_000])
def test_malloc_gives_no_old_bytes_again(guest: Guest, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """A stale pointer in what a block held before would keep a lost block alive in the scan."""
    monkeypatch.setattr(quarantine_module, "QUARANTINE_BLOCKS", 0)
    first = guest.call("malloc", size)
    guest.memory.write(first, b"\xff" * size)
    guest.call("free", first)
    again = guest.call("malloc", size)
    assert again == first
    assert guest.memory.read(again, size) == bytes(size)


def test_a_grown_block_holds_nothing_of_its_neighbour(guest: Guest) -> None:
    """A neighbour's pointer, copied along, would keep lost blocks alive in the scan."""
    old, neighbour = guest.call("malloc", 16), guest.call("malloc", 500)
    guest.memory.write(old, b"o" * 16)
    guest.memory.write(neighbour, b"n" * 500)
    grown = guest.call("realloc", old, 400)
    assert guest.memory.read(grown, 400) == b"o" * 16 + bytes(384)


def test_reallocarray_does_not_look_at_the_pointer_when_the_product_does_not_fit(guest: Guest) -> None:
    assert guest.call("reallocarray", 0x1234, 1 << 40, 1 << 40) == -ENOMEM
    assert [event.problem for event in guest.log.misuses] == ["invalid-size"]
    assert guest.log.counts == HeapCounts()


def test_posix_memalign_to_a_bad_address_is_the_guests_fault(guest: Guest) -> None:
    with pytest.raises(Fault):
        guest.call("posix_memalign", 0x10, 16, 10)


def test_the_pressure_is_told_while_blocks_are_made(guest: Guest) -> None:
    told = []
    guest.heap.on_pressure = lambda: told.append(guest.log.counts.allocs)
    for _ in range(10_000):
        guest.call("free", guest.call("malloc", 1))
    assert len(told) >= 2


def test_a_block_of_the_log_says_who_made_and_who_freed_it(guest: Guest) -> None:
    address = guest.heap.handle(Call("calloc", 3, 5, 0, b"made....", 2))
    assert guest.log.blocks() == [Block(address, 15, b"made....", "calloc", 2)]
    guest.heap.handle(Call("free", address, 0, 0, b"freed...", 3))
    guest.heap.handle(Call("free", address, 0, 0, b"again...", 3))
    assert guest.log.misuses[0].block == Block(address, 15, b"made....", "calloc", 2, freed=b"freed...")


USABLE = """
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) { printf("%zu\\n", malloc_usable_size(malloc(strtoul(argv[1], 0, 10)))); return 0; }
"""


@pytest.mark.peer("gcc")
def test_usable_size_is_glibcs(tmp_path: Path) -> None:
    """In a fresh process each time: later it hangs on what was freed before, and from 131,049 bytes to 134,488 on
    whether the rest of the first 132 KiB of the break still has room for the block.
    """
    (tmp_path / "usable.c").write_text(USABLE)
    program = tmp_path / "usable"
    subprocess.run([need("gcc"), "-w", "-o", program, tmp_path / "usable.c"], check=True)
    for size in (0, 1, 24, 25, 40, 41, 1000, 4096, 131_048, 135_152, 135_153, 200_000, 1 << 20):
        native = subprocess.run([program, str(size)], capture_output=True, check=True).stdout
        assert usable_size(size) == int(native), size
