"""Call-frame information in the forms no compiler at hand writes, and corrupt: against rows worked out by hand."""

import itertools
import struct
import time
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emuleak.stacks.cfi import RETURN_ADDRESS, BadCallFrameInfo, CallFrameInfo, Kind, Rule

BASE = 0x40000
PC = 0x45000
SIZE = 0x1000
START = b"\x0c\x07\x08\x90\x01"  # DW_CFA_def_cfa rsp 8; DW_CFA_offset rip, -8
CONTENT_AT = 64 + 2 * 56

ABSPTR, UDATA2, UDATA4, UDATA8, SDATA4, SDATA8 = 0x00, 0x02, 0x03, 0x04, 0x0B, 0x0C
PCREL, DATAREL = 0x10, 0x30
FORMATS = {ABSPTR: "<Q", UDATA2: "<H", UDATA4: "<I", UDATA8: "<Q", SDATA4: "<i", SDATA8: "<q", 0x0A: "<h"}


def leb(value):
    """A LEB128 number padded to five bytes, the same signed and unsigned for what is asked of it."""
    return bytes([value >> 7 * at & 0x7F | 0x80 for at in range(4)] + [value >> 28 & 0x7F])


def encoded(value, encoding):
    return leb(value) if encoding & 15 in {1, 9} else struct.pack(FORMATS[encoding & 15], value)


def entry(body, wide=False):
    body += bytes(-len(body) % 8)  # DW_CFA_nop
    return (struct.pack("<IQ", 0xFFFFFFFF, len(body)) if wide else struct.pack("<I", len(body))) + body


def cie_body(version=1, augmentation=b"zR", data=bytes([PCREL | SDATA4]), start=START, column=16):
    body = bytes([version]) + augmentation + b"\0"
    if version == 4:
        body += b"\x08\x00"
    if augmentation == b"eh":
        body += b"\xee" * 8
    body += b"\x01\x78" + bytes([column])  # code 1, data -8
    if augmentation.startswith(b"z"):
        body += leb(len(data)) + data
    return body + start


def eh_frame(program=b"", encoding=PCREL | SDATA4, augmented=True, begins=(PC,), wide=False, at=CONTENT_AT, **cie):
    """A CIE and one FDE for each of `begins`, to stand at offset `at` of the file; and the FDEs' offsets in it."""
    if augmented:
        cie.setdefault("data", bytes([encoding]))
    out = entry(bytes(4) + cie_body(**cie), wide)
    offsets = []
    for begin in begins:
        offsets.append(len(out))
        identifier_at = len(out) + (12 if wide else 4)
        value = begin - (BASE + at + identifier_at + 4) if encoding & 0x70 == PCREL else begin
        body = struct.pack("<I", identifier_at) + encoded(value, encoding) + encoded(SIZE, encoding)
        out += entry(body + (leb(0) if augmented else b"") + program, wide)
    return out, offsets


def elf(content, name=b".eh_frame", header=b"", flags=0, sections=True):
    """A file with one section of this name, and `header` behind it as PT_GNU_EH_FRAME."""
    names = b"\0" + name + b"\0"
    header_at = CONTENT_AT + len(content)
    names_at = header_at + len(header)
    table_at = names_at + len(names)
    out = b"\x7fELF\2\1\1" + bytes(9)
    out += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, table_at * sections, 0, 64, 56, 2, 64, 3 * sections, 2)
    out += struct.pack("<IIQQQQQQ", 1, 4, 0, BASE, BASE, names_at, names_at, 4096)
    kind = 0x6474E550 if header else 0
    out += struct.pack("<IIQQQQQQ", kind, 4, header_at, BASE + header_at, 0, len(header), 0, 4)
    out += content + header + names + bytes(64)
    out += struct.pack("<IIQQQQIIQQ", 1, 1, flags, BASE + CONTENT_AT, CONTENT_AT, len(content), 0, 0, 8, 0)
    return out + struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, names_at, len(names), 0, 0, 1, 0)


def rule_of(program, pc=PC + 8, **options):
    return CallFrameInfo(elf(eh_frame(program, **options)[0])).rule(pc)


PLAIN = Rule(7, 8, None, -8, (), signal_frame=False)


