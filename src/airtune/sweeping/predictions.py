"""What planners promise where nothing has been learnt: seconds to their own target, by their model of rounds.

Every method is judged by the same model, that of `joint-select`: who is left out costs what the fleet's
gradient loses (`costs.error.Gradients.off`), beside the errors of the clients' own reductions.
"""

from collections.abc import Sequence

import numpy as np

from airtune.costs.error import Gradients
from airtune.errors import InfeasibleError
from airtune.federation.setting import Setting
from airtune.methods import Situation
from airtune.planning import Pace, Plan
from airtune.radio.channel import draw_channels

ROUNDS = 5  # whose channels are planned


def predicted_s(setting: Setting, known: Gradients) -> float | None:
    """Simulated seconds to the planner's target: those of five rounds over the progress they make, Σ 1/N.

    None where the target is out of reach, or where what is lost is not modelled: with sub-models that no
    planner has chosen, and with merges that do not wait.
    """
    if setting.method.submodels is not None or setting.method.buffer is not None:
        return None
    progress = seconds = 0.0
    pace = Pace()
    for number in range(1, ROUNDS + 1):
        channels = draw_channels(setting.scenario, number)
        situation = setting.situation(channels, known, number, pace)
        try:
            plan = setting.method.plan(situation)
        except InfeasibleError:
            return None
        progress += 1.0 / _rounds(situation, plan, known)
        seconds += plan.round_s
        pace = pace.after(plan)
    return seconds / progress if progress > 0 else None


def for_fleet(known: Gradients, before: Sequence[str], now: Sequence[str]) -> Gradients:
    """What is known of measured clients, for a fleet of other size: each client stands for one of its group.

    Two that stand for the same one are as far apart as that one is from the client most like it.

    Args:
        before: group of each measured client.
        now: group of each client of the other fleet.
    """
    own = {group: [k for k, name in enumerate(before) if name == group] for group in set(before)}
    turn = dict.fromkeys(own, 0)
    source = []
    for group in now:
        source.append(own[group][turn[group] % len(own[group])])
        turn[group] += 1
    distances = known.distances
    nearest = (distances + np.diag(np.full(len(before), np.inf))).min(axis=1)
    alike = np.where(np.isfinite(nearest), nearest, 0.0)[source]
    apart = np.where(np.equal.outer(source, source), alike[:, None], distances[np.ix_(source, source)])
    np.fill_diagonal(apart, 0.0)
    return Gradients(known.unlike[source], known.noise[source], apart)


def _rounds(situation: Situation, plan: Plan, known: Gradients) -> float:
    """N of a plan, by what it prunes and whom it leaves out."""
    weight = situation.problem(plan.participates).weight
    share = np.where(plan.participates, weight, 0.0) if plan.weight is None else plan.weight
    share = share / share.sum()
    problem = situation.problem(plan.participates, share)  # errors go by the weights of merging
    own = np.where(plan.participates, problem.error_at(plan.prune), 0.0)
    return float(problem.rounds.count(share @ own + known.off(weight, share)))
