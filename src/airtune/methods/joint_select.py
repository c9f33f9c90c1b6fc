"""`joint-select`: who takes part in a round, pruning rates and bandwidth, chosen together.

Where P alone takes part, a round counts for less, by how unlike the fleet's their gradients are and by
their noise, as the rounds before tell (`costs.error.Gradients.off`). Who takes part stands in for those like
it: its update counts for theirs too (as in DivFL, Balakrishnan et al., ICLR 2022, with weights that make the
error least). And the round is shorter, and what is left of the band and of the downlink serves fewer. Of all
subsets those are tried that leaving out one client after the other leads to, always the one without whom N·T
is least; the gap that is certified is that of the plan for those chosen. Channels change, so they are not
always the same.

In the first round all learn the same, the form of an answer, whatever data they hold: few will do. Nobody is
left out for what is not known: in the second round the faster half of all take part and are compared, in the
third the faster half of those left, beside one that is known, and in the fourth all that are left.
"""

from dataclasses import replace
from math import ceil

import numpy as np

from airtune import planning
from airtune.errors import InfeasibleError
from airtune.methods.method import Floats, Mask, Method, Situation, planned_by
from airtune.planning import Plan, Problem
from airtune.planning.stragglers import full_round_s

TRIED = 8  # at a time: those whose round would take longest
FEWEST = 2  # a client that trains alone tells nothing about noise
ALL_COMPARED = 4  # the round before which not all of those never compared have to take part


def rule(situation: Situation) -> Plan:
    """The plan of the best subset found."""
    if situation.known is None:
        return planned_by("joint")(situation)
    if situation.number > 1:
        unknown = _never_compared(situation)
        if unknown.any():
            return _compare(situation, unknown)
    weight = situation.problem(situation.allowed).weight
    chosen = best = situation.allowed
    least = _total(situation, weight, chosen)
    while chosen.sum() > (FEWEST if situation.number > 1 else 1):
        smaller = [_without(chosen, k) for k in _by_time(situation, chosen)[:TRIED]]
        totals = [_total(situation, weight, some) for some in smaller]
        chosen = smaller[int(np.argmin(totals))]
        if min(totals) < least:
            best, least = chosen, min(totals)
    return _plan(situation, weight, best, "joint")


def _never_compared(situation: Situation) -> Mask:
    """(K,) of whom it is not known how far they are from the others."""
    assert situation.known is not None
    return np.asarray(situation.allowed & (situation.known.distances == 0).all(axis=1))


def _compare(situation: Situation, unknown: Mask) -> Plan:
    """A round of some that were never compared and of the fastest one that was; of three at least."""
    order = _by_time(situation, situation.allowed)[::-1]
    waiting = [k for k in order if unknown[k]]
    some = waiting[: ceil(len(waiting) / 2)] if situation.number < ALL_COMPARED else waiting
    some += [k for k in order if not unknown[k]][:1]
    some += [k for k in order if k not in some][: max(0, 3 - len(some))]
    chosen = np.isin(np.arange(len(unknown)), some)
    weight = np.where(chosen, situation.problem(situation.allowed).weight, 0.0)
    return _planned(situation, situation.problem(chosen, weight / weight.sum()), "joint", chosen)


def _plan(situation: Situation, weight: Floats, chosen: Mask, solver: str) -> Plan:
    """The solver's plan for those chosen, in whose N the absent count by what the fleet's gradient loses.

    Args:
        weight: (K,) the fleet's.
    """
    assert situation.known is not None
    share = situation.known.shares(weight, chosen)
    chosen = share > 0  # whose update would not count need not train
    problem = situation.problem(chosen, share)
    off = situation.known.off(weight, share)
    if problem.rounds.penalty * off >= 1:
        raise InfeasibleError(problem.ids[int(np.argmin(chosen))], "nobody stands in for it")
    return _planned(situation, replace(problem, rounds=problem.rounds.given(off)), solver, chosen)


def _planned(situation: Situation, problem: Problem, solver: str, chosen: Mask) -> Plan:
    """The solver's plan, with the weights that it was made for."""
    return replace(planning.plan(problem, solver, situation.gap, chosen), weight=problem.weight)


def _total(situation: Situation, weight: Floats, chosen: Mask) -> float:
    """N·T of block coordinate descent, which is fast and good enough to compare subsets."""
    try:
        return _plan(situation, weight, chosen, "jcpba").total_s
    except InfeasibleError:
        return np.inf


def _without(chosen: Mask, client: int) -> Mask:
    return np.asarray(chosen & (np.arange(len(chosen)) != client))


def _by_time(situation: Situation, chosen: Mask) -> list[int]:
    """Those chosen, the one first whose round is longest if all are full on equal bandwidth."""
    time = full_round_s(situation.problem(chosen))
    return [int(k) for k in np.argsort(-time, kind="stable") if chosen[k]]


METHOD = Method("joint-select", rule, shares_band=True)
