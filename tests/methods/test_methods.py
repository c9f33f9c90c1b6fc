"""Methods: every planning rule is one, and each selects, plans and merges as its name says."""

from pathlib import Path

import numpy as np
import pytest

from airtune import load_scenario
from airtune.costs.error import Gradients
from airtune.costs.round_time import build_problem
from airtune.costs.shapes import ModelShape
from airtune.methods import METHODS
from airtune.planning import SOLVERS, Problem
from airtune.planning.drop_slowest import stragglers
from airtune.pruning.measured import measured_path
from airtune.pruning.path import Reduction
from airtune.radio.channel import draw_channels


@pytest.fixture(scope="module")
def problem() -> Problem:
    tiny = load_scenario(Path(__file__).parents[2] / "examples" / "tiny.yaml")
    curves = measured_path(tiny).curves(0.7, tiny.payload)
    return build_problem(
        tiny, curves, draw_channels(tiny, 1), np.ones(4, dtype=bool), Gradients(np.ones(4), np.ones(4))
    )


def test_every_planning_rule_is_a_method_of_its_name():
    assert list(METHODS) == list(SOLVERS)
    assert all(name == method.name for name, method in METHODS.items())


@pytest.mark.parametrize("name", METHODS)
def test_methods_plan_for_those_they_select(name, problem):
    method = METHODS[name]
    selected = method.select(problem)
    assert selected.any()
    plan = method.plan(problem, selected)
    assert plan.method == name
    assert (plan.participates == selected).all()
    assert (plan.bandwidth_hz[~selected] == 0).all()
    assert plan.bandwidth_hz.sum() <= problem.bandwidth_hz.sum() * (1 + 1e-9)


def test_only_drop_slowest_leaves_clients_out(problem):
    left_out = {name: ~method.select(problem) for name, method in METHODS.items()}
    assert (left_out.pop("drop-slowest") == stragglers(problem)).all()
    assert stragglers(problem).any()
    assert not any(mask.any() for mask in left_out.values())


def test_whoever_is_left_out_stays_out_under_any_method(problem):
    without_first = np.array([False, True, True, True])
    for method in METHODS.values():
        assert (method.plan(problem, without_first).participates == without_first).all()


def test_merging_full_clients_is_the_weighted_mean():
    full = ModelShape(8, 16, 1, 4, 1, 2, ("q_proj", "down_proj"), np.array([2, 2]), np.array([6, 6]))
    rng = np.random.default_rng(0)
    start, *trained = (
        {name: rng.standard_normal(size).astype(np.float32) for name, _, _, size in full.adapter_shapes()}
        for _ in range(4)
    )
    weights = [0.2, 0.5, 0.3]
    for method in METHODS.values():
        updates = [
            (weight, Reduction.none(full), update) for weight, update in zip(weights, trained, strict=True)
        ]
        merged = method.aggregate(start, full, updates)
        for name in start:
            expected = np.average([update[name] for update in trained], axis=0, weights=weights)
            assert merged[name] == pytest.approx(expected, rel=1e-6)
