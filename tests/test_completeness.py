"""Nothing is offered that no test has tried: system calls, strategies, policies, findings, formats."""

import ast
import errno
import gc
import inspect
import struct
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from kernel_guest import BUFFER, Guest
from oracles import emuleak, expectations
from oracles.build import VARIANTS, build
from oracles.corpus import PROGRAMS
from oracles.peers import need
from oracles.shapes import DAMAGE_KINDS, LEAK_KINDS, MISUSE_KINDS, REQUEST_KINDS
from test_allocators import POLICIES

from emuleak import allocators
from emuleak.allocators import Allocator
from emuleak.entrypoints import NAMES, OPERATORS
from emuleak.errors import BadOption
from emuleak.events import OPS, is_operator
from emuleak.findings.finding import LeakKind
from emuleak.hooks import STRATEGIES
from emuleak.hooks import strategy as hook_strategy
from emuleak.kernel import TABLE, Kernel
from emuleak.kernel.table import handler_of
from emuleak.kernel.tracing import Tracer
from emuleak.report import verdict
from emuleak.report.writers import WRITERS
from emuleak.session import Options, Session

TESTS = Path(__file__).parent
TRACED = [
    *sorted((TESTS / "kernel_programs").glob("*.c")),
    *sorted((TESTS / "signal_programs").glob("*.c")),
    *sorted((TESTS / "process_programs").glob("*.c")),
]
# Where calls are made by hand, by their names.
BY_HAND = tuple(TESTS.glob("test_kernel_*.py"))

# Root's own, or nothing that emuleak has; made by hand below, for on the host they might succeed.
REFUSED = frozenset((
    *("acct", "add_key", "bpf", "chroot", "clock_adjtime", "clock_settime", "delete_module", "fanotify_init"),
    *("finit_module", "fsopen", "init_module", "inotify_init", "inotify_init1", "io_uring_setup", "ioperm", "iopl"),
    *("kexec_file_load", "kexec_load", "keyctl", "mount", "mount_setattr", "move_mount", "open_by_handle_at"),
    *("open_tree", "perf_event_open", "pivot_root", "ptrace", "quotactl", "reboot", "request_key", "setdomainname"),
    *("setgroups", "sethostname", "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount2"),
    *("unshare", "userfaultfd", "vhangup"),
))  # fmt: skip

# What no test makes yet. An entry that is made after all fails, too: the list can only become shorter.
NOT_YET: frozenset[str] = frozenset()

# Findings: what the report has words for and no detector finds yet.
NOT_YET_FOUND = frozenset({"use-after-free"})