@pytest.mark.parametrize(
    ("program", "cfa", "saved"),
    [
        pytest.param(b"\x86\x02", (7, 8), [(6, Kind.OFFSET, -16)], id="offset"),
        pytest.param(b"\x05\x46\x02", (7, 8), [(70, Kind.OFFSET, -16)], id="offset_extended"),
        pytest.param(b"\x11\x06\x7e", (7, 8), [(6, Kind.OFFSET, 16)], id="offset_extended_sf"),
        pytest.param(b"\x2f\x06\x02", (7, 8), [(6, Kind.OFFSET, 16)], id="GNU_negative_offset_extended"),
        pytest.param(b"\x14\x06\x02", (7, 8), [(6, Kind.VAL_OFFSET, -16)], id="val_offset"),
        pytest.param(b"\x15\x06\x7e", (7, 8), [(6, Kind.VAL_OFFSET, 16)], id="val_offset_sf"),
        pytest.param(b"\x09\x06\x0c", (7, 8), [(6, Kind.REGISTER, 12)], id="register"),
        pytest.param(b"\x10\x06\x02\x77\x08", (7, 8), [(6, Kind.EXPRESSION, b"\x77\x08")], id="expression"),
        pytest.param(b"\x16\x06\x02\x77\x08", (7, 8), [(6, Kind.VAL_EXPRESSION, b"\x77\x08")], id="val_expression"),
        pytest.param(b"\x07\x06\x08\x03", (7, 8), [(3, Kind.SAME_VALUE, 0), (6, Kind.UNDEFINED, 0)], id="same_value"),
        pytest.param(b"\x86\x02\xc6", (7, 8), [], id="restore"),
        pytest.param(b"\x86\x02\x06\x06", (7, 8), [], id="restore_extended"),
        pytest.param(b"\x07\x10\xd0", (7, 8), [], id="restore of the return address"),
        pytest.param(b"\x0c\x06\x20", (6, 32), [], id="def_cfa"),
        pytest.param(b"\x12\x06\x7e", (6, 16), [], id="def_cfa_sf"),
        pytest.param(b"\x0d\x06", (6, 8), [], id="def_cfa_register"),
        pytest.param(b"\x0e\x20", (7, 32), [], id="def_cfa_offset"),
        pytest.param(b"\x13\x7e", (7, 16), [], id="def_cfa_offset_sf"),
        pytest.param(b"\x2e\x20\x00", (7, 8), [], id="GNU_args_size"),
        pytest.param(b"\x0a\x0e\x20\x86\x02\x0b", (7, 8), [], id="remember, restore"),
        pytest.param(
            b"\x0e\x20\x0a\x0a\x0c\x06\x10\x86\x02\x0b\x83\x03\x0b", (7, 32), [], id="remember, restore nested"
        ),
        pytest.param(b"\x0f\x02\x77\x08\x0c\x06\x10", (6, 16), [], id="register after expression"),
        pytest.param(b"\x48\x0e\x20\x41\x0e\x30", (7, 32), [], id="advance_loc to the pc and past it"),
        pytest.param(b"\x02\x08\x0e\x20\x02\x01\x0e\x30", (7, 32), [], id="advance_loc1"),
        pytest.param(b"\x03\x08\x00\x0e\x20\x03\x00\x01\x0e\x30", (7, 32), [], id="advance_loc2"),
        pytest.param(b"\x04\x08\x00\x00\x00\x0e\x20\x04\x00\x00\x01\x00\x0e\x30", (7, 32), [], id="advance_loc4"),
        pytest.param(b"\x1d\x08" + bytes(7) + b"\x0e\x20\x1d\x01" + bytes(7) + b"\x0e\x30", (7, 32), [], id="loc8"),
        pytest.param(b"\x49\x0e\x20", (7, 8), [], id="advance_loc past the pc"),
    ],
)
def test_instructions(program, cfa, saved):
    assert rule_of(program) == Rule(*cfa, None, -8, tuple(saved), signal_frame=False)


def test_set_loc_is_an_encoded_pointer():
    program = b"\x01" + struct.pack("<Q", PC + 8) + b"\x0e\x20\x01" + struct.pack("<Q", PC + 9) + b"\x0e\x30"
    assert rule_of(program, encoding=ABSPTR).cfa_offset == 32
    at = BASE + CONTENT_AT + len(eh_frame(begins=())[0]) + 4 + 12 + 5  # behind identifier, addresses and augmentation
    program = b"\x01" + struct.pack("<i", PC + 8 - (at + 1)) + b"\x0e\x20"
    assert [rule_of(program, pc).cfa_offset for pc in (PC + 7, PC + 8)] == [8, 32]


def test_a_cfa_by_expression():
    rule = rule_of(b"\x0f\x02\x77\x08")
    assert (rule.cfa_register, rule.cfa_offset, rule.cfa_expression) == (-1, 0, b"\x77\x08")


def test_return_addresses_that_are_not_in_memory_below_the_cfa():
    assert rule_of(b"\x07\x10").outermost
    assert rule_of(b"", start=b"\x0c\x07\x08").outermost
    rule = rule_of(b"\x09\x10\x02")
    assert not rule.outermost
    assert (rule.return_address, rule.saved) == (None, ((RETURN_ADDRESS, Kind.REGISTER, 2),))
    assert rule_of(b"\x83\x04", column=3) == Rule(7, 8, None, -32, (), signal_frame=False)


