"""Planning: every client's pruning rate and bandwidth, from numbers alone."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from airtune.errors import ArgumentError, InfeasibleError, words
from airtune.planning import bandwidth_only, fedit, jcpba, joint, online, pruning_only, uniform
from airtune.planning.bandwidth_only import soonest
from airtune.planning.budgets import Energy, Memory
from airtune.planning.error_budget import shortest_round
from airtune.planning.online import Pace
from airtune.planning.part import solve_part
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.rounds import ErrorCurve, ErrorPower, ErrorTable, Rounds
from airtune.planning.tables import Falling

__all__ = [
    "SOLVERS",
    "Energy",
    "ErrorCurve",
    "ErrorPower",
    "ErrorTable",
    "Falling",
    "Memory",
    "Pace",
    "Plan",
    "Problem",
    "Rounds",
    "evaluate",
    "plan",
    "soonest",
]

SOLVERS: dict[str, Callable[[Problem], Plan]] = {
    "joint": joint.solve,
    "joint-online": online.solve,
    "jcpba": jcpba.solve,
    "pruning-only": pruning_only.solve,
    "bandwidth-only": bandwidth_only.solve,
    "uniform": uniform.solve,
    "fedit": fedit.solve,
}


def plan(
    problem: Problem,
    method: str = "joint",
    gap: float = 1e-6,
    participates: npt.NDArray[np.bool_] | None = None,
    pace: Pace = Pace(),
    error_budget: float | None = None,
) -> Plan:
    """Choose every client's pruning rate and bandwidth.

    Args:
        method: a key of `SOLVERS`.
        gap: relative gap at which `joint` and `joint-online` stop, 1e-9 at least; other methods have none.
        participates: (K,) False for clients to leave out; they count with their `drop_error`.
        pace: of the rounds before, from which `joint-online` learns; other methods look at no other round.
        error_budget: then `joint` makes the round as short as it can be with Σ w·e(ρ) of at most so much, and
            certifies `round_lower_bound_s` instead of `lower_bound_s`.

    Raises:
        InfeasibleError: no plan exists; names the client that binds.
        ValueError: no such method, a gap that is not above 0, nobody participates, or an error budget for
            another method than `joint`, below 0 or not below 1/penalty, where no target is reached.

    Example:
        >>> chosen = plan(Problem.load("problem.json"))
        >>> chosen.total_s, chosen.lower_bound_s
    """
    if method not in SOLVERS:
        raise ArgumentError("method", method, f"one of {', '.join(SOLVERS)}")
    if not gap > 0:
        raise ArgumentError("gap", gap, "a number above 0")
    solver = SOLVERS[method]
    if error_budget is not None:
        solver = _shortest_round(problem, method, gap, participates, error_budget)
    elif method == "joint":
        solver = partial(joint.solve, gap=gap)
    elif method == "joint-online":
        solver = partial(online.solve, gap=gap, pace=pace)
    begin = time.perf_counter()
    # Numbers near the ends of the floating-point range may overflow on the way; the end is checked.
    with np.errstate(all="ignore"):
        if participates is None:
            chosen = solver(problem)
        else:
            chosen = solve_part(problem, method, solver, np.asarray(participates, bool))
    if not np.isfinite(chosen.total_s):
        k = int(np.argmax(problem.weight * problem.error_at(chosen.prune)))
        raise InfeasibleError(problem.ids[k], "no plan in numbers that floating point can hold")
    return replace(chosen, solve_s=time.perf_counter() - begin)


def _shortest_round(
    problem: Problem, method: str, gap: float, participates: npt.NDArray[np.bool_] | None, budget: float
) -> Callable[[Problem], Plan]:
    """The solver for an error budget, of which those left out use up their part."""
    if method != "joint":
        raise ArgumentError("error_budget", words(f"method {method}"), "method joint alone")
    most = 1.0 / problem.rounds.penalty
    if not 0 <= budget < most:
        raise ArgumentError("error_budget", budget, f"a number from 0 to below 1/penalty = {most:.6g}")
    left_out = 0.0 if participates is None else (problem.weight * problem.drop_error)[~participates].sum()
    return partial(shortest_round, error_budget=budget, used=float(left_out), gap=gap)
