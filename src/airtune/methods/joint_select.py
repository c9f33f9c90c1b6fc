"""`joint-select`: who takes part in a round, pruning rates and bandwidth, chosen together.

Where P alone takes part, a round counts for less, by how unlike the fleet's their gradients are and by
their noise, as the rounds before tell (`costs.error.Gradients.off`). But the round is shorter, and what is
left of the band and of the downlink serves fewer. Of all subsets those are tried that leaving out one client
after the other leads to, always the one without whom N·T is least; the gap that is certified is that of the
plan for those chosen. Channels change, so they are not always the same.

In the first round all learn the same, the form of an answer, whatever data they hold: few will do. From then
on everybody takes part until all have been compared with all, for which the second round is enough where
there are three clients or more: nobody is left out for what is not known.
"""

from dataclasses import replace

import numpy as np

from airtune import planning
from airtune.costs.error import Gradients
from airtune.errors import InfeasibleError
from airtune.methods.method import Mask, Method, Situation, planned_by
from airtune.planning import Plan
from airtune.planning.stragglers import full_round_s

TRIED = 8  # at a time: those whose round would take longest


def rule(situation: Situation) -> Plan:
    """The plan of the best subset found."""
    if situation.known is None or (
        situation.number > 1 and not _compared(situation.known, situation.allowed)
    ):
        return planned_by("joint")(situation)
    chosen = best = situation.allowed
    least = _total(situation, chosen)
    while chosen.sum() > 1:
        smaller = [_without(chosen, k) for k in _slowest(situation, chosen)]
        totals = [_total(situation, some) for some in smaller]
        chosen = smaller[int(np.argmin(totals))]
        if min(totals) < least:
            best, least = chosen, min(totals)
    return _plan(situation, best, "joint")


def _compared(known: Gradients, allowed: Mask) -> bool:
    """Whether the distances between all of those allowed are known."""
    apart = known.apart[np.ix_(allowed, allowed)]
    return bool((apart + np.eye(len(apart)) > 0).all())


def _plan(situation: Situation, chosen: Mask, solver: str) -> Plan:
    """The solver's plan for those chosen, in whose N the absent count by what the fleet's gradient loses."""
    problem = situation.problem(chosen)
    assert situation.known is not None
    off = situation.known.off(problem.weight, chosen)
    if problem.rounds.penalty * off >= 1:
        raise InfeasibleError(problem.ids[int(np.argmin(chosen))], "nobody stands in for it")
    share = np.where(chosen, problem.weight, 0.0)
    problem = replace(problem, weight=share / share.sum(), rounds=problem.rounds.given(off))
    return planning.plan(problem, solver, situation.gap, chosen)


def _total(situation: Situation, chosen: Mask) -> float:
    """N·T of block coordinate descent, which is fast and good enough to compare subsets."""
    try:
        return _plan(situation, chosen, "jcpba").total_s
    except InfeasibleError:
        return np.inf


def _without(chosen: Mask, client: int) -> Mask:
    return np.asarray(chosen & (np.arange(len(chosen)) != client))


def _slowest(situation: Situation, chosen: Mask) -> list[int]:
    """Those of the chosen whose round is longest if all are full on equal bandwidth."""
    time = np.where(chosen, full_round_s(situation.problem(chosen)), -np.inf)
    return [int(k) for k in np.argsort(-time, kind="stable")[: min(TRIED, int(chosen.sum()))]]


METHOD = Method("joint-select", rule)
