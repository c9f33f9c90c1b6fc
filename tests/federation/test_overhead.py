"""Seconds of a round beside downloading, computing and uploading: planned, clocked, told, and kept to."""

import json
from pathlib import Path
from typing import Any

import pytest
from stopping import Stop

from airtune import Scenario, run
from airtune.federation.in_process import run_in_process
from airtune.federation.server_app import RunOptions
from airtune.observer import Observer
from airtune.results.events import read_events

PHASES = ("download_s", "overhead_s", "compute_s", "upload_s")


def with_overheads(scenario: Scenario, *overheads: float) -> Scenario:
    """The scenario with these of its groups."""
    groups = [
        group.model_copy(update={"overhead": own})
        for group, own in zip(scenario.clients, overheads, strict=True)
    ]
    return scenario.model_copy(update={"clients": tuple(groups)})


def told_by(folder: Path) -> list[float]:
    """What the start event says of overheads."""
    return [client["overhead_s"] for client in read_events(folder / "events.jsonl")[0]["clients"]]


def rounds_of(folder: Path) -> list[dict[str, Any]]:
    """Without what this machine took."""
    rounds = [event for event in read_events(folder / "events.jsonl") if event["event"] == "round"]
    return [{name: value for name, value in event.items() if name != "elapsed_s"} for event in rounds]


def plans_of(folder: Path) -> list[Any]:
    plans = [json.loads(path.read_text()) for path in sorted((folder / "plans").iterdir())]
    return [{name: value for name, value in one.items() if name != "solve_s"} for one in plans]


def test_a_scenario_s_overhead_is_planned_and_clocked(pair, tmp_path):
    """FedIT plans the same either way, so its rounds show what is added, and that it costs no energy."""
    fedit = pair.model_copy(update={"method": "fedit"})
    without = run(fedit, tmp_path / "without")
    folder = run(with_overheads(fedit, 30.0, 2.0), tmp_path / "with")
    assert (told_by(without), told_by(folder)) == ([0.0, 0.0], [30.0, 2.0])
    for event, before in zip(rounds_of(folder), rounds_of(without), strict=True):
        assert event["loss"] == before["loss"]
        assert event["energy_j"] == before["energy_j"]
        assert event["planned_s"] == pytest.approx(before["planned_s"] + 30)
        assert event["fedit_s"] == pytest.approx(before["fedit_s"] + 30)
        assert [row["overhead_s"] for row in event["clients"]] == [30.0, 2.0]
        totals = [sum(row[phase] for phase in PHASES) for row in event["clients"]]
        assert event["round_s"] == max(totals)
        assert [row["waiting_s"] for row in event["clients"]] == pytest.approx(
            [max(totals) - total for total in totals]
        )


def test_an_overhead_that_was_measured_holds_to_the_end_of_a_run(pair, tmp_path):
    """It comes before the scenario's, and a run that goes on keeps it whatever it is told then."""
    scenario, options = with_overheads(pair, 5.0, 1.0), RunOptions(overhead_s={0: 20.0})
    run_in_process(scenario, tmp_path / "whole", False, Observer(), options)
    with pytest.raises(KeyboardInterrupt):
        run_in_process(scenario, tmp_path / "run", False, Stop(1), options)
    run_in_process(scenario, tmp_path / "run", True, Observer(), RunOptions(overhead_s={0: 3.0, 1: 3.0}))
    assert told_by(tmp_path / "run") == [20.0, 1.0]
    assert rounds_of(tmp_path / "run") == rounds_of(tmp_path / "whole")
    assert plans_of(tmp_path / "run") == plans_of(tmp_path / "whole")


def test_a_run_from_before_there_were_overheads_goes_on_without(pair, straight, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(pair, tmp_path / "run", observer=Stop(1))
    file = tmp_path / "run" / "events.jsonl"
    events = [json.loads(line) for line in file.read_text().splitlines()]
    for row in events[0]["clients"]:
        del row["overhead_s"]
    file.write_text("".join(json.dumps(event) + "\n" for event in events))
    run(pair, tmp_path / "run", resume=True)
    assert rounds_of(tmp_path / "run") == rounds_of(straight)


def test_updates_arrive_later_where_nobody_waits(pair, tmp_path):
    fedbuff = with_overheads(pair, 30.0, 30.0).model_copy(update={"method": "fedbuff"})
    for event in rounds_of(run(fedbuff, tmp_path / "run")):
        for row in event["clients"]:
            there = row["begun_s"] + sum(row[phase] for phase in PHASES)
            assert there + row["waiting_s"] == pytest.approx(event["clock_s"])
            assert row["overhead_s"] == 30.0
