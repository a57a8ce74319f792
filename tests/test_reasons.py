"""Why a block counts as it does: small programs, what is said of their blocks, and what must not be said."""

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from oracles import emuleak, valgrind
from oracles.peers import need

HEADER = """\
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#define NOINLINE __attribute__((noinline))
struct node { char *name; struct node *next; };
struct table { int count; struct node *slots[4]; };
NOINLINE static void use(volatile char *p) { p[0] = getpid() != 1; }
NOINLINE static int scrub(int depth) {
    volatile char stack[2048];
    memset((char *)stack, 0, sizeof stack);
    return depth ? scrub(depth - 1) + stack[depth] : 0;
}
#line 1 "t.c"
"""


class Leak(NamedTuple):
    """What the report says of the blocks of one size."""

    kind: str
    why: str
    chain: tuple[str, ...]


@functools.cache
def directory() -> Path:
    place = Path(os.environ.get("TMPDIR", "/tmp"), f"emuleak-reasons-{os.getpid()}")
    place.mkdir(exist_ok=True)
    return place


@pytest.fixture(scope="module", autouse=True)
def _removed() -> Any:
    yield
    shutil.rmtree(directory())
    directory.cache_clear()


@functools.cache
def build(text: str, *flags: str, compiler: str = "gcc") -> Path:
    name = f"t{abs(hash((text, flags, compiler)))}"
    suffix = ".cpp" if compiler.endswith("++") else ".c"
    source = directory() / f"{name}{suffix}"
    source.write_text(HEADER + text)
    program = directory() / name
    command = [need(compiler), "-g", "-w", "-pthread", *flags, "-o", program, source]
    subprocess.run([*command], check=True)
    return program


@functools.cache
def leaks(text: str, *flags: str, compiler: str = "gcc") -> dict[int, Leak]:
    """The program's leaks by the size of one block: each program gives every block a size of its own."""
    document, _ = emuleak.report(build(text, *flags, compiler=compiler))
    return {
        finding["bytes"] // finding["blocks"]: Leak(
            finding["leak_kind"], finding["why"], tuple(finding.get("chain", ()))
        )
        for finding in document["findings"]
        if finding["kind"] == "leak" and finding["owner"] == "program"
    }


BUILDS = [("-O0",), ("-O0", "-static"), ("-O0", "-no-pie"), ("-O0", "-gdwarf-4")]
by_build = pytest.mark.parametrize("flags", BUILDS, ids=" ".join)

# ---- still reachable: what holds it

HELD = """\
char *cache; static char *file_static; struct table table;
__thread char *mine; struct node *head;
static void *work(void *_) { char *own = malloc(107); use(own); for (;;) pause(); return own; }
int main(void) {
    static char *counter;
    cache = malloc(101); file_static = malloc(102); counter = malloc(103); mine = malloc(104);
    table.slots[2] = malloc(105);
    head = malloc(16); head->next = malloc(32); head->next->name = malloc(106);
    pthread_t thread; pthread_create(&thread, 0, work, 0); usleep(1000);
    return use(cache), scrub(3);
}
"""


@by_build
@pytest.mark.parametrize(
    ("size", "name"),
    [
        (101, "the global `cache` (t.c:1)"),
        (102, "the global `file_static` (t.c:1)"),
        (103, "the static local `counter` of main() (t.c:5)"),
        (104, "the thread-local variable `mine` of thread 0 (t.c:2)"),
        (105, "the global `table.slots[2]` (t.c:1)"),
        (107, "the local `own` of work() in thread 1 (t.c:3)"),
    ],
)
def test_what_holds_a_block_has_its_name(flags: tuple[str, ...], size: int, name: str) -> None:
    leak = leaks(HELD, *flags)[size]
    assert leak.kind == "still-reachable"
    assert leak.why.startswith(f"Held by {name}, still reachable at exit.")
    assert leak.chain == (name, "this block")


@by_build
def test_the_chain_leads_from_the_root_to_the_block(flags: tuple[str, ...]) -> None:
    leak = leaks(HELD, *flags)[106]
    assert leak.why == "Held by the global `head` (t.c:2) through 2 other blocks, still reachable at exit."
    assert leak.chain == (
        "the global `head` (t.c:2)",
        "block of 16 bytes from main() (t.c:8), in its `next`",
        "block of 32 bytes from main() (t.c:8), in its `[0].name`",
        "this block",
    )


