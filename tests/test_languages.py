"""Programs of other languages, as their compilers make them: output and status as natively, counts as valgrind's.

Leaks must name the line of the program in its own language; a runtime that has an allocator of its own is said to.
"""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from oracles import emuleak, system
from oracles.native import execute
from oracles.peers import need

RUST = r"""
use std::cell::RefCell;
use std::rc::Rc;
use std::thread;

struct Node { next: Option<Rc<RefCell<Node>>>, value: [u64; 5] }

#[inline(never)]
fn ring() {
    let a = Rc::new(RefCell::new(Node { next: None, value: [1; 5] })); // RING
    let b = Rc::new(RefCell::new(Node { next: Some(a.clone()), value: [2; 5] }));
    a.borrow_mut().next = Some(b);
}

#[inline(never)]
fn forgotten(n: usize) -> usize {
    let kept = std::hint::black_box(vec![n as u8; 100]); // FORGOTTEN
    let m = kept[n] as usize;
    std::mem::forget(kept);
    m
}

#[inline(never)]
fn leaked(n: u16) -> &'static mut [u16] {
    Box::leak(std::hint::black_box(vec![n; 20]).into_boxed_slice()) // LEAKED
}

fn main() {
    ring();
    println!("{} {}", forgotten(3), leaked(7).len());
    let threads: Vec<_> = (0..3).map(|i| thread::spawn(move || format!("thread {}", i).len())).collect();
    println!("{}", threads.into_iter().map(|t| t.join().unwrap()).sum::<usize>());
    println!("{}", std::panic::catch_unwind(|| { let v: Vec<i32> = Vec::new(); v[std::hint::black_box(7)] }).is_err());
    if std::env::args().count() > 1 { panic!("at the end"); }
}
"""
GO = r"""
package main

import (
	"fmt"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

func main() {
	var group sync.WaitGroup
	var lock sync.Mutex
	total := 0
	for i := 0; i < 8; i++ {
		group.Add(1)
		go func(n int) { defer group.Done(); b := make([]byte, 1000*n); lock.Lock(); total += len(b); lock.Unlock() }(i)
	}
	group.Wait()
	fmt.Println("total", total)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	syscall.Kill(os.Getpid(), syscall.SIGUSR1)
	fmt.Println(<-signals)
	time.Sleep(time.Millisecond)
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil { fmt.Println(err); return }
	go func() { client, _ := server.Accept(); client.Write([]byte("served")); client.Close() }()
	client, err := net.Dial("tcp", server.Addr().String())
	if err != nil { fmt.Println(err); return }
	text := make([]byte, 10)
	n, _ := client.Read(text)
	fmt.Println(string(text[:n]))
	defer func() { fmt.Println(recover()); os.Exit(3) }()
	var nothing *int
	fmt.Println(*nothing)
}
"""
FORTRAN = r"""
module lists
  type node
    type(node), pointer :: next => null()
    integer :: v(10)
  end type
contains
  subroutine lose(n)
    integer, intent(in) :: n
    real, pointer :: a(:)
    allocate(a(n)) ! LOST
    a = 1.0
    print *, sum(a)
  end subroutine
end module
program p
  use lists
  type(node), pointer :: list
  call lose(100)
  allocate(list) ! LIST
  allocate(list%next)
  nullify(list)
  write(*,'(A,I4)') 'status', 3
  stop 3
end program
"""
OCAML = r"""
let () =
  let h = Hashtbl.create 10 in
  for i = 0 to 100 do Hashtbl.replace h i (string_of_int i) done;
  print_endline (Hashtbl.find h 50);
  Gc.full_major ();
  (try ignore (List.find (fun x -> x > 5) [1; 2]) with Not_found -> print_endline "none");
  exit 4
"""
PASCAL = r"""
program p;
{$mode objfpc}
uses sysutils;
procedure lose;
var q: pointer;
begin
  getmem(q, 100);
end;
begin
  lose;
  writeln('hello ', IntToStr(42));
  try raise exception.create('caught') except on e: exception do writeln(e.message) end;
  halt(5)
end.
"""
ADA = r"""
with Ada.Text_IO;
procedure Ad is
   type A is array (1 .. 10) of Integer;
   type P is access A;
   task T;
   task body T is
   begin
      null;
   end T;
   procedure Lose is
      Y : P := new A; -- LOST
   begin
      Y (1) := 3;
      Ada.Text_IO.Put_Line (Integer'Image (Y (1)));
   end Lose;
begin
   Lose;
end Ad;
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("languages")


def built(directory: Path, name: str, source: str, *command: str) -> Path:
    """The program that a compiler makes of a source; `@` stands for the source, `%` for the program."""
    (directory / name).mkdir(exist_ok=True)
    suffix = {"rustc": "rs", "go": "go", "gfortran": "f90", "ocamlfind": "ml", "ocamlopt": "ml", "ocamlc": "ml"}
    suffix |= {"fpc": "pas", "gnatmake": "adb"}
    text = directory / name / f"ad.{suffix[command[0]]}"
    text.write_text(source)
    target = directory / name / "program"
    words = [need(command[0])] + [word.replace("@", str(text)).replace("%", str(target)) for word in command[1:]]
    env = {**os.environ, "GOCACHE": str(directory / "go-cache"), "HOME": str(directory)}
    env |= {name: os.environ[name] for name in ("RUSTUP_HOME", "CARGO_HOME") if name in os.environ}
    if command[0] == "rustc" and "RUSTUP_HOME" not in env:
        env["HOME"] = os.environ["HOME"]
    subprocess.run(words, check=True, capture_output=True, cwd=directory / name, env=env)
    return target


def run(program: Path, *arguments: str) -> tuple[dict[str, Any], emuleak.Verdict]:
    """What emuleak says of a run that must go as it goes natively."""
    wanted = execute([program, *arguments], env=system.ENVIRONMENT)
    document, done = emuleak.report(program, arguments, env=system.environment_under_valgrind())
    verdict = emuleak.read(document, done)
    assert verdict.summary.run.stdout.decode() == wanted.stdout.decode()
    assert (verdict.summary.run.code, verdict.summary.run.signal) == (wanted.code, wanted.signal)
    assert not verdict.incomplete
    assert not [finding for finding in verdict.summary.findings if finding.kind != "leak"]
    return document, verdict


def counts_as_valgrind(program: Path, verdict: emuleak.Verdict) -> None:
    heap, lost = system.by_valgrind([str(program)], None, program.parent)
    assert verdict.summary.heap == heap
    assert verdict.summary.totals() == lost


def lines(source: str, *marks: str) -> set[int]:
    return {number for number, line in enumerate(source.splitlines(), 1) if any(mark in line for mark in marks)}


def lines_lost(document: dict[str, Any], file: str) -> set[int]:
    """For each lost block the innermost line of the program's own source."""
    found = set()
    for finding in document["findings"]:
        if finding.get("leak_kind") == "definitely-lost":
            own = [frame["line"] for frame in finding["stack"] if (frame["file"] or "").endswith(file)]
            found.update(own[:1])
    return found


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("debug", ["-g"]),
        ("release", ["-g", "-O"]),
        ("v0", ["-g", "-Csymbol-mangling-version=v0"]),
        ("static", ["-g", "-Ctarget-feature=+crt-static"]),
    ],
)
def test_rust(directory: Path, name: str, flags: list[str]) -> None:
    program = built(directory, name, RUST, "rustc", *flags, "-o", "%", "@")
    document, verdict = run(program)
    wanted = lines(RUST, "// RING", "// FORGOTTEN", "// LEAKED")
    assert lines_lost(document, "ad.rs") == wanted
    functions = {frame["function"] for finding in document["findings"] for frame in finding["stack"]}
    assert {"ad::ring", "ad::main"} <= functions
    assert not [function for function in functions if re.match(r"_ZN|_R", function)]
    if name != "static":
        counts_as_valgrind(program, verdict)
    _, panicked = run(program, "argument")
    assert panicked.summary.run.code == 101


