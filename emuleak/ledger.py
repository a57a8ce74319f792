"""The ledger of live blocks: calls are kept as they came, and entered when somebody asks.

Most calls are a malloc and, soon after, the free of the same block. Entered together such a pair leaves nothing in the
ledger, and is found out by set arithmetic at 0.15 us a call; entered one by one each costs 0.4.
"""

from collections.abc import Callable
from itertools import chain, compress
from typing import Final

from emuleak.batch import Batch
from emuleak.events import Log, Record
from emuleak.quarantine import Quarantine
from emuleak.shelves import Entry

# Fewer calls are entered one by one; more bytes of them are not kept.
_FEW: Final = 1024
_HEAVIEST: Final = 64 << 20
# Entered together calls are kept whole as long as a block that they freed is in quarantine: so at least one in so many
# must be a release. And it is only faster where most of what they freed they had made: at least one in so many.
_MOST_KEPT: Final = 4
_MOST_EARLIER: Final = 2


class Ledger:
    """Owner of the live blocks' books: `log.live` and what is still to be entered there.

    `on_stranger` is told of a release of what was no live block, which only a guest that writes to the gate's data can
    make the stub tell of.
    """

    def __init__(self, log: Log, quarantine: Quarantine, on_stranger: Callable[[Record], None]) -> None:
        self._live = log.live
        self._quarantine = quarantine
        self._on_stranger = on_stranger
        self._waiting: list[Batch] = []
        self._calls = self._weight = self._released = self._released_bytes = 0
        log.settle = self.settle

    @property
    def live(self) -> dict[int, Record]:
        """The records of the live blocks by address, in the order of allocation."""
        if self._waiting:
            self.settle()
        return self._live

    @property
    def waits(self) -> bool:
        """Whether there are calls that were not entered yet."""
        return bool(self._waiting)

    @property
    def is_full(self) -> bool:
        """Whether what waits is to be entered now."""
        return self._weight > _HEAVIEST or self._quarantine.is_overfull(self._released, self._released_bytes)

    @property
    def released(self) -> int:
        """How many blocks were released by the calls that wait."""
        return self._released

    def add(self, batch: Batch, releases: int, size: int) -> None:
        """Some calls, `releases` of which released `size` bytes."""
        self._waiting.append(batch)
        self._calls += len(batch)
        self._weight += batch.weight
        self._released += releases
        self._released_bytes += size

    def born(self, record: Record) -> None:
        """One block was made."""
        if self._waiting:
            self.add(Batch.of([record]), 0, 0)
        else:
            self._live[record[1]] = record

    def settle(self) -> None:
        """Enter all calls that wait."""
        if not self._waiting:
            return
        batches, self._waiting = self._waiting, []
        together = self._calls >= _FEW and self._released and self._released * _MOST_KEPT >= self._calls
        self._calls = self._weight = self._released = self._released_bytes = 0
        if not (together and self._enter_together(batches)):
            for batch in batches:
                self._enter(batch)

    def _enter(self, batch: Batch) -> None:
        live, area = self._live, batch.area
        freed: list[Entry] = []
        for word, address, start, end, release in batch.fields():
            if not release:
                live[address] = (word, address, area[start:end])
                continue
            record = live.pop(address, None)
            if record is not None:
                freed.append((record, area[start:end]))
                continue
            self._quarantine.enter(freed)
            freed = []
            self._on_stranger((word, address, area[start:end]))
        self._quarantine.enter(freed)

    def _enter_together(self, batches: list[Batch]) -> bool:
        """Enter calls whose order need not be known, as no address is made or released twice; False where one is.

        False, too, where one by one is as fast.
        """
        every = [(batch.units(), batch.releases(), batch.makes()) for batch in batches]
        made = list(chain.from_iterable([compress(units, makes) for units, _, makes in every]))
        freed = list(chain.from_iterable([compress(units, releases) for units, releases, _ in every]))
        left, live = set(made), self._live
        earlier: list[int] = []
        if len(left) < len(made):
            return False
        left.difference_update(freed)
        if (len(made) - len(left)) * _MOST_EARLIER < len(freed):
            return False
        if len(made) - len(left) < len(freed):
            before = set(freed).difference(made)
            earlier = [address for batch in batches for address in batch.released_at(before)]
            if len(made) - len(left) + len(before) < len(freed) or not all(address in live for address in earlier):
                return False
        self._quarantine.enter_era(batches, {address: live.pop(address) for address in earlier})
        if left:
            for batch, (units, _, _) in zip(batches, every, strict=True):
                if not left.isdisjoint(units):
                    live.update({record[1]: record for record in batch.made(left)})
        return True