def test_a_running_thread_is_why_its_local_still_exists() -> None:
    assert leaks(HELD, "-O0")[107].why.endswith("Thread 1 was still in work() when the program ended.")


def test_without_debug_information_the_symbols_name_what_they_can() -> None:
    found = leaks(HELD, "-O0", "-g0")
    assert found[101].why == "Held by the global `cache`, still reachable at exit."
    assert found[103].why == "Held by the static variable `counter`, still reachable at exit."
    assert found[104].why == "Held by the thread-local variable `mine` of thread 0, still reachable at exit."
    assert found[105].chain[0] == "the global `table`, 24 bytes behind its start"
    assert found[106].chain[1] == "block of 16 bytes from main(), at offset 8"
    assert found[107].chain[0] == "the stack frame of work() in thread 1"


def test_a_stripped_program_still_says_what_is_known() -> None:
    found = leaks(HELD, "-O0", "-s")
    assert found[101].why.startswith("Held by static data of t")
    assert found[104].chain[0] == "thread-local storage of thread 0"


def test_a_long_chain_shows_its_end() -> None:
    text = """\
    struct node *head;
    int main(void) {
        char *last = malloc(101);
        for (int i = 0; i < 50; i++) {
            struct node *n = malloc(sizeof *n);
            n->next = head; n->name = i ? 0 : last; head = n;
        }
        last = 0;
        return 0;
    }
    """
    leak = leaks(text, "-O0")[101]
    assert leak.why.startswith("Held by the global `head` (t.c:1) through 50 other blocks")
    assert leak.chain[:2] == ("the global `head` (t.c:1)", "43 more blocks")
    assert len(leak.chain) == 10


def test_a_registers_owner_is_told_where_it_is_certain() -> None:
    text = "int main(void) { char *p = malloc(101); use(p); if (getpid()) exit(0); use(p); return 0; }"
    leak = leaks(text, "-O2")[101]
    assert leak.chain[0] in {"a register of main()", "the stack frame of main()"}
    assert "had it returned, the block would be definitely lost" in leak.why


def test_memory_that_the_program_mapped() -> None:
    text = """\
    #include <sys/mman.h>
    int main(void) {
        char **page = mmap(0, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        page[7] = malloc(101);
        return 0;
    }
    """
    assert leaks(text, "-O0")[101].chain[0] == "memory that the program mapped itself"


# ---- exit(0) and return 0

ENDS = "int main(void) {{ char *p = malloc(101); use(p); {end} }}"


def test_exit_and_return_tell_one_story() -> None:
    returned, exited = (leaks(ENDS.format(end=end), "-O0")[101] for end in ("return 0;", "exit(0);"))
    assert returned.kind == "definitely-lost"
    assert returned.why == (
        "No pointer to it is left. main() put its address into its local `p` (t.c:1), and has returned."
    )
    assert exited.kind == "still-reachable"
    assert exited.why == (
        "Held by the local `p` of main() (t.c:1), still reachable at exit. main() called exit() instead of returning: "
        "had it returned, the block would be definitely lost."
    )


@pytest.mark.peer("valgrind")
@pytest.mark.parametrize("end", ["return 0;", "exit(0);", "_exit(0);"])
def test_the_verdict_stays_valgrinds(end: str) -> None:
    program = build(ENDS.format(end=end), "-O0")
    assert emuleak.check(program).summary.totals() == valgrind.check(program).totals()


def test_nothing_is_said_of_a_return_that_would_change_nothing() -> None:
    text = "char *also; int main(void) { char *p = malloc(101); use(p); also = p; exit(0); }"
    assert "had it returned" not in leaks(text, "-O0")[101].why


def test_exit_called_below_main() -> None:
    text = """\
    static void fail(void) { exit(1); }
    int main(void) { char *p = malloc(101); use(p); fail(); }
    """
    assert "main() had not returned when exit() was called: had it returned, the block would be definitely lost." in (
        leaks(text, "-O0")[101].why
    )


def test_a_crash_is_no_exit() -> None:
    text = "int main(void) { char *p = malloc(101); use(p); *(volatile int *)8 = 1; return p[0]; }"
    why = leaks(text, "-O0")[101].why
    assert why.endswith("main() had not returned when the program ended.")


# ---- possibly lost


