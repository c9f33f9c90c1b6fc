"""The page of a comparison, from runs whose numbers can be worked out by hand."""

import json

import pytest
from compared import begin, write_run
from pages import Page

from airtune import InputError
from airtune.planning import Plan
from airtune.results.comparison import Comparison
from airtune.results.comparison_table import verdict
from airtune.results.report import write_report

SECTIONS = ["loss-time", "loss-bytes", "time", "timeline", "pruning", "bandwidth", "planners"]


def write_plan(run, number, total_s, gap):
    nothing = [0.0]
    plan = Plan("m", ("one",), nothing, [1e6], nothing, nothing, [True], total_s / 10, 10.0, total_s)
    plan = plan if gap is None else plan.bounded(total_s * (1 - gap))
    (run / "plans").mkdir(exist_ok=True)
    (run / "plans" / f"round-{number:03d}.json").write_text(plan.to_json())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """joint reaches 2.0 in half of fedit's time; drop-slowest reaches it with one seed of two."""
    directory = tmp_path_factory.mktemp("comparison")
    runs = begin(directory, ["fedit", "joint", "drop-slowest"], seeds=2, target_loss=2.0)
    for seed in (0, 1):
        write_run(runs / f"fedit-examples-{seed}", [4.0, 3.0, 2.0, 1.0], 10.0 + 10.0 * seed)
        write_run(runs / f"joint-examples-{seed}", [4.0, 3.0, 2.0, 1.5], 5.0 + 5.0 * seed)
        write_run(runs / f"drop-slowest-examples-{seed}", [4.0, 3.0, 2.5, 2.0 + seed], 1.0)
        for number in (1, 2, 3):
            write_plan(runs / f"joint-examples-{seed}", number, 60.0 + seed, 1e-3 * number)
            write_plan(runs / f"fedit-examples-{seed}", number, 90.0, None)
    return directory


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_the_tables_are_written_anew_with_the_report(page, folder):
    assert (folder / "table.csv").read_text().count("\n") == 1 + 6
    assert (folder / "table.tex").read_text().startswith(f"% {verdict(Comparison.load(folder))}")


def test_first_who_won_by_how_much_then_the_table_then_the_charts(page, folder):
    sentence = verdict(Comparison.load(folder))
    assert sentence.startswith("joint (examples) reaches a test loss of 2.000 in 0.50 [0.50, 0.50]")
    losses = "joint (examples): 15 s, final loss 1.500. fedit: 30 s, final loss 1.000."
    places = [page.text.index(part) for part in (sentence, losses, "Time to target", "Simulated time is")]
    assert places == sorted(places)


def test_the_page_has_every_section_with_chart_description_and_table(page):
    assert [heading["id"] for heading in page.find("h2")] == ["methods", *SECTIONS, "scenario"]
    charts = [element for element in page.find("div") if element.get("role") == "img"]
    assert [chart["id"] for chart in charts] == [f"{name}-chart" for name in SECTIONS]
    assert all(len(chart["aria-label"]) > 30 for chart in charts)
    assert len(page.find("table")) == len(page.find("caption")) == 1 + len(SECTIONS)
    assert all(head["scope"] in ("col", "row") for head in page.find("th"))


def test_the_table_is_sorted_by_time_and_has_a_key_in_every_cell(page):
    heads = [head for head in page.find("th") if head["scope"] == "col"]
    assert [head.get("aria-sort") for head in heads[:3]] == [None, "ascending", None]
    assert len(page.find("button")) == 11
    names = [json.loads(head["data-key"]) for head in page.find("th") if "data-key" in head]
    assert names == ["joint (examples)", "fedit", "drop-slowest"]
    cells = [json.loads(cell["data-key"]) for cell in page.find("td") if "data-key" in cell]
    assert cells[::10] == [15, 30, None]


def test_loss_over_time_is_the_mean_of_the_seeds_where_all_of_them_are(page):
    data = {trace["name"]: trace for trace in page.figures["loss-time"]["data"] if "name" in trace}
    joint = data["joint (examples)"]
    # Rounds end after 5, 10, 15 s and 10, 20, 30 s: on average after 7.5 s; the shorter run ends at 15 s.
    assert joint["x"] == [0, 7.5, 15]
    assert joint["y"] == [4, (2.5 + 3.25) / 2, (1.5 + 2.5) / 2]
    (band,) = (
        trace
        for trace in page.figures["loss-time"]["data"]
        if trace.get("fill") and trace["legendgroup"] == "joint (examples)"
    )
    assert band["x"] == [0, 7.5, 15, 15, 7.5, 0]
    assert band["y"] == [4, 3.25, 2.5, 1.5, 2.5, 4]
    (target,) = page.figures["loss-time"]["layout"]["shapes"]
    assert (target["y0"], target["y1"]) == (2, 2)


