"""`--baseline`: a run fails only for what an older report does not know. Imported when it is given, and by `diff`."""

from collections.abc import Callable

from emuleak.errors import BadOption
from emuleak.report import verdict
from emuleak.report.difference import against
from emuleak.report.document import Report
from emuleak.report.json import read

NEW = "new"


def comparison(file: str) -> Callable[[Report], Report]:
    """What marks a report's findings by whether the report in `file` knows them. Raises BadOption for a bad file."""
    baseline = read(file)
    return lambda report: against(baseline, file, report)


def counting(fail_on: str | None) -> frozenset[str]:
    """The value of `--fail-on` where only what is new counts anyway: `new` says just that. Raises BadOption."""
    if fail_on is None:
        return verdict.FAIL_ON_DEFAULT
    words = [word for part in fail_on.split(",") if (word := part.strip())]
    if not words:
        raise BadOption("--fail-on: no kinds given; 'none' lets nothing count")
    kinds = [word for word in words if word != NEW]
    return verdict.parse_fail_on(",".join(kinds)) if kinds else verdict.FAIL_ON_DEFAULT
