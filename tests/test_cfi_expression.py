"""DWARF expressions: against an independent evaluation of random trees, and the standard's own examples."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emuleak.stacks.cfi import BadCallFrameInfo
from emuleak.stacks.expression import BadExpression, evaluate

WORD = 2**64
MEMORY = bytes(range(1, 200)) + bytes(range(255, 0, -1))
REGISTERS = {7: 16, 6: WORD - 8, 16: 0x401023, 40: 5}

words = st.one_of(
    st.integers(0, WORD - 1), st.sampled_from([0, 1, 2, 31, 63, 64, 2**63 - 1, 2**63, WORD - 1]), st.integers(0, 70)
)


def read_word(address):
    return int.from_bytes(MEMORY[address : address + 8], "little")


def run(expr, initial=None):
    return evaluate(bytes(expr), REGISTERS, read_word, initial)


def uleb(value):
    out = []
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def sleb(value):
    out = []
    while not -64 <= value < 64:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value & 0x7F])


def signed(value):
    return int.from_bytes(value.to_bytes(8, "little"), "little", signed=True)


def trunc(dividend, divisor):
    sign = -1 if (dividend < 0) != (divisor < 0) else 1
    return sign * (abs(dividend) // abs(divisor))


BINARY = {
    0x1A: lambda a, b: a & b,
    0x1B: lambda a, b: trunc(signed(a), signed(b)) if b else 0,
    0x1C: lambda a, b: a - b,
    0x1D: lambda a, b: a % b if b else 0,
    0x1E: lambda a, b: a * b,
    0x21: lambda a, b: a | b,
    0x22: lambda a, b: a + b,
    0x24: lambda a, b: a << b if b < 64 else 0,
    0x25: lambda a, b: a >> b if b < 64 else 0,
    0x26: lambda a, b: signed(a) >> (b if b < 64 else 63),
    0x27: lambda a, b: a ^ b,
    0x29: lambda a, b: a == b,
    0x2A: lambda a, b: signed(a) >= signed(b),
    0x2B: lambda a, b: signed(a) > signed(b),
    0x2C: lambda a, b: signed(a) <= signed(b),
    0x2D: lambda a, b: signed(a) < signed(b),
    0x2E: lambda a, b: a != b,
}
UNARY = {0x19: lambda a: abs(signed(a)), 0x1F: lambda a: -a, 0x20: lambda a: ~a}
DIVISIONS = {0x1B, 0x1D}


@st.composite
def leaves(draw):
    """(bytes, value) of one operator that pushes a value."""
    value = draw(words)
    size = draw(st.sampled_from([1, 2, 4, 8]))
    opcode = 0x08 + 2 * [1, 2, 4, 8].index(size)
    low = value % (1 << 8 * size)
    raw = low.to_bytes(size, "little")
    small = value % 32
    number = draw(st.sampled_from(sorted(REGISTERS)))
    base = bytes([0x70 + number]) if number < 32 else b"\x92" + uleb(number)
    return draw(
        st.sampled_from(
            [
                (bytes([opcode]) + raw, low),
                (bytes([opcode + 1]) + raw, int.from_bytes(raw, "little", signed=True)),
                (b"\x10" + uleb(value), value),
                (b"\x11" + sleb(signed(value)), value),
                (b"\x03" + value.to_bytes(8, "little"), value),
                (bytes([0x30 + small]), small),
                (base + sleb(signed(value)), REGISTERS[number] + value),
                (b"\x90" + uleb(number), REGISTERS[number]),
            ]
        )
    )


def combine(children):
    def binary(drawn):
        opcode, (left_code, left), (right_code, right) = drawn
        if opcode in DIVISIONS and right % WORD == 0:
            opcode = 0x22
        return left_code + right_code + bytes([opcode]), BINARY[opcode](left % WORD, right % WORD)

    def unary(drawn):
        opcode, (code, value) = drawn
        return code + bytes([opcode]), UNARY[opcode](value % WORD)

    def plus_constant(drawn):
        (code, value), constant = drawn
        return code + b"\x23" + uleb(constant), value + constant

    def branch(drawn):
        (condition_code, condition), (yes_code, yes), (no_code, no) = drawn
        otherwise = no_code + b"\x2f" + len(yes_code).to_bytes(2, "little")
        code = condition_code + b"\x28" + len(otherwise).to_bytes(2, "little") + otherwise + yes_code
        return code, yes if condition % WORD else no

    return st.one_of(
        st.tuples(st.sampled_from(sorted(BINARY)), children, children).map(binary),
        st.tuples(st.sampled_from(sorted(UNARY)), children).map(unary),
        st.tuples(children, words).map(plus_constant),
        st.tuples(children, children, children).map(branch),
    )


@given(st.recursive(leaves(), combine, max_leaves=12))
def test_random_trees(tree):
    code, value = tree
    assert run(code) == value % WORD


@given(st.integers(0, 150), st.integers(1, 8))
def test_loads_of_every_size_touch_only_the_words_they_need(address, size):
    touched = []

    def read(at):
        touched.append(at)
        return read_word(at)

    code = b"\x10" + uleb(address) + bytes([0x94, size])
    assert evaluate(code, {}, read) == int.from_bytes(MEMORY[address : address + size], "little")
    if size < 8:
        assert touched == sorted({address & ~7, (address + size - 1) & ~7})
    assert run(b"\x10" + uleb(address) + b"\x06") == read_word(address)


# DWARF 5 appendix D.1.3: the stack is 17, 29, 1000 with 17 on top
@pytest.mark.parametrize(
    ("code", "after"),
    [
        (b"\x12", [17, 17, 29, 1000]),
        (b"\x13", [29, 1000]),
        (b"\x15\x02", [1000, 17, 29, 1000]),
        (b"\x14", [29, 17, 29, 1000]),
        (b"\x16", [29, 17, 1000]),
        (b"\x17", [29, 1000, 17]),
        (b"\x96", [17, 29, 1000]),
    ],
)
def test_stack_operators(code, after):
    start = b"\x0a\xe8\x03" + b"\x08\x1d" + b"\x08\x11"
    assert [run(start + code + b"\x13" * depth) for depth in range(len(after))] == after


@pytest.mark.parametrize(
    ("left", "opcode", "right", "value"),
    [
        pytest.param(-7, 0x1B, 2, -3, id="div truncates"),
        pytest.param(7, 0x1B, -2, -3, id="div by a negative number"),
        pytest.param(-7, 0x1B, -2, 3, id="div of negative numbers"),
        pytest.param(-(2**63), 0x1B, -1, -(2**63), id="div overflows"),
        pytest.param(-7, 0x1D, 4, 1, id="mod is unsigned"),
        pytest.param(1, 0x24, 64, 0, id="shl by the width"),
        pytest.param(1, 0x24, -1, 0, id="shl by far too much"),
        pytest.param(-1, 0x25, 63, 1, id="shr"),
        pytest.param(-1, 0x25, 64, 0, id="shr by the width"),
        pytest.param(-8, 0x26, 2, -2, id="shra"),
        pytest.param(-8, 0x26, 99, -1, id="shra by too much"),
        pytest.param(-1, 0x2D, 0, 1, id="lt is signed"),
        pytest.param(-1, 0x2B, 0, 0, id="gt is signed"),
    ],
)
def test_signs_and_limits_of_arithmetic(left, opcode, right, value):
    assert run(b"\x11" + sleb(left) + b"\x11" + sleb(right) + bytes([opcode])) == value % WORD


def test_the_initial_value_is_the_first_on_the_stack():
    assert run(b"", initial=7) == 7
    assert run(b"\x23\x08", initial=WORD - 4) == 4
    assert run(b"\x77\x08\x22", initial=1000) == 1000 + 24


def test_a_loop_counts_down():
    # lit9; again: lit1 minus dup bra(again)
    assert run(b"\x39\x31\x1c\x12\x28" + (-6).to_bytes(2, "little", signed=True) + b"\x35") == 5


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\x22", id="no operands"),
        pytest.param(b"\x31\x22", id="one operand"),
        pytest.param(b"\x31\x14", id="over"),
        pytest.param(b"\x31\x15\x09", id="pick"),
        pytest.param(b"\x31\x30\x1b", id="div by zero"),
        pytest.param(b"\x31\x30\x1d", id="mod by zero"),
        pytest.param(b"\x78\x00", id="unknown register"),
        pytest.param(b"\x0c\x01", id="cut constant"),
        pytest.param(b"\x10\x80", id="cut leb128"),
        pytest.param(b"\x10" + b"\x80" * 5000, id="long leb128"),
        pytest.param(b"\x2f\xfd\xff", id="endless"),
        pytest.param(b"\x31\x12\x2f\xfc\xff", id="growing"),
        pytest.param(b"\x2f\x01\x00", id="jump out"),
        pytest.param(b"\x2f\xf0\xff", id="jump out backwards"),
        pytest.param(b"\x31\x94\x09", id="load of 9"),
        pytest.param(b"\x31\x94\x00", id="load of 0"),
        pytest.param(b"\x9c", id="call_frame_cfa"),
        pytest.param(b"\x91\x00", id="fbreg"),
        pytest.param(b"\x00", id="zero"),
        pytest.param(b"\xff", id="hi_user"),
    ],
)
def test_what_has_no_value_is_refused(code):
    with pytest.raises(BadExpression):
        run(code)


def test_what_reading_memory_raises_goes_through():
    def read(address):
        raise KeyError(address)

    with pytest.raises(KeyError):
        evaluate(b"\x31\x06", {}, read)


@given(st.binary(max_size=40))
def test_any_bytes_give_a_word_or_the_documented_error(code):
    with contextlib.suppress(BadExpression):
        assert 0 <= run(code, initial=5) < WORD


def test_one_except_clause_serves_tables_and_expressions():
    assert issubclass(BadExpression, BadCallFrameInfo)
