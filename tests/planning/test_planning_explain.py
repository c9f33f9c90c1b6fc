"""Explanations: multipliers against planning anew, and what binds against relaxing it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from airtune.planning import ErrorPower, Memory, Plan, Problem, plan
from airtune.planning.explain import explain

GAP = 1e-9


def total(problem: Problem) -> float:
    return plan(problem, gap=GAP).total_s


def nudged(values: np.ndarray, index: int, step: float) -> np.ndarray:
    """`values` with `step` added at `index`."""
    changed = values.copy()
    changed[index] += step
    return changed


def slope(problem: Problem, name: str, index: int, step: float) -> float:
    """Seconds of N·T per unit of a field, by central differences."""
    ends = [
        total(replace(problem, **{name: nudged(getattr(problem, name), index, sign * step)}))
        for sign in (1, -1)
    ]
    return (ends[0] - ends[1]) / (2 * step)


def assert_multipliers(problem: Problem, rel: float) -> None:
    """Every multiplier is the slope of N·T: a kink of an error curve may hide a part of it."""
    found = plan(problem, gap=GAP)
    why = explain(problem, found)
    small = 1e-3 * found.rounds
    for client in range(len(problem.ids)):
        seconds = slope(problem, "fixed_s", client, 2e-4 * found.round_s)
        assert why.second_s[client] == pytest.approx(seconds, rel=rel, abs=small)
    for cell, bandwidth in enumerate(problem.bandwidth_hz):
        hertz = -slope(problem, "bandwidth_hz", cell, 2e-3 * bandwidth)
        assert why.hertz_s[cell] * bandwidth == pytest.approx(
            hertz * bandwidth, rel=rel, abs=1e-4 * found.total_s
        )
    assert why.second_s.sum() == pytest.approx(found.rounds, rel=1e-6)


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("kind", ["shannon", "ergodic-rayleigh"])
@pytest.mark.parametrize("exponent", [1.0, 2.0, 3.5])
def test_multipliers_are_slopes(
    typical_problem: Callable[..., Problem], cells: int, kind: str, exponent: float
) -> None:
    problem = typical_problem(6, int(10 * exponent), cells, error=ErrorPower(exponent))
    assert_multipliers(replace(problem, rate=kind), rel=0.03)


@pytest.mark.parametrize("seed", range(2))
def test_multipliers_of_hostile_problems_are_slopes(
    hostile_problem: Callable[[int], Problem], seed: int
) -> None:
    assert_multipliers(hostile_problem(seed), rel=0.05)


def test_a_device_twice_as_fast_and_more_bandwidth(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(5, 3, cells=2)
    found = plan(problem)
    why = explain(problem, found)
    for client in range(5):
        faster = replace(problem, compute_s=nudged(problem.compute_s, client, -problem.compute_s[client] / 2))
        saved = found.total_s - plan(faster).total_s
        assert why.saved_by_speed(client) == pytest.approx(saved)
        half = 0.5 * problem.compute_s[client]
        first_order = half * slope(problem, "compute_s", client, 2e-3 * half)
        assert why.speed_s[client] == pytest.approx(first_order, rel=0.03, abs=1e-4 * found.total_s)
    wider = replace(problem, bandwidth_hz=nudged(problem.bandwidth_hz, 1, 1e6))
    assert why.saved_by_bandwidth(1, 1e6) == pytest.approx(found.total_s - plan(wider).total_s)


def relaxed(problem: Problem, name: str, client: int) -> Problem | None:
    """The problem with a little more of what would bind the client; None where there is no more."""
    if name == "deadline":
        step = 1e-3 * float(plan(problem).round_s)
        return replace(problem, fixed_s=nudged(problem.fixed_s, client, -min(step, problem.fixed_s[client])))
    if name == "memory":
        assert problem.memory is not None
        more = nudged(problem.memory.budget_bytes, client, 0.01 * problem.memory.prunable_bytes[client])
        return replace(problem, memory=replace(problem.memory, budget_bytes=more))
    if name == "prune_max":
        room = 1.0 - problem.prune_max[client]
        return replace(problem, prune_max=nudged(problem.prune_max, client, min(0.01, room)))
    if name == "prune_min":
        room = problem.prune_min[client]
        return replace(problem, prune_min=nudged(problem.prune_min, client, -min(0.01, room)))
    return None


def assert_binding(problem: Problem, found: Plan) -> set[str]:
    """What binds lowers N·T when it is relaxed; what does not leaves it as it is. Returns what binds."""
    why = explain(problem, found)
    for client, binds in enumerate(why.binds):
        for name in ("deadline", "memory", "prune_max", "prune_min"):
            if name == "memory" and problem.memory is None:
                continue
            other = relaxed(problem, name, client)
            assert other is not None
            saved = 1 - total(other) / found.total_s
            if name in binds:
                assert saved > 0
            else:
                assert abs(saved) <= 1e-6
        assert ("full" in binds) == (found.prune[client] < 1e-6)
    return {name for binds in why.binds for name in binds}


def test_what_binds(typical_problem: Callable[..., Problem]) -> None:
    """Three cells: a tight one, one whose clients wait, one that memory holds back."""
    problem = typical_problem(6, 2, cells=3)
    ones = np.ones(6)
    problem = replace(
        problem,
        compute_s=np.array([30.0, 1, 1, 30, 1, 1]),
        prune_max=np.array([0.9, 0.9, 0.9, 0.2, 0.9, 0.9]),
        prune_min=np.array([0, 0, 0, 0, 0.1, 0]),
        memory=Memory(np.array([np.inf, np.inf, 3.0, np.inf, np.inf, 5.0]), ones, 4 * ones),
    )
    found = plan(problem, gap=GAP)
    assert assert_binding(problem, found) == {"deadline", "prune_max", "prune_min", "memory", "full"}
    binds = explain(problem, found).binds
    assert "prune_max" in binds[3]
    assert binds[1] == ("full",)
    assert binds[2] == ("memory",)
    assert binds[4] == ("prune_min",)


@pytest.mark.parametrize("seed", range(5))
def test_what_binds_on_random_problems(typical_problem: Callable[..., Problem], seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = typical_problem(5, seed, cells=1 + seed % 2)
    problem = replace(
        problem,
        prune_min=rng.uniform(0, 0.3, 5) * rng.integers(0, 2, 5),
        prune_max=rng.uniform(0.3, 0.9, 5),
        memory=Memory(rng.uniform(3.5, 6, 5), np.ones(5), 4 * np.ones(5)),
    )
    assert "deadline" in assert_binding(problem, plan(problem, gap=GAP))


def test_clients_left_out_are_bound_by_nothing(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(typical_problem(5, 0), drop_error=np.full(5, 0.3))
    present = np.array([True, True, False, True, True])
    found = plan(problem, participates=present)
    why = explain(problem, found)
    assert why.binds[2] == ()
    assert (why.second_s[2], why.speed_s[2]) == (0, 0)
    assert why.second_s.sum() == pytest.approx(found.rounds, rel=1e-6)
    faster = plan(replace(problem, compute_s=problem.compute_s * [0.5, 1, 1, 1, 1]), participates=present)
    assert why.saved_by_speed(0) == pytest.approx(found.total_s - faster.total_s)


def test_plan_files_may_say_what_binds(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(4, 0)
    found = plan(problem)
    said = replace(found, binds=explain(problem, found).binds)
    assert Plan.from_json(said.to_json()).binds == said.binds
    assert Plan.from_json(found.to_json()).binds is None
    assert "binds" not in found.to_json()


@pytest.mark.parametrize("change", [{"base": 1e200}, {"base": 1e-300}, {"penalty": 1e-300}])
@pytest.mark.filterwarnings("error")
def test_extreme_numbers_are_explained(typical_problem: Callable[..., Problem], change: dict) -> None:
    problem = typical_problem(4, 0)
    problem = replace(problem, rounds=replace(problem.rounds, **change))
    why = explain(problem, plan(problem))
    for multipliers in (why.second_s, why.speed_s, why.hertz_s):
        assert np.isfinite(multipliers).all()
        assert (multipliers >= 0).all()
