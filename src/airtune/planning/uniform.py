"""`uniform`: one pruning rate for all, the best there is, on equal bandwidth within each cell.

1/(N·T) is (1 - φE)/(N0·T), with E convex and T convex in the common rate: a concave over a convex
function, both above 0, has one peak, so N·T has one valley. Where ranges of ρ differ, whoever cannot
follow stays at the end of its own, and the valley that is found need not be the only one.
"""

import numpy as np

from airtune.planning.fleet import Fleet
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.support import fullest


def solve(problem: Problem) -> Plan:
    """Least N·T over one ρ, each client's moved into its own range."""
    from scipy.optimize import minimize_scalar  # takes longer to import than all of planning

    fleet = Fleet.of(problem)
    bandwidth = fleet.restore(fleet.equal_bandwidth())
    floor = fullest(problem, bandwidth)

    def plan(common: float) -> Plan:
        prune = np.minimum(np.maximum(common, floor), problem.prune_max)
        return evaluate(problem, "uniform", prune, bandwidth)

    def pace(common: float) -> float:
        """-1/(N·T): finite where N is not."""
        made = plan(common)
        return -1.0 / made.total_s if made.total_s > 0 else -np.inf

    low, high = float(floor.min()), float(problem.prune_max.max())
    inside = minimize_scalar(pace, bounds=(low, high), method="bounded", options={"xatol": 1e-10}).x
    # The bounded search never tries the ends.
    return min((plan(rate) for rate in (low, float(inside), high)), key=lambda made: made.total_s)
