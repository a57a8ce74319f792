"""The HTML report in a real browser: it works, it fits, it asks for nothing, and a hostile name stays a name."""

import re
import time

import pytest
from browser import Browser
from test_report_golden import CASES, GOLDEN
from test_report_html import different, full, growth, hostile

from emuleak.report import html
from emuleak.report.document import Report


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = Browser(tmp_path_factory.mktemp("chromium"))
    yield chromium
    chromium.close()


@pytest.fixture
def show(browser, tmp_path, monkeypatch):
    """Opens a report in the browser and, at the end of the test, asks what it complained of or fetched."""
    monkeypatch.chdir(GOLDEN / "src")
    path = tmp_path / "report.html"

    def opened(document: Report, **how: object) -> Browser:
        with path.open("w", encoding="utf-8") as out:
            html.Html().write(document, out)
        browser.open(path, **how)
        return browser

    yield opened
    assert browser.problems == []
    fetched = {request.partition("#")[0] for request in browser.requests if not request.startswith("data:")}
    assert fetched <= {path.as_uri()}


OVERFLOW = """[...document.querySelectorAll('body *')]
    .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.code, #boxes, svg, .hidden'))
    .map(e => e.outerHTML.slice(0, 200))"""
LAYOUTS = [(name, width, False) for name in ("full", "hostile", *CASES) for width in (1280, 400)]


@pytest.mark.parametrize(("name", "width", "dark"), [*LAYOUTS, ("full", 1280, True), ("full", 400, True)])
def test_a_page_fits_and_raises_no_complaint(show, name, width, dark):
    document = {"full": full, "hostile": hostile, **CASES}[name]()
    tab = show(document, width=width, dark=dark)
    assert tab.value("document.documentElement.scrollWidth") == width
    assert tab.value(OVERFLOW) == []
    background = tab.value("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", background)[0]) < 128) is dark


VISIBLE = "[...document.querySelectorAll('.card')].filter(c => c.checkVisibility()).map(c => c.id.slice(8)).join(' ')"
SHOWN = "document.getElementById('shown').textContent"


def test_filters_and_their_counts(show):
    tab = show(full())
    everything = "1 2 3 4 5 6 7 8 9"
    assert tab.value(VISIBLE) == everything
    assert tab.value(SHOWN) == "Showing 9 findings; 8,744 bytes not freed, in 39 blocks"
    tab.click("input[value=double-free]")
    assert tab.value(VISIBLE) == "1 3 4 5 6 7 8 9"
    tab.click("input[value=definitely-lost]")
    assert tab.value(VISIBLE) == "1 6 7 8 9"
    assert tab.value(SHOWN) == "Showing 5 of 9 findings; 2,608 of 8,744 bytes not freed, in 8 blocks"
    tab.click("input[value=library]")
    assert tab.value(VISIBLE) == "1 6 7 8"
    tab.click("#clear")
    assert tab.value(VISIBLE) == everything
    tab.click("#least")
    tab.type("1k")
    tab.until(f"{VISIBLE} === '3 4 6 9'")
    tab.click("#clear")
    tab.type("PARSER.c insert")
    tab.until(f"{VISIBLE} === '4 5'")
    assert tab.value("document.getElementById('matched').textContent").startswith("0 bytes")
    tab.type(" nowhere")
    tab.until(f"{VISIBLE} === ''")
    assert tab.value("document.getElementById('nothing').checkVisibility()")


def test_a_link_to_a_finding_shows_it_whatever_the_filters_say(show):
    tab = show(full(), hash_="#finding-9")
    assert tab.value("document.activeElement.id") == "finding-9"
    tab.click("input[value=double-free]")
    tab.value("location.hash = '#finding-2'")
    tab.until("document.activeElement.id === 'finding-2'")
    tab.until("document.getElementById('finding-2').getBoundingClientRect().top >= 0")


def test_the_keyboard_alone_is_enough(show):
    tab = show(full())
    tab.press("/")
    tab.type("parse_file")
    tab.until(f"{VISIBLE} === '3 4 5'")
    tab.press("Escape")
    for key, finding in (("j", 3), ("j", 4), ("j", 5), ("j", 5), ("k", 4)):
        tab.press(key)
        assert tab.value("document.activeElement.id") == f"finding-{finding}"
    unreachable = """[...document.querySelectorAll('a, button, input, summary')]
        .filter(e => e.checkVisibility() && e.tabIndex < 0 && !e.closest('#boxes')).length"""
    assert tab.value(unreachable) == 0
    assert tab.value("document.querySelectorAll('#boxes [tabindex=\"0\"]').length") == 1


BOXES = "[...document.querySelectorAll('#boxes button')].map(b => b.textContent).join(' ')"
WIDTH = (
    "[...document.querySelectorAll('#boxes button')].find(b => b.textContent === '{}').getBoundingClientRect().width"
)


def test_the_flame_graph_is_true_to_its_bytes(show):
    tab = show(full())
    whole = tab.value("document.querySelector('#boxes button').getBoundingClientRect().width")
    shares = {"all": 8744, "parse_file": 4096 + 1240 + 800, "copy": 4096, "make_node": 2040}
    for name, size in shares.items():
        assert tab.value(WIDTH.format(name)) == pytest.approx(whole * size / 8744, abs=1.5), name


