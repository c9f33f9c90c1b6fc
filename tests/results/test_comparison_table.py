"""A comparison as text, CSV and LaTeX."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from compared import begin, write_run
from rich.console import Console

from airtune.results.comparison import Comparison
from airtune.results.comparison_table import (
    columns,
    comparison_lines,
    comparison_tables,
    csv_text,
    tex_text,
    verdict,
    write_tables,
)

FALLING = [4.0, 3.0, 2.0, 1.0]


def compared(folder: Path, seconds: dict[str, float], seeds: int = 1, **changes: object) -> Comparison:
    runs = begin(folder, list(seconds), seeds, target_loss=1.0, **changes)
    for method, round_s in seconds.items():
        for seed in range(seeds):
            write_run(
                runs / f"{method}-examples-{seed}", FALLING, round_s, metric=0.5, groups=True, energy_j=7.0
            )
    return Comparison.load(folder)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (
            {"joint": 5.0, "fedit": 10.0, "drop-slowest": 8.0},
            "joint (examples) reaches a test loss of 1.000 in 0.62 of the time of drop-slowest,"
            " the best baseline (one seed).",
        ),
        (
            {"joint": 5.0, "jcpba": 6.0, "fedit": 4.0},
            "fedit, a baseline, reaches a test loss of 1.000 first (one seed);"
            " joint (examples) takes 1.25 of its time.",
        ),
        (
            {"fedit": 2.0, "bandwidth-only": 1.0},
            "bandwidth-only, a baseline, reaches a test loss of 1.000 first (one seed).",
        ),
        (
            {"joint": 5.0, "jcpba": 6.0},
            "joint (examples) reaches a test loss of 1.000 first; no baseline reaches it.",
        ),
        ({"joint": 5.0}, "joint (examples) reaches a test loss of 1.000 in 15 s."),
    ],
)
def test_the_first_line_says_who_wins(seconds, expected, tmp_path):
    assert verdict(compared(tmp_path, seconds)) == expected


def test_nobody_wins_if_nobody_gets_there(tmp_path):
    write_run(begin(tmp_path, ["joint"], target_loss=0.5) / "joint-examples-0", FALLING, 1.0)
    assert verdict(Comparison.load(tmp_path)) == "No method reaches a test loss of 0.500."


def test_intervals_are_told_where_there_are_seeds(tmp_path):
    text = verdict(compared(tmp_path, {"joint": 5.0, "fedit": 10.0}, seeds=2))
    assert "in 0.50 [0.50, 0.50] of the time of fedit, the best baseline (2 seeds)" in text


def test_the_table_shows_every_method(tmp_path):
    comparison = compared(tmp_path, {"joint": 5.0, "fedit": 10.0})
    console = Console(width=80, file=io.StringIO())
    console.print(*comparison_tables(comparison))
    text = console.file.getvalue()
    for shown in (
        "joint (examples)",
        "fedit",
        "15 s",
        "30 s",
        "0.50",
        "1.000",
        "0.500",
        "30 B",
        "15 FLOP",
        "21 J",
    ):
        assert shown in text
    assert comparison_lines(comparison) == [
        "one seed; the target is a test loss of 1.000, times are linear between rounds",
        "ratios are to fedit",
    ]


def test_what_is_reached_on_the_text_of_groups_stands_by_itself_once_for_those_with_the_same(tmp_path):
    comparison = compared(tmp_path / "new", {"joint": 5.0, "fedit": 10.0})
    _, own, _ = columns(comparison)
    assert [(column.name, column.text(comparison.entries[0])) for column in own] == [
        ("loss on one/alike", "0.500"),
        ("accuracy on one/alike", "0.250"),
    ]
    write_run(begin(tmp_path / "old", ["joint"]) / "joint-examples-0", FALLING, 1.0, metric=0.5)
    assert len(columns(Comparison.load(tmp_path / "old"))) == 2  # by versions that did not count it


def test_energy_that_is_not_known_is_a_dash_and_no_number(tmp_path):
    write_run(begin(tmp_path, ["joint"], target_loss=1.0) / "joint-examples-0", FALLING, 1.0)
    comparison = Comparison.load(tmp_path)
    (energy,) = [column for column in columns(comparison)[-1] if column.name == "energy"]
    assert (energy.value(comparison.entries[0]), energy.text(comparison.entries[0])) == (None, "–")
    (row,) = csv.DictReader(io.StringIO(csv_text(comparison)))
    assert row["energy_j"] == row["energy_to_target_j"] == ""


def test_lost_updates_have_a_column_where_there_are_any(tmp_path):
    names = [column.name for column in columns(compared(tmp_path / "none", {"joint": 5.0}))[-1]]
    assert "updates lost" not in names
    runs = begin(tmp_path / "some", ["joint"])
    lost = [{"id": "one", "why": "upload", "bytes_up": 1, "bytes_down": 1, "flops": 1.0}]
    write_run(runs / "joint-examples-0", FALLING, 5.0, lost=lost)
    comparison = Comparison.load(tmp_path / "some")
    assert columns(comparison)[-1][-1].text(comparison.entries[0]) == "3"
    (row,) = csv.DictReader(io.StringIO(csv_text(comparison)))
    assert row["lost_updates"] == "3"


def test_epsilon_has_a_column_where_there_is_any(tmp_path):
    runs = begin(tmp_path, ["joint"])
    write_run(runs / "joint-examples-0", FALLING, 5.0)
    assert "epsilon" not in [column.name for column in columns(Comparison.load(tmp_path))[1]]
    events = runs / "joint-examples-0" / "events.jsonl"
    told = [json.loads(line) for line in events.read_text().splitlines()]
    count = len(told[0]["clients"])
    told[0]["privacy"] = {"clip": 1.0, "noise": 5.0, "delta": 1e-5, "most_epsilon": 4.0}
    for event in told:
        if event["event"] == "round":
            event["privacy"] = {"answers": [1] * count, "epsilon": [1.0] * (count - 1) + [2.5]}
    events.write_text("".join(json.dumps(event) + "\n" for event in told))
    comparison = Comparison.load(tmp_path)
    (epsilon,) = [column for column in columns(comparison)[1] if column.name == "epsilon"]
    assert epsilon.value(comparison.entries[0]) == 2.5
    (row,) = csv.DictReader(io.StringIO(csv_text(comparison)))
    assert row["epsilon"] == "2.5"


def test_seeds_that_do_not_get_there_are_counted(tmp_path):
    runs = begin(tmp_path, ["joint"], seeds=2, target_loss=1.0)
    write_run(runs / "joint-examples-0", FALLING, 1.0)
    write_run(runs / "joint-examples-1", [4.0, 3.0, 2.0, 1.5], 1.0)
    assert "1 of 2 seeds" in tex_text(Comparison.load(tmp_path))


def test_the_csv_has_a_row_a_run(tmp_path):
    write_tables(compared(tmp_path, {"joint": 5.0, "fedit": 10.0}, seeds=2), tmp_path)
    rows = list(csv.DictReader((tmp_path / "table.csv").open()))
    assert [(row["method"], row["seed"]) for row in rows] == [
        *(("joint", "0"), ("joint", "1"), ("fedit", "0"), ("fedit", "1"))
    ]
    expected = {
        **{"reduction": "examples", "baseline": "0", "target_loss": "1.0", "time_to_target_s": "15.0"},
        **{"ratio_to_best_baseline": "0.5", "rounds_to_target": "3.0", "bytes_up_to_target": "30.0"},
        **{"rounds": "3", "simulated_s": "15.0", "final_loss": "1.0", "final_loss_one": "0.5"},
        **{"metric": "accuracy", "metric_value": "0.5", "metric_value_one": "0.25"},
        **{"bytes_up": "30", "bytes_down": "60"},
        **{"energy_j": "21.0", "energy_to_target_j": "21.0"},
    }
    assert {field: rows[0][field] for field in expected} == expected


def test_what_is_not_reached_is_empty_in_the_csv(tmp_path):
    write_run(begin(tmp_path, ["joint"], target_loss=0.5) / "joint-examples-0", FALLING, 1.0)
    (row,) = csv.DictReader(io.StringIO(csv_text(Comparison.load(tmp_path))))
    assert row["time_to_target_s"] == row["ratio_to_best_baseline"] == row["metric"] == ""


def test_the_latex_is_a_booktabs_table(tmp_path):
    text = tex_text(compared(tmp_path, {"joint": 5.0, "fedit": 10.0}))
    lines = text.splitlines()
    assert lines[0].startswith("% joint (examples) reaches")
    tables = re.findall(r"begin{tabular}{(lr*)}(.*?)\\end{tabular}", text, re.DOTALL)
    assert len(tables) == 3
    for given, table in tables:
        body = [line for line in table.splitlines() if line.endswith(r" \\")]
        assert len(body) == 3
        assert all(line.count(" & ") == len(given) - 1 for line in body)