@pytest.mark.parametrize(
    "encoding",
    [ABSPTR, UDATA4, UDATA8, SDATA4, SDATA8, 0x01, 0x09]
    + [PCREL | each for each in (ABSPTR, 0x0A, SDATA4, SDATA8, UDATA4, 0x09)],
)
def test_encodings_of_addresses(encoding):
    begin = PC if encoding & 15 != 0x0A else BASE + 0x1000
    cfi = CallFrameInfo(elf(eh_frame(encoding=encoding, begins=(begin,))[0]))
    assert [cfi.rule(begin + at) for at in (-1, 0, SIZE - 1, SIZE)] == [None, PLAIN, PLAIN, None]


@pytest.mark.parametrize(
    ("augmentation", "data", "encoding", "signal_frame"),
    [
        (b"zPLR", bytes([SDATA4, 1, 2, 3, 4, SDATA4, PCREL | SDATA4]), PCREL | SDATA4, False),
        (b"zRLP", bytes([PCREL | SDATA4, SDATA4, ABSPTR, *range(8)]), PCREL | SDATA4, False),
        (b"zRSB", bytes([PCREL | SDATA4]), PCREL | SDATA4, True),
        (b"zSR", bytes([SDATA8]), SDATA8, True),
        (b"zRx", bytes([UDATA4, 7, 7, 7]), UDATA4, False),
        (b"zPR", bytes([0xFF, UDATA4]), UDATA4, False),
        (b"z", b"", ABSPTR, False),
    ],
)
@pytest.mark.parametrize("version", [1, 3, 4])
def test_augmentations(augmentation, data, encoding, signal_frame, version):
    rule = rule_of(b"", encoding=encoding, augmentation=augmentation, data=data, version=version)
    assert rule == Rule(7, 8, None, -8, (), signal_frame)


def test_no_augmentation_and_that_of_old_compilers():
    assert rule_of(b"", encoding=ABSPTR, augmented=False, augmentation=b"") == PLAIN
    assert rule_of(b"", encoding=ABSPTR, augmented=False, augmentation=b"eh") == PLAIN
    assert rule_of(b"", encoding=ABSPTR, augmented=False, augmentation=b"x") is None


def test_an_aligned_personality():
    # identifier, version, "zPR\0", three factors and the length take 17 bytes, the encoding one: six short of aligned
    at = BASE + CONTENT_AT + 4 + 17 + 1
    data = bytes([0x50]) + bytes(-at & 7) + struct.pack("<Q", 0x1234) + bytes([UDATA4])
    assert rule_of(b"", encoding=UDATA4, augmentation=b"zPR", data=data) == PLAIN


def test_the_64_bit_length_keeps_short_identifiers_in_eh_frame():
    assert rule_of(b"\x0e\x10", wide=True).cfa_offset == 16


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("version", [1, 3, 4])
def test_debug_frame(version, wide, compressed):
    word = "<Q" if wide else "<I"
    identifier = struct.pack(word, 0xFFFFFFFFFFFFFFFF if wide else 0xFFFFFFFF)
    empty = entry(identifier + cie_body(version=4, augmentation=b"", start=b""), wide)
    cie = entry(identifier + cie_body(version=version, augmentation=b""), wide)
    fde = entry(struct.pack(word, len(empty)) + struct.pack("<QQ", PC, SIZE) + b"\x41\x0e\x10", wide)
    discarded = entry(struct.pack(word, len(empty)) + struct.pack("<QQ", 0, 2 * PC), wide)
    content = empty + cie + fde + discarded
    if compressed:
        content = struct.pack("<IIQQ", 1, 0, len(content), 8) + zlib.compress(content)
    cfi = CallFrameInfo(elf(content, b".debug_frame", flags=0x800 * compressed))
    assert [rule and rule.cfa_offset for rule in map(cfi.rule, (PC - 1, PC, PC + 1, PC + SIZE))] == [None, 8, 16, None]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="no header"),
        pytest.param(struct.pack("<IIQQ", 2, 0, 64, 8) + b"zstd", id="zstd"),
        pytest.param(struct.pack("<IIQQ", 1, 0, 64, 8) + b"rubbish", id="not zlib"),
        pytest.param(struct.pack("<IIQQ", 1, 0, 1 << 50, 8) + zlib.compress(bytes(999)), id="too large"),
    ],
)
def test_a_compressed_section_that_cannot_be_read_says_so_each_time(content):
    cfi = CallFrameInfo(elf(content, b".debug_frame", flags=0x800))
    for _ in range(2):
        with pytest.raises(BadCallFrameInfo):
            cfi.rule(PC)


