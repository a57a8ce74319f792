"""Which finding of one report is which in another.

Findings of one fingerprint at the same lines are one Defect: recursion at several depths, a block definitely and one
possibly lost. Of one site, that is in the same function and by the same calls, there can be several places, and only
their lines and sizes say which is which after an edit. An edit keeps the order of what it does not touch, and moves
neighbours by the same number of lines. So of all ways to pair the places in their order, the one is taken in which most
have blocks of the size they had and most neighbours are moved alike. At one place defects meet by their fingerprint,
what is left there by the place alone: the same block, lost in another way.

A consequence: one leak repaired and another one of the same size made in the same function, reached by the same calls,
pass for one leak that has moved. Reports hold no source from which more could be known.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple, Optional

import msgspec

from emuleak.report.document import Finding, Report
from emuleak.report.fingerprint import fingerprint_at, place
from emuleak.report.verdict import LEAK_KINDS, is_leak, leak_kind

# What speaks for two places being one: that they are of one site at all, the size of blocks, a neighbour moved alike.
_PAIRED, _ALIKE, _NEIGHBOUR = 2, 3, 2
# More combinations than this are not weighed: the places are paired where lines are equal, then one after the other.
_MOST: Final = 1 << 18

_Lines = tuple[int, ...]
_Places = dict[_Lines, list["Defect"]]


class Defect(msgspec.Struct, frozen=True):
    """All findings of a report at one place. `indices` are theirs in the report; `finding` is the worst of them."""

    fingerprint: str
    site: str
    lines: tuple[int, ...]
    finding: Finding
    indices: tuple[int, ...]
    bytes: int
    blocks: int


class Pair(msgspec.Struct, frozen=True):
    """A defect in two reports; one of the two is None when it is new or gone."""

    old: Defect | None
    new: Defect | None


def defects(report: Report) -> list[Defect]:
    """The program's defects in the order of the report. What libraries keep for themselves is none."""
    merged: dict[tuple[str, _Lines], list[int]] = {}
    sites: dict[str, str] = {}
    for index, finding in enumerate(report.findings):
        if finding.owner == "library":
            continue
        where = place(finding)
        name = fingerprint_at(finding, where.site)
        sites[name] = where.site
        merged.setdefault((name, where.lines), []).append(index)
    return [
        _defect(name, sites[name], lines, [(index, report.findings[index]) for index in indices])
        for (name, lines), indices in merged.items()
    ]


def _defect(name: str, site: str, lines: tuple[int, ...], members: Sequence[tuple[int, Finding]]) -> Defect:
    findings = [finding for _, finding in members]
    worst = min(findings, key=lambda finding: (_severity(finding), -finding.bytes)) if is_leak(findings[0]) else None
    return Defect(
        fingerprint=name,
        site=site,
        lines=lines,
        finding=worst or findings[0],
        indices=tuple(index for index, _ in members),
        bytes=sum(finding.bytes for finding in findings),
        blocks=sum(finding.blocks for finding in findings),
    )


def _severity(finding: Finding) -> int:
    return LEAK_KINDS.index(leak_kind(finding))


def pairs(old: Report, new: Report) -> list[Pair]:
    """Every defect of both reports exactly once: those of the new one in its order, then those that are gone."""
    old_defects, new_defects = defects(old), defects(new)
    old_sites, new_sites = _sites(old_defects), _sites(new_defects)
    partner: dict[int, Defect] = {}  # by the identity of the new report's defect
    for site in old_sites.keys() & new_sites.keys():
        olds, news = old_sites[site], new_sites[site]
        for here, there in aligned(olds, news):
            for one, other in _meeting(olds[here], news[there]):
                partner[id(other)] = one
    paired = {id(defect) for defect in partner.values()}
    return [
        *(Pair(partner.get(id(defect)), defect) for defect in new_defects),
        *(Pair(defect, None) for defect in old_defects if id(defect) not in paired),
    ]


def _sites(all_: Sequence[Defect]) -> dict[str, _Places]:
    sites: dict[str, _Places] = {}
    for defect in all_:
        sites.setdefault(defect.site, {}).setdefault(defect.lines, []).append(defect)
    return sites


