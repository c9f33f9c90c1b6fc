"""Calibration from run folders, in the format that runs write."""

import json
from pathlib import Path

import numpy as np
import pytest

from airtune import Scenario, load_scenario
from airtune.errors import InputError
from airtune.planning import ErrorPower, Problem, Rounds, evaluate
from airtune.results.calibration import calibrate
from airtune.results.events import append_events
from airtune.scenario_file import dump_scenario

TINY = Path(__file__).parents[2] / "examples" / "tiny.yaml"
BASE, PENALTY = 5.0, 0.9  # of the runs; the scenario assumes others
START, TARGET = 1.6, 1.0


def write_run(directory: Path, events: list, rho: float, **changes) -> Path:
    """A run whose client gives up ρ in every round, e = ρ²; its losses fall as BASE and PENALTY say."""
    scenario = Scenario.model_validate(load_scenario(TINY).model_dump() | changes)
    (directory / "plans").mkdir(parents=True)
    (directory / "scenario.yaml").write_text(dump_scenario(scenario))
    one = np.ones(1)
    assumed = Rounds(scenario.convergence.base, scenario.convergence.penalty, ErrorPower(2.0))
    numbers = dict.fromkeys(
        ("weight", "fixed_s", "compute_s", "fixed_bits", "payload_bits", "prune_max"), one
    )
    problem = Problem(
        ids=("a",),
        cell_ids=("cell",),
        cell=np.zeros(1, int),
        bandwidth_hz=1e6 * one,
        snr_hz=1e7 * one,
        prune_min=0 * one,
        rounds=assumed,
        **numbers,
    )
    plan = evaluate(problem, "joint", rho * one, 1e6 * one)
    step = (START - TARGET) * (1 - PENALTY * rho**2) / BASE
    for event in events:
        if event["event"] == "round":
            event["loss"] = START - step * event["round"]
            (directory / "plans" / f"round-{event['round']:03d}.json").write_text(plan.to_json())
    append_events(directory / "events.jsonl", events)
    return directory


@pytest.fixture
def runs(tmp_path, make_events) -> list[Path]:
    return [write_run(tmp_path / f"run-{rho}", make_events(rounds=8), rho) for rho in (0.0, 0.5, 0.6)]


def test_two_or_more_runs_tell_base_and_penalty(runs):
    text = calibrate(runs, TARGET + 1e-9)
    assert "to a test loss of 1.000:" in text
    assert "run-0.0  5.00 rounds, mean error 0.0000" in text
    assert "run-0.5  6.45 rounds, mean error 0.2500" in text
    assert "residual 0.0% of the way to the target (root mean square)\n" in text
    assert text.endswith("in the scenario:\nconvergence: {base: 5, penalty: 0.9, anchors: 0.5}")
    assert "as two runs always are" in calibrate(runs[:2], TARGET)


def test_the_convergence_line_is_what_a_scenario_takes(runs, tmp_path):
    line = calibrate(runs, TARGET + 1e-9).splitlines()[-1]
    (tmp_path / "new.yaml").write_text(
        f"{line}\nclients:\n  - {{id: a, device: jetson-nano, distance: 100 m}}\n"
    )
    assert load_scenario(tmp_path / "new.yaml").convergence.penalty == 0.9


def test_without_a_target_it_is_the_lowest_loss_that_all_reached(runs):
    slowest = START - 8 * (START - TARGET) * (1 - PENALTY * 0.36) / BASE
    assert f"to a test loss of {slowest:.3f}:" in calibrate(runs)
    assert "penalty: 0.9, anchors: 0.5}" in calibrate(runs)


def test_one_run_tells_the_base_alone(runs):
    text = calibrate(runs[:1], TARGET + 1e-9)
    assert text.endswith("one run does not tell the penalty; with 0.8, base is 5")
    same = calibrate([runs[1], runs[1]], TARGET + 1e-9)
    assert "runs of the same error do not tell the penalty; with 0.8, base is 5.161" in same


def test_error_that_costs_nothing_is_no_penalty(tmp_path, make_events, runs):
    lucky = write_run(tmp_path / "lucky", make_events(rounds=8), 0.0)
    plans = runs[1] / "plans"
    for file in (lucky / "plans").iterdir():
        file.write_text((plans / file.name).read_text())
    assert "do not show that error costs rounds: penalty " in calibrate([runs[0], lucky], TARGET)


def test_runs_of_other_tasks_are_refused(runs, tmp_path, make_events):
    other = write_run(tmp_path / "other", make_events(rounds=8), 0.5, lora={"rank": 8})
    with pytest.raises(InputError, match=r"other/scenario\.yaml: lora: found another value than in"):
        calibrate([runs[0], other])
    assumed = write_run(tmp_path / "assumed", make_events(rounds=8), 0.5, convergence={"exponent": 2.0})
    with pytest.raises(InputError, match=r"convergence\.exponent: found another value"):
        calibrate([runs[0], assumed])
    elsewhere = write_run(tmp_path / "seed", make_events(rounds=8), 0.5, seed=9, method="fedit", rounds=8)
    assert "penalty: 0.9, anchors: 0.5}" in calibrate([runs[0], elsewhere])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (2.0, r"loss: found 1\.6, expected a start above the target of 2\.000"),
        (float("nan"), "--target: found nan, expected a test loss above 0"),
        (0.1, r"loss: found 0\.640 at best, expected a run that reaches the target of 0\.100"),
    ],
)
def test_targets_that_no_run_can_have_reached(target, expected, runs):
    with pytest.raises(InputError, match=expected):
        calibrate(runs[:1], target)


def test_what_is_wrong_with_a_folder_is_named(runs, tmp_path, make_events):
    with pytest.raises(InputError, match="nowhere: found no such folder, expected the folder of a run"):
        calibrate([tmp_path / "nowhere"])
    with pytest.raises(InputError, match=r"events\.jsonl: found No such file"):
        calibrate([tmp_path])
    begun = write_run(tmp_path / "begun", make_events(rounds=0, ended=False), 0.0)
    with pytest.raises(InputError, match="found no finished round"):
        calibrate([begun])
    plan = runs[0] / "plans" / "round-003.json"
    fields = json.loads(plan.read_text())
    plan.write_text(json.dumps(fields | {"rounds": 0.0}))
    with pytest.raises(InputError, match=r"round-003\.json: rounds: found 0\.0, expected a number above 0"):
        calibrate(runs)
    plan.unlink()
    with pytest.raises(InputError, match=r"round-003\.json: found No such file or directory"):
        calibrate(runs)
    (runs[0] / "scenario.yaml").unlink()
    with pytest.raises(InputError, match=r"scenario\.yaml: found No such file"):
        calibrate(runs)
