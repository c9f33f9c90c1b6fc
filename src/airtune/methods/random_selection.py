"""`random-selection`: in each round some clients drawn at random, equal bandwidth, nothing pruned.

McMahan et al., "Communication-efficient learning of deep networks from decentralized data", AISTATS 2017.
Drawn without replacement, all equally likely; half of the clients unless the scenario says how many.
"""

import numpy as np

from airtune import planning
from airtune.methods.method import Method, Situation
from airtune.planning import Plan
from airtune.randomness import generator


def rule(situation: Situation) -> Plan:
    """FedIT's plan for this round's draw."""
    allowed = np.flatnonzero(situation.allowed)
    count = min(situation.count or -(-len(allowed) // 2), len(allowed))
    draw = generator(situation.seed, "selection", situation.number)
    chosen = np.isin(np.arange(len(situation.allowed)), draw.choice(allowed, count, replace=False))
    return planning.plan(situation.problem(chosen), "fedit", participates=chosen)


METHOD = Method("random-selection", rule, baseline=True)
