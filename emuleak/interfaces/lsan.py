"""LeakSanitizer's interface (sanitizer/lsan_interface.h), as a program sees it that is linked with LeakSanitizer."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from msgspec import UNSET

from emuleak.batch import Batch
from emuleak.errors import BadOption
from emuleak.events import SIZE_MASK, Call, Log, Record, Stack
from emuleak.findings.declared import ignored_records
from emuleak.hooks.functions import Function
from emuleak.interfaces.guest import Guest
from emuleak.interfaces.guestcalls import GuestCalls
from emuleak.interfaces.leakcheck import LeakChecks, is_loss
from emuleak.memory import Fault
from emuleak.report.document import Finding, Report, Suppressed
from emuleak.report.verdict import STATUS_FOUND, counts

_TURNED_OFF: Final = "__lsan_is_turned_off"
_SUPPRESSIONS: Final = "__lsan_default_suppressions"
_CHECKED: Final = "__lsan_do_leak_check found no leak, and none is looked for after it"


class LeakSanitizer:
    """Serves the functions; what the program says by those that it defines itself is asked when it has ended."""

    def __init__(self, guest: Guest, checks: LeakChecks, calls: GuestCalls) -> None:
        self._guest = guest
        self._checks = checks
        self._calls = calls
        self._off: dict[int, int] = {}  # how often each thread has said so
        self._checked = False
        self._complaints: list[str] = []
        self._ledger = _Watch(guest, self._off)

    def copy_for(self, guest: Guest, checks: LeakChecks, calls: GuestCalls, thread: int) -> "LeakSanitizer":
        """The interface of a process that `thread` forked: it is thread 0 there."""
        copy = LeakSanitizer(guest, checks, calls)
        copy._checked = self._checked
        if thread in self._off:
            copy._off[0] = self._off[thread]
            guest.gate.ledger = copy._ledger
        return copy

    def functions(self) -> dict[str, Function]:
        """What the guest can call."""
        return {
            "__lsan_disable": self._disable,
            "__lsan_enable": self._enable,
            "__lsan_ignore_object": self._ignore_object,
            "__lsan_register_root_region": self._register_root_region,
            "__lsan_unregister_root_region": self._unregister_root_region,
            "__lsan_do_leak_check": self._do_leak_check,
            "__lsan_do_recoverable_leak_check": self._do_recoverable_leak_check,
        }

    # ---- what it calls

    def _disable(self, _first: int, _second: int) -> None:
        self._guest.gate.drain()
        self._off[self._guest.thread] = self._off.get(self._guest.thread, 0) + 1
        self._guest.gate.ledger = self._ledger

    def _enable(self, _first: int, _second: int) -> None:
        thread = self._guest.thread
        if thread not in self._off:
            self._guest.kernel.note("__lsan_enable without __lsan_disable: LeakSanitizer would end the program")
            return
        self._guest.gate.drain()
        self._off[thread] -= 1
        if not self._off[thread]:
            del self._off[thread]
        if not self._off:
            self._guest.gate.ledger = self._guest.heap

    def _ignore_object(self, pointer: int, _second: int) -> None:
        self._guest.gate.drain()
        log = self._guest.heap.log
        found = _around(log, pointer)
        if found is not None:
            log.declared.ignored.setdefault(found[1], (found, "__lsan_ignore_object"))

    def _register_root_region(self, start: int, size: int) -> None:
        self._guest.heap.log.declared.regions.append((start + 7 & -8, start + size & -8))

    def _unregister_root_region(self, start: int, size: int) -> None:
        regions, region = self._guest.heap.log.declared.regions, (start + 7 & -8, start + size & -8)
        if region in regions:
            regions.remove(region)
        else:
            self._guest.kernel.note(
                "__lsan_unregister_root_region of what is none: LeakSanitizer would end the program"
            )

    def _do_leak_check(self, _first: int, _second: int) -> None:
        if self._checked:
            return
        self._guest.gate.drain()
        if _has_leaks(self._checks.look()):
            # The report of the run will say it: what is left now is what will be left then.
            self._guest.kernel.end(code=STATUS_FOUND)
        else:
            self._checked = True

    def _do_recoverable_leak_check(self, _first: int, _second: int) -> int:
        self._guest.gate.drain()
        return int(_has_leaks(self._checks.check(self._guest.caller())))

    # ---- what it defines, and what comes of all this for the report

    def applied(self, report: Report) -> Report:
        """The report of the run without what the program does not want to hear of; that is only counted."""
        self._complaints.clear()
        report = self._without_ignored(report)
        text = self._default_suppressions()
        if text is not None:
            report = self._suppressed(report, text)
        if self._checked:
            report = _without_losses(report, _CHECKED)
        elif self._asked(_TURNED_OFF) & 0xFFFF_FFFF:
            report = _without_losses(report, f"{_TURNED_OFF} says so")
        if self._complaints:
            report = msgspec.structs.replace(report, incomplete=(*report.incomplete, *self._complaints))
        return report

    def _without_ignored(self, report: Report) -> Report:
        by: dict[str, list[Record]] = {}
        for record, why in ignored_records(self._guest.heap.log):
            by.setdefault(why, []).append(record)
        return _kept_out(report, [_sum(why, records) for why, records in by.items()])

    def _default_suppressions(self) -> str | None:
        address = self._asked(_SUPPRESSIONS)
        try:
            return self._guest.memory.cstring(address).decode("utf-8", "surrogateescape") if address else None
        except Fault:
            self._complaints.append(f"{_SUPPRESSIONS} returned {address:#x}, where there is no text")
            return None

    def _suppressed(self, report: Report, text: str) -> Report:
        from emuleak.findings.suppression_file import parse_suppressions  # noqa: PLC0415 - few programs define this
        from emuleak.report.selection import select  # noqa: PLC0415

        try:
            known = parse_suppressions(text, _SUPPRESSIONS)
        except BadOption as error:
            self._complaints.append(str(error))
            return report
        if not known:
            return report
        symbolizer = self._guest.symbolizer()
        try:
            less = select(report, known, (), symbolizer.symbol_names)
        finally:
            symbolizer.close()
        found = () if less.suppressed is UNSET else less.suppressed
        # Of the program's own suppressions some have no use in most runs: these are not told.
        original = msgspec.structs.replace(report, findings=less.findings)
        return _kept_out(
            original, [msgspec.structs.replace(one, name=f"{one.name} ({_SUPPRESSIONS})") for one in found]
        )

    def _asked(self, name: str) -> int:
        """What the program's own function returns; 0 if it has none."""
        places = (module.address_of(name) for module in self._guest.process.modules)
        function = next((place for place in places if place is not None), None)
        if function is None:
            return 0
        answer = self._calls.after_end(function)
        if answer is None:
            self._complaints.append(f"{name} did not return: it counts for nothing")
        return answer or 0


