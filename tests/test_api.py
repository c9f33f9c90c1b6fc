"""The library: what it exports, planning numbers and scenarios, and that planning stays light."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import airtune
from airtune.errors import ArgumentError
from airtune.methods import METHODS

TINY = Path(__file__).parents[1] / "examples" / "tiny.yaml"


def client(name: str, **changes: object) -> dict:
    return {
        "id": name,
        "cell": "cell-0",
        "weight": 0.5,
        "snr_hz": 1e8,
        "fixed_s": 1.0,
        "compute_s": 20.0,
        "fixed_bits": 1e6,
        "payload_bits": 4e7,
        "prune_min": 0.0,
        "prune_max": 0.9,
    } | changes


PROBLEM = json.dumps(
    {
        "schema": "airtune-problem/1",
        "cells": [{"id": "cell-0", "bandwidth_hz": 1e7}],
        "rounds": {"base": 20, "penalty": 0.8, "error": {"kind": "power", "exponent": 2}},
        "clients": [client("slow", compute_s=80.0), client("fast")],
    }
)


def test_all_that_is_exported_is_there():
    for name in airtune.__all__:
        assert getattr(airtune, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        airtune.nothing  # noqa: B018


def test_the_example_of_the_documentation(tmp_path):
    (tmp_path / "problem.json").write_text(PROBLEM)
    chosen = airtune.plan(airtune.Problem.load(tmp_path / "problem.json"))
    assert chosen.method == "joint"
    assert chosen.total_s == pytest.approx(chosen.rounds * chosen.round_s)
    assert chosen.prune[0] > chosen.prune[1]
    assert chosen.bandwidth_hz.sum() <= 1e7 * (1 + 1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_plans_scenarios_and_numbers_unless_it_needs_a_model(method):
    numbers = [airtune.Problem.from_json(PROBLEM)] if METHODS[method].submodels is None else []
    for problem in (*numbers, airtune.load_scenario(TINY)):
        chosen = airtune.plan(problem, method)
        assert chosen.method == method
        assert chosen.total_s > 0
        assert airtune.Plan.from_json(chosen.to_json()).total_s == chosen.total_s
        some = ["drop-slowest", "fedcs", "random-selection"]
        # Numbers alone say nothing of gradients, by which joint-select chooses.
        some += [] if isinstance(problem, airtune.Problem) else ["joint-select"]
        assert (~chosen.participates).any() == (method in some)


def test_a_scenario_s_first_round_is_planned_as_the_run_plans_it(tmp_path):
    scenario = airtune.load_scenario(TINY, rounds=1, method="jcpba")
    planned = airtune.plan(scenario, "jcpba")
    folder = airtune.run(scenario, tmp_path / "run")
    ran = airtune.Plan.from_json((folder / "plans" / "round-001.json").read_text())
    assert planned.prune.tolist() == ran.prune.tolist()
    assert planned.bandwidth_hz.tolist() == ran.bandwidth_hz.tolist()


def test_an_impossible_problem_names_the_client():
    text = json.loads(PROBLEM)
    text["clients"][1]["memory"] = {"budget_bytes": 1.0, "fixed_bytes": 2.0, "prunable_bytes": 1.0}
    with pytest.raises(airtune.InfeasibleError, match="client fast") as error:
        airtune.plan(airtune.Problem.from_json(json.dumps(text)))
    assert error.value.client == "fast"
    assert issubclass(airtune.InfeasibleError, airtune.AirtuneError)


def test_a_scenario_whose_model_fits_nowhere_names_the_client():
    text = TINY.read_text().replace("memory: 64 MB", "memory: 64 kB")
    from airtune.scenario_file import parse_scenario

    scenario = parse_scenario(text, folder=TINY.parent)
    with pytest.raises(airtune.InfeasibleError, match="client slow-0"):
        airtune.plan(scenario)


def test_planning_may_leave_clients_out():
    problem = airtune.Problem.from_json(PROBLEM)
    found = airtune.plan(problem, allow_drop=True)
    assert found.total_s <= airtune.plan(problem).total_s * (1 + 1e-6)
    with pytest.raises(ValueError, match="joint"):
        airtune.plan(problem, "fedit", allow_drop=True)


def test_planning_in_resource_blocks():
    problem = airtune.Problem.from_json(PROBLEM)
    blocks = airtune.plan(problem, resource_block_hz=180e3).bandwidth_hz / 180e3
    assert blocks.tolist() == [round(number) for number in blocks]


@pytest.mark.parametrize(
    ("argument", "found", "arguments"),
    [
        ("method", "best", {"method": "best"}),
        ("allow_drop", "method fedit", {"method": "fedit", "allow_drop": True}),
        ("resource_block_hz", "allow_drop", {"resource_block_hz": 180e3, "allow_drop": True}),
        ("resource_block_hz", -1.0, {"resource_block_hz": -1.0}),
        ("error_budget", "resource_block_hz", {"error_budget": 0.1, "resource_block_hz": 180e3}),
        ("error_budget", 2.0, {"error_budget": 2.0}),
    ],
)
def test_arguments_that_do_not_fit_are_named(argument, found, arguments):
    with pytest.raises(ArgumentError) as error:
        airtune.plan(airtune.Problem.from_json(PROBLEM), **arguments)
    assert (error.value.argument, error.value.found) == (argument, found)


def test_an_engine_that_there_is_not_is_named(tmp_path):
    expected = "engine: found 'flower', expected in-process, flower-simulation or flower-deployment"
    with pytest.raises(ArgumentError, match=expected):
        airtune.run(airtune.load_scenario(TINY), tmp_path / "run", engine="flower")
    assert list(tmp_path.iterdir()) == []


def test_planning_numbers_loads_no_heavy_library():
    code = (
        "import sys, airtune;"
        f"airtune.plan(airtune.Problem.from_json({PROBLEM!r}));"
        "print([name for name in ('torch', 'transformers', 'flwr', 'peft') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
