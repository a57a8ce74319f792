"""The report as SARIF 2.1.0, which code-scanning services and editors show beside the source.

What a library keeps for itself is left out: services open an alert for every result, also for a suppressed one or one
of level `none`, and nobody could repair it. Paths are relative to SRCROOT, whose place is not told: the reader puts
the root of the checkout there, and a report says the same on every machine.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

import msgspec
from msgspec import UNSET

from emuleak._version import __version__
from emuleak.report.document import Exit, Finding, Frame, Report
from emuleak.report.entries import Entry, leak_entries, misuse_entries
from emuleak.report.findingtext import heading
from emuleak.report.fingerprint import fingerprints
from emuleak.report.json import indented
from emuleak.report.paper import clean
from emuleak.report.sarif_places import ROOT, Object, artifact, location, program, stack
from emuleak.report.sarif_rules import rule_of
from emuleak.report.stacktext import here, own_frame
from emuleak.report.summary import ending_text
from emuleak.report.verdict import FAIL_ON_DEFAULT, LEAK_KINDS, MISUSE_KINDS, counts, is_leak, leak_kind, signal_name

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_BASELINE_STATES = {"new": "new", "grown": "updated", "changed": "updated", "known": "unchanged"}


class Sarif(msgspec.Struct, frozen=True, kw_only=True):
    """The writer `sarif`.

    A finding that counts is an `error`, any other that is lost or misused a `warning`; with `show_reachable`, what is
    still reachable is a `note`. `fail_on` says what counts. Paths below `cwd` (None: the working directory) become
    relative.
    """

    show_reachable: bool = False
    fail_on: frozenset[str] = FAIL_ON_DEFAULT
    cwd: str | None = None

    def write(self, report: Report, out: TextIO) -> None:
        """Write the document: one result at a time, each on a line of its own."""
        cwd = self.cwd or here()
        entries = _entries([finding for finding in report.findings if self._listed(finding)])
        rules = _rules(entry.finding for entry in entries)
        out.write(f'{{\n  "$schema": "{SCHEMA}",\n  "version": "2.1.0",\n  "runs": [\n    {{\n')
        out.writelines(f'      "{name}": {indented(value, depth=3)},\n' for name, value in _head(report, rules, cwd))
        out.write('      "results": [')
        separator, end = "\n        ", "]"
        names = fingerprints([entry.finding for entry in entries])
        for entry, name in zip(entries, names, strict=True):
            result = _result(entry, rules, self._level(entry.finding), name, report.program, cwd)
            out.write(separator + msgspec.json.encode(result).decode())
            separator, end = ",\n        ", "\n      ]"
        out.write(f"{end}\n    }}\n  ]\n}}\n")

    def _listed(self, finding: Finding) -> bool:
        if is_leak(finding) and finding.owner == "library":
            return False
        return self._level(finding) != "note" or self.show_reachable

    def _level(self, finding: Finding) -> str:
        if counts(finding, self.fail_on):
            return "error"
        return "note" if _rule_id(finding) == "still-reachable" else "warning"


def _entries(findings: Sequence[Finding]) -> list[Entry]:
    """The findings in the order of the text report; the same mistake from the same stacks is one result."""
    misuse = misuse_entries(finding for finding in findings if not is_leak(finding))
    return misuse + leak_entries(filter(is_leak, findings), group_above=len(findings))


def _rule_id(finding: Finding) -> str:
    return leak_kind(finding) if is_leak(finding) else clean(finding.kind)


def _rules(findings: Iterable[Finding]) -> dict[str, int]:
    """The rules that have a result, leaks first, and where each stands in the table of rules."""
    used = {_rule_id(finding) for finding in findings}
    known = [kind for kind in (*LEAK_KINDS, *MISUSE_KINDS) if kind in used]
    return {kind: index for index, kind in enumerate(known + sorted(used.difference(known)))}


# ---- the run


def _head(report: Report, rules: Iterable[str], cwd: str | None) -> Iterator[tuple[str, object]]:
    driver = {"name": "emuleak", "version": __version__, "rules": [_descriptor(kind) for kind in rules]}
    yield "tool", {"driver": driver}
    # Code scanning replaces the results of an earlier run with this id, and leaves those of other programs.
    yield "automationDetails", {"id": f"emuleak/{clean(report.program.rpartition('/')[2])}/"}
    yield "invocations", [_invocation(report, cwd)]
    yield "originalUriBaseIds", {ROOT: {"description": {"text": "The directory in which emuleak was started."}}}
    suppressed = {} if report.suppressed is UNSET else {"suppressed": report.suppressed}
    yield "properties", {"heap": report.heap, **suppressed}


def _descriptor(kind: str) -> Object:
    rule = rule_of(kind)
    return {
        "id": kind,
        "name": "".join(word.capitalize() for word in kind.split("-")),
        "shortDescription": {"text": f"{rule.short}."},
        "fullDescription": {"text": rule.full},
        "help": {"text": rule.help},
        "properties": {"tags": ["memory", *([f"external/cwe/cwe-{rule.cwe}"] if rule.cwe else [])]},
    }


def _invocation(report: Report, cwd: str | None) -> Object:
    """How the program ended; `executionSuccessful` says whether emuleak could watch it to its end."""
    exit_ = report.exit
    told: Object = {
        "executionSuccessful": exit_.stopped is UNSET,
        "arguments": [clean(argument) for argument in report.arguments],
        "executableLocation": artifact(report.program, cwd),
    }
    if exit_.code is not None:
        told["exitCode"] = exit_.code
    if exit_.signal is not None:
        told |= {"exitSignalNumber": exit_.signal, "exitSignalName": signal_name(exit_)}
    told["toolExecutionNotifications"] = [
        *_ending(exit_, cwd),
        *({"level": "warning", "message": {"text": f"incomplete: {clean(text)}"}} for text in report.incomplete),
        *({"level": "note", "message": {"text": clean(text)}} for text in report.remarks or ()),
    ]
    return told


def _ending(exit_: Exit, cwd: str | None) -> Iterator[Object]:
    """A note on a program that did not end by itself, at the line where it was."""
    if exit_.stopped is UNSET and exit_.signal is None:
        return
    note: Object = {"level": "error", "message": {"text": clean(ending_text(exit_))}}
    frame = None if exit_.stack is UNSET else own_frame(exit_.stack)
    yield note | ({"locations": [location(frame, cwd)]} if frame is not None else {})


# ---- its results


def _result(entry: Entry, rules: dict[str, int], level: str, name: str, path: str, cwd: str | None) -> Object:
    finding = entry.finding
    rule = _rule_id(finding)
    frame = own_frame(finding.stack)
    related = _related(finding)
    return {
        "ruleId": rule,
        "ruleIndex": rules[rule],
        "level": level,
        "message": {"text": _message(entry, related)},
        "locations": [program(path, cwd) if frame is None else location(frame, cwd)],
        "relatedLocations": [
            {"id": number, **location(there, cwd), "message": {"text": f"{word} here"}}
            for number, (word, there) in enumerate(related, 1)
        ],
        "stacks": list(_stacks(finding, cwd)),
        "occurrenceCount": entry.findings,
        # The second is the only one that GitHub compares; without it two leaks of one line would be one alert.
        "partialFingerprints": {"emuleakFingerprint/v1": name, "primaryLocationLineHash": name},
        "properties": {"bytes": entry.bytes, "blocks": entry.blocks},
        **({} if finding.baseline is UNSET else {"baselineState": _BASELINE_STATES[finding.baseline]}),
    }


def _related(finding: Finding) -> list[tuple[str, Frame]]:
    """Where the block of a misuse was allocated and freed, if there is a line to show."""
    stacks = ("allocated", finding.allocated), ("freed", finding.freed)
    frames = ((word, own_frame(stack)) for word, stack in stacks)
    return [(word, frame) for word, frame in frames if frame is not None and frame.file is not None]


def _message(entry: Entry, related: Sequence[tuple[str, Frame]]) -> str:
    """The heading and the reason; viewers show a related location only where the text links to it."""
    title, rest, _ = heading(entry)
    words = [_plain(f"{title}: {rest}." if rest else f"{title}."), _plain(clean(entry.finding.why))]
    links = [f"[{word} here]({number})" for number, (word, _) in enumerate(related, 1)]
    if links:
        words.append(f"The block was {' and '.join(links)}.")
    return " ".join(filter(None, words))


def _plain(text: str) -> str:
    """Text in which nothing is taken for a link (SARIF 2.1.0, 3.11.6)."""
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")


def _stacks(finding: Finding, cwd: str | None) -> Iterator[Object]:
    own = "allocated here" if is_leak(finding) else "happened here"
    for text, frames in ((own, finding.stack), ("allocated here", finding.allocated), ("freed here", finding.freed)):
        if frames:
            yield stack(frames, text, cwd)