def _meeting(olds: Sequence[Defect], news: Sequence[Defect]) -> Iterator[tuple[Defect, Defect]]:
    """The defects of one place in pairs: of one fingerprint first, then the worst with the worst."""
    named = {defect.fingerprint: defect for defect in olds}
    common = named.keys() & {defect.fingerprint for defect in news}
    yield from ((named[defect.fingerprint], defect) for defect in news if defect.fingerprint in common)
    left, right = (
        sorted((defect for defect in side if defect.fingerprint not in common), key=_by_severity)
        for side in (olds, news)
    )
    yield from zip(left, right, strict=False)


def _by_severity(defect: Defect) -> int:
    return _severity(defect.finding)


# ---- the places of one site


class _Chain(NamedTuple):
    """Pairs of places, the last first; compared by what speaks for them, then by how far they lead."""

    score: int
    nearness: int
    here: _Lines
    there: _Lines
    before: Optional["_Chain"]

    @property
    def rank(self) -> tuple[int, int]:
        return self.score, self.nearness


def aligned(olds: _Places, news: _Places) -> Iterator[tuple[_Lines, _Lines]]:
    """Pair the places of one site in two reports; some of both may stay alone."""
    left, right = sorted(olds), sorted(news)
    if len(left) * len(right) > _MOST:
        yield from _in_order(left, right)
        return
    chain = _best_chain(olds, news, left, right)
    while chain is not None:
        yield chain.here, chain.there
        chain = chain.before


def _best_chain(olds: _Places, news: _Places, left: Sequence[_Lines], right: Sequence[_Lines]) -> _Chain | None:
    """The best way to pair places in their order: for each pair the best chain that ends there, from what came before.

    A shift keeps the order of lines, so the last pair that was moved by it is always before this one.
    """
    ending: list[_Chain | None] = [None] * (len(right) + 1)  # by column: the best that ends above and to the left of it
    moved: dict[_Lines, _Chain] = {}
    for here in left:
        row = []
        for column, there in enumerate(right):
            shift = tuple(after - before for before, after in zip(here, there, strict=True))
            own = _PAIRED + _ALIKE * _alike(olds[here], news[there])
            chain = _longer(ending[column], moved.get(shift), shift, own, (here, there))
            moved[shift] = chain
            row.append(chain)
        best = None
        for column, chain in enumerate(row, start=1):
            best = _better(best, chain)
            ending[column] = _better(ending[column], best)
    return ending[-1]


def _longer(
    any_: _Chain | None, same_shift: _Chain | None, shift: _Lines, own: int, pair: tuple[_Lines, _Lines]
) -> _Chain:
    """The chain that this pair makes, with the better of the two that it can continue."""
    distance = sum(map(abs, shift))
    still = _NEIGHBOUR if distance == 0 else 0
    apart = _Chain(own + still, -distance, *pair, None)
    if any_ is not None:
        apart = _Chain(any_.score + own + still, any_.nearness - distance, *pair, any_)
    if same_shift is None:
        return apart
    together = _Chain(same_shift.score + own + _NEIGHBOUR, same_shift.nearness - distance, *pair, same_shift)
    return together if together.rank >= apart.rank else apart


def _better(one: _Chain | None, other: _Chain | None) -> _Chain | None:
    if one is None or other is None:
        return one or other
    return other if other.rank > one.rank else one


def _alike(olds: Sequence[Defect], news: Sequence[Defect]) -> bool:
    """Whether a defect is of one fingerprint here and there, with blocks of one size in the mean."""
    sizes = {one.fingerprint: one for one in olds}
    return any(
        other.fingerprint in sizes
        and sizes[other.fingerprint].bytes * other.blocks == other.bytes * sizes[other.fingerprint].blocks
        for other in news
    )


def _in_order(left: Sequence[_Lines], right: Sequence[_Lines]) -> Iterator[tuple[_Lines, _Lines]]:
    common = set(left).intersection(right)
    yield from ((lines, lines) for lines in sorted(common))
    rest = ([lines for lines in side if lines not in common] for side in (left, right))
    yield from zip(*rest, strict=False)