def literals(path: Path) -> set[str]:
    """The words of a module's string constants."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str))
    return {word for text in texts for word in text.split()}


class Names(Tracer):
    """Notes the names of the calls."""

    def __init__(self, made: set[str]) -> None:
        self.made = made

    def dispatch(self, kernel: Kernel, number: int, registers: tuple[int, ...]) -> int | None:
        if (handler := handler_of(number)) is not None:
            self.made.add(handler.name)
        return kernel.dispatch(number, registers)


def traced(program: Path) -> set[str]:
    """The names of the system calls that a program makes."""
    binary = build(program, VARIANTS["O0"], ("-pthread",))
    gc.collect()
    session = Session(Options(program=str(binary), argv=[binary.name], stdin=b"", capture=True, max_seconds=60))
    made: set[str] = set()
    session.kernel.tracer = Names(made)
    session.run()
    return made


@pytest.fixture(scope="module")
def made_by_programs(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    need("gcc")
    directory = tmp_path_factory.mktemp("traced")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        return set().union(*(traced(program) for program in TRACED))


def test_every_system_call_is_made_somewhere(made_by_programs: set[str]) -> None:
    by_hand = set().union(*(literals(path) for path in BY_HAND))
    by_hand |= {name for name, *_ in SMALL_CALLS} | {"capget", "capset"}
    names = {handler.name for handler in TABLE.values()}
    assert names >= REFUSED
    assert names - made_by_programs - by_hand - REFUSED == NOT_YET


@pytest.fixture
def guest() -> Guest:
    gc.collect()
    return Guest()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_only_root_may_do_is_refused(guest: Guest, name: str) -> None:
    """As any Linux refuses it to an ordinary user; what emuleak itself lacks is told in the report as well."""
    answer = guest(name)
    assert answer in {-errno.EPERM, -errno.ENOSYS}
    assert bool(guest.notes) is (answer == -errno.ENOSYS)


# One call each, of those that no program above makes: the arguments, the answer, whether the report must tell.
SMALL_CALLS = (
    ("inotify_add_watch", (77, 0), -errno.EBADF, False),
    ("inotify_rm_watch", (77, 0), -errno.EBADF, False),
    ("mlockall", (1,), 0, False),
    ("mbind", (0, 4096, 0, 0, 0), 0, False),
    ("get_mempolicy", (BUFFER, 0, 0, 0, 0), 0, False),
    ("get_mempolicy", (0, BUFFER, 64, 0, 0), 0, False),
    ("get_mempolicy", (0, BUFFER, (1 << 64) - 64, 0, 0), -errno.EINVAL, False),
    ("set_mempolicy", (0, 0, 0), 0, False),
    ("set_mempolicy", (99, 0, 0), -errno.EINVAL, False),
)


@pytest.mark.parametrize(("name", "arguments", "answer", "told"), SMALL_CALLS)
def test_a_small_call(guest: Guest, name: str, arguments: tuple[int, ...], answer: int, told: bool) -> None:
    assert guest(name, *arguments) == answer
    assert bool(guest.notes) is told


def test_capabilities_are_none_and_stay_none(guest: Guest) -> None:
    version = 0x2008_0522  # _LINUX_CAPABILITY_VERSION_3: two sets of three words
    header, data = guest.put(struct.pack("<Ii", version, 0)), BUFFER + 64
    guest.put(b"\xff" * 24, data)
    assert guest("capget", header, data) == 0
    assert guest.fetch(24, data) == bytes(24)
    assert guest("capset", header, data) == 0
    guest.put(struct.pack("<6I", *[1] * 6), data)
    assert guest("capset", header, data) == -errno.EPERM
    guest.put(struct.pack("<Ii", 7, 0))
    assert guest("capset", header, data) == -errno.EINVAL


def test_every_operation_has_a_name_in_a_library() -> None:
    operators = {op for op in OPS if is_operator(op)}
    assert set(NAMES.values()) == set(OPS) - operators
    assert set(OPERATORS.values()) == operators


# ---- strategies and policies

LEAKY = """
#include <stdlib.h>
#include <string.h>
int main(void) { char *volatile p = malloc(40); p = strdup("lost"); p = 0; void (*volatile release)(void *) = free;
                 p = malloc(8); release(p); free(p); return 0; }
"""


@pytest.mark.parametrize("name", [strategy.name for strategy in STRATEGIES])
def test_every_strategy_finds_leaks_and_misuse(name: str, tmp_path: Path) -> None:
    (tmp_path / "leaky.c").write_text(LEAKY)
    program = tmp_path / "leaky"
    subprocess.run([need("gcc"), "-w", "-O0", "-g", "-o", program, tmp_path / "leaky.c"], check=True)
    found = emuleak.check(program, options=["--hook", name]).summary
    kinds = sorted((finding.kind, finding.leak_kind, finding.bytes) for finding in found.findings)
    assert kinds == [("double-free", None, 8), ("leak", "definitely-lost", 5), ("leak", "definitely-lost", 40)]
    assert (found.heap.allocs, found.heap.frees) == (3, 2)


def test_an_unknown_strategy_is_refused_with_the_names_of_those_there_are() -> None:
    with pytest.raises(BadOption, match=", ".join(strategy.name for strategy in STRATEGIES)):
        hook_strategy("no such")


def test_every_policy_is_tried_by_the_state_machine() -> None:
    exported = {kind for kind in vars(allocators).values() if inspect.isclass(kind) and kind is not Allocator}
    assert exported == set(POLICIES)


# ---- findings and formats


def promised_kinds() -> set[str]:
    """The kinds of findings that comments of the corpus require."""
    promises = (expectations.read(program) for program in PROGRAMS)
    keys = [defect.key for promise in promises for defect in promise.defects if defect.required]
    return {key.leak_kind or key.kind for key in keys}


def test_every_kind_of_finding_is_promised_by_a_program() -> None:
    assert set(get_args(LeakKind)) == set(LEAK_KINDS)
    kinds = {*MISUSE_KINDS, *DAMAGE_KINDS, *REQUEST_KINDS}
    assert set(verdict.MISUSE_KINDS) - kinds == NOT_YET_FOUND
    assert {*LEAK_KINDS, *kinds} <= promised_kinds()


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_has_golden_files(name: str) -> None:
    suffix = {"text": "txt"}.get(name, name)
    assert len(list((TESTS / "golden" / "report").glob(f"*.{suffix}"))) >= 10
