"""What is read of an ELF file, how a damaged one is refused, and the cache that spares reading it again."""

import os
import random
import stat
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from oracles.commandline import compiled

from emuleak import elf, image_cache
from emuleak.elf import Image, read_image, read_program
from emuleak.errors import BadProgram
from emuleak.memory import EXEC, READ, WRITE

SOURCE = """
#include <stdlib.h>
#include <string.h>
int visible(void) { return 1; }
static int hidden(void) { return 2; }
int main(int argc, char **argv) { free(malloc(argc)); return visible() + hidden() + strlen(argv[0]); }
"""
NOTHING = """
.globl _start
_start: mov $60, %eax
 xor %edi, %edi
 syscall
.data
.long 1
"""
EHDR_PHOFF, EHDR_PHNUM = 32, 56


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMULEAK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return _copy(compiled(SOURCE, "-g"), tmp_path)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A static program without libc: two segments, under one page."""
    flags = ("-nostdlib", "-static", "-s", "-Wl,-z,noseparate-code", "-Wl,--build-id=none")
    return _copy(compiled(NOTHING, *flags, suffix=".S"), tmp_path)


def _copy(source: Path, directory: Path) -> Path:
    target = directory / "prog"
    target.write_bytes(source.read_bytes())
    target.chmod(0o755)
    return target


def _patch(path: Path, at: int, code: str, *values: int) -> None:
    content = bytearray(path.read_bytes())
    struct.pack_into(code, content, at, *values)
    path.write_bytes(content)


def _program_header(path: Path, kind: int) -> int:
    """Where in the file the first program header of this kind stands."""
    content = path.read_bytes()
    offset, count = struct.unpack_from("<Q", content, EHDR_PHOFF)[0], struct.unpack_from("<H", content, EHDR_PHNUM)[0]
    return next(at for at in range(offset, offset + 56 * count, 56) if struct.unpack_from("<I", content, at)[0] == kind)


# ---- what is read


def _loads(file: ELFFile) -> Iterator[tuple[int, int, int, int, int]]:
    bits = {4: READ, 2: WRITE, 1: EXEC}
    for segment in file.iter_segments("PT_LOAD"):
        prot = sum(bit for flag, bit in bits.items() if segment["p_flags"] & flag)
        yield segment["p_vaddr"], segment["p_memsz"], segment["p_offset"], segment["p_filesz"], prot


def test_an_image_says_what_another_reader_says(program: Path) -> None:
    image = read_image(str(program))
    with program.open("rb") as handle:
        file = ELFFile(handle)
        assert [(s.address, s.memory_size, s.offset, s.file_size, s.prot) for s in image.segments] == list(_loads(file))
        assert image.entry == file["e_entry"]
        assert image.program_header_count == file["e_phnum"]
        assert image.interpreter == next(file.iter_segments("PT_INTERP")).get_interp_name()
        dynamic = next(file.iter_segments("PT_DYNAMIC"))
        assert list(image.needed) == [tag.needed for tag in dynamic.iter_tags("DT_NEEDED")]
        notes = file.get_section_by_name(".note.gnu.build-id").iter_notes()
        assert image.build_id == next(notes)["n_desc"]
        symbols = {s.name: s["st_value"] for s in file.get_section_by_name(".symtab").iter_symbols()}
    assert image.functions["main"] == symbols["main"]
    assert image.functions["visible"] == symbols["visible"]
    assert "hidden" not in image.functions
    assert {"malloc", "free"} <= set(image.stubs)
    assert not image.fixed
    assert not image.library


def test_kinds_of_programs_are_told_apart() -> None:
    assert read_program(str(compiled(SOURCE, "-no-pie"))).fixed
    static = read_program(str(compiled(SOURCE, "-static-pie")))
    assert not static.fixed
    assert static.interpreter == ""
    library = compiled("int f(void) { return 1; }", "-shared", "-fPIC", "-Wl,-e,f")
    assert read_image(str(library)).library
    with pytest.raises(BadProgram, match="shared library"):
        read_program(str(library))
    loader = read_image(str(compiled(SOURCE))).interpreter
    assert not read_program(loader).library


def test_only_a_file_to_be_started_must_be_executable(program: Path) -> None:
    program.chmod(0o644)
    assert read_image(str(program)).entry
    with pytest.raises(BadProgram, match="permission denied: it is not executable"):
        read_program(str(program))


# ---- what is refused

_BAD_SEGMENTS = {
    "more in the file than in memory": ((32, 1 << 20), (40, 16)),
    "misaligned": ((16, 0x40_0123),),
    "terabytes": ((40, 1 << 50),),
    "wrapping around": ((16, (1 << 64) - 0x1000), (40, 0x2000)),
    "cut off": ((32, 1 << 30), (40, 1 << 30)),
    "overlapping": ((40, 1 << 20),),
}


@pytest.mark.parametrize("name", _BAD_SEGMENTS)
def test_a_segment_that_makes_no_sense_is_refused(tiny: Path, name: str) -> None:
    for at, value in _BAD_SEGMENTS[name]:
        _patch(tiny, _program_header(tiny, 1) + at, "<Q", value)
    with pytest.raises(BadProgram) as raised:
        read_image(str(tiny))
    words = {"terabytes": "cannot allocate memory", "cut off": "truncated", "overlapping": "overlaps"}
    words |= {"wrapping around": "cannot allocate memory"}
    assert words.get(name, "corrupt") in str(raised.value)


def test_a_program_with_nothing_to_load_is_refused(tiny: Path) -> None:
    for _ in range(2):
        _patch(tiny, _program_header(tiny, 1), "<I", 4)
    with pytest.raises(BadProgram, match="nothing to load"):
        read_image(str(tiny))


@pytest.mark.parametrize("name", [b"", b"/lib/ld.so", b"\0\0"])
def test_an_interpreter_without_a_name_is_refused(program: Path, name: bytes) -> None:
    at = _program_header(program, 3)
    offset = struct.unpack_from("<Q", program.read_bytes(), at + 8)[0]
    _patch(program, at + 32, "<Q", len(name))
    _patch(program, offset, f"{len(name)}s", name)  # type: ignore[arg-type]
    with pytest.raises(BadProgram, match="interpreter"):
        read_image(str(program))


def test_alignments_that_make_no_sense_are_ignored_as_linux_does(tiny: Path) -> None:
    at = _program_header(tiny, 1) + 48
    for alignment, taken in ((0, 4096), (1, 4096), (3, 4096), (0x1001, 4096), (1 << 21, 1 << 21)):
        _patch(tiny, at, "<Q", alignment)
        assert read_image(str(tiny)).alignment == taken


def test_addresses_outside_of_the_segments_are_dropped(program: Path) -> None:
    with program.open("rb") as handle:
        file = ELFFile(handle)
        table = file.get_section_by_name(".symtab")
        names = [symbol.name for symbol in table.iter_symbols()]
        main = table["sh_offset"] + names.index("main") * table["sh_entsize"]
        relocations = file.get_section_by_name(".rela.plt") or file.get_section_by_name(".rela.dyn")
        places = [(i, r["r_offset"]) for i, r in enumerate(relocations.iter_relocations())]
    before = read_image(str(program))
    _patch(program, main + 8, "<Q", 0xDEAD_0000_0000)
    for index, _ in places:
        _patch(program, relocations["sh_offset"] + index * relocations["sh_entsize"], "<Q", (1 << 64) - 8)
    after = read_image(str(program))
    assert "main" in before.functions
    assert "main" not in after.functions
    assert "visible" in after.functions
    assert any(before.slots.values())
    kept = {place for places in after.slots.values() for place in places}
    assert all(any(s.holds(place, 8) for s in after.segments) for place in kept)


def _outcome(path: Path) -> Image | None:
    """The image, or None for a file that was refused in one line."""
    try:
        return read_image(str(path))
    except BadProgram as error:
        said = str(error)
    assert "\n" not in said
    assert str(path) in said
    return None


def test_every_damage_of_a_header_is_refused_or_read(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_cache, "entry_for", lambda *_: None)
    content = tiny.read_bytes()
    outcomes = set()
    for at in range(64 + 2 * 56):
        for value in (0, 1, 2, 0x7F, 0x80, 0xFF, content[at] ^ 1, content[at] ^ 0x10):
            tiny.write_bytes(content[:at] + bytes([value]) + content[at + 1 :])
            outcomes.add(_outcome(tiny) is None)
    assert outcomes == {True, False}


@pytest.mark.filterwarnings("error")
def test_random_damage_is_refused_or_read(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_cache, "entry_for", lambda *_: None)
    content, source = program.read_bytes(), random.Random(20)
    outcomes = []
    for _ in range(1500):
        damaged = bytearray(content)
        for _ in range(source.randint(1, 16)):
            damaged[source.randrange(64 + 13 * 56 if source.random() < 0.2 else len(damaged))] = source.randrange(256)
        program.write_bytes(damaged)
        image = _outcome(program)
        outcomes.append(image is None)
        if image is not None:
            assert all(any(s.holds(place, 1) for s in image.segments) for place in image.functions.values())
    assert 100 < sum(outcomes) < 1400


def test_a_file_too_large_to_read_is_refused_without_reading_it(program: Path) -> None:
    os.truncate(program, 1 << 42)
    with pytest.raises(BadProgram, match="too many to read"):
        read_image(str(program))


# ---- the cache


def _entries(cache: Path) -> list[Path]:
    return [path for path in (cache / "images").iterdir() if path.is_file()]


def _no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    def parse(*_: object) -> Image:
        raise AssertionError("parsed although the cache has it")

    monkeypatch.setattr(elf, "_parse", parse)


def test_a_file_is_parsed_once(program: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = read_image(str(program))
    assert len(_entries(own_cache)) == 1
    _no_parser(monkeypatch)
    assert read_image(str(program)) == first


def test_a_changed_file_is_parsed_again(program: Path) -> None:
    first = read_image(str(program))
    at = program.read_bytes().rindex(b"visible\0")
    _patch(program, at, "7s", b"changed")  # type: ignore[arg-type]
    assert "visible" in first.functions
    assert "changed" in read_image(str(program)).functions


def test_a_cached_file_that_became_bad_is_still_refused(program: Path) -> None:
    read_image(str(program))
    status = program.stat()
    os.truncate(program, 100)
    os.utime(program, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(BadProgram, match="truncated"):
        read_image(str(program))


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "nonsense", "directory"])
def test_a_damaged_entry_is_ignored_and_replaced(program: Path, own_cache: Path, damage: str) -> None:
    image = read_image(str(program))
    (entry,) = _entries(own_cache)
    content = entry.read_bytes()
    if damage == "directory":
        entry.unlink()
        entry.mkdir()
    else:
        flipped = content[:300] + bytes([content[300] ^ 4]) + content[301:]
        entry.write_bytes({"empty": b"", "cut": content[:-9], "flipped": flipped, "nonsense": b"\xff" * 99}[damage])
    assert read_image(str(program)) == image
    if damage != "directory":
        assert entry.read_bytes() == content
    assert len(list(entry.parent.iterdir())) == 1, "a temporary file was left"


def test_an_entry_of_another_layout_is_not_taken(program: Path, own_cache: Path) -> None:
    image = read_image(str(program))
    (entry,) = _entries(own_cache)
    image_cache.store(entry, b"\x93\x01\x02\x03")
    assert read_image(str(program)) == image


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null/below"])
def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    program: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.setenv("EMULEAK_CACHE", place)
    assert read_image(str(program)) == read_image(str(program))


def test_without_a_home_nothing_is_kept(program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMULEAK_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "relative")
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    assert image_cache.cache_directory() is None
    assert read_image(str(program)).entry
    assert set(tmp_path.iterdir()) == before


def test_many_may_write_at_once(program: Path, own_cache: Path) -> None:
    images: list[Image] = []
    threads = [threading.Thread(target=lambda: images.append(read_image(str(program)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(images) == 8
    assert all(image == images[0] for image in images)
    (entry,) = _entries(own_cache)
    assert image_cache.load(entry)
    assert not stat.S_IMODE(entry.stat().st_mode) & 0o022
