"""Any solver on a part of the fleet, the rest left out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem


def solve_part(
    problem: Problem,
    method: str,
    solver: Callable[[Problem], Plan],
    participates: npt.NDArray[np.bool_],
) -> Plan:
    """The plan of `solver` for the participants (K,), everyone else on no bandwidth and with `drop_error`.

    Raises:
        InfeasibleError: the participants have no plan, or cannot reach the target without the others.
        ValueError: nobody participates.
    """
    if not participates.any():
        raise ValueError("at least one client has to participate")
    part = solver(problem.restrict(participates))
    prune, bandwidth = np.ones(len(problem.ids)), np.zeros(len(problem.ids))
    prune[participates], bandwidth[participates] = part.prune, part.bandwidth_hz
    plan = evaluate(problem, method, prune, bandwidth, participates)
    plan = replace(plan, round_lower_bound_s=part.round_lower_bound_s)
    return plan if part.lower_bound_s is None else plan.bounded(part.lower_bound_s)
