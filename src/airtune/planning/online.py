"""`joint-online`: joint plans for channels that change from round to round.

A round of weighted error E brings the target nearer by p = (1 - φE)/N0 of the way, in T seconds. Over many
rounds of random channels what counts is E[p]/E[T], not each round's own p/T. Let θ be the largest such ratio:
then E[p] - θE[T] ≤ 0 for every policy, with equality for the best, so the best one maximises p - θT in every
round (Dinkelbach, On Nonlinear Fractional Programming, 1967). θ is learned as the ratio of what the rounds
so far were planned to bring and to take (Neely, Dynamic Optimization and Learning for Renewal Systems, 2013).

Maximising p - θT is minimising T + μE, μ = φ/(N0 θ), and `joint` can do that. Let J be its optimum for base 1
and a penalty q: every plan has T ≥ J(1 - qE), its own with equality, so its own minimises T + qJ·E. And
qJ = min T/(1/q - E) rises without a jump from 0 to infinity as q goes from 0 to 1/min E: one q has qJ = μ.

That q is μ / min(T + μE). Any plan in place of the best one gives a q that is not too large, and the plan for
such a q gives a larger one until it is right: Newton's method, whose error is squared at each step.
"""

import math
from dataclasses import dataclass, replace

from airtune.planning import joint
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.rounds import Rounds

_MOST_STEPS = 30  # four or five do; rounding may keep q from standing still


@dataclass(frozen=True)
class Pace:
    """Progress towards the target (1 is there) and seconds, summed over the rounds planned so far."""

    progress: float = 0.0
    time_s: float = 0.0

    def after(self, plan: Plan) -> "Pace":
        """With one more round."""
        return Pace(self.progress + 1.0 / plan.rounds, self.time_s + plan.round_s)


def solve(problem: Problem, gap: float = 1e-6, pace: Pace = Pace()) -> Plan:
    """The plan that maximises p - θT, θ being the ratio of `pace`; in the first round that of `joint`.

    The larger θ, the shorter the round, down to the least round there is; as θ goes to 0, the round with the
    least error. A round of no progress (φE ≥ 1) is never planned: it is that of `joint` then.

    Args:
        gap: relative, of T + μE.
    """
    own = replace(joint.solve(problem, gap), method="joint-online")
    if not (pace.progress > 0 and pace.time_s > 0):
        return own
    rounds = problem.rounds
    error_price = rounds.penalty / rounds.base * pace.time_s / pace.progress  # μ, seconds per unit of E
    plan, penalty = own, rounds.penalty
    for _ in range(_MOST_STEPS):
        error = float(problem.weight @ problem.error_at(plan.prune))
        cost = plan.round_s + error_price * error
        if not 0 < cost < math.inf:
            break
        before, penalty = penalty, error_price / cost
        if abs(penalty - before) <= gap * before:
            break
        plan = joint.solve(replace(problem, rounds=Rounds(1.0, penalty, rounds.error)), gap)
    chosen = evaluate(problem, "joint-online", plan.prune, plan.bandwidth_hz)
    return chosen if chosen.total_s < math.inf else own
