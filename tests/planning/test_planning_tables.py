"""Tables of bits and seconds over ρ, and energy budgets."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from feasibility import violations
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from limited import with_energy, with_tables

from airtune.errors import InfeasibleError
from airtune.planning import SOLVERS, Energy, ErrorPower, ErrorTable, Falling, Problem, evaluate, plan
from airtune.planning.blocks import in_blocks
from airtune.planning.explain import explain
from airtune.planning.participation import solve as choose
from airtune.planning.support import least_prune

SEEDS = st.integers(0, 10_000)


def drawn(
    typical: Callable[..., Problem], seed: int, clients: int = 4
) -> tuple[Problem, np.random.Generator]:
    """A typical problem with one of several error curves, and a generator for what is added to it."""
    rng = np.random.default_rng(seed)
    curves = (ErrorPower(1.0), ErrorPower(2.0), ErrorTable([0, 0.3, 0.6, 1], [0, 0.05, 0.3, 1.0]))
    return typical(clients, seed, error=curves[seed % 3]), rng


def as_tables(problem: Problem, points: list[float]) -> Problem:
    """The same straight lines, written as tables with these points."""
    prune = np.array(points)
    full, fixed = problem.fixed_bits + problem.payload_bits, problem.fixed_bits
    return replace(
        problem,
        payload=tuple(Falling(prune, a + (b - a) * prune) for a, b in zip(full, fixed, strict=True)),
        compute=tuple(Falling(prune, a * (1 - prune)) for a in problem.compute_s),
        fixed_bits=0 * full,
        payload_bits=0 * full,
        compute_s=0 * full,
    )


@pytest.mark.parametrize("points", [[0.0, 1.0], [0.0, 0.9], [0.0, 0.125, 0.25, 0.7, 1.0]])
@pytest.mark.parametrize("method", ["joint", "jcpba", "pruning-only", "bandwidth-only", "fedit"])
def test_collinear_points_are_two_numbers(
    typical_problem: Callable[..., Problem], points: list[float], method: str
) -> None:
    for seed in range(3):
        problem, rng = drawn(typical_problem, seed, 6)
        problem = with_energy(problem, rng) if seed == 2 else problem
        straight, tables = plan(problem, method), plan(as_tables(problem, points), method)
        assert tables.total_s == pytest.approx(straight.total_s, rel=2e-6)
        assert tables.round_s == pytest.approx(
            evaluate(problem, "", tables.prune, tables.bandwidth_hz).round_s
        )


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=SEEDS)
def test_a_budget_that_nobody_feels_changes_nothing(
    typical_problem: Callable[..., Problem], seed: int
) -> None:
    problem, rng = drawn(typical_problem, seed)
    problem = with_tables(problem, rng) if seed % 2 else problem
    ones = np.ones(4)
    rich = replace(problem, energy=Energy(1e9 * ones, ones, ones, ones))
    assert plan(rich).total_s == pytest.approx(plan(problem).total_s, rel=2e-6)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=SEEDS)
def test_the_certificate_holds_for_every_method_and_gap(
    typical_problem: Callable[..., Problem], seed: int
) -> None:
    problem, rng = drawn(typical_problem, seed, clients=1 + seed % 6)
    problem = with_energy(with_tables(problem, rng) if seed % 3 else problem, rng)
    plans = [plan(problem, gap=gap) for gap in (1e-1, 1e-3, 1e-6)]
    others = [plan(problem, method) for method in ("jcpba", "pruning-only", "bandwidth-only", "fedit")]
    least = min(found.total_s for found in plans + others)
    for found in plans:
        assert (found.lower_bound_s or 0.0) <= least * (1 + 1e-12)
    assert plans[-1].relative_gap <= 1e-6
    for found in plans + others:
        assert violations(json.loads(problem.to_json()), json.loads(found.to_json())) == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=SEEDS)
def test_the_bound_is_below_a_grid_of_plans(typical_problem: Callable[..., Problem], seed: int) -> None:
    """Pruning rates and shares of the cell that keep the two clients' energy."""
    problem, rng = drawn(typical_problem, seed, clients=2)
    problem = with_energy(with_tables(problem, rng), rng)
    best = plan(problem)
    share = np.linspace(0.02, 0.98, 49)
    hertz = problem.bandwidth_hz[0] * np.column_stack([share, 1 - share])
    assert problem.energy is not None
    for _ in range(400):
        wide = hertz[rng.integers(len(hertz))]
        # Half of them at a deadline of their own, as full as it and energy allow.
        some = rng.uniform(0.0, 0.9, 2)
        if rng.random() < 0.5:
            some = least_prune(problem, best.round_s * rng.uniform(0.8, 1.3), wide)
        found = evaluate(problem, "", np.where(np.isnan(some), 0.9, some), wide)
        if (problem.joules_at(found.prune, found.uplink_s) <= problem.energy.budget_j).all():
            assert found.total_s >= (best.lower_bound_s or 0.0)


def test_problems_survive_writing_and_reading(typical_problem: Callable[..., Problem]) -> None:
    problem, rng = drawn(typical_problem, 4, 6)
    problem = with_energy(with_tables(problem, rng), rng)
    again = Problem.from_json(problem.to_json())
    assert again.to_json() == problem.to_json()
    assert plan(again).total_s == plan(problem).total_s


