"""The HTML report as text: everything is in it, escaped, counted and bounded; the tree and the chart add up."""

import io
import re
import time
from pathlib import Path

import pytest
from test_report_golden import CASES, GOLDEN, START, frame, heap, leak, report
from test_report_performance import Sink, bulk

from emuleak.report import calltree, html
from emuleak.report.card import CATEGORIES
from emuleak.report.chart import chart, size_label
from emuleak.report.document import Exit, Finding, Frame, Report, Sample, Suppressed
from emuleak.report.source import Sources

EVIL = "<script>document.title='owned'</script>\"'><img src=x onerror=\"document.title='owned'\">&amp;{{7*7}}\u202e"


def page(document: Report, **choices: object) -> str:
    out = io.StringIO()
    html.Html(**choices).write(document, out)
    return out.getvalue()


def growth(samples: int = 900) -> tuple[Sample, ...]:
    return tuple(Sample(37 * tick, 4000 + tick * (tick % 91), tick) for tick in range(samples))


def full() -> Report:
    """Something of everything."""
    app, parser = (lambda line: frame("main", "app.c", line)), (lambda line: frame("parse_file", "parser.c", line))
    libc = Frame("0x7ffff7c29d8f", "puts", None, None, "/usr/lib/x86_64-linux-gnu/libc.so.6")
    return report(
        *CASES["double_free"]().findings,
        leak(4096, 4, frame("copy", "leak.c", 6), parser(88), app(31), START),
        leak(1240, 7, frame("make_node", "tree.c", 14), frame("insert", "tree.c", 40), parser(90), app(31), START),
        leak(800, 20, frame("make_node", "tree.c", 15), frame("insert", "tree.c", 40), parser(90), app(31), START),
        leak(1200, 4, frame("main", "leak.c", 13), START, kind="indirectly-lost"),
        leak(320, 1, frame("intern", "strings.c", 51), app(31), START, kind="possibly-lost"),
        leak(64, 2, app(12), START, kind="still-reachable", chain=("the variable table", "a block of 64 bytes")),
        leak(1024, 1, libc, app(40), START, kind="still-reachable", owner="library"),
        heap=heap(1240, 1201, 145_000, (8808, 41)),
        growth=growth(),
        incomplete=("system call 425 (io_uring_setup) is not emulated",),
        suppressed=(Suppressed(name="known", findings=1, bytes=8, blocks=1),),
        unused_suppressions=("old",),
    )


def hostile() -> Report:
    at = Frame("0x401000", EVIL, EVIL, 3, EVIL)
    exit_ = Exit(code=None, signal=11, signal_name=EVIL, address=EVIL, stack=(at,))
    misuse = Finding(kind=EVIL, bytes=1, blocks=1, address=EVIL, why=EVIL, stack=(at,), freed=(at,), allocated=(at,))
    evil_leak = leak(8, 1, at, Frame("0x2", "</style></script>" + EVIL, None, None, EVIL), why=EVIL, chain=(EVIL,))
    more = {"program": f"/tmp/{EVIL}", "arguments": (EVIL,), "exit_": exit_, "incomplete": (EVIL,)}
    suppressed = (Suppressed(name=EVIL, findings=1, bytes=1, blocks=1),)
    return report(misuse, evil_leak, evil_leak, suppressed=suppressed, unused_suppressions=(EVIL,), **more)


# ---- the page


def test_a_page_names_everything_that_was_found():
    text = page(full())
    for words in (
        "io_uring_setup",
        "parse_file",
        "parser.c:88",
        "the variable table",
        "4,096 bytes in 4 blocks",
        "known",
    ):
        assert words in text
    assert [int(number) for number in re.findall(r'<article [^>]*id="finding-(\d+)"', text)] == list(range(1, 10))
    assert re.findall(r'<article class="card ([\w-]+)"', text) == [
        *("misuse", "misuse", "definitely-lost", "definitely-lost", "definitely-lost"),
        *("indirectly-lost", "possibly-lost", "still-reachable", "library"),
    ]


def test_the_same_report_gives_the_same_page():
    assert page(full()) == page(full())


def test_nothing_is_fetched_and_only_the_named_script_may_run():
    text = page(hostile())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert re.fullmatch(
        r"default-src 'none'; img-src data:; style-src 'sha256-[\w+/=]+'; script-src 'sha256-[\w+/=]+'; "
        r"base-uri 'none'; form-action 'none'",
        policy[1],
    )
    assert not re.search(r"""(src|href)=["'](?!#|data:image/svg)""", text)
    assert "url(" not in text
    assert text.count("<script>") == text.count("</script>") == 1
    assert "\u202e" not in text


def test_only_sources_that_may_be_quoted_are(tmp_path, monkeypatch):
    monkeypatch.chdir(GOLDEN / "src")
    quoted = "<mark>"
    assert quoted in page(CASES["leak"]())
    assert quoted not in page(CASES["leak"](), sources=Sources(roots=[str(tmp_path)]))


def test_the_verdicts_colour_follows_what_counts():
    assert '<header class="top bad">' in page(CASES["leak"]())
    assert '<header class="top good">' in page(CASES["leak"](), fail_on=frozenset({"misuse"}))
    assert '<header class="top warn">' in page(CASES["crash"]())


