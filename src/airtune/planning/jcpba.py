"""`jcpba`: block coordinate descent over ρ and b, our reading of joint pruning and bandwidth allocation.

It stops where no change of ρ alone and no change of b alone helps, which need not be the joint optimum:
after the bandwidth step the clients of a cell finish together, so no b lowers the slowest one's time, and
a change of ρ alone does not see the bandwidth it would free.
"""

import numpy as np

from airtune.planning.bandwidth_only import finish_together
from airtune.planning.fleet import Array, Fleet
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.pruning_only import best_keep

_SWEEPS, _IMPROVEMENT = 50, 1e-6


def solve(problem: Problem) -> Plan:
    """From equal bandwidth: the best ρ, then in every cell the fastest b, until a sweep gains nothing."""
    fleet = Fleet.of(problem)
    bandwidth = fleet.equal_bandwidth()
    best = _plan(problem, fleet, best_keep(fleet, bandwidth), bandwidth)
    for _ in range(_SWEEPS):
        keep = best_keep(fleet, bandwidth)
        _, bandwidth = finish_together(fleet, keep)
        before, best = best, _plan(problem, fleet, keep, bandwidth)
        if best.total_s > before.total_s * (1.0 - _IMPROVEMENT):
            break
    return best


def _plan(problem: Problem, fleet: Fleet, keep: Array, bandwidth: Array) -> Plan:
    return evaluate(problem, "jcpba", fleet.prune(keep), fleet.restore(np.asarray(bandwidth)))