def test_a_pointer_into_the_middle() -> None:
    text = "static char *tail; int main(void) { tail = (char *)malloc(101) + 8; return scrub(5); }"
    leak = leaks(text, "-O0")[101]
    assert leak.kind == "possibly-lost"
    assert leak.why == (
        "No pointer to its start is left, only into its middle: 8 bytes behind the start, in the global `tail` (t.c:1)."
    )


def test_a_pointer_to_the_start_in_a_possibly_lost_block_is_not_denied() -> None:
    text = """\
    char *middle, *inner;
    int main(void) {
        char **outer = malloc(101); char *block = malloc(102);
        outer[0] = block; middle = (char *)outer + 16; inner = block + 4;
        outer = 0; block = 0;
        return scrub(5);
    }
    """
    assert "No pointer to its start" not in leaks(text, "-O0")[102].why


def test_what_hangs_on_a_possibly_lost_block() -> None:
    text = """\
    char *middle;
    int main(void) {
        char **outer = malloc(101);
        outer[0] = malloc(102); middle = (char *)outer + 16; outer = 0;
        return scrub(5);
    }
    """
    why = leaks(text, "-O0")[102].why
    assert why == "Only possibly lost blocks lead to it: a block of 101 bytes from main() (t.c:3) is one of these."


# ---- lost


LOST = """\
static char *cache; static char *nulled;
NOINLINE static struct node *node_new(int size) {
    struct node *node = malloc(size);
    node->name = malloc(size + 1);
    return node;
}
NOINLINE static void node_free(struct node *node) { free(node); }
static void parse(void) { char *buffer = malloc(101); use(buffer); }
static void loop(void) { for (int i = 0; i < 5; i++) { char *item = malloc(102); use(item); } }
static void grow(void) { char *p = malloc(103); use(p); p = realloc(p, (size_t)-100); if (p) use(p); }
static void rings(void) {
    struct node *a = malloc(201), *b = malloc(202), *c = malloc(203);
    a->next = b; b->next = c; c->next = a;
}
static void self(void) { void **p = malloc(204); *p = p; }
int main(void) {
    parse(); loop(); grow(); rings(); self();
    node_free(node_new(301));
    node_new(401);
    cache = malloc(104); cache = malloc(105);
    nulled = malloc(106); nulled = 0;
    char *over = malloc(107); over = malloc(108);
    scrub(9);
    exit(0);
}
"""


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    ("size", "words"),
    [
        (101, "parse() put its address into its local `buffer` (t.c:8), and has returned."),
        (102, "loop() put the address of each into its local `item` (t.c:9), and has returned."),
        (103, ("failed in grow() (t.c:10): it returned NULL and left the block as it was; the NULL was put into "
               "its local `p` (t.c:10).")),
        (201, "it and 2 other blocks hold each other in a ring."),
        (204, "it only points to itself."),
        (302, ("A block of 301 bytes from node_new() (t.c:3), freed by node_free() (t.c:7), "
               "still holds its address.")),
        (401, "node_new() put its address into its local `node` (t.c:3), and has returned."),
        (104, "main() put its address into the global `cache` (t.c:1), which points to another block now."),
        (106, "main() put its address into the global `nulled` (t.c:1), which is NULL now."),
        (107, "main() put its address into its local `over` (t.c:22), which holds another value now."),
    ],
)  # fmt: skip
def test_what_became_of_the_pointer(compiler: str, size: int, words: str) -> None:
    leak = leaks(LOST, "-O0", compiler=compiler)[size]
    assert leak.kind == "definitely-lost"
    assert leak.why.endswith(words)
    assert leak.chain == ()


def test_a_block_lost_with_its_owner() -> None:
    leak = leaks(LOST, "-O0")[402]
    assert leak.kind == "indirectly-lost"
    assert leak.why == "Lost with its owner, the block of 401 bytes from node_new() (t.c:3)."


def test_an_owner_that_is_itself_lost_with_another() -> None:
    text = """\
    static void lose(void) {
        struct node *a = malloc(101); a->next = malloc(102); a->next->next = malloc(103);
    }
    int main(void) { lose(); return scrub(5); }
    """
    assert leaks(text, "-O0")[103].why == (
        "Lost with its owner, the block of 102 bytes from lose() (t.c:2), "
        "which hangs on a definitely lost block of 101 bytes from lose() (t.c:2)."
    )


