"""The joint optimum against IPOPT, which solves the same problem as one smooth program."""

import math
from collections.abc import Callable

import casadi as ca
import numpy as np
import pytest

from airtune.planning import ErrorPower, Plan, Problem, evaluate, plan
from airtune.planning.tables import Tables

OPTIONS = {
    "print_time": False,
    "ipopt.print_level": 0,
    "ipopt.sb": "yes",
    "ipopt.tol": 1e-10,
    "ipopt.bound_relax_factor": 0.0,
}


def ipopt(problem: Problem, start: Plan, error_budget: float | None = None) -> Plan:
    """IPOPT's local optimum near `start`: over keep rates, shares of the cell, T, and q = 1 - penalty·E.

    With an error budget that of T alone.
    """
    count, cells = len(problem.ids), problem.cell
    keep, share, error = ca.SX.sym("x", count), ca.SX.sym("y", count), ca.SX.sym("e", count)
    time, left = ca.SX.sym("t"), ca.SX.sym("q")
    above, at_least_zero = ca.SX.sym("h", 2, count), []
    units = np.array([problem.bits_at(0 * problem.weight), np.maximum(problem.compute_s, 1e-3)])
    straight = (
        problem.fixed_bits + problem.payload_bits * keep,
        problem.compute_s * keep,
    )

    def over_pruning(which: int, tables: Tables | None) -> ca.SX:
        """Bits or seconds; of a table as an epigraph, in units of their own above every straight piece."""
        values = []
        for k, table in enumerate(tables or [None] * count):
            values.append(straight[which][k] if table is None else units[which, k] * above[which, k])
            if table is not None:
                slopes = np.diff(table.value) / np.diff(table.prune)
                for prune, value, slope in zip(table.prune, table.value, slopes, strict=False):
                    line = value + slope * (1 - keep[k] - prune)
                    at_least_zero.append(above[which, k] - line / units[which, k])
        return ca.vertcat(*values)

    whole = problem.bandwidth_hz[cells]
    bandwidth = whole * ca.exp(share)
    rates = bandwidth * ca.log1p(problem.snr_hz / bandwidth) / math.log(2)
    upload = over_pruning(0, problem.payload) / rates
    busy = problem.fixed_s + over_pruning(1, problem.compute)
    at_least_zero.append(time - (busy + upload) / start.round_s)
    if problem.energy is not None:
        limit = problem.energy
        for k in np.flatnonzero(np.isfinite(limit.budget_j)):
            spent = limit.fixed_j[k] + limit.compute_j[k] * keep[k] + limit.transmit_w[k] * upload[k]
            at_least_zero.append(1 - spent / limit.budget_j[k])
    for index in set(cells.tolist()):
        at_least_zero.append(1 - sum(ca.exp(share[k]) for k in range(count) if cells[k] == index))
    own = problem.errors or [None] * count
    for k, curve in enumerate(curve or problem.rounds.error for curve in own):
        if isinstance(curve, ErrorPower):
            prune = 1 - keep[k]
            at_least_zero.append(error[k] - (prune if curve.exponent == 1 else prune**curve.exponent))
        else:
            for slope, prune, value in zip(curve.slope, curve.prune, curve.error, strict=False):
                at_least_zero.append(error[k] - value - slope * (1 - keep[k] - prune))
    penalty = problem.rounds.penalty
    at_least_zero.append(1 - penalty * ca.dot(ca.DM(problem.weight), error) - left)
    if error_budget is not None:
        at_least_zero.append(error_budget - ca.dot(ca.DM(problem.weight), error))
    program = {
        "x": ca.vertcat(keep, share, error, time, left, above[0, :].T, above[1, :].T),
        "f": ca.log(time) - (ca.log(left) if error_budget is None else 0),
        "g": ca.vertcat(*at_least_zero),
    }
    ones = np.ones(count)
    least_share = np.log(np.maximum(problem.bandwidth_min_hz * (1 - 1e-9) / whole, math.exp(-40)))
    error_at_start = problem.error_at(start.prune)
    begin_left = 1 - penalty * problem.weight @ error_at_start
    found = ca.nlpsol("solver", "ipopt", program, OPTIONS)(
        x0=np.concatenate(
            [
                1 - start.prune,
                np.log(start.bandwidth_hz / whole + 1e-12),
                error_at_start,
                [1, begin_left],
                problem.bits_at(start.prune) / units[0],
                (problem.busy_at(start.prune) - problem.fixed_s) / units[1],
            ]
        ),
        lbx=np.concatenate([1 - problem.prune_max, least_share, 0 * ones, [1e-9, 1e-12], [0] * (2 * count)]),
        ubx=np.concatenate([1 - problem.prune_min, 0 * ones, 1e6 * ones, [1e9, 1], [1e9] * (2 * count)]),
        lbg=0,
    )["x"]
    solution = np.array(found).ravel()
    prune = np.clip(1 - solution[:count], problem.prune_min, problem.prune_max)
    hertz = whole * np.exp(solution[count : 2 * count])
    used = np.bincount(cells, weights=hertz, minlength=len(problem.bandwidth_hz)) / problem.bandwidth_hz
    return evaluate(problem, "ipopt", prune, hertz / np.maximum(used, 1)[cells])


def check_agreement(problem: Problem) -> None:
    ours = plan(problem)
    if problem.rate != "shannon" or ours.total_s == 0:
        pytest.skip("casadi has no exponential integral; a program at 0 s has no logarithm")
    starts = [plan(problem, method) for method in ("jcpba", "joint")]
    theirs = min((ipopt(problem, start) for start in starts), key=lambda found: found.total_s)
    assert theirs.total_s >= ours.lower_bound_s * (1 - 1e-12)
    if theirs.total_s > 2 * min(start.total_s for start in starts):
        pytest.skip("IPOPT lost the plan it started from")
    assert theirs.total_s == pytest.approx(ours.total_s, rel=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 15])
def test_joint_agrees_with_ipopt(hostile_problem: Callable[[int], Problem], seed: int) -> None:
    check_agreement(hostile_problem(seed))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 22))
def test_joint_agrees_with_ipopt_on_hundreds(hostile_problem: Callable[[int], Problem], seed: int) -> None:
    check_agreement(hostile_problem(seed))


def test_joint_agrees_with_ipopt_on_a_typical_cell(typical_problem: Callable[..., Problem]) -> None:
    problem = typical_problem(30, seed=3, cells=2)
    assert ipopt(problem, plan(problem, "jcpba")).total_s == pytest.approx(plan(problem).total_s, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_shortest_round_agrees_with_ipopt(hostile_problem: Callable[[int], Problem], seed: int) -> None:
    problem = hostile_problem(seed)
    full = plan(problem, "fedit").prune
    least, most = (float(problem.weight @ problem.error_at(prune)) for prune in (full, problem.prune_max))
    budget = 0.5 * (least + min(most, 0.99 / problem.rounds.penalty))
    if problem.rate != "shannon" or budget < least:
        pytest.skip("casadi has no exponential integral; a penalty of nearly 1/E leaves no room")
    ours = plan(problem, error_budget=budget)
    theirs = ipopt(problem, ours, budget)
    if problem.weight @ problem.error_at(theirs.prune) <= budget * (1 + 1e-9):
        assert theirs.round_s >= (ours.round_lower_bound_s or 0.0) * (1 - 1e-9)
        if theirs.round_s > 1.5 * ours.round_s:
            pytest.skip("IPOPT lost the plan it started from")
        assert theirs.round_s == pytest.approx(ours.round_s, rel=1e-4)
