"""Mangled names against c++filt, over all that libstdc++ exports."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from oracles.peers import need

from emuleak.symbols.demangle import demangle


@pytest.mark.parametrize(
    ("mangled", "readable"),
    [
        ("main", "main"),
        ("foo.constprop.0.isra.0", "foo"),
        ("_Znwm", "operator new(unsigned long)"),
        ("_ZdaPv", "operator delete[](void*)"),
        ("_ZN3Foo3barEi", "Foo::bar(int)"),
        ("_ZNK3Foo3barEPKcRS_.cold", "Foo::bar(char const*, Foo&) const"),
        ("_ZN3FooC2Ev", "Foo::Foo()"),
        ("_ZN3FooD0Ev", "Foo::~Foo()"),
        ("_ZN12_GLOBAL__N_13fooEv", "(anonymous namespace)::foo()"),
        ("_ZlsRSoRK3Foo", "operator<<(std::ostream&, Foo const&)"),
        ("_Z1fIiEvT_", "void f<int>(int)"),
        ("_Z1fPFvPA3_iE", "f(void (*)(int (*) [3]))"),
        ("_Z1fM3FooKFivE", "f(int (Foo::*)() const)"),
        ("_ZN3FoocvbEv", "Foo::operator bool()"),
        ("_ZNSt6vectorIiSaIiEE9push_backEOi", "std::vector<int, std::allocator<int> >::push_back(int&&)"),
        ("_ZZ4mainENKUliE_clEi", "main::{lambda(int)#1}::operator()(int) const"),
        ("_ZTV3Foo", "vtable for Foo"),
        ("_ZThn8_N3FooD1Ev", "non-virtual thunk to Foo::~Foo()"),
        ("_ZN4core3fmt9Formatter9write_str17h0123456789abcdefE", "core::fmt::Formatter::write_str"),
        ("_ZN45_$LT$T$u20$as$u20$alloc..string..ToString$GT$9to_string17h0123456789abcdefE",
         "<T as alloc::string::ToString>::to_string"),
        ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
        ("_RNvCs1234_7mycrate3foo.llvm.123", "mycrate::foo"),
        ("_RINvNtC3std3mem8align_ofdE", "std::mem::align_of::<f64>"),
        ("_RNCNvC1a4main0", "a::main::{closure#0}"),
        ("_RNvXC1aNtB2_3FooNtB2_3Bar3baz", "<a::Foo as a::Bar>::baz"),
        ("_RNvMC1aSh3len", "<[u8]>::len"),
        ("_RINvC1a1fFUKCRePmEuE", 'a::f::<unsafe extern "C" fn(&str, *const u32)>'),
        ("_RINvC1a1fFG_RL0_hEhE", "a::f::<for<'a> fn(&'a u8) -> u8>"),
        ("_RINvC1a1fDNtB2_1TNtB2_4SendEL_E", "a::f::<dyn a::T + a::Send>"),
        ("_RINvC1a1fAtKj10_TsETE", "_RINvC1a1fAtKj10_TsETE"),
        ("_RINvC1a1fAtj10_TsETEE", "a::f::<[u16; 16], (i16,), ()>"),
        ("_RINvC1a1fKb1_Kc41_Kan5_E", "a::f::<true, 'A', -5>"),
        ("_RNvC1au8gdel_5qa", "a::gödel"),
        ("_RNvB_3foo", "_RNvB_3foo"),
        ("_R", "_R"),
        ("_Z", "_Z"),
        ("_ZN3Foo", "_ZN3Foo"),
        ("_Z99foo", "_Z99foo"),
    ],
)  # fmt: skip
def test_names(mangled: str, readable: str) -> None:
    assert demangle(mangled) == readable


def libstdcxx() -> Path | None:
    if shutil.which("g++") is None or shutil.which("c++filt") is None or shutil.which("nm") is None:
        return None
    path = subprocess.run(["g++", "-print-file-name=libstdc++.so.6"], capture_output=True, text=True, check=True).stdout
    return Path(path.strip()) if Path(path.strip()).exists() else None


@pytest.mark.peer("g++")
@pytest.mark.skipif(libstdcxx() is None, reason="needs g++ and binutils")
def test_every_name_of_libstdcxx_reads_as_in_cxxfilt() -> None:
    rows = subprocess.run(
        ["nm", "-D", str(libstdcxx())], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    names = sorted({row.split()[-1].partition("@")[0] for row in rows if " _Z" in row})
    assert len(names) > 3000
    told = subprocess.run(["c++filt", "-i"], input="\n".join(names), capture_output=True, text=True, check=True).stdout
    pairs = zip(names, told.splitlines(), strict=True)
    assert [(name, told, demangle(name)) for name, told in pairs if demangle(name) != told] == []


@given(st.text(alphabet="_ZNSTIEJKLPRFMXCDUlt0123456789acdefimosvwxyz.", max_size=60).map("_Z".__add__))
@example("_Z1f" + "P" * 5000 + "i")
@example("_Z1fI" + "N" * 3000)
@example("_Z1f" + "".join(f"3fooIS{i}_S{i}_E" for i in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
@example("_Z3fooIiE" + "St4pairI" * 200)
@example("_ZN1a" + "IS_S_E" * 60 + "E1bv")
def test_no_text_can_break_the_parser(name: str) -> None:
    assert isinstance(demangle(name), str)
    assert len(demangle(name)) < 1 << 20


@pytest.mark.peer("rustc")
def test_every_name_of_a_rust_program_reads_as_in_cxxfilt(tmp_path: Path) -> None:
    """c++filt also tells the hashes of crates and the types of constants."""
    source, program = tmp_path / "a.rs", tmp_path / "a"
    source.write_text('fn main() { println!("{:?}", std::env::args().map(|a| a.len()).collect::<Vec<_>>()); }')
    command = [need("rustc"), "-Csymbol-mangling-version=v0", "-o", program, source]
    subprocess.run(command, check=True, capture_output=True)
    rows = subprocess.run(["nm", program], capture_output=True, text=True, check=True).stdout.splitlines()
    names = sorted({row.split()[-1] for row in rows if " _R" in row})
    assert len(names) > 100
    told = subprocess.run(["c++filt", "-s", "rust"], input="\n".join(names), capture_output=True, text=True, check=True)
    wanted = [
        re.sub(
            r"(?<=[\w'}]): (?:[iu](?:8|16|32|64|128|size)|bool|char)(?=[\]>,])",
            "",
            re.sub(r"(?<=\w)\[[0-9a-f]+\]", "", row),
        )
        for row in told.stdout.splitlines()
    ]
    assert [demangle(name) for name in names] == wanted


@given(st.text(alphabet="_RCNvMXYIBsuEKTAFDGLj0123456789abc", max_size=60))
def test_any_name_of_rusts_is_read_or_left(text: str) -> None:
    assert demangle(f"_R{text}")


def test_a_name_that_repeats_itself_is_left() -> None:
    name = "_RINvC1a1f" + "T" + "".join("TBb_Bb_E" for _ in range(200)) + "EE"
    assert demangle(name) == name
