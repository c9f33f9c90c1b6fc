"""`fedbuff`: the server merges as soon as half of the clients' updates are there, and waits for nobody else.

Nguyen et al., "Federated learning with buffered asynchronous aggregation", AISTATS 2022: an update trained
from an adapter that has been merged s times since counts 1/√(1 + s). Theirs is a crowd in which somebody is
always idle; here all clients train, and one whose update waits in the buffer begins again after the merge
instead of from the same adapter. Changes are averaged by the clients' data, the server's learning rate is 1,
and updates are not encrypted. They merge every 10 of 1000 clients' updates; how many is ours.
"""

import math

from airtune.errors import InputError, words
from airtune.methods.method import Buffer, Method, planned_by
from airtune.scenario import Scenario


def staleness_weight(merges: int) -> float:
    """1/√(1 + s)."""
    return 1 / math.sqrt(1 + merges)


def check(scenario: Scenario) -> None:
    """Refuse bandwidth that ends a round soonest, and updates that it would wait for in vain."""
    if scenario.bandwidth == "optimal":
        raise InputError("scenario", "bandwidth", "optimal", "own, as fedbuff waits for no round to end")
    if scenario.faults.upload_loss or scenario.faults.outages:
        found = words("uploads or clients that go missing")
        raise InputError("scenario", "faults", found, "slow clients at most, as fedbuff waits for nobody")


METHOD = Method(
    "fedbuff", planned_by("fedit"), buffer=Buffer(0.5, staleness_weight), check=check, baseline=True
)
