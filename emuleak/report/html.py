"""The report as one HTML file that needs nothing else: no network, no fonts, no scripts but its own.

Names and lines of source come from a program that may be hostile. Every value is escaped by the template engine, what
a browser would obey or hide is made visible before that, and a content security policy names the one script and the one
style sheet by their hashes: anything else that got in would be inert.
"""

import base64
import functools
import hashlib
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple, TextIO

import msgspec
from msgspec import UNSET

from emuleak.report.calltree import LEAK_CATEGORIES, call_tree
from emuleak.report.card import card, category, kind_name, kind_of, stack_view
from emuleak.report.chart import chart
from emuleak.report.document import Finding, Report
from emuleak.report.entries import Entry, leak_entries, misuse_entries
from emuleak.report.paper import clean
from emuleak.report.source import Sources
from emuleak.report.stacktext import here, short_path
from emuleak.report.summary import ending_text
from emuleak.report.verdict import (
    FAIL_ON_DEFAULT,
    LEAK_KINDS,
    amount,
    counting,
    is_leak,
    leak_kind,
    number,
    sentence,
    totals,
)

if TYPE_CHECKING:
    from jinja2 import Environment

GROUP_ABOVE = 500
MAX_CARDS = 1000
MAX_CARD_BYTES = 8_000_000
_OPEN_CARDS = 20  # further down the stacks are folded
_CHUNK = 256  # pieces of the template that are written at once

CATEGORY_NAMES: dict[str, str] = {
    **{kind: kind.replace("-", " ") for kind in LEAK_KINDS},
    "library": "kept by libraries",
}
_QUOTED = re.compile("`([^`]+)`")
_SCRIPTS = ("filters.js", "flame.js", "page.js")


class Html(msgspec.Struct, frozen=True, kw_only=True):
    """The writer `html`.

    `fail_on` says which findings count. Paths below `cwd` (None: the working directory) are shortened; `sources` says
    which files may be quoted.
    """

    fail_on: frozenset[str] = FAIL_ON_DEFAULT
    cwd: str | None = None
    sources: Sources | None = None

    def write(self, report: Report, out: TextIO) -> None:
        """Write the page, piece by piece: only one finding at a time exists as HTML."""
        cwd, sources = self.cwd or here(), self.sources or Sources()
        environment = _environment()
        entries = _entries(report.findings)
        stream = environment.get_template("page.html").stream(
            mood=self._mood(report),
            crash=stack_view("Crashed here", report.exit.stack, cwd, sources) if report.exit.stack else None,
            program=short_path(report.program, cwd),
            entries=entries,
            cards=Cards(environment, entries, cwd, sources),
            tree=call_tree(report.findings, _ordinals(entries), cwd),
            **_facts(report),
            **_parts(),
        )
        stream.enable_buffering(_CHUNK)
        out.writelines(stream)

    def _mood(self, report: Report) -> str:
        """The colour of the verdict."""
        if any(counting(report, self.fail_on)):
            return "bad"
        return "warn" if report.exit.code is None or report.incomplete else "good"


def _facts(report: Report) -> dict[str, object]:
    """What follows from the report alone."""
    return {
        "report": report,
        "name": posixpath.basename(report.program) or report.program,
        "verdict": sentence(report).removeprefix("emuleak: "),
        "ending": ending_text(report.exit),
        "sums": totals(report.findings),
        "kinds": _kinds(report.findings),
        "owners": sorted({finding.owner for finding in report.findings}, reverse=True),
        "chart": chart(report.growth) if report.growth else None,
        "categories": [(key, CATEGORY_NAMES[key]) for key in LEAK_CATEGORIES],
    }


def _parts() -> dict[str, object]:
    """The style sheet and the script, and what the policy must know of them."""
    style, script = _asset("page.css"), "".join(map(_asset, _SCRIPTS))
    return {"style": style, "script": script, "style_hash": _csp_hash(style), "script_hash": _csp_hash(script)}