def test_go(directory: Path) -> None:
    program = built(directory, "go", GO, "go", "build", "-o", "%", "@")
    document, _ = run(program)
    assert [
        remark for remark in document["remarks"] if "a Go program: its runtime has an allocator of its own" in remark
    ]
    assert document["exit"]["code"] == 3


def test_fortran(directory: Path) -> None:
    program = built(directory, "fortran", FORTRAN, "gfortran", "-g", "-o", "%", "@")
    document, verdict = run(program)
    assert lines_lost(document, "ad.f90") == lines(FORTRAN, "! LOST", "! LIST")
    counts_as_valgrind(program, verdict)


@pytest.mark.parametrize("compiler", ["ocamlopt", "ocamlc"])
def test_ocaml(directory: Path, compiler: str) -> None:
    program = built(directory, compiler, OCAML, compiler, "-g", "-o", "%", "@")
    _, verdict = run(program)
    heap, _ = system.by_valgrind([str(program)], None, program.parent)
    assert (verdict.summary.heap.allocs, verdict.summary.heap.frees) == (heap.allocs, heap.frees)


@pytest.mark.parametrize("own", [True, False])
def test_pascal(directory: Path, own: bool) -> None:
    source = PASCAL if own else PASCAL.replace("uses sysutils", "uses cmem, sysutils")
    program = built(directory, f"pascal{own}", source, "fpc", "-g", "-o%", "@")
    document, verdict = run(program)
    assert document["exit"]["code"] == 5
    if own:
        assert verdict.summary.heap.allocs == 0
        assert [remark for remark in document["remarks"] if "blocks in there are not seen" in remark]
    else:
        counts_as_valgrind(program, verdict)


def test_ada(directory: Path) -> None:
    program = built(directory, "ada", ADA, "gnatmake", "-g", "@", "-o", "%")
    document, _ = run(program)
    assert lines_lost(document, "ad.adb") == lines(ADA, "-- LOST")
