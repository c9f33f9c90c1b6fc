"""A sweep as text and as a page."""

import itertools

import pytest
from pages import Page
from rich.console import Console

from airtune import sweep
from airtune.sweeping.table import sweep_lines, sweep_tables

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def swept(compared):
    return sweep(compared, compute=[0.5, 1], bandwidth=[5e4, 1e6], heterogeneity=[0, 1], clients=[4, 6])


@pytest.fixture(scope="module")
def page(swept, compared) -> Page:
    return Page((compared / "sweep.html").read_text(encoding="utf-8"))


def test_every_axis_has_a_chart_of_what_was_clocked_and_one_of_what_is_promised(page):
    pairs = itertools.product(("compute", "bandwidth", "heterogeneity"), ("clocked", "predicted"))
    sections = [*("-".join(pair) for pair in pairs), "clients-predicted"]
    assert [heading["id"] for heading in page.find("h2")] == [*sections, "scenario"]
    assert list(page.figures) == sections
    assert len(page.find("table")) == len(sections)
    charts = [element for element in page.find("div") if element.get("role") == "img"]
    assert all(len(chart["aria-label"]) > 30 for chart in charts)


def test_methods_whose_schedule_is_kept_are_marked_where_it_is(page, swept):
    (alike,) = [point for point in swept.points if (point.axis, point.value) == ("heterogeneity", 0)]
    assert ("joint", "examples", "own", 0) in alike.kept
    marked = {
        trace["legendgroup"]: trace["x"]
        for trace in page.figures["heterogeneity-clocked"]["data"]
        if trace["marker"].get("symbol") == "x-thin"
    }
    assert marked["joint (examples)"] == [0]
    assert marked["fedit"] == []


def test_the_text_says_who_is_fastest_where(swept):
    lines = sweep_lines(swept)
    assert lines[0].startswith("fastest by compute: ")
    assert lines[-1] == "not swept, as its rounds depend on the clock: fedbuff"
    tables = sweep_tables(swept)
    assert len(tables) == 7
    console = Console(width=150)
    with console.capture() as capture:
        for title, table in tables:
            console.print(title, table)
    text = capture.get()
    for part in ("50 kHz", "1 MHz", "joint (examples)", "drop-slowest", "best baseline", "~"):
        assert part in text