def test_many_leaks_are_grouped_by_line_and_every_one_is_counted():
    text = page(CASES["many"]())
    assert "2,000 findings are shown as 112 entries" in text
    assert sum(int(count) for count in re.findall(r'<article [^>]*data-findings="(\d+)"', text)) == 2000
    assert sum(int(size) for size in re.findall(r'<article [^>]*data-bytes="(\d+)"', text)) == 2_015_000


def different(count: int) -> Report:
    """Leaks of which no two have a line in common, with stacks as deep and names as long as C++ makes them."""
    name = "std::map<std::string, std::vector<std::string> >::insert"
    return report(
        *(
            leak(16, 1, *(frame(f"{name}_{n}_{level}", f"{level}.cc", n + 1) for level in range(8)))
            for n in range(count)
        )
    )


def test_a_hundred_thousand_places_make_a_page_that_can_be_opened():
    document, sink = different(100_000), Sink()
    start = time.perf_counter()
    html.Html().write(document, sink)
    assert time.perf_counter() - start < 30
    assert sink.characters < 15_000_000


def test_what_is_not_listed_is_counted(monkeypatch):
    monkeypatch.setattr(html, "MAX_CARDS", 10)
    text = page(different(25))
    assert text.count("<article ") == 10
    assert "15 more findings (240 bytes in 15 blocks), not listed here" in text
    monkeypatch.setattr(html, "MAX_CARD_BYTES", 1)
    text = page(different(25))
    assert text.count("<article ") == 1
    assert "24 more findings (384 bytes in 24 blocks), not listed here" in text


def test_what_a_sentence_quotes_is_set_as_code():
    text = page(report(leak(8, 1, why="Held by `a<b>`, then `</p><script>`.")))
    assert "Held by <code>a&lt;b&gt;</code>, then <code>&lt;/p&gt;&lt;script&gt;</code>." in text


# ---- the tree and the chart


def sums(twigs):
    """Whether every parent has as many bytes as its branches, for all that are not at an end."""
    for index, twig in enumerate(twigs):
        below = []
        for other in twigs[index + 1 :]:
            if other.depth <= twig.depth:
                break
            if other.depth == twig.depth + 1:
                below.append(other.sizes)
        if below:
            assert [sum(column) for column in zip(*below, strict=True)] == list(twig.sizes)


def test_the_tree_adds_up():
    document = full()
    twigs = calltree.call_tree(document.findings, {}, None)
    sums(twigs)
    assert sum(twigs[0].sizes) == sum(finding.bytes for finding in document.findings if finding.kind == "leak")
    assert [(twig.depth, twig.name) for twig in twigs[:5]] == [
        *((0, "all"), (1, "main"), (2, "parse_file"), (3, "copy"), (4, "leak.c:6")),
    ]
    assert {twig.place for twig in twigs if twig.name == "parse_file"} == {"parser.c"}, "called from two lines"


def test_a_tree_too_large_to_draw_still_adds_up(monkeypatch):
    monkeypatch.setattr(calltree, "MAX_STACKS", 300)
    monkeypatch.setattr(calltree, "MAX_BRANCHES", 100)
    document = bulk(3000, stacks=500)
    twigs = calltree.call_tree(document.findings, {}, None)
    sums(twigs)
    assert len(twigs) <= 100
    assert sum(twigs[0].sizes) == sum(finding.bytes for finding in document.findings)
    assert any(twig.name == "smaller stacks" for twig in twigs)


def test_recursion_does_not_make_the_tree_deep():
    twigs = calltree.call_tree(CASES["recursion"]().findings, {}, None)
    sums(twigs)
    assert max(twig.depth for twig in twigs) <= 62
    assert any("more times" in twig.name for twig in twigs)
    assert any("left out" in twig.name for twig in twigs)


def test_the_trees_columns_are_the_categories():
    assert CATEGORIES[:5] == calltree.LEAK_CATEGORIES
    assert set(html.CATEGORY_NAMES) == set(calltree.LEAK_CATEGORIES)


@pytest.mark.parametrize(
    "samples",
    [
        [(0, 0, 0)],
        [(5, 7, 1)],
        [(1, 1, 1), (1, 2, 1)],
        [(1, 1 << 60, 1), (9, 0, 0)],
        [(10**15, 3, 1), (10**15 + 3, 1, 1)],
    ],
)
def test_any_growth_can_be_drawn(samples):
    drawn = chart([Sample(*sample) for sample in samples])
    assert drawn.peak.bytes == max(size for _, size, _ in samples)
    assert 0 <= drawn.peak_x <= 100
    assert 0 <= drawn.peak_y <= 100
    assert 2 <= len(drawn.sizes) <= 5
    assert len(drawn.ticks) <= 10
    assert all(0 <= mark.at <= 100 for mark in (*drawn.sizes, *drawn.ticks))


def test_the_chart_is_of_steps():
    drawn = chart([Sample(0, 0, 0), Sample(50, 4, 1), Sample(100, 2, 1)])
    assert drawn.edge == "M0 1000H500V0H1000V500H1000"
    assert [(mark.at, mark.label) for mark in drawn.sizes][-1] == (0, "4 bytes")
    assert [mark.label for mark in drawn.ticks] == ["0", "50", "100"]


def test_sizes_are_told_in_the_largest_unit():
    assert [size_label(size) for size in (1, 1023, 1024, 1536, 1 << 20, 3 << 40)] == [
        *("1 byte", "1023 bytes", "1 KiB", "1.5 KiB", "1 MiB", "3 TiB"),
    ]


def test_the_template_is_part_of_the_package():
    pyproject = (Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert '"report/page/*"' in pyproject
