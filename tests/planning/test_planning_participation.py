"""Leaving clients out: against every choice of participants, and the bound against all of them."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from airtune.errors import InfeasibleError
from airtune.planning import Memory, Problem, participation, plan
from airtune.planning.stragglers import stragglers


def total(problem: Problem, participates: np.ndarray, method: str = "joint") -> float:
    """N·T of these participants alone; infinite where they have no plan."""
    try:
        return plan(problem, method, participates=participates).total_s
    except InfeasibleError:
        return np.inf


def everybody_decided(problem: Problem) -> float:
    """The least N·T over all choices of participants, each planned with `joint`."""
    choices = product([False, True], repeat=len(problem.ids))
    return min(total(problem, np.array(choice)) for choice in choices if any(choice))


def assert_optimal(problem: Problem) -> None:
    found, best = participation.solve(problem), everybody_decided(problem)
    assert found.total_s == pytest.approx(best, rel=2e-6)
    assert found.lower_bound_s is not None
    assert found.lower_bound_s <= best
    assert found.relative_gap <= 1e-6
    assert found.total_s == plan(problem, participates=found.participates).total_s


@pytest.mark.parametrize("drop_error", [0.0, 0.1, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_of_all_choices(
    typical_problem: Callable[..., Problem], seed: int, drop_error: float
) -> None:
    spread = np.random.default_rng(seed).uniform(0.5, 1.5, 5)
    problem = typical_problem(5, seed, cells=1 + seed % 2)
    assert_optimal(replace(problem, drop_error=drop_error * spread))


@pytest.mark.parametrize("seed", range(2))
def test_the_best_of_all_choices_on_hostile_problems(
    hostile_problem: Callable[[int], Problem], seed: int
) -> None:
    problem = hostile_problem(seed)
    clients = len(problem.ids)
    rng = np.random.default_rng(seed)
    drop_error = rng.choice([0.02, 0.3, 1.0, 5.0]) * rng.uniform(0.5, 1.5, clients)
    # A part of a larger fleet: whoever is beyond the fifth is out already, at no cost.
    few = replace(problem, drop_error=np.zeros(clients)).restrict(np.arange(clients) < 5)
    assert_optimal(replace(few, drop_error=drop_error[: len(few.ids)]))


@pytest.mark.parametrize("clients", [12, 40])
@pytest.mark.parametrize("drop_error", [0.5, 1.5, 6.0])
def test_never_worse_than_less_freedom(
    typical_problem: Callable[..., Problem], clients: int, drop_error: float
) -> None:
    spread = np.random.default_rng(clients).uniform(0.3, 3, clients)
    problem = replace(typical_problem(clients, clients, cells=3), drop_error=drop_error * spread)
    found = participation.solve(problem)
    allowed = 1 + 1e-6
    assert found.total_s <= plan(problem).total_s * allowed
    for method in ("joint", "bandwidth-only"):
        assert found.total_s <= total(problem, ~stragglers(problem), method) * allowed
    rng = np.random.default_rng(0)
    for _ in range(20):
        other = rng.random(clients) < rng.uniform(0.1, 1)
        other[0] = True
        assert found.lower_bound_s <= total(problem, other)
    for client in range(clients):
        other = found.participates.copy()
        other[client] = not other[client]
        if other.any():
            assert found.lower_bound_s <= total(problem, other)


def test_a_hopeless_client_is_left_out(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(typical_problem(5, 0), drop_error=np.full(5, 1.2))
    slow = replace(problem, compute_s=problem.compute_s * [1, 1, 1000, 1, 1])
    found = participation.solve(slow)
    assert found.participates.tolist() == [True, True, False, True, True]
    assert found.rounds > plan(slow).rounds
    assert found.total_s < plan(slow).total_s
    assert participation.solve(replace(slow, drop_error=np.full(5, 99.0))).participates.all()


def test_whoever_does_not_fit_is_left_out(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(typical_problem(4, 0), drop_error=np.full(4, 3.0))
    ones = np.ones(4)
    tight = replace(problem, memory=Memory(np.array([9, 0.5, 9, 9]), ones, 4 * ones))
    found = participation.solve(tight)
    assert not found.participates[1]
    with pytest.raises(InfeasibleError, match="client c1"):
        plan(tight)
    with pytest.raises(InfeasibleError, match="without it"):
        participation.solve(replace(tight, drop_error=np.full(4, 99.0)))
    with pytest.raises(InfeasibleError, match="needs"):
        participation.solve(replace(tight, memory=Memory(0.5 * ones, ones, 4 * ones)))


def test_leaving_out_may_bring_the_target_into_reach(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(typical_problem(4, 0), prune_min=np.array([0.1, 0.1, 0.9, 0.1]))
    rounds = replace(problem.rounds, penalty=1.2 / problem.weight[2])
    hopeless = replace(problem, rounds=rounds, drop_error=np.array([9, 9, 0.1, 9]))
    hopeless = replace(hopeless, prune_min=np.array([0.0, 0.0, 0.95, 0.0]), prune_max=np.full(4, 0.95))
    with pytest.raises(InfeasibleError):
        plan(hopeless)
    assert not participation.solve(hopeless).participates[2]