def with_header(encoding, begins=tuple(range(PC, PC + 9 * SIZE, 2 * SIZE)), program=b"", **options):
    content, offsets = eh_frame(program, begins=begins)
    at = BASE + CONTENT_AT + len(content) + 4
    base = at if encoding & 0x70 == DATAREL else 0
    start = struct.pack("<i", BASE + CONTENT_AT - at - 4)
    header = bytes([1, PCREL | SDATA4, UDATA4, encoding]) + start + struct.pack("<I", len(begins))
    for begin, offset in zip(begins, offsets, strict=True):
        header += encoded(begin - base, encoding) + encoded(BASE + CONTENT_AT + offset - base, encoding)
    return elf(content + bytes(4), header=header, **options)


@pytest.mark.parametrize("sections", [False, True])
@pytest.mark.parametrize("encoding", [DATAREL | SDATA4, DATAREL | SDATA8, UDATA4, UDATA8, SDATA4, SDATA8, ABSPTR, 0x01])
def test_encodings_of_the_table(encoding, sections):
    cfi = CallFrameInfo(with_header(encoding, sections=sections))
    for begin in range(PC, PC + 9 * SIZE, 2 * SIZE):
        found = [cfi.rule(begin + at) for at in (-1, 0, SIZE - 1, SIZE)]
        assert found == [None, PLAIN, PLAIN, None]
    assert (cfi._index is None) == (encoding == 0x01)


def test_an_empty_entry_between_sections_joined_by_a_linker():
    first, _ = eh_frame()
    second, _ = eh_frame(begins=(PC + SIZE,), at=CONTENT_AT + len(first) + 4)
    cfi = CallFrameInfo(elf(first + bytes(4) + second + bytes(4)))
    assert [cfi.rule(PC + at) for at in (0, SIZE, 2 * SIZE)] == [PLAIN, PLAIN, None]


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(b"\x0b", id="restore_state without remember_state"),
        pytest.param(b"\x3f", id="unknown"),
        pytest.param(b"\x2d", id="another machine's"),
        pytest.param(b"\x05\xac\x02\x01", id="register 300"),
        pytest.param(b"\x0f\x7f", id="block too long"),
        pytest.param(b"\x0e" + b"\x80" * 2000, id="endless number"),
        pytest.param(b"\x0a" * 5000, id="remember_state for ever"),
    ],
)
def test_corrupt_instructions(program):
    with pytest.raises(BadCallFrameInfo):
        rule_of(program)


def test_no_rule_for_the_cfa():
    with pytest.raises(BadCallFrameInfo):
        rule_of(b"", start=b"")


def ask(data, addresses):
    """Rules, None or the documented error, in reasonable time."""
    began = time.perf_counter()
    try:
        cfi = CallFrameInfo(data)
    except BadCallFrameInfo:
        return
    for address in addresses:
        try:
            rule = cfi.rule(address)
        except BadCallFrameInfo:
            continue
        assert rule is None or isinstance(rule, Rule)
    assert time.perf_counter() - began < 5


EVERYTHING = b"\x41\x86\x02\x0a\x41\x0e\x20\x10\x03\x02\x77\x08\x41\x0b\x02\x08\x0f\x02\x76\x00\x03\x01\x00\x0c\x06\x10"
SMALL = with_header(DATAREL | SDATA4, program=EVERYTHING)
ADDRESSES = [PC + step * SIZE + at for step, at in itertools.product(range(9), (0, 1, 2, 3, 99, SIZE - 1))]
flips = st.lists(st.tuples(st.integers(0, 2**20), st.integers(0, 255)), min_size=1, max_size=6)


@settings(deadline=None, max_examples=300)
@given(flips, st.none() | st.integers(0, len(SMALL)))
def test_flipped_bytes_and_a_cut(changes, end):
    data = bytearray(SMALL)
    for at, value in changes:
        data[at % len(data)] = value
    ask(data[:end], ADDRESSES)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_as_instructions(program):
    ask(elf(eh_frame(program)[0]), ADDRESSES[:6])


@settings(deadline=None, max_examples=60)
@given(flips, st.booleans())
def test_flipped_bytes_in_the_tables_of_a_real_program(changes, in_header):
    path = Path("/bin/true")
    if not path.exists():
        pytest.skip("no /bin/true here")
    original = path.read_bytes()
    data = bytearray(original)
    header = CallFrameInfo(original)._elf.eh_frame_header
    start = bytes(original).find(bytes(header.data))
    for at, value in changes:
        data[start + at % (len(header.data) if in_header else 4 * len(header.data))] = value
    ask(data, range(0x2000, 0x6000, 61))