def test_cxx_objects() -> None:
    text = """\
    namespace shop { struct item { char *name; item() : name(new char[101]) {} }; item *last; struct empty {}; }
    int main() { shop::last = new shop::item; shop::item *gone = new shop::item; gone->name = new char[102]; }
    """
    found = leaks(text, "-O0", compiler="g++")
    assert found[102].why.startswith("Lost with its owner, the block of 8 bytes from main()")
    assert {leak.chain[0] for leak in found.values() if leak.chain} == {"the global `shop::last` (t.c:1)"}


# ---- what must not be said

PLAIN = "No pointer to it is left: nothing in the program can free it any more."


def test_optimised_code_says_nothing_of_locals() -> None:
    assert leaks(LOST, "-O2", "-fno-builtin")[101].why == PLAIN


def test_a_function_that_may_have_been_left_by_a_jump_has_not_returned() -> None:
    text = """\
    #include <setjmp.h>
    static jmp_buf place;
    static void parse(void) { char *buffer = malloc(101); use(buffer); longjmp(place, 1); }
    int main(void) { if (!setjmp(place)) parse(); return scrub(5); }
    """
    assert leaks(text, "-O0")[101].why.endswith("into its local `buffer` (t.c:3), and has ended.")


def test_a_function_that_runs_at_the_end_has_not_returned() -> None:
    text = """\
    static void nest(int depth) {
        char *p = malloc(100 + depth); use(p); p = 0;
        if (depth) nest(depth - 1);
        scrub(5); if (!depth) exit(0);
    }
    int main(void) { nest(2); }
    """
    for size in (100, 101, 102):
        assert leaks(text, "-O0")[size].why.endswith("into its local `p` (t.c:2), which does not hold it any more.")


def test_what_realloc_moved_was_no_owner() -> None:
    text = """\
    static void lose(void) {
        char **list = malloc(64); list[0] = malloc(101);
        list = realloc(list, 128); list[0] = 0; free(list);
    }
    int main(void) { lose(); return scrub(5); }
    """
    assert "owner" not in leaks(text, "-O0")[101].why


def test_an_owner_that_forgot_before_it_was_freed_is_not_blamed() -> None:
    text = """\
    static void lose(void) { struct node *n = malloc(64); n->name = malloc(101); n->name = 0; free(n); }
    int main(void) { lose(); return scrub(5); }
    """
    assert leaks(text, "-O0")[101].why == PLAIN


def test_a_realloc_that_worked_later_is_not_blamed() -> None:
    text = """\
    static void lose(void) { char *p = malloc(50), *q = realloc(p, -100); if (!q) q = realloc(p, 101); use(q); }
    int main(void) { lose(); return scrub(5); }
    """
    assert "failed" not in leaks(text, "-O0")[101].why


def test_posix_memalign_returns_no_address() -> None:
    text = """\
    static void lose(void) { void *p; long error; error = posix_memalign(&p, 64, 101); use(p); p = 0; }
    int main(void) { lose(); return scrub(5); }
    """
    assert leaks(text, "-O0")[101].why == PLAIN


def test_of_many_blocks_only_what_is_true_of_all() -> None:
    text = """\
    char *one, *two;
    NOINLINE static char *make(void) { char *p = malloc(101); return p; }
    int main(void) { char *all[2]; for (int i = 0; i < 2; i++) all[i] = make(); one = all[0]; two = all[1]; return 0; }
    """
    leak = leaks(text, "-O0")[101]
    assert leak.why == "They were never freed. The first is held by the global `one` (t.c:1)."
    assert leak.chain == ("the global `one` (t.c:1)", "the first of these blocks")


def test_of_many_rings_the_first_is_told() -> None:
    text = """\
    static void ring(void) { struct node *a = malloc(101), *b = malloc(102); a->next = b; b->next = a; }
    int main(void) { for (int i = 0; i < 3; i++) ring(); return scrub(5); }
    """
    why = leaks(text, "-O0")[101].why
    assert why == "Nothing leads to them any more; the first and 1 other block hold each other in a ring."


def test_what_a_library_keeps_costs_nothing() -> None:
    text = '#include <stdio.h>\nint main(void) { puts("x"); return 0; }'
    document, _ = emuleak.report(build(text, "-O0"))
    assert [(f["owner"], f.get("chain")) for f in document["findings"]] == [("library", None)]
