"""The least pruning rate that a bandwidth supports within a deadline."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from airtune.planning import Memory, Problem, evaluate, plan
from airtune.planning.support import least_prune


def test_it_meets_the_deadline_and_less_would_not(hostile_problem: Callable[[int], Problem]) -> None:
    problem = hostile_problem(0)
    fedit = plan(problem, "fedit")
    for share in (0.3, 0.8, 1.0, 1.1):
        deadline = share * fedit.round_s
        found = least_prune(problem, deadline, fedit.bandwidth_hz)
        meets = np.isfinite(found)
        most = evaluate(problem, "most", problem.prune_max, fedit.bandwidth_hz)
        assert (meets == (most.client_round_s <= deadline)).all()
        prune = np.where(meets, found, problem.prune_max)
        assert (problem.prune_min <= prune).all()
        assert (prune <= problem.prune_max).all()
        there = evaluate(problem, "there", prune, fedit.bandwidth_hz)
        assert (there.client_round_s[meets] <= deadline * (1 + 1e-9)).all()
        pruned = meets & (found > problem.prune_min)
        less = np.maximum(prune - 1e-3, problem.prune_min)
        too_full = evaluate(problem, "less", less, fedit.bandwidth_hz)
        late = too_full.client_round_s >= deadline * (1 - 1e-9)
        if problem.energy is not None:
            late |= problem.joules_at(less, too_full.uplink_s) >= problem.energy.budget_j * (1 - 1e-9)
        assert late[pruned].all()


def test_a_plan_meets_its_own_round(hostile_problem: Callable[[int], Problem]) -> None:
    problem = hostile_problem(1)
    chosen = plan(problem)
    assert (least_prune(problem, chosen.round_s, chosen.bandwidth_hz) <= chosen.prune + 1e-9).all()


def test_rows_of_bandwidths_are_planned_row_by_row(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(5, 0)
    rows = np.array([[1e4], [1e6], [4e6]]) * np.ones(5)
    found = least_prune(problem, 20.0, rows)
    for row, prune in zip(rows, found, strict=True):
        np.testing.assert_array_equal(least_prune(problem, 20.0, row), prune)


def test_no_bandwidth_serves_who_has_nothing_to_send(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(
        typical_problem(3, 0),
        fixed_s=np.array([1.0, 1.0, 9.0]),
        fixed_bits=np.array([0.0, 1e6, 0.0]),
        prune_max=np.ones(3),
    )
    np.testing.assert_array_equal(least_prune(problem, 5.0, np.zeros(3)), [1.0, np.nan, np.nan])


def test_memory_is_a_floor(typical_problem: Callable[..., Problem]) -> None:
    ones = np.ones(3)
    limited = replace(typical_problem(3, 0), memory=Memory(np.array([3.0, 9, 9]), ones, 4 * ones))
    assert least_prune(limited, 1e9, 1e6 * ones) == pytest.approx([0.5, 0, 0])
