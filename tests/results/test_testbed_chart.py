"""What the report shows of a testbed."""

from pathlib import Path

import pytest
from measured import write_measured
from pages import Page

from airtune.errors import InputError
from airtune.results.events import append_events
from airtune.results.report import write_report


def write_folder(directory: Path, events) -> Path:
    append_events(directory / "events.jsonl", events)
    (directory / "scenario.yaml").write_text("name: quickstart\n", encoding="utf-8")
    write_measured(directory, rounds=4)
    return directory


@pytest.fixture
def folder(tmp_path, make_events):
    return write_folder(tmp_path, make_events())


@pytest.fixture(scope="module")
def page(tmp_path_factory, make_events):
    folder = write_folder(tmp_path_factory.mktemp("run"), make_events())
    return Page(write_report(folder).read_text(encoding="utf-8"))


def test_every_client_has_a_bar_for_what_was_predicted_and_one_for_what_was_measured(page):
    (choice,) = page.figures["testbed"]["choices"]
    first, _, third, _ = choice["frames"]
    assert first["label"] == "Round 1: predicted 41 s, measured 43.5 s"
    assert [trace["name"] for trace in page.figures["testbed"]["data"]] == [
        *("download", "overhead", "compute", "upload")
    ]
    bars = list(zip(*(trace["x"] for trace in first["data"]), strict=True))
    assert bars == [(1, 9, 20, 10)] * 3 + [(4, 6.5, 21, 11), (4, 6.5, 21, 12), (4, 6.5, 21, 10)]
    left_out = [trace["x"][0] for trace in third["data"]]
    assert left_out == [None] * 4
    rows = page.figures["testbed"]["data"][0]["y"]
    assert all(predicted < measured for predicted, measured in zip(rows[:3], rows[3:], strict=True))


def test_it_says_how_far_off_predictions_were_and_what_they_rest_on(page):
    for part in (
        "Median errors of clients: upload 10.0%, computing 5.0%",
        "predicted 2 min 44 s, measured 2 min 54 s",
        "1.440 seconds on the wall for one simulated second",
        "133 GFLOP/s of a core",
    ):
        assert part in page.text
    assert "every other time on this page is simulated, unless it is said to be measured" in page.text


def test_the_table_has_every_client_and_round(page):
    upload_to_overhead = ["10.00", "12.00", "20.00", "21.00", "9.000", "6.500"]
    assert "".join(["phone-1", "2", *upload_to_overhead, "40.00", "43.50", "8.750", "30.00"]) in page.text


def test_a_run_without_a_testbed_has_none_of_it(folder):
    (folder / "testbed.csv").unlink()
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "testbed" not in page.figures
    assert "testbed" not in page.text


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("testbed.csv", "21.000", "nan", r"testbed\.csv: line 2: compute_measured_s: found 'nan'"),
        ("testbed.csv", ",jetson,", ",rover,", r"testbed\.csv: client: found 'rover'"),
        ("testbed.json", "0.85", "8.5", r"testbed\.json: clients\.2\.cores: found 8\.5"),
        ("testbed.json", "{", "", r"testbed\.json: found no JSON"),
    ],
)
def test_what_is_wrong_with_its_files_is_named(folder, file, old, new, expected):
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=expected):
        write_report(folder)