class Kind(NamedTuple):
    """A kind of findings that the page can filter by."""

    key: str
    name: str
    category: str
    findings: int


class Cards:
    """Makes the cards one after the other until there are enough; the rest is counted.

    `hidden` is complete only when the iteration is over.
    """

    def __init__(self, environment: "Environment", entries: Sequence[Entry], cwd: str | None, sources: Sources) -> None:
        self._template = environment.get_template("card.html")
        self._entries = entries
        self._cwd = cwd
        self._sources = sources
        self.hidden: Sequence[Entry] = ()

    def __iter__(self) -> Iterator[str]:
        written = 0
        for index, entry in enumerate(self._entries):
            if index == MAX_CARDS or written > MAX_CARD_BYTES:
                self.hidden = self._entries[index:]
                return
            shown = card(index + 1, entry, self._cwd, self._sources)
            text = self._template.render(card=shown, open=index < _OPEN_CARDS)
            written += len(text.encode())
            yield text

    def hidden_text(self) -> str:
        """What was not listed: `98,000 more findings (784,000 bytes in 98,000 blocks)`."""
        leaks = [entry for entry in self.hidden if is_leak(entry.finding)]
        findings = number(sum(entry.findings for entry in self.hidden), "more finding")
        if not leaks:
            return findings
        size, blocks = sum(entry.bytes for entry in leaks), sum(entry.blocks for entry in leaks)
        return f"{findings} ({amount(size, blocks)})"


def _entries(findings: Sequence[Finding]) -> list[Entry]:
    """The most important first: misuse as it happened, the program's leaks by kind; then what is no news."""
    entries: list[Entry] = []
    own = [finding for finding in findings if not is_leak(finding) or finding.owner == "program"]
    for known in (False, True):
        part = [finding for finding in own if (finding.baseline == "known") is known]
        entries += misuse_entries(finding for finding in part if not is_leak(finding))
        entries += leak_entries((finding for finding in part if is_leak(finding)), GROUP_ABOVE)
    return entries + leak_entries((f for f in findings if is_leak(f) and f.owner == "library"), GROUP_ABOVE)


def _ordinals(entries: Sequence[Entry]) -> dict[int, int]:
    """The numbers of the findings that have a card of their own, by their `id`."""
    return {id(entry.finding): ordinal for ordinal, entry in enumerate(entries[:MAX_CARDS], 1)}


def _kinds(findings: Sequence[Finding]) -> list[Kind]:
    """The kinds that occur, leaks after misuse."""
    found = Counter(kind_of(finding) for finding in findings)
    categories = {kind_of(finding): category(finding) for finding in findings if not is_leak(finding)}
    categories |= {leak_kind(finding): leak_kind(finding) for finding in findings if is_leak(finding)}
    order = [*(kind for kind in found if kind not in LEAK_KINDS), *LEAK_KINDS]
    return [Kind(kind, kind_name(kind), categories[kind], found[kind]) for kind in order if kind in found]


# -- the page's parts


@functools.cache
def _environment() -> "Environment":
    # Only this format pays for the import.
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415
    from markupsafe import Markup, escape  # noqa: PLC0415

    environment = Environment(
        loader=PackageLoader("emuleak.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["prose"] = lambda text: Markup(_QUOTED.sub(r"<code>\1</code>", str(escape(clean(text)))))
    environment.filters["amount"] = lambda total: amount(total.bytes, total.blocks)
    environment.filters["count"] = number
    environment.tests["unset"] = lambda value: value is UNSET
    return environment


def _visible(value: object) -> object:
    """Every plain string on its way into the page; what the templates marked as safe is ours."""
    return clean(value) if type(value) is str else value


@functools.cache
def _asset(name: str) -> str:
    return (resources.files("emuleak.report") / "page" / name).read_text(encoding="utf-8")


def _csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
