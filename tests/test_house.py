"""The house is as its plan says: which room may use which, who touches a vendor's package, how large a file may be."""

import ast
import functools
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "emuleak"

# The rooms in the order in which the data flows: nothing imports from a later one.
ORDER = (
    ("_version", "errors", "events", "batch", "entrypoints", "host"),
    ("elf_header", "image_cache", "elf", "disasm", "operatorcode", "mallocwrapper"),
    (
        "layout",
        "arena",
        "sharing",
        "memory",
        "deadstack",
        "duplicate",
        "engine",
        "hostcode",
        "blockcounter",
        "vexscan",
        "machine",
    ),
    ("loader",),
    ("kernel",),
    ("strace", "unhooked"),
    ("hooks",),
    ("allocators", "redzones", "placement", "shelves", "quarantine", "ledger", "heap", "custom_blocks"),
    ("stacks", "symbols"),
    ("findings",),
    ("report",),
    ("interfaces",),
    ("books", "descendants", "session"),
    ("linking", "doctor", "bundle", "sysroot", "compiling"),
    ("interrupts", "api"),
    ("cli", "__main__", "__init__", "replay", "fuzz", "inject", "course", "pytest_plugin"),
)
RANK = {room: rank for rank, rooms in enumerate(ORDER) for room in rooms}

# Each of these is known to one file only.
VENDORS = {
    "lief": "elf.py",
    "capstone": "disasm.py",
    "unicorn": "engine.py",
    "symbolic": "symbols/symcache.py",
    "elftools": "symbols/dwarf.py",
    "jinja2": "report/html.py",
}
# These are tested without a CPU: importing them must not even bring a vendor's package along.
LOADED = (*VENDORS, "emuleak.engine")  # which opens Unicorn's library without the package
WITHOUT_VENDORS = ("events", "heap", "allocators", "findings", "replay")

# What does not keep to the plan yet. An entry that is no longer true fails, too.
NOT_YET_IN_ORDER = {("elf", "memory")}
NOT_YET_WITHOUT_VENDORS = {"findings.homes"}

LONGEST_FILE = 400
VAGUE = re.compile(r"(^|_)(util|utils|helper|helpers|manager|managers|misc|common|handler|stuff)($|_)")


def name_of(path: Path) -> str:
    """The module's name below the package; a package's own is that of its directory."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@functools.cache
def modules() -> dict[str, Path]:
    return {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def room_of(module: str) -> str:
    return module.partition(".")[0]


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def imported(node: ast.stmt) -> Iterator[str]:
    """The full names of the modules that an import statement asks for."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        assert node.module is not None
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            yield inner if inner.removeprefix("emuleak.") in modules() else node.module


def statements(node: ast.AST, *, everywhere: bool) -> Iterator[ast.stmt]:
    """The statements that run when the module is imported, or all."""
    for child in ast.iter_child_nodes(node):
        if not everywhere and (isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) or is_for_types(child)):
            continue
        if isinstance(child, ast.stmt):
            yield child
        yield from statements(child, everywhere=everywhere)


def is_for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def uses(module: str, *, everywhere: bool = True) -> set[str]:
    """Our own modules that a module imports."""
    found = set()
    for statement in statements(tree(module), everywhere=everywhere):
        for name in imported(statement):
            if name.partition(".")[0] == "emuleak":
                found.add(name.partition(".")[2] or "__init__")
    assert found <= modules().keys(), f"{module} imports what is not there"
    return found - {module}


def packages_of(module: str) -> set[str]:
    """The top-level packages that a module imports anywhere."""
    found = set()
    for statement in statements(tree(module), everywhere=True):
        found |= {name.partition(".")[0] for name in imported(statement)}
    return found


def test_every_room_has_its_place() -> None:
    assert {room_of(module) for module in modules()} <= RANK.keys()


def test_nothing_imports_from_a_later_room() -> None:
    wrong = {
        (room_of(module), room_of(used))
        for module in modules()
        for used in uses(module)
        if RANK[room_of(used)] > RANK[room_of(module)]
    }
    assert wrong == NOT_YET_IN_ORDER


def test_the_package_itself_imports_nothing_heavy() -> None:
    """The public names come on demand: `import emuleak` must not load a CPU."""
    script = "import sys, emuleak; print([name for name in sys.argv[1:] if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script, *LOADED], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_hooks_never_import_the_heap() -> None:
    for module in modules():
        if room_of(module) == "hooks":
            assert not {room_of(used) for used in uses(module)} & {"heap", "allocators"}, module


def test_no_imports_in_a_circle() -> None:
    graph = {module: uses(module, everywhere=False) for module in modules()}
    done: set[str] = set()
    while ready := {module for module, used in graph.items() if module not in done and used <= done}:
        done |= ready
    assert graph.keys() - done == set(), "these, or what they import, form a circle"


@pytest.mark.parametrize(("vendor", "file"), VENDORS.items())
def test_a_vendors_package_is_known_to_one_file(vendor: str, file: str) -> None:
    users = {str(modules()[module].relative_to(PACKAGE)) for module in modules() if vendor in packages_of(module)}
    assert users == {file}


@pytest.mark.parametrize("module", [name for name in modules() if room_of(name) in WITHOUT_VENDORS])
def test_what_is_tested_without_a_cpu_loads_none(module: str) -> None:
    script = (
        "import sys, importlib; importlib.import_module(sys.argv[1]);"
        "print([name for name in sys.argv[2:] if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, f"emuleak.{module}", *LOADED, "hypothesis"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout.strip() == "[]") is (module not in NOT_YET_WITHOUT_VENDORS)


def test_only_fuzz_and_course_know_hypothesis() -> None:
    users = {room_of(module) for module in modules() if "hypothesis" in packages_of(module)}
    assert users <= {"fuzz", "inject", "course"}


@pytest.mark.parametrize("module", modules())
def test_a_file_holds_one_concept(module: str) -> None:
    lines = len(modules()[module].read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_FILE, f"{lines} lines are more than one concept"


@pytest.mark.parametrize("module", modules())
def test_names_say_what_is_inside(module: str) -> None:
    names = [*module.split("."), *(node.name for node in ast.walk(tree(module)) if isinstance(node, ast.ClassDef))]
    for name in names:
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
        assert not VAGUE.search(words) or name == "Handler", f"{name} says nothing"


@pytest.mark.parametrize("module", modules())
def test_every_module_says_what_it_is(module: str) -> None:
    assert (ast.get_docstring(tree(module)) or "").strip(), "no docstring"


def test_nothing_needs_a_linux_host_to_be_imported() -> None:
    """Modules that only some hosts have are imported where they are used, or behind a question for the platform."""
    only_some = {"fcntl", "resource", "termios", "pwd", "grp", "pty", "tty", "posix", "syslog"}
    for module in modules():
        for statement in tree(module).body:
            assert not {name.partition(".")[0] for name in imported(statement)} & only_some, module
