"""Figures for papers."""

import re
import sys

import pytest
from compared import begin, write_run
from measured import write_measured

from airtune import AirtuneError
from airtune.results.events import append_events
from airtune.results.history import History
from airtune.results.pdf import draw
from airtune.results.report import write_report
from airtune.results.run_report import run_charts

pytest.importorskip("matplotlib")


@pytest.fixture
def run(tmp_path, make_events):
    append_events(tmp_path / "events.jsonl", make_events())
    (tmp_path / "scenario.yaml").write_text("name: quickstart\n", encoding="utf-8")
    write_measured(tmp_path, rounds=4)
    return tmp_path


def drawn(run, name):
    (chart,) = (chart for chart in run_charts(History.read(run)) if chart.id == name)
    return draw(chart.figure.to_plotly_json())


def test_every_chart_of_a_run_is_a_file_and_the_same_one_again(run):
    write_report(run, pdf=True)
    files = {path.name: path.read_bytes() for path in (run / "figures").iterdir()}
    names = ["bandwidth", "bytes", "loss", "pruning", "round-time", "testbed", "time", "timeline"]
    assert sorted(files) == [f"{name}.pdf" for name in names]
    assert all(content.startswith(b"%PDF-") for content in files.values())
    write_report(run, pdf=True)
    assert {path.name: path.read_bytes() for path in (run / "figures").iterdir()} == files


def test_each_method_of_a_comparison_has_its_timeline(tmp_path):
    runs = begin(tmp_path, ["joint", "fedit"], seeds=2)
    for method, round_s in (("joint", 5.0), ("fedit", 10.0)):
        for seed in (0, 1):
            write_run(runs / f"{method}-examples-{seed}", [4.0, 3.0, 2.0], round_s * (1 + seed))
    write_report(tmp_path, pdf=True)
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    chosen = {
        f"{chart}-{method}"
        for chart in ("timeline", "pruning", "bandwidth")
        for method in ("fedit", "joint-examples")
    }
    assert names == {"loss-time", "loss-bytes", "time"} | chosen


def test_lines_have_the_values_names_and_units_of_the_page(run):
    axes = drawn(run, "loss").axes[0]
    this, equal = axes.lines
    assert this.get_xdata().tolist() == [0, 8, 16, 24, 32]
    assert equal.get_xdata().tolist() == [0, 20, 40, 60, 80]
    assert [line.get_label() for line in axes.lines] == ["this run", "equal bandwidth, no pruning"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("simulated time (s)", "test loss")
    assert re.fullmatch(r"#[0-9a-f]{6}", this.get_color())
    assert this.get_linestyle() != equal.get_linestyle()


def test_bars_go_on_where_the_one_before_ended(run):
    axes = drawn(run, "timeline").axes[0]
    first = [bar for bar in axes.patches if bar.get_y() < 0.5 and bar.get_width() > 0]
    assert [(bar.get_x(), bar.get_width()) for bar in first] == [(0, 0.5), (0.5, 4), (4.5, 3), (7.5, 0.5)]
    assert len({bar.get_hatch() for bar in first}) == 4
    assert [label.get_text() for label in axes.get_yticklabels()] == ["phone-0", "phone-1", "jetson"]
    assert axes.yaxis_inverted()


def test_every_phase_that_there_can_be_is_drawn(tmp_path, faulty):
    rows = [row | {"overhead_s": 1.0, "compute_s": 3.0} for row in faulty[1]["clients"]]
    append_events(tmp_path / "events.jsonl", [faulty[0], faulty[1] | {"clients": rows}, *faulty[2:]])
    drawn_phases = drawn(tmp_path, "time").legends[0].get_texts()
    names = ["download", "overhead", "compute", "upload", "waiting", "left out", "lost"]
    assert [text.get_text() for text in drawn_phases] == names


def test_a_client_left_out_is_a_gap(run):
    (mesh,) = drawn(run, "pruning").axes[0].collections
    values = mesh.get_array()
    assert values.mask.tolist() == [[False, False, True, False], [False] * 4, [False] * 4]
    assert values.compressed().tolist() == [0.25] * 11


def test_without_matplotlib_it_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(AirtuneError, match=re.escape("pip install 'airtune[pdf]'")):
        write_report(run, pdf=True)
    assert not (run / "report.html").exists()
