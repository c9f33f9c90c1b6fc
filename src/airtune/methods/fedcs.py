"""`fedcs`: in each round as many clients as finish before a deadline, equal bandwidth, nothing pruned.

Nishio and Yonetani, "Client selection for federated learning with heterogeneous resources in mobile edge",
ICC 2019: clients that would take the least time join one after the other until the next would miss the
deadline. Their clients upload one after the other; ours share the cell's bandwidth equally among those
chosen. They leave the deadline open: ours is the time in which the faster half of the fleet finishes this
round on its own.
"""

import numpy as np

from airtune import planning
from airtune.methods.method import Mask, Method, Situation
from airtune.planning import Plan
from airtune.planning.stragglers import full_round_s


def rule(situation: Situation) -> Plan:
    """FedIT's plan for those who join."""
    allowed = np.flatnonzero(situation.allowed)
    order = allowed[np.argsort(full_round_s(situation.problem(situation.allowed))[allowed], kind="stable")]

    def first(count: int) -> Mask:
        return np.isin(np.arange(len(situation.allowed)), order[:count])

    def planned(count: int) -> Plan:
        return planning.plan(situation.problem(first(count)), "fedit", participates=first(count))

    count = -(-len(order) // 2)
    chosen = planned(count)
    while count < len(order):
        more = planned(count + 1)
        # Whoever joins slows the others' transfers, so the deadline has to hold for all of them.
        if more.round_s > chosen.round_s:
            break
        chosen, count = more, count + 1
    return chosen


METHOD = Method("fedcs", rule, baseline=True)
