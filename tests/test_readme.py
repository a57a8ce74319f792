"""The documentation's commands are run and their output is compared; `pytest --update-golden` writes what comes now.

In a ```console block a line that starts with `$ ` is a command, run from the project's root, and the lines after it are
what it prints. ```sh blocks are for the reader alone; of those only the names of make's targets are checked.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)(?:#[^)\s]*)?\)")
PROMPT = "$ "
MARK = "\x1e"

# What differs between machines that are both right: where libraries lie, and the lines of their sources.
SCRUBS = (
    (re.compile(re.escape(str(ROOT))), "."),
    (re.compile(r"/(?:usr/)?lib(?:64)?/(?:x86_64-linux-gnu/)?(lib[\w+.-]+)"), r"LIB/\1"),
    (re.compile(r"\((?:in LIB/libc[\w.]*|(?:string|libio|malloc|stdlib)/[\w/.]+:\d+)\)"), "(LIBC)"),
    (re.compile(r"\b__(?=strdup\b)"), ""),
)


def scrubbed(text: str) -> str:
    for pattern, replacement in SCRUBS:
        text = pattern.sub(replacement, text)
    return text


def commands(block: str) -> list[str]:
    return [line.removeprefix(PROMPT) for line in block.splitlines() if line.startswith(PROMPT)]


def transcript(block: str) -> str:
    """The block as it would look now: its commands run in one shell, each followed by what it printed."""
    # The mark keeps $? as it was for the next command.
    script = "\n".join(f"{command}\nstatus=$?; printf '{MARK}'; (exit $status)" for command in commands(block))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": os.environ.get("HOME", "/"), "LC_ALL": "C", "NO_COLOR": "1", "COLUMNS": "100"}
    if "PYTHONPATH" in os.environ:  # it may say which tree is tested
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
        check=False,
    )
    outputs = done.stdout.decode().split(MARK)
    pairs = zip(commands(block), outputs, strict=False)
    return "".join(f"{PROMPT}{command}\n{output}" for command, output in pairs)


def cases() -> Iterator[object]:
    for page in PAGES:
        for number, _ in enumerate(CONSOLE.finditer(page.read_text(encoding="utf-8")), 1):
            yield pytest.param(page, number, id=f"{page.stem}-{number}")


@pytest.mark.skipif(sys.platform != "linux", reason="the examples need a Linux libc")
@pytest.mark.parametrize(("page", "number"), list(cases()))
def test_what_a_page_shows_is_what_happens(page: Path, number: int, request: pytest.FixtureRequest) -> None:
    text = page.read_text(encoding="utf-8")
    match = list(CONSOLE.finditer(text))[number - 1]
    if "gcc " in match[1] and shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    shown, now = match[1], transcript(match[1])
    if request.config.getoption("--update-golden") and scrubbed(shown) != scrubbed(now):
        page.write_text(text[: match.start(1)] + now + text[match.end(1) :], encoding="utf-8")
    assert scrubbed(shown) == scrubbed(now), f"{page.name}: pytest --update-golden writes what comes now"


def test_the_readme_shows_something() -> None:
    shown = [command for _, command in every_command() if command.startswith("emuleak run ")]
    assert len(shown) >= 5


def every_command() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        for match in CONSOLE.finditer(page.read_text(encoding="utf-8")):
            for command in commands(match[1]):
                yield page, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_target_of_make_exists(page: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    text = page.read_text(encoding="utf-8")
    shell = "\n".join(SHELL.findall(text))
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"^make ([a-z-]+)", shell, re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert named <= targets


def test_a_changed_output_is_noticed() -> None:
    block = "$ echo one\none\n$ (exit 3)\n$ echo $?\n3\n"
    assert transcript(block) == block
    assert transcript(block.replace("one\n$", "two\n$", 1)) == block