class _Watch:
    """The ledger while a thread has LeakSanitizer off: what that thread allocates is not to be looked for."""

    def __init__(self, guest: Guest, off: dict[int, int]) -> None:
        self._heap = guest.heap
        self._off = off

    def handle(self, call: Call) -> int:
        """See Ledger."""
        log = self._heap.log
        before = log.counts.allocs
        result = self._heap.handle(call)
        if log.counts.allocs > before and call.thread in self._off and log.live:
            self._ignore(next(reversed(log.live.values())))
        return result

    def take(self, batch: Batch) -> None:
        """See Ledger."""
        self._heap.take(batch)
        live = self._heap.log.live
        for call in batch.calls():
            if live.get(call[1]) == call and call[0] >> 40 & 0xFFFF in self._off:
                self._ignore(call)

    def reserve(self, size: int, count: int) -> Sequence[int]:
        """See Ledger."""
        return self._heap.reserve(size, count)

    def _ignore(self, record: Record) -> None:
        self._heap.log.declared.ignored[record[1]] = (record, "__lsan_disable")


def _around(log: Log, pointer: int) -> Record | None:
    """The live block that holds an address."""
    exact = log.declared.blocks.get(pointer) or log.live.get(pointer)
    if exact is not None:
        return exact
    every = (*log.declared.blocks.values(), *log.live.values())
    return next((record for record in every if 0 <= pointer - record[1] < record[0] & SIZE_MASK), None)


def _has_leaks(report: Report) -> bool:
    return any(is_loss(finding) and counts(finding) for finding in report.findings)


def _sum(name: str, records: Iterable[Record]) -> Suppressed:
    sizes = [record[0] & SIZE_MASK for record in records]
    stacks: set[Stack] = {record[2] for record in records}
    return Suppressed(name=name, findings=len(stacks), bytes=sum(sizes), blocks=len(sizes))


def _kept_out(report: Report, more: Sequence[Suppressed]) -> Report:
    if not more:
        return report
    known = () if report.suppressed is UNSET else report.suppressed
    return msgspec.structs.replace(report, suppressed=(*known, *more))


def _without_losses(report: Report, why: str) -> Report:
    lost: list[Finding] = [finding for finding in report.findings if is_loss(finding)]
    if not lost:
        return report
    size, blocks = sum(finding.bytes for finding in lost), sum(finding.blocks for finding in lost)
    left = tuple(finding for finding in report.findings if not is_loss(finding))
    out = Suppressed(name=why, findings=len(lost), bytes=size, blocks=blocks)
    return _kept_out(msgspec.structs.replace(report, findings=left), [out])
