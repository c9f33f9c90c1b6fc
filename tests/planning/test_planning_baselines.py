"""The other methods: each is the best of its kind, and they are ordered as their freedom is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from airtune.errors import InfeasibleError
from airtune.planning import SOLVERS, Problem, evaluate, plan
from airtune.planning.stragglers import stragglers
from airtune.planning.support import fullest


def test_more_freedom_is_never_worse(hostile_problem: Callable[[int], Problem]) -> None:
    for seed in range(5):
        problem = hostile_problem(seed)
        total = {name: plan(problem, name).total_s for name in SOLVERS}
        assert plan(problem).lower_bound_s <= min(total.values())
        allowed = 1 + 2e-6
        assert total["joint"] <= total["jcpba"] * allowed
        assert total["jcpba"] <= total["pruning-only"] * allowed
        assert total["pruning-only"] <= total["fedit"] * allowed
        assert total["joint"] <= total["bandwidth-only"] * allowed
        assert total["bandwidth-only"] <= total["fedit"] * allowed


def test_pruning_only_is_best_on_equal_bandwidth(hostile_problem: Callable[[int], Problem]) -> None:
    rng = np.random.default_rng(0)
    for seed in range(4):
        problem = hostile_problem(seed)
        best = plan(problem, "pruning-only")
        for spread in (1e-4, 1e-2, 0.3):
            for _ in range(20):
                prune = best.prune + spread * rng.normal(size=len(problem.ids))
                prune = np.clip(prune, fullest(problem, best.bandwidth_hz), problem.prune_max)
                other = evaluate(problem, "random", prune, best.bandwidth_hz)
                assert other.total_s >= best.total_s * (1 - 1e-12)


def test_bandwidth_only_lets_a_cell_finish_together(hostile_problem: Callable[[int], Problem]) -> None:
    for seed in range(4):
        problem = hostile_problem(seed)
        found = plan(problem, "bandwidth-only")
        assert (found.prune == plan(problem, "fedit").prune).all()
        used = np.bincount(problem.cell, weights=found.bandwidth_hz, minlength=len(problem.bandwidth_hz))
        present = np.bincount(problem.cell, minlength=len(used)) > 0
        assert used[present] == pytest.approx(problem.bandwidth_hz[present], rel=1e-9)
        for cell in np.unique(problem.cell):
            free = found.bandwidth_hz > problem.bandwidth_min_hz * (1 + 1e-9)
            if problem.energy is not None:
                spent = problem.joules_at(found.prune, found.uplink_s)
                free &= spent < problem.energy.budget_j * (1 - 1e-9)
            if not free[problem.cell == cell].any():
                continue
            times = found.client_round_s[(problem.cell == cell) & free]
            # At low SNR a bandwidth shorter than its rounding decides, hence the tolerance.
            assert times == pytest.approx(np.full(len(times), times.max()), rel=1e-6)
            assert found.client_round_s[problem.cell == cell].max() <= times.max() * (1 + 1e-6)


def test_fedit_prunes_nothing_and_shares_equally(typical_problem: Callable[..., Problem]) -> None:
    found = plan(typical_problem(6, 0, cells=2), "fedit")
    assert (found.prune == 0).all()
    assert found.bandwidth_hz == pytest.approx(np.full(6, 2e7 / 3))
    assert found.rounds == 20


def test_jcpba_stalls_above_the_joint_optimum(typical_problem: Callable[..., Problem]) -> None:
    excess = [
        plan(problem, "jcpba").total_s / plan(problem).total_s - 1
        for problem in (typical_problem(12, seed) for seed in range(10))
    ]
    assert min(excess) >= -1e-9
    assert max(excess) > 0.01


def test_stragglers_are_beyond_the_largest_ratio(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(5, 0)
    compute = np.array([10.0, 100, 11, 130, 12])
    problem = replace(problem, compute_s=compute, fixed_s=np.zeros(5), snr_hz=np.full(5, 1e9))
    assert stragglers(problem).tolist() == [False, True, False, True, False]
    alike = replace(problem, compute_s=np.full(5, 10.0))
    assert not stragglers(alike).any()
    assert not stragglers(typical_problem(1, 0)).any()


def test_those_left_out_count_with_their_error(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(8, 1)
    out = stragglers(problem)
    assert 0 < out.sum() < 8
    found = plan(problem, "bandwidth-only", participates=~out)
    assert (found.participates == ~out).all()
    assert (found.bandwidth_hz[out] == 0).all()
    assert found.rounds == pytest.approx(20 / (1 - 0.8 * problem.weight[out].sum()))
    harmless = plan(replace(problem, drop_error=np.zeros(8)), "bandwidth-only", participates=~out)
    assert harmless.rounds == 20
    assert harmless.round_s == found.round_s


def test_leaving_out_too_much_names_a_client(typical_problem: Callable[..., Problem]) -> None:
    problem = replace(typical_problem(6, 0), drop_error=np.full(6, 50.0))
    with pytest.raises(InfeasibleError, match="without it"):
        plan(problem, "bandwidth-only", participates=~stragglers(problem))


@pytest.mark.parametrize("method", SOLVERS)
def test_any_method_on_a_part_of_the_fleet(typical_problem: Callable[..., Problem], method: str) -> None:
    problem = replace(typical_problem(7, 4, cells=2), drop_error=np.full(7, 0.5))
    present = np.array([True, False, True, True, True, False, True])
    found = plan(problem, method, participates=present)
    assert (found.method, found.ids) == (method, problem.ids)
    assert (found.participates == present).all()
    for left_out in (found.bandwidth_hz, found.uplink_s, found.client_round_s, 1 - found.prune):
        assert (left_out[~present] == 0).all()
    error = problem.weight @ np.where(present, found.prune**2, 0.5)
    assert found.rounds == pytest.approx(20 / (1 - 0.8 * error))
    assert found.total_s == pytest.approx(found.rounds * found.client_round_s.max())
    if method == "joint":
        assert found.relative_gap <= 1e-6


def test_everybody_is_the_default(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(5, 0)
    assert plan(problem, participates=np.ones(5, bool)).total_s == plan(problem).total_s


def test_wrong_arguments(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(3, 0)
    with pytest.raises(ValueError, match="method"):
        plan(problem, "best")
    with pytest.raises(ValueError, match="gap"):
        plan(problem, gap=0.0)
    with pytest.raises(ValueError, match="participate"):
        plan(problem, participates=np.zeros(3, bool))
