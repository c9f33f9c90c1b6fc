"""Floors under clients' bandwidth."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from airtune.errors import InfeasibleError
from airtune.planning import Problem, evaluate, participation, plan
from airtune.planning.blocks import in_blocks
from airtune.planning.explain import explain


@pytest.fixture
def floored(typical_problem: Callable[..., Problem]) -> Problem:
    """The second client gets more than it would choose, and may finish early."""
    problem = typical_problem(4, seed=1)
    return replace(problem, bandwidth_min_hz=np.array([0.0, 0.6, 0.05, 0.0]) * problem.bandwidth_hz[0])


@pytest.mark.parametrize("method", ["joint", "jcpba", "pruning-only", "bandwidth-only", "fedit"])
def test_every_method_keeps_them(floored: Problem, method: str) -> None:
    found = plan(floored, method)
    assert (found.bandwidth_hz >= floored.bandwidth_min_hz * (1 - 1e-9)).all()
    assert found.bandwidth_hz.sum() <= floored.bandwidth_hz[0]
    assert found.total_s >= (plan(floored).lower_bound_s or 0.0)


def test_joint_is_below_every_plan_that_keeps_them(floored: Problem) -> None:
    best = plan(floored)
    rng = np.random.default_rng(0)
    spare = floored.bandwidth_hz[0] - floored.bandwidth_min_hz.sum()
    for spread in (0.001, 0.03, 0.3):
        for _ in range(100):
            prune = np.clip(best.prune + spread * rng.normal(size=4), 0.0, 0.9)
            beyond = (best.bandwidth_hz - floored.bandwidth_min_hz + 1.0) * np.exp(
                spread * rng.normal(size=4)
            )
            hertz = floored.bandwidth_min_hz + beyond * spare / beyond.sum()
            assert evaluate(floored, "random", prune, hertz).total_s >= (best.lower_bound_s or 0.0)


def test_floors_that_nobody_feels_change_nothing(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(6, seed=2)
    best = plan(problem)
    again = plan(replace(problem, bandwidth_min_hz=0.5 * best.bandwidth_hz))
    assert again.total_s == pytest.approx(best.total_s, rel=2e-6)


def test_floors_that_fill_the_cell_leave_pruning(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(5, seed=3)
    equal = problem.bandwidth_hz[0] / 5 * np.ones(5)
    found = plan(replace(problem, bandwidth_min_hz=equal))
    assert found.total_s == pytest.approx(plan(problem, "pruning-only").total_s, rel=2e-6)
    assert (found.relative_gap or 0.0) <= 1e-6


def test_multipliers_sum_to_the_rounds(floored: Problem) -> None:
    why = explain(floored, best := plan(floored))
    assert why.second_s.sum() == pytest.approx(best.rounds, rel=1e-3)
    slower = replace(floored, fixed_s=floored.fixed_s + 1e-3 * np.eye(4)[1])
    change = 1e3 * (plan(slower, gap=1e-9).total_s - plan(floored, gap=1e-9).total_s)
    assert change == pytest.approx(why.second_s[1], abs=0.02 * best.rounds)


def test_blocks_and_those_left_out(floored: Problem) -> None:
    block = floored.bandwidth_hz[0] / 50
    found = in_blocks(floored, plan(floored), block)
    assert (found.bandwidth_hz >= floored.bandwidth_min_hz * (1 - 1e-9)).all()
    present = np.array([True, False, True, True])
    assert plan(floored, participates=present).bandwidth_hz[1] == 0


def test_too_much_is_one_line_with_the_least_change(floored: Problem) -> None:
    hertz = np.array([0.0, 1.2e7, 9e6, 0.0])
    with pytest.raises(
        InfeasibleError, match=r"bandwidth_min_hz of 11000000, or 21000000 Hz there, would do"
    ):
        plan(replace(floored, bandwidth_min_hz=hertz))
    hertz[2:] = 1e6
    assert plan(replace(floored, bandwidth_min_hz=hertz)).relative_gap is not None


def test_whom_to_leave_out_where_not_everyone_fits(typical_problem: Callable[..., Problem]) -> None:
    hertz = np.array([0.5, 0.4, 0.3]) * 2e7
    problem = replace(typical_problem(3, seed=2), drop_error=np.full(3, 0.3), bandwidth_min_hz=hertz)
    found = participation.solve(problem)
    others = [plan(problem, participates=np.arange(3) != k).total_s for k in range(3)]
    assert not found.participates.all()
    assert found.total_s <= min(others) * (1 + 1e-9)
    assert (found.lower_bound_s or 0.0) <= min(others)