def test_loss_over_bytes_counts_what_was_sent(page):
    data = {trace["name"]: trace for trace in page.figures["loss-bytes"]["data"] if "name" in trace}
    assert data["fedit"]["x"] == [0, 10, 20, 30]
    assert data["fedit"]["y"] == [4, 3, 2, 1]


def test_a_bar_is_as_long_as_its_run_and_the_target_is_marked(page):
    *bars, target = page.figures["time"]["data"]
    assert {bar["name"]: bar["x"] for bar in bars} == {
        "download": [0, 0, 0],
        "compute": [0, 0, 0],
        "upload": [11.25, 22.5, 1.5],
        "waiting": [0, 0, 0],
    }
    assert target["x"] == [15, 30, None]


def test_the_reader_chooses_method_and_round(page):
    choices = page.figures["timeline"]["choices"]
    assert [choice["name"] for choice in choices] == ["joint (examples)", "fedit", "drop-slowest"]
    frame = choices[1]["frames"][2]
    assert frame["label"] == "Round 3: 10 s, planned 10 s"
    assert [trace["x"] for trace in frame["data"]] == [[0], [0], [5], [0]]
    assert page.figures["timeline"]["layout"]["xaxis"]["range"][1] >= 10
    assert len(page.find("option")) == 3 * 3
    assert page.figures["pruning"]["choices"][0]["frames"][0]["data"][0]["z"] == [[0, 0, 0]]


def test_planners_show_what_they_promise_and_how_far_from_the_optimum_it_may_be(page):
    data = {trace["name"]: trace for trace in page.figures["planners"]["data"] if "name" in trace}
    assert set(data) == {"joint (examples)", "fedit"}
    assert data["joint (examples)"]["y"] == [60.5, 60.5, 60.5]
    assert "joint (examples) 3.0e-03" in page.text


def test_without_plans_there_is_no_chart_of_them(tmp_path):
    write_run(begin(tmp_path, ["joint"]) / "joint-examples-0", [4.0, 3.0, 2.0, 1.0], 10.0)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert set(page.figures) == set(SECTIONS) - {"planners"}
    assert not any(trace.get("fill") for trace in page.figures["loss-time"]["data"])
    assert page.find("select") == []


def test_beyond_eight_lines_the_reader_adds_them(tmp_path):
    reductions = ["examples", "depth", "mixed", "width"]
    runs = begin(tmp_path, ["fedit", "joint", "jcpba"], reductions=reductions)
    write_run(runs / "fedit-examples-0", [4.0, 3.0], 10.0)
    for method in ("joint", "jcpba"):
        for place, reduction in enumerate(reductions):
            write_run(runs / f"{method}-{reduction}-0", [4.0, 2.9], 1.0 + place)
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    boxes = page.find("input")
    boxes = [box for box in boxes if box["type"] == "checkbox"][: len(boxes) // 2]
    assert [("checked" in box) for box in boxes] == [True] * 8 + [False]
    marks = [
        (trace["line"]["color"], trace["marker"]["symbol"]) for trace in page.figures["loss-time"]["data"]
    ]
    assert len(set(marks)) == 9


def test_every_colour_of_the_charts_is_in_the_palette(page):
    style = page.style
    for name in {value.split(")")[0] for value in page.scripts[1].split("var(")[1:]}:
        assert style.count(f"{name}:") == 2


def test_same_input_same_bytes(folder, page):
    first = (folder / "report.html").read_bytes()
    assert write_report(folder).read_bytes() == first


def test_a_broken_plan_is_named(tmp_path):
    run = begin(tmp_path, ["joint"]) / "joint-examples-0"
    write_run(run, [4.0, 3.0], 10.0)
    write_plan(run, 1, 60.0, None)
    (run / "plans" / "round-001.json").write_text("{}")
    with pytest.raises(InputError, match=r"round-001\.json: schema: found nothing"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
