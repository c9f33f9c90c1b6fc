import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import Page

from airtune.errors import InputError
from airtune.results.events import append_events
from airtune.results.formats import time_scale
from airtune.results.history import History
from airtune.results.report import write_report

SECTIONS = ["loss", "timeline", "pruning", "bandwidth", "time", "bytes", "round-time", "clients", "scenario"]


def write_run(directory: Path, events, scenario: str = "name: quickstart\n") -> Path:
    append_events(directory / "events.jsonl", events)
    (directory / "scenario.yaml").write_text(scenario, encoding="utf-8")
    return directory


def report(directory: Path, events, **parts) -> Page:
    return Page(write_report(write_run(directory, events, **parts)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(tmp_path_factory, make_events) -> Page:
    return report(tmp_path_factory.mktemp("run"), make_events())


def test_the_page_has_every_section_with_chart_description_and_table(page):
    assert [heading["id"] for heading in page.find("h2")] == SECTIONS
    charts = [element for element in page.find("div") if element.get("role") == "img"]
    assert [chart["id"] for chart in charts] == [f"{name}-chart" for name in SECTIONS[:-2]]
    assert all(len(chart["aria-label"]) > 30 for chart in charts)
    assert len(page.find("table")) == len(SECTIONS) - 1
    assert len(page.find("details")) == len(SECTIONS)
    assert set(page.figures) == set(SECTIONS[:-2])


def test_the_page_has_landmarks_and_links_that_lead_somewhere(page):
    for tag in ("header", "nav", "main", "footer", "h1"):
        assert len(page.find(tag)) == 1
    assert page.find("html")[0]["lang"] == "en"
    identifiers = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    links = [link["href"] for link in page.find("a")]
    assert links[0] == "#main"
    assert {link.removeprefix("#") for link in links} <= set(identifiers)
    assert {label["for"] for label in page.find("label")} <= set(identifiers)


def test_the_page_fetches_nothing(page):
    for _, attributes in page.elements:
        for name in ("src", "srcset", "action", "data", "poster"):
            assert name not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    policies = [meta["content"] for meta in page.find("meta") if "http-equiv" in meta]
    assert policies[0].startswith("default-src 'none';")
    assert "http" not in policies[0]


def test_the_key_figures(page):
    for part in (
        "1.600 → 0.320",
        "32 s",
        "2.50×",
        "1 min 20 s",
        "11 kB",
        "33 kB",
        "22 TFLOP",
        "4 of 4 rounds, finished",
    ):
        assert part in page.text


def test_the_loss_chart_has_both_clocks(page):
    run, equal = page.figures["loss"]["data"]
    assert run["x"] == [0, 8, 16, 24, 32]
    assert equal["x"] == [0, 20, 40, 60, 80]
    assert run["y"] == equal["y"] == [1.6, 0.8, 0.53333, 0.4, 0.32]
    assert run["line"]["dash"] != equal["line"]["dash"]


def test_rounds_that_do_not_wait_are_not_set_against_rounds_that_do(buffered):
    page = Page(write_report(buffered).read_text(encoding="utf-8"))
    assert "Simulated time" in page.text
    assert "Speed-up" not in page.text
    assert "equal bandwidth" not in page.text.lower()
    assert [line["name"] for line in page.figures["loss"]["data"]] == ["this run"]


def test_a_client_on_its_way_is_not_left_out_and_its_bar_is_as_long_as_the_round(buffered):
    page, history = Page(write_report(buffered).read_text(encoding="utf-8")), History.read(buffered)
    scale, _ = time_scale(history.summary["simulated_s"])
    assert [trace["name"] for trace in page.figures["time"]["data"]] == [
        "download",
        "compute",
        "upload",
        "waiting",
    ]
    run = [trace["x"] for trace in page.figures["time"]["data"]]
    whole = history.rounds[-1]["clock_s"] / scale
    assert [sum(times) for times in zip(*run, strict=True)] == pytest.approx([whole] * 4, rel=1e-3)
    scale, _ = time_scale(max(max(event["round_s"], event["planned_s"]) for event in history.rounds))
    (choice,) = page.figures["timeline"]["choices"]
    for frame, event in zip(choice["frames"], history.rounds, strict=True):
        bars = [sum(times) for times in zip(*(trace["x"] for trace in frame["data"]), strict=True)]
        assert bars == pytest.approx([event["round_s"] / scale] * 4, rel=1e-3)


def test_a_client_left_out_is_a_gap_and_time_of_its_own(page):
    assert page.figures["pruning"]["data"][0]["z"] == [[0.25, 0.25, None, 0.25], [0.25] * 4, [0.25] * 4]
    phases = {trace["name"]: trace["x"] for trace in page.figures["time"]["data"]}
    assert phases["left out"] == [8, 0, 0]
    assert phases["compute"] == [12, 16, 16]
    assert [sum(times) for times in zip(*phases.values(), strict=True)] == [32, 32, 32]


def test_an_overhead_is_shown_where_a_round_has_one(tmp_path, make_events):
    events = make_events(ended=False)
    for event in events[1:]:
        for row in event["clients"]:
            row |= {"overhead_s": 1.5, "compute_s": 2.5} if row["id"] == "jetson" else {}
    page = report(tmp_path, events)
    phases = {trace["name"]: trace["x"] for trace in page.figures["time"]["data"]}
    assert list(phases) == ["download", "overhead", "compute", "upload", "waiting", "left out"]
    assert phases["overhead"] == [0, 0, 6]
    assert phases["compute"] == [12, 16, 10]
    assert [sum(times) for times in zip(*phases.values(), strict=True)] == [32, 32, 32]
    timeline = page.figures["timeline"]["data"]
    assert [trace["x"][2] for trace in timeline] == [0.5, 1.5, 2.5, 3, 0.5, 0]
    assert "Overhead (s)" in page.text
    events = make_events(ended=False)
    (tmp_path / "without").mkdir()
    assert "verhead" not in report(tmp_path / "without", events).text


def test_rounds_waited_for_in_vain_are_time_of_their_own(tmp_path, faulty):
    page = report(tmp_path, faulty)
    assert "Updates that did not come: 2." in page.text
    assert "Speed-up" not in page.text  # over rounds in which all updates arrive
    phases = {trace["name"]: trace["x"] for trace in page.figures["time"]["data"]}
    assert phases["lost"] == [0, 8, 8]
    assert phases["left out"] == [8, 0, 0]
    assert [sum(times) for times in zip(*phases.values(), strict=True)] == [24, 24, 24]
    assert page.figures["pruning"]["data"][0]["z"][1:] == [[0.25, None, 0.25]] * 2
    assert page.figures["bytes"]["data"][0]["x"] == [2, 3, 2]


def test_the_reader_chooses_the_round(page):
    assert page.find("input")[0] | {"type": "range", "min": "1", "max": "4"} == page.find("input")[0]
    (choice,) = page.figures["timeline"]["choices"]
    frames = choice["frames"]
    assert len(frames) == 4
    assert frames[2]["label"] == "Round 3: 8 s, planned 7.5 s"
    assert frames[2]["layout"]["shapes"][0]["x0"] == 7.5
    times = [trace["x"] for trace in frames[2]["data"]]
    assert times == [[0, 0.5, 0.5], [0, 4, 4], [0, 3, 3], [0, 0.5, 0.5], [8, 0, 0]]


def test_every_colour_of_the_charts_is_in_both_palettes(page):
    style = (Path(sys.modules[write_report.__module__].__file__).parent / "page.css").read_text(
        encoding="utf-8"
    )
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    for name in set(re.findall(r"var\((--[\w-]+)\)", page.scripts[1] + style)):
        assert f"{name}:" in light
        assert f"{name}:" in dark


def test_text_from_files_is_escaped(tmp_path, make_events):
    name = "<script>alert(1)</script>&\"'$x"
    events = make_events(clients=[name, "b"])
    events[0] = events[0] | {
        "scenario": name,
        "method": name,
        "machine": name,
        "version": name,
        "reduction": name,
    }
    events[1]["group_loss"] = {name: 1.0}
    page = report(tmp_path, events, scenario=f"name: {name}\n</pre>")
    assert page.find("h1")
    assert len(page.scripts) == 3
    assert page.text.count(name) >= 8
    # Plotly reads tags in its labels, so the figures hold escaped text.
    assert "<script>" not in json.dumps(page.figures)
    assert "<" not in page.scripts[1]
    assert "&lt;script&gt;" in page.figures["time"]["data"][0]["customdata"][0]


def test_one_round_of_one_client_not_finished(tmp_path, make_events):
    page = report(tmp_path, make_events(clients=["only"], rounds=1, ended=False))
    assert "1 of 1 rounds, not finished" in page.text
    assert page.find("input") == []
    assert set(page.figures) == set(SECTIONS[:-2])


def test_a_finished_run_that_was_resumed_is_finished(tmp_path, make_events):
    page = report(tmp_path, [*make_events(), {"event": "resume", "round": 4}])
    assert "4 of 4 rounds, finished" in page.text


def test_no_round_yet(tmp_path, make_events):
    page = report(tmp_path, make_events(rounds=0, ended=False))
    assert "No round has finished yet." in page.text
    assert page.figures == {}


def test_a_round_without_any_client(tmp_path, make_events):
    events = make_events(rounds=1)
    events[1]["clients"] = []
    page = report(tmp_path, events)
    assert "pruning" not in page.figures
    assert page.figures["timeline"]["data"][-1]["x"] == [8, 8, 8]


def test_loss_by_group_where_it_was_measured(tmp_path, make_events):
    events = make_events()
    events[1]["group_loss"] = {"fast": 1.2, "slow": 1.9}
    events[3]["group_loss"] = {"slow": 1.1}
    page = report(tmp_path, events)
    fast, slow = page.figures["group-loss"]["data"]
    assert (fast["name"], fast["y"]) == ("fast", [1.2, None, None, None])
    assert (slow["name"], slow["y"]) == ("slow", [1.9, None, 1.1, None])
    assert fast["line"]["dash"] != slow["line"]["dash"]


def test_a_hundred_clients(tmp_path, make_events):
    page = report(tmp_path, make_events(clients=[f"phone-{index}" for index in range(100)], rounds=5))
    assert len(page.figures["pruning"]["data"][0]["z"]) == 100
    assert page.figures["timeline"]["layout"]["height"] < 2000


def test_a_run_that_was_killed_while_writing(tmp_path, make_events):
    write_run(tmp_path, make_events(ended=False))
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "round", "rou')
    assert "4 of 4 rounds, not finished" in write_report(tmp_path).read_text(encoding="utf-8")


def test_same_input_same_bytes_in_any_process(tmp_path, make_events):
    path = write_report(write_run(tmp_path, make_events()))
    first = path.read_bytes()
    path.unlink()
    code = "import sys; from airtune.results.report import write_report; write_report(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert path.read_bytes() == first
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "events.jsonl",
        "report.html",
        "scenario.yaml",
    ]


def test_what_is_missing_is_named(tmp_path, make_events):
    with pytest.raises(InputError, match="no such folder"):
        write_report(tmp_path / "missing")
    with pytest.raises(InputError, match=r"events\.jsonl: found No such file"):
        write_report(tmp_path)
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(InputError, match="no start event"):
        write_report(tmp_path)
    append_events(tmp_path / "events.jsonl", make_events())
    with pytest.raises(InputError, match=r"scenario\.yaml: found FileNotFoundError"):
        write_report(tmp_path)
    (tmp_path / "scenario.yaml").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"scenario\.yaml: found UnicodeDecodeError"):
        write_report(tmp_path)
