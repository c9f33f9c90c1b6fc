"""The joint optimum: its certificate, optimality conditions and symmetries."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from airtune.errors import InfeasibleError
from airtune.planning import ErrorPower, ErrorTable, Falling, Memory, Plan, Problem, evaluate, plan
from airtune.planning.deadline import Solved, dual, solve
from airtune.planning.fleet import Fleet
from airtune.planning.response import Market, answer, state
from airtune.planning.support import fullest
from airtune.planning.tables import Tables
from airtune.radio import rate

SEEDS = range(4)


def test_gap_is_reached_and_the_plan_is_feasible(hostile_problem: Callable[[int], Problem]) -> None:
    for seed in SEEDS:
        problem = hostile_problem(seed)
        found = plan(problem)
        assert 0 <= found.relative_gap <= 1e-6
        assert found.lower_bound_s <= found.total_s
        used = np.bincount(problem.cell, weights=found.bandwidth_hz, minlength=len(problem.bandwidth_hz))
        assert (used <= problem.bandwidth_hz).all()
        assert (found.prune >= problem.prune_min).all()
        assert (found.prune <= problem.prune_max).all()
        again = evaluate(problem, "joint", found.prune, found.bandwidth_hz)
        assert again.total_s == found.total_s
        if problem.energy is not None:
            spent = problem.joules_at(found.prune, found.uplink_s)
            assert (spent <= problem.energy.budget_j * (1 + 1e-9)).all()


def in_energy(problem: Problem, drawn: Plan) -> bool:
    if problem.energy is None:
        return True
    return bool((problem.joules_at(drawn.prune, drawn.uplink_s) <= problem.energy.budget_j).all())


@pytest.mark.parametrize("gap", [0.5, 1e-2, 1e-4])
def test_loose_bounds_are_still_bounds(hostile_problem: Callable[[int], Problem], gap: float) -> None:
    for seed in SEEDS:
        problem = hostile_problem(seed)
        loose, tight = plan(problem, gap=gap), plan(problem, gap=1e-7)
        assert loose.relative_gap <= gap
        assert loose.lower_bound_s <= tight.total_s
        assert tight.lower_bound_s <= loose.total_s


def test_no_random_plan_beats_the_bound(hostile_problem: Callable[[int], Problem]) -> None:
    rng = np.random.default_rng(0)
    for seed in SEEDS:
        problem = hostile_problem(seed)
        best = plan(problem)
        for spread in (0.001, 0.03, 0.3):
            for _ in range(20):
                prune = best.prune + spread * rng.normal(size=len(problem.ids))
                prune = np.clip(prune, problem.prune_min, problem.prune_max)
                hertz = (best.bandwidth_hz + 1e-9) * np.exp(spread * rng.normal(size=len(problem.ids)))
                used = np.bincount(problem.cell, weights=hertz, minlength=len(problem.bandwidth_hz))
                hertz *= (problem.bandwidth_hz / np.maximum(used, 1e-300))[problem.cell]
                if problem.energy is not None:
                    prune = np.clip(fullest(problem, hertz) + 1e-12, prune, problem.prune_max)
                drawn = evaluate(problem, "random", prune, hertz)
                assert drawn.total_s >= best.lower_bound_s or not in_energy(problem, drawn)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_clients_against_an_exhaustive_grid(typical_problem: Callable[..., Problem], seed: int) -> None:
    problem = typical_problem(2, seed)
    found = plan(problem)
    prune = np.linspace(0, 0.9, 91)
    share = np.linspace(0.02, 0.98, 97)[:, None, None]
    hertz = np.stack(np.broadcast_arrays(share, 1 - share)) * problem.bandwidth_hz[0]
    rates = rate(hertz, problem.snr_hz[:, None, None, None], "shannon")
    pair = np.stack(np.broadcast_arrays(prune[:, None], prune[None, :]))[:, None]
    wide = [
        values[:, None, None, None]
        for values in (
            problem.fixed_s,
            problem.compute_s,
            problem.fixed_bits,
            problem.payload_bits,
            problem.weight,
        )
    ]
    fixed, compute, bits0, bits, weight = wide
    time = (fixed + compute * (1 - pair) + (bits0 + bits * (1 - pair)) / rates).max(0)
    total = time * 20 / np.maximum(1 - 0.8 * (weight * pair**2).sum(0), 1e-9)
    assert found.lower_bound_s <= total.min()
    assert total.min() <= found.total_s * 1.03


@pytest.mark.parametrize("cells", [1, 3])
@pytest.mark.parametrize("kind", ["shannon", "ergodic-rayleigh"])
def test_kkt_conditions(typical_problem: Callable[..., Problem], cells: int, kind: str) -> None:
    """At the optimum a hertz is worth the same to every client of a cell, and time what it costs."""
    problem = replace(typical_problem(12, 5, cells), rate=kind)
    found = plan(problem, gap=1e-9)
    step = 1e-4

    def keep(bandwidth: np.ndarray, deadline: float) -> np.ndarray:
        rates = rate(bandwidth, problem.snr_hz, kind)
        spare = rates * (deadline - problem.fixed_s) - problem.fixed_bits
        return spare / (problem.payload_bits + rates * problem.compute_s)

    hertz, time = found.bandwidth_hz, found.round_s
    inner = (found.prune > 1e-6) & (found.prune < 0.9 - 1e-6)
    assert inner.sum() > 6
    harm = problem.weight * 2 * found.prune
    worth = harm * (keep(hertz * (1 + step), time) - keep(hertz * (1 - step), time)) / (2 * step * hertz)
    gained = harm * (keep(hertz, time * (1 + step)) - keep(hertz, time * (1 - step))) / (2 * step * time)
    for cell in range(cells):
        prices = worth[inner & (problem.cell == cell)]
        assert prices == pytest.approx(np.full(len(prices), prices.mean()), rel=2e-3)
    # Clients at prune_max give back bandwidth instead, at their cell's price.
    price = np.array([worth[inner & (problem.cell == cell)].mean() for cell in problem.cell])
    per_hertz = worth / harm
    gained = np.where(inner, gained, price * gained / harm / per_hertz)
    error = problem.weight @ found.prune**2
    assert 1 / time == pytest.approx(0.8 * gained.sum() / (1 - 0.8 * error), rel=2e-3)
    assert found.client_round_s == pytest.approx(np.full(12, time), rel=1e-6)


def test_units_do_not_matter(hostile_problem: Callable[[int], Problem]) -> None:
    problem = hostile_problem(1)
    expected = plan(problem).total_s
    kilobits = replace(
        problem,
        fixed_bits=problem.fixed_bits / 1e3,
        payload=scaled(problem.payload, 1e-3),
        payload_bits=problem.payload_bits / 1e3,
        snr_hz=problem.snr_hz / 1e3,
        bandwidth_hz=problem.bandwidth_hz / 1e3,
        bandwidth_min_hz=problem.bandwidth_min_hz / 1e3,
    )
    assert plan(kilobits).total_s == pytest.approx(expected, rel=2e-6)
    minutes = replace(
        problem,
        fixed_s=problem.fixed_s / 60,
        compute_s=problem.compute_s / 60,
        fixed_bits=problem.fixed_bits / 60,
        payload_bits=problem.payload_bits / 60,
        payload=scaled(problem.payload, 1 / 60),
        compute=scaled(problem.compute, 1 / 60),
        energy=None
        if problem.energy is None
        else replace(problem.energy, transmit_w=60 * problem.energy.transmit_w),
    )
    assert 60 * plan(minutes).total_s == pytest.approx(expected, rel=2e-6)
    halves = replace(problem, rounds=replace(problem.rounds, base=problem.rounds.base / 2))
    assert 2 * plan(halves).total_s == pytest.approx(expected, rel=2e-6)


def scaled(tables: Tables | None, factor: float) -> Tables | None:
    if tables is None:
        return None
    return tuple(table and Falling(table.prune, factor * table.value) for table in tables)


def test_the_order_of_clients_does_not_matter(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(9, 2, cells=2)
    order = np.random.default_rng(0).permutation(9)
    first = {
        name: getattr(problem, name)[order]
        for name in ("cell", "weight", "snr_hz", "fixed_s", "compute_s", "fixed_bits", "payload_bits")
    }
    shuffled = plan(replace(problem, ids=tuple(problem.ids[k] for k in order), **first), gap=1e-9)
    direct = plan(problem, gap=1e-9)
    assert shuffled.total_s == pytest.approx(direct.total_s, rel=1e-9)
    assert shuffled.prune == pytest.approx(direct.prune[order], abs=1e-3)


def test_the_number_of_threads_does_not_matter(
    typical_problem: Callable[..., Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = typical_problem(70_000, 0, cells=700)
    plans = []
    for cores in (1, 3):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        plans.append(plan(problem))
    one, three = plans
    assert one.relative_gap <= 1e-6
    assert (one.total_s, one.lower_bound_s) == (three.total_s, three.lower_bound_s)
    assert (one.prune == three.prune).all()
    assert (one.bandwidth_hz == three.bandwidth_hz).all()


def test_cells_that_are_full_in_any_case_cost_what_they_cost_without_a_choice(
    typical_problem: Callable[..., Problem],
) -> None:
    problem = typical_problem(12, 5, cells=3)
    quick = problem.cell != 1
    problem = replace(problem, compute_s=np.where(quick, 0.01, 1.0) * problem.compute_s)
    problem = replace(problem, bandwidth_hz=problem.bandwidth_hz * np.array([100.0, 1.0, 100.0]))
    problem = replace(problem, prune_min=np.full(12, 0.1))
    found = plan(problem)
    forced = plan(replace(problem, prune_max=np.where(quick, 0.1, problem.prune_max)))
    assert found.relative_gap <= 1e-6
    assert found.prune[quick] == pytest.approx(np.full(quick.sum(), 0.1), abs=1e-15)
    assert (found.prune[~quick] > 0.11).any()
    assert found.lower_bound_s <= forced.total_s <= found.total_s * (1 + 2e-6)
    used = np.bincount(problem.cell, weights=found.bandwidth_hz)
    assert (used <= problem.bandwidth_hz).all()


def test_drift_is_what_changes_from_one_deadline_to_the_next(
    typical_problem: Callable[..., Problem],
) -> None:
    problem = typical_problem(30, 0, cells=2)
    fleet, best = Fleet.of(problem), plan(problem)
    times = best.round_s * np.array([1.0, 1.0 + 1e-5])
    v = np.log(best.bandwidth_hz[fleet.order] / fleet.snr_hz)
    solved = solve(fleet, times, v, np.full(2, np.nan), np.full(2, 1e-18))
    ahead, dearer = solved.ahead()
    for drift, values in zip(solved.drift()[:3], (ahead, dearer, solved.slope(ahead)), strict=True):
        change = (values[1] - values[0]) / np.diff(times)
        np.testing.assert_allclose(drift.mean(0), change, rtol=1e-4, atol=1e-6 * np.abs(change).max())


def test_bounds_hold_from_anywhere(hostile_problem: Callable[[int], Problem]) -> None:
    """The dual at any prices and bandwidths, however far off, is below every error within the deadline."""
    rng = np.random.default_rng(0)
    for seed in SEEDS:
        problem = hostile_problem(seed)
        found = plan(problem)
        fleet = Fleet.of(problem)
        deadline = found.round_s * np.ones(1)
        reached = problem.weight @ problem.error_at(found.prune)
        with np.errstate(all="ignore"):
            market = Market.of(fleet, deadline)
            for _ in range(50):
                v = np.log((found.bandwidth_hz[fleet.order] + 1.0) / fleet.snr_hz)
                v = v + rng.normal(scale=10 ** rng.uniform(-6, 1), size=v.shape)
                at = state(market, v[None])
                log_price = (at.lead + at.gain)[:, fleet.starts] + rng.normal(size=fleet.starts.shape)
                log_price = np.where(np.isfinite(log_price), log_price, -20.0)
                answers = answer(market, at, log_price)
                idle = np.zeros(log_price.shape, bool)
                still = np.zeros_like(v), np.zeros_like(log_price)
                solved = Solved(market, v, at, answers, log_price, idle, *still, 1)
                bound = dual(solved, slice(None), answers, log_price)
                assert bound.sum() <= reached * (1 + 1e-9) + 1e-15


def test_a_fine_table_plans_like_its_power(typical_problem: Callable[..., Problem]) -> None:
    grid = np.linspace(0, 1, 401)
    smooth = plan(typical_problem(8, 1, error=ErrorPower(2.0)))
    table = plan(typical_problem(8, 1, error=ErrorTable(grid, grid**2)))
    assert table.total_s == pytest.approx(smooth.total_s, rel=1e-4)
    assert table.total_s >= smooth.lower_bound_s


def test_memory_is_a_floor_under_pruning(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(6, 0)
    ones = np.ones(6)
    limited = replace(problem, memory=Memory(np.array([3.0, 9, 9, 9, 9, np.inf]), ones, 4 * ones))
    assert limited.prune_floor() == pytest.approx([0.5, 0, 0, 0, 0, 0])
    assert plan(limited).prune[0] >= 0.5
    floor = replace(problem, prune_min=np.array([0.5, 0, 0, 0, 0, 0]))
    assert plan(limited).total_s == pytest.approx(plan(floor).total_s, rel=2e-6)


def test_too_little_memory_names_the_client(typical_problem: Callable[..., Problem]) -> None:
    ones = np.ones(6)
    budget = np.array([9.0, 9, 1.2, 9, 9, 9])
    problem = replace(typical_problem(6, 0), memory=Memory(budget, ones, 4 * ones))
    with pytest.raises(InfeasibleError, match=r"client c2: needs 1\.4 bytes .* has 1\.2"):
        plan(problem)


@pytest.mark.parametrize(("budget", "prunable"), [(1e-16, 6e15), (1.0, 3e14)])
def test_memory_is_counted_in_bytes(
    typical_problem: Callable[..., Problem], budget: float, prunable: float
) -> None:
    """Bytes beside which a pruning rate's rounding is much, or more than there is."""
    ones, held = np.ones(2), np.array([0.3, 0.7])
    rates = replace(typical_problem(2, 0), prune_max=ones)
    limited = replace(rates, memory=Memory(budget * ones, budget * held, prunable * ones))
    need = budget * held + prunable * (1 - plan(limited).prune)
    assert (need <= budget * (1 + 1e-12)).all()
    over = replace(rates, memory=Memory(budget * ones, np.array([0.5, 1.5]) * budget, prunable * ones))
    with pytest.raises(InfeasibleError, match="client c1: needs"):
        plan(over)


