"""The examples: what is kept in examples/bin was built from examples/src, anywhere, and shows what it is there for."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from oracles import valgrind
from oracles.peers import need

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
MANIFEST = EXAMPLES / "SHA256SUMS"

# Per example: kind, bytes, blocks, and the line of its source to which the first frame with a file of ours points.
FINDINGS = {
    "article": [("definitely-lost", 64, 1, 9)],
    "double_free": [("double-free", 16, 1, 10)],
    "error_path": [("definitely-lost", 16, 1, 13), ("indirectly-lost", 6, 1, 14)],
    "loop": [("definitely-lost", 720, 9, 10)],
    "shapes": [
        ("mismatched-free", 48, 1, 27),
        ("mismatched-free", 48, 1, 27),
        ("definitely-lost", 66, 1, 22),
    ],
}
# valgrind 3.19 does not look at the size that is given to delete.
NOT_BY_VALGRIND = {("shapes", "mismatched-free")}


def digest(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix in {".c", ".cpp"}:
        data = data.replace(b"\r\n", b"\n")  # a checkout on Windows
    return hashlib.sha256(data).hexdigest()


def source_of(name: str) -> Path:
    return next((EXAMPLES / "src").glob(f"{name}.*"))


def test_the_binaries_belong_to_the_sources() -> None:
    kept = dict(re.findall(r"^([0-9a-f]{64})  (\S+)$", MANIFEST.read_text(encoding="utf-8"), re.MULTILINE))
    listed = {path: sum_ for sum_, path in kept.items()}
    files = sorted(path for folder in ("src", "bin") for path in (EXAMPLES / folder).iterdir())
    assert listed == {path.relative_to(ROOT).as_posix(): digest(path) for path in files}, "run `make examples`"


def test_every_source_has_a_binary_and_a_place_here() -> None:
    names = {path.stem for path in (EXAMPLES / "src").iterdir()}
    assert names == {path.name for path in (EXAMPLES / "bin").iterdir()} == FINDINGS.keys()


@pytest.mark.parametrize("name", FINDINGS)
def test_a_binary_tells_nothing_of_the_machine_that_built_it(name: str) -> None:
    with (EXAMPLES / "bin" / name).open("rb") as file:
        elf = ELFFile(file)
        assert elf.get_section_by_name(".interp") is not None, "dynamically linked"
        units = [unit.get_top_DIE().attributes for unit in elf.get_dwarf_info().iter_CUs()]
        strings = [elf.get_section_by_name(section).data() for section in (".debug_str", ".debug_line_str")]
    (unit,) = units
    assert unit["DW_AT_name"].value.decode() == source_of(name).relative_to(ROOT).as_posix()
    assert unit["DW_AT_comp_dir"].value == b"."
    absolute = {text for text in b"".join(strings).split(b"\0") if text.startswith(b"/")}
    assert {text for text in absolute if not text.startswith(b"/usr/")} == set()


@pytest.mark.parametrize("name", FINDINGS)
def test_an_example_shows_its_defect(name: str, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    command = [sys.executable, "-m", "emuleak", "run", "--format", "text", "--format", "json", "--output", str(output)]
    done = subprocess.run([*command, f"examples/bin/{name}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 23, done.stderr
    report = json.loads(output.read_text(encoding="utf-8"))
    source = source_of(name)
    found = []
    for finding in report["findings"]:
        if finding["owner"] == "program":
            lines = [f["line"] for f in finding["stack"] if (f["file"] or "").endswith(source.name)]
            found.append((finding.get("leak_kind", finding["kind"]), finding["bytes"], finding["blocks"], lines[0]))
    assert found == FINDINGS[name]
    assert report["incomplete"] == []
    for *_, line in found:
        text = source.read_text(encoding="utf-8").splitlines()[line - 1].strip()
        assert re.search(rf"> +{line} \| +{re.escape(text)}", done.stderr), "the text report shows the line"


@pytest.mark.peer("valgrind")
@pytest.mark.parametrize("name", FINDINGS)
def test_valgrind_says_the_same(name: str) -> None:
    said = valgrind.check(EXAMPLES / "bin" / name).by_line(source_of(name).name)
    assert {(key.leak_kind or key.kind, key.line) for key in said} == {
        (kind, line) for kind, _, _, line in FINDINGS[name] if (name, kind) not in NOT_BY_VALGRIND
    }
    sizes = {(size.bytes, size.blocks) for key, size in said.items() if key.leak_kind}
    assert sizes == {(size, blocks) for kind, size, blocks, _ in FINDINGS[name] if kind.endswith("-lost")}


@pytest.mark.peer("gcc")
def test_building_them_again_gives_the_same_bytes(tmp_path: Path) -> None:
    need("make")
    compiler = subprocess.run([need("gcc"), "--version"], capture_output=True, text=True, check=True).stdout
    if MANIFEST.read_text(encoding="utf-8").splitlines()[0] != f"# {compiler.splitlines()[0]}":
        pytest.skip("another gcc than the one that built them")
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    (tmp_path / "examples" / "SHA256SUMS").unlink()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    subprocess.run(["make", "examples"], cwd=tmp_path, env=environment, capture_output=True, check=True)
    assert (tmp_path / "examples" / "SHA256SUMS").read_bytes() == MANIFEST.read_bytes()


def test_the_demo_shows_them_all() -> None:
    command = [sys.executable, "examples/demo.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("(exit status 23)") == len(FINDINGS)
    for name in FINDINGS:
        lesson = source_of(name).read_text(encoding="utf-8").splitlines()[0].strip("/* ")
        assert f"{lesson}\n\n$ emuleak run examples/bin/{name}\n" in done.stdout