@pytest.mark.parametrize("method", SOLVERS)
def test_every_method_keeps_its_energy_on_a_part_of_the_fleet(
    typical_problem: Callable[..., Problem], method: str
) -> None:
    problem, rng = drawn(typical_problem, 1, 6)
    problem = replace(with_energy(with_tables(problem, rng), rng), drop_error=np.full(6, 0.5))
    present = np.array([True, False, True, True, True, True])
    found = plan(problem, method, participates=present)
    assert violations(json.loads(problem.to_json()), json.loads(found.to_json())) == []


def test_blocks_keep_tables_and_energy(typical_problem: Callable[..., Problem]) -> None:
    for seed in range(3):
        problem, rng = drawn(typical_problem, seed, 5)
        problem = with_energy(with_tables(problem, rng), rng)
        best, block = plan(problem), problem.bandwidth_hz[0] / 100
        found = in_blocks(problem, best, block)
        assert violations(json.loads(problem.to_json()), json.loads(found.to_json()), block) == []
        assert 0 <= (found.relative_gap or 0.0) < 0.1


def test_whoever_runs_out_of_energy_may_be_left_out(typical_problem: Callable[..., Problem]) -> None:
    problem, rng = drawn(typical_problem, 1, 4)
    problem = replace(with_tables(problem, rng), drop_error=np.full(4, 0.3))
    ones = np.ones(4)
    poor = replace(problem, energy=Energy(np.array([1e-3, 1e9, 1e9, 1e9]), 0 * ones, ones, ones))
    with pytest.raises(
        InfeasibleError, match=r"client c0: needs .* J at its largest pruning rate 0.9, has 0.001"
    ):
        plan(poor)
    found = choose(poor)
    assert not found.participates[0]
    sets = [np.array(bits, bool) for bits in itertools.product((0, 1), repeat=3) if any(bits)]
    best = min(plan(poor, participates=np.append(False, some)).total_s for some in sets)
    assert found.total_s == pytest.approx(best, rel=2e-6)
    assert (found.lower_bound_s or 0.0) <= best


def test_energy_is_said_to_bind_and_more_of_it_helps(typical_problem: Callable[..., Problem]) -> None:
    said = 0
    for seed in range(6):
        problem, rng = drawn(typical_problem, 3 * seed + 1, 5)
        problem = with_energy(problem, rng)
        best = plan(problem, gap=1e-8)
        why = explain(problem, best)
        assert problem.energy is not None
        for k, names in enumerate(why.binds):
            budget = problem.energy.budget_j * (1 + 0.01 * (np.arange(5) == k))
            more = replace(problem, energy=replace(problem.energy, budget_j=budget))
            saved = 1 - plan(more, gap=1e-8).total_s / best.total_s
            assert ("energy" in names) == (saved > 1e-6)
            said += "energy" in names
    assert said > 1


def test_too_little_energy_says_how_much_would_do(typical_problem: Callable[..., Problem]) -> None:
    problem, ones = typical_problem(4, 0), np.ones(4)
    whole = evaluate(problem, "", problem.prune_max, problem.bandwidth_hz[problem.cell] * ones)
    uplink = whole.uplink_s.copy()
    budget = np.where(np.arange(4) == 2, 0.9 * uplink, 100 * uplink)
    poor = replace(problem, energy=Energy(budget, 0 * ones, 0 * ones, ones))
    with pytest.raises(InfeasibleError, match=r"client c2: needs .* Hz for its energy to last") as caught:
        plan(poor)
    enough = float(caught.value.reason.split("a budget_j of ")[1].split()[0])
    for factor, possible in ((1 + 1e-4, True), (1 - 1e-4, False)):
        changed = np.where(np.arange(4) == 2, factor * enough, budget)
        other = replace(problem, energy=Energy(changed, 0 * ones, 0 * ones, ones))
        if possible:
            assert np.isfinite(plan(other).total_s)
        else:
            with pytest.raises(InfeasibleError):
                plan(other)


def test_too_little_energy_for_the_target_says_so(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(3, 0)
    ones, joules = np.ones(3), problem.compute_s
    least = evaluate(problem, "", 0.8 * ones, problem.bandwidth_hz[0] / 3 * ones).uplink_s + 0.2 * joules
    poor = replace(
        problem, energy=Energy(least, 0 * ones, joules, ones), rounds=replace(problem.rounds, penalty=3.0)
    )
    with pytest.raises(InfeasibleError, match=r"client c0: must be pruned by .* at least.* J is needed"):
        plan(poor)
    uplink = evaluate(problem, "", 0.85 * ones, problem.bandwidth_hz[0] / 3 * ones).uplink_s
    free = replace(poor, energy=Energy(uplink, 0 * ones, 0 * ones, ones))
    with pytest.raises(InfeasibleError, match=r"a penalty below (\S+) would do") as caught:
        plan(free)
    most = float(caught.value.reason.split("a penalty below ")[1].split()[0])
    better = replace(free, rounds=replace(free.rounds, penalty=most * (1 - 1e-4)))
    assert np.isfinite(plan(better).total_s)
