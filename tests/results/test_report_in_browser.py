"""The pages in headless Chromium: drawn without an error, readable, and usable by keyboard alone."""

import shutil

import pytest
from compared import begin
from measured import write_measured

from airtune.results.comparison import Comparison
from airtune.results.events import append_events, summarise
from airtune.results.report import write_report
from airtune.sweeping.report import write_sweep
from airtune.sweeping.sweep import Point, Sweep, Times

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")

FEDIT, JOINT = ("fedit", "examples", "own"), ("joint", "examples", "own")
NAME = """({tagName, id, href, dataset, textContent}) =>
  [tagName, id || dataset.line || href?.split('#')[1] || textContent.trim().slice(0, 40)].join(' ')"""
FOCUSED = f"() => ({NAME})(document.activeElement)"
FOCUSABLE = f"""() => [...document.querySelectorAll('a, button, input, select, summary, [tabindex="0"]')]
  .filter(element => element.checkVisibility()).map({NAME})"""
COLUMN = """title => {
  const table = document.querySelector('table');
  const column = [...table.tHead.rows[0].cells].findIndex(cell => cell.textContent === title);
  return [...table.tBodies[0].rows].map(row => row.cells[column].textContent);
}"""


@pytest.fixture(scope="module")
def folders(tmp_path_factory, make_events):
    """A run on a testbed, and a comparison of three methods over two seeds: one misses the target."""
    run = tmp_path_factory.mktemp("run")
    append_events(run / "events.jsonl", make_events())
    (run / "scenario.yaml").write_text("name: quickstart\n", encoding="utf-8")
    write_measured(run, rounds=4)
    comparison = tmp_path_factory.mktemp("comparison")
    runs = begin(comparison, ["fedit", "joint", "drop-slowest"], seeds=2, target_loss=0.5)
    for method, rounds in (("fedit", 4), ("joint", 4), ("drop-slowest", 2)):
        for seed in (0, 1):
            folder = runs / f"{method}-examples-{seed}"
            folder.mkdir(parents=True)
            events = make_events(rounds=rounds, ended=False)
            for event in events[1:]:
                event["clock_s"] *= (1 + seed) * (1 if method == "joint" else 2)
                event["round_s"] *= (1 + seed) * (1 if method == "joint" else 2)
            events[0] |= {"method": method, "reduction": "examples"}
            append_events(folder / "events.jsonl", [*events, {"event": "end", **summarise(events)}])
            (folder / "summary.json").write_text("{}")
    pages = {"run": write_report(run), "comparison": write_report(comparison)}
    write_sweep(_sweep(Comparison.load(comparison)), comparison)
    return pages | {"sweep": comparison / "sweep.html"}


def _sweep(comparison: Comparison) -> Sweep:
    """Two methods along three axes; the schedule of one of them is kept at every value."""

    def times(value: float) -> Times:
        return Times({FEDIT: {0: value, 1: value + 1}, JOINT: {0: 1.0, 1: 2.0}})

    kept = frozenset({(*JOINT, 0)})
    axes = ("compute", "bandwidth", "heterogeneity")
    points = [Point(axis, value, times(value), kept, times(value)) for axis in axes for value in (1.0, 2.0)]
    return Sweep(comparison, tuple(points), ("fedbuff",))


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as library:
        opened = library.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def show(browser, folders):
    """`show(kind, width, scheme)` opens a page; at the end nobody may have complained."""
    pages, complaints = [], []

    def show(kind, width=1280, scheme="light"):
        page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: complaints.extend([request.url] * (request.url[:5] != "file:")))
        page.goto(folders[kind].as_uri())
        pages.append(page)
        return page

    yield show
    for page in pages:
        page.close()
    assert complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (390, "dark"), (1280, "light")])
@pytest.mark.parametrize("kind", ["run", "comparison", "sweep"])
def test_every_chart_is_drawn_and_nothing_stands_in_anybodys_way(show, kind, width, scheme):
    page = show(kind, width, scheme)
    charts = page.locator(".chart")
    assert charts.count() >= 6
    assert page.locator(".chart .main-svg").count() >= charts.count()
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for summary in page.locator("summary").all():
        summary.click()
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]})
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("kind", ["run", "comparison", "sweep"])
def test_tab_goes_through_everything_in_order_and_shows_where_it_is(show, kind):
    page = show(kind, 390)
    expected = page.evaluate(FOCUSABLE)
    assert expected[0].startswith("A ")
    for name in expected:
        page.keyboard.press("Tab")
        assert page.evaluate(FOCUSED) == name
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_the_first_link_leads_past_the_navigation(show):
    page = show("comparison", 390)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_the_table_is_sorted_by_keyboard(show):
    page = show("comparison")
    head = page.get_by_role("columnheader", name="Final loss")
    head.get_by_role("button").focus()
    assert page.evaluate(COLUMN, "Method") == ["joint (examples)", "fedit", "drop-slowest"]
    page.keyboard.press("Enter")
    assert page.evaluate(COLUMN, "Final loss") == ["0.320", "0.320", "0.533"]
    assert head.get_attribute("aria-sort") == "ascending"
    assert page.locator("[aria-sort]").count() == 1
    page.keyboard.press("Enter")
    assert page.evaluate(COLUMN, "Final loss") == ["0.533", "0.320", "0.320"]
    assert head.get_attribute("aria-sort") == "descending"
    time = page.get_by_role("columnheader", name="Time to target").get_by_role("button")
    for last in ("–", "–"):  # missing values stay last in both orders
        time.press("Enter")
        assert page.evaluate(COLUMN, "Time to target")[-1] == last


def test_method_and_round_are_chosen_by_keyboard(show):
    page = show("comparison", 390)
    chart = page.locator("#timeline-chart")
    ends = "document.getElementById('timeline-chart').data.map(trace => trace.x[1])"
    assert page.evaluate(ends) == [0.5, 4, 3, 0.5, 0]
    page.locator("#timeline-round").focus()
    page.keyboard.press("End")
    assert "Round 4: 8 s" in chart.get_attribute("aria-label")
    page.locator("#timeline-run").focus()
    page.keyboard.press("ArrowDown")
    assert "Round 4: 16 s" in chart.get_attribute("aria-label")
    page.keyboard.press("ArrowDown")  # this method played two rounds
    assert "Round 2: 16 s" in page.locator("[data-chart=timeline] output").text_content()
    assert page.locator("#timeline-round").input_value() == "2"


def test_a_line_taken_out_is_out_of_every_chart(show):
    page = show("comparison")
    shown = "id => document.getElementById(id).data.filter(trace => trace.visible).length"
    before = [page.evaluate(shown, f"{chart}-chart") for chart in ("loss-time", "loss-bytes")]
    box = page.locator("input[data-line=fedit]").first
    box.focus()
    page.keyboard.press("Space")
    after = [page.evaluate(shown, f"{chart}-chart") for chart in ("loss-time", "loss-bytes")]
    assert all(now < then for now, then in zip(after, before, strict=True))
    assert [other.is_checked() for other in page.locator("input[data-line=fedit]").all()] == [False, False]
    page.keyboard.press("Space")
    assert [page.evaluate(shown, f"{chart}-chart") for chart in ("loss-time", "loss-bytes")] == before


def test_charts_follow_the_colour_scheme(show):
    page = show("comparison")
    colour = "document.getElementById('loss-time-chart').data.at(-1).line.color"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    for _ in range(100):  # the page's own policy forbids what wait_for_function does
        if page.evaluate(colour) != light:
            break
        page.wait_for_timeout(100)
    assert page.evaluate(colour) != light
    assert page.evaluate(colour).startswith("#")