def test_the_flame_graph_zooms_by_mouse_and_by_keys(show):
    tab = show(full())
    before = tab.value(BOXES)
    assert before.startswith("all main parse_file copy leak.c:6")
    find = "[...document.querySelectorAll('#boxes button')].find(b => b.textContent === 'insert').id = 'box'"
    tab.value(find)
    tab.click("#box")
    assert tab.value(BOXES) == "all main parse_file insert make_node tree.c:14 tree.c:15"
    about = "document.getElementById('about').textContent"
    assert "insert tree.c:40 2,040 bytes, 23.3 %" in tab.value(about)
    assert tab.value("document.activeElement.textContent") == "insert"
    tab.press("ArrowDown")
    tab.press("ArrowDown")
    assert tab.value("document.activeElement.textContent") == "tree.c:14"
    assert "Finding 4" in tab.value(about)
    tab.press("ArrowRight")
    assert tab.value("document.activeElement.textContent") == "tree.c:15"
    tab.press("Enter")
    assert tab.value(BOXES) == "all main parse_file insert make_node tree.c:15"
    tab.press("Escape")
    assert tab.value("document.activeElement.textContent") == "make_node"
    tab.click("#out")
    assert tab.value(BOXES) == before


def test_the_flame_graph_tells_what_is_under_the_mouse(show):
    tab = show(full())
    tip = "document.getElementById('tip')"
    assert not tab.value(f"{tip}.checkVisibility()")
    tab.value("[...document.querySelectorAll('#boxes button')].find(b => b.textContent === 'copy').id = 'box'")
    tab.click("#box")
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=5, y=5)
    tab.value("document.getElementById('flame').scrollIntoView({behavior: 'instant'})")
    place = tab.value("""(() => {
        const r = document.querySelector('#boxes button.leaf').getBoundingClientRect();
        return [r.x + 9, r.y + 9]; })()""")
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    assert tab.value(f"{tip}.checkVisibility()")
    assert "leak.c:6 4,096 bytes, 46.8 %" in tab.value(f"{tip}.textContent")


def test_the_flame_graph_follows_the_filters_and_the_search(show):
    tab = show(full())
    tab.click("input[value=definitely-lost]")
    assert "copy" not in tab.value(BOXES)
    tab.click("input[value=definitely-lost]")
    tab.click("#search")
    tab.type("make_node")
    marked = "[...document.querySelectorAll('#boxes .match')].map(b => b.textContent).join(' ')"
    tab.until(f"{marked} === 'make_node'")
    assert tab.value("document.getElementById('matched').textContent") == "2,040 bytes (23.3 %) match the search"


def test_without_scripts_all_is_shown_and_the_filters_are_not(show):
    tab = show(full(), scripts=False)
    tab.call("Emulation.setScriptExecutionDisabled", value=False)
    assert tab.value(VISIBLE) == "1 2 3 4 5 6 7 8 9"
    assert not tab.value("document.getElementById('filters').checkVisibility()")
    assert tab.value("document.querySelectorAll('.tree li').length") > 9
    assert tab.value("document.querySelector('.tree li').checkVisibility()")
    assert not tab.value("document.querySelector('.flame').checkVisibility()")


def test_a_hostile_name_is_inert(show):
    tab = show(hostile())
    assert "owned" not in tab.value("document.title").partition(":")[0].replace("document.title='owned'", "")
    assert tab.value("document.title").startswith("script>\"'><img src=x")
    assert tab.value("document.querySelectorAll('img, iframe, object').length") == 0
    assert tab.value("document.scripts.length") == 1
    assert tab.value("document.querySelector('.frames .fn').textContent").startswith("<script>document.title=")


def test_a_script_that_got_in_would_not_run(show, browser):
    """The last line of defence: the policy, not the escaping."""
    tab = show(full())
    tab.value("""document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="document.title=1">');
        const script = document.createElement('script');
        script.textContent = 'document.title = 2';
        document.body.append(script)""")
    tab.until("document.readyState === 'complete'")
    assert tab.value("document.title").startswith("prog: ")
    assert any("Content Security Policy" in problem for problem in browser.problems)
    browser.problems.clear()
    browser.requests.clear()


def test_the_chart_marks_the_peak(show):
    tab = show(full())
    peak = max(sample.bytes for sample in growth())
    assert tab.value("document.querySelector('text.peak').textContent") == f"peak {peak:,} bytes"
    inside = """(() => {
        const plot = document.querySelector('.plot').getBoundingClientRect();
        const mark = document.querySelector('circle.peak').getBoundingClientRect();
        return mark.left >= plot.left - 5 && mark.right <= plot.right + 5
            && mark.top >= plot.top - 5 && mark.bottom <= plot.bottom + 5; })()"""
    assert tab.value(inside)


def test_it_prints(show):
    assert show(full()).pdf().startswith(b"%PDF-")


def test_a_page_of_a_hundred_thousand_leaks_can_be_used(show):
    start = time.perf_counter()
    tab = show(different(100_000))
    tab.press("/")
    tab.type("insert_77_")
    tab.until(f"{VISIBLE} === '78'")
    assert "99,000 more findings not listed" in tab.value(SHOWN)
    tab.value("location.hash = '#finding-700'")
    place = "document.getElementById('finding-700').getBoundingClientRect().top"
    tab.until(f"document.activeElement.id === 'finding-700' && {place} > 0 && {place} < 300")
    assert time.perf_counter() - start < 60