@pytest.mark.filterwarnings("error")
def test_the_least_pruning_that_memory_allows_fits(typical_problem: Callable[..., Problem]) -> None:
    """Budgets met to the last digit, missed by a hair with nothing to prune, or without end."""
    rng = np.random.default_rng(0)
    rates = replace(typical_problem(100, 0), prune_max=np.ones(100))
    fixed, prunable = 10 ** rng.uniform(0, 16, 100), 10 ** rng.uniform(0, 20, 100)
    budget = fixed + prunable * rng.choice([1 - 1e-16, 1e-15, 0.3], 100)
    fixed[:3], prunable[:3], budget[:3] = (1 + 1e-13, 1.0, 1.0), (0.0, 1e30, 1.0), (1.0, 1.0, np.inf)
    floor = replace(rates, memory=Memory(budget, fixed, prunable)).prune_floor()
    assert ((floor >= 0) & (floor <= 1)).all()
    assert (fixed + prunable * (1 - floor) <= budget * (1 + 1e-12)).all()
    assert (floor[1], floor[2]) == (1.0, 0.0)


def test_a_target_out_of_reach_names_the_client(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(4, 0)
    floor = np.array([0.1, 0.1, 0.9, 0.1])
    weight = np.array([0.1, 0.1, 0.7, 0.1])
    problem = replace(problem, prune_min=floor, weight=weight, rounds=replace(problem.rounds, penalty=2.0))
    with pytest.raises(InfeasibleError, match=r"client c2: must be pruned by 0\.9 .* out of reach"):
        plan(problem)


def test_nothing_left_to_do_takes_no_time(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(3, 0)
    free = replace(problem, prune_max=np.ones(3), fixed_s=np.zeros(3), fixed_bits=np.zeros(3))
    found = plan(free)
    assert (found.total_s, found.relative_gap) == (0.0, 0.0)


def test_who_waits_for_a_client_without_a_choice_is_full(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(4, seed=0, cells=2)
    slow = np.eye(4)[0]
    stuck = replace(
        problem, fixed_s=problem.fixed_s + 1e4 * slow, prune_min=0.9 * slow, cell=np.array([0, 1, 1, 1])
    )
    found = plan(stuck)
    assert (found.prune == [0.9, 0, 0, 0]).all()
    assert (found.lower_bound_s or 0.0) <= plan(stuck, "jcpba").total_s
