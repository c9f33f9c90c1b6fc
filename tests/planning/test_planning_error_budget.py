"""The shortest round within an error budget, and its certificate."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from feasibility import violations

from airtune.errors import InfeasibleError
from airtune.planning import Plan, Problem, evaluate, plan


def spent(problem: Problem, found: Plan) -> float:
    return float(
        problem.weight @ np.where(found.participates, problem.error_at(found.prune), problem.drop_error)
    )


def budgets(problem: Problem) -> list[float]:
    """From what full clients need to what the most pruned spend, if rounds are finite then."""
    full = plan(problem, "fedit").prune
    least, most = (float(problem.weight @ problem.error_at(prune)) for prune in (full, problem.prune_max))
    most = max(least, min(most, 0.99 / problem.rounds.penalty))
    return [least + share * (most - least) for share in (0.01, 0.3, 0.8, 1.0)]


def test_it_is_kept_and_the_gap_is_reached(hostile_problem: Callable[[int], Problem]) -> None:
    for seed in range(4):
        problem = hostile_problem(seed)
        for budget in budgets(problem):
            found = plan(problem, error_budget=budget)
            assert spent(problem, found) <= budget * (1 + 1e-9) + 1e-14
            assert found.round_lower_bound_s is not None
            assert 0 <= found.round_s - found.round_lower_bound_s <= 1e-6 * found.round_s
            assert found.lower_bound_s is None
            assert not violations(json.loads(problem.to_json()), json.loads(found.to_json()))
            assert Plan.from_json(found.to_json()).to_json() == found.to_json()


def test_the_optimum_of_the_whole_run_is_the_shortest_round_of_its_error(
    hostile_problem: Callable[[int], Problem],
) -> None:
    for seed in range(4):
        problem = hostile_problem(seed)
        best = plan(problem, gap=1e-8)
        found = plan(problem, error_budget=spent(problem, best))
        assert (found.round_lower_bound_s or 0.0) <= best.round_s
        assert found.total_s == pytest.approx(best.total_s, rel=2e-6)


def test_no_random_plan_within_the_budget_is_shorter(hostile_problem: Callable[[int], Problem]) -> None:
    rng = np.random.default_rng(0)
    problem = hostile_problem(5)
    budget = budgets(problem)[1]
    best = plan(problem, error_budget=budget)
    for spread in (0.001, 0.03, 0.3):
        for _ in range(100):
            prune = best.prune + spread * rng.normal(size=len(problem.ids))
            prune = np.clip(prune, problem.prune_min, problem.prune_max)
            hertz = (best.bandwidth_hz + 1e-9) * np.exp(spread * rng.normal(size=len(problem.ids)))
            used = np.bincount(problem.cell, weights=hertz, minlength=len(problem.bandwidth_hz))
            hertz *= (problem.bandwidth_hz / np.maximum(used, 1e-300))[problem.cell]
            other = evaluate(problem, "random", prune, hertz)
            if spent(problem, other) <= budget:
                assert other.round_s >= (best.round_lower_bound_s or 0.0)


def test_a_larger_budget_makes_no_longer_round(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(10, seed=1, cells=2)
    rounds = [plan(problem, error_budget=budget).round_s for budget in (0.0, 0.01, 0.1, 0.3, 0.6, 1.2)]
    assert (np.diff(rounds) <= 1e-6 * rounds[0]).all()
    assert rounds[0] == pytest.approx(plan(problem, "bandwidth-only").round_s, rel=1e-6)


def test_those_left_out_use_up_their_part(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(typical_problem(6, seed=2), drop_error=np.full(6, 0.2))
    present = np.arange(6) > 0
    found = plan(problem, participates=present, error_budget=0.2)
    assert spent(problem, found) == pytest.approx(0.2, rel=1e-5)
    assert found.round_lower_bound_s == pytest.approx(found.round_s, rel=1e-6)


def test_a_budget_that_is_too_small_names_one_that_would_do(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(typical_problem(3, seed=0), prune_min=np.full(3, 0.3))
    with pytest.raises(InfeasibleError, match=r"an error of 0\.01 is out of reach .*; 0\.09 would do"):
        plan(problem, error_budget=0.01)
    assert spent(problem, plan(problem, error_budget=0.09)) <= 0.09 * (1 + 1e-9)


@pytest.mark.parametrize(
    ("budget", "method", "said"), [(-0.1, "joint", "0 to"), (1.3, "joint", "1.25"), (0.1, "fedit", "joint")]
)
def test_what_is_no_budget_is_refused(
    typical_problem: Callable[..., Problem], budget: float, method: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        plan(typical_problem(3, seed=0), method, error_budget=budget)
