"""Mangled names against c++filt, over all that libstdc++ exports."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

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
