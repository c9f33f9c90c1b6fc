"""How private clients' answers are: epsilon of what one client has sent, against whoever sees all of it.

Two data sets of a client, whatever they are, move its clipped update by twice the clipping norm at most
(`noise`). So an answer is a Gaussian mechanism whose noise is noise/2 of its sensitivity, and n answers,
each question chosen with the earlier answers known, tell no more than one with noise/(2√n) (Dong, Roth and
Su 2022, corollary 3.3). Its epsilon is exact (Balle and Wang 2018), and dp-accounting's.

A client spends nothing in a round that it is left out of, and no less in the others for having been drawn:
who takes part is no secret to the server, and `random-selection` draws from a seed that all nodes know, so
that no sampling amplifies privacy. Where a method chooses by updates (`joint-select`), how often a client
answers depends on data itself; what holds beforehand is the epsilon of all rounds.
"""

import math
from collections.abc import Collection, Mapping
from typing import Any

from airtune.errors import AirtuneError
from airtune.scenario import Privacy, Scenario


def epsilon(privacy: Privacy, answers: int) -> float:
    """Epsilon at `privacy.delta` of a client that has given so many answers.

    Raises:
        AirtuneError: dp-accounting is not installed.
    """
    try:
        from dp_accounting import get_epsilon_gaussian
    except ImportError as error:
        raise AirtuneError("privacy needs dp-accounting: pip install 'airtune[privacy]'") from error
    if answers == 0:
        return 0.0
    return float(get_epsilon_gaussian(privacy.noise / (2 * math.sqrt(answers)), privacy.delta))


def promised(scenario: Scenario) -> dict[str, Any]:
    """A start event's `privacy`: the terms, and the epsilon of a client that is asked in every round.

    Nothing where the scenario has no privacy. Raises AirtuneError as `epsilon` does.
    """
    if scenario.privacy is None:
        return {}
    most = epsilon(scenario.privacy, scenario.rounds)
    return {"privacy": scenario.privacy.model_dump() | {"most_epsilon": most}}


def spent(scenario: Scenario, before: Mapping[str, Any], asked: Collection[int]) -> dict[str, Any]:
    """A round event's `privacy`: answers of all clients so far, and their epsilon.

    Nothing where the scenario has no privacy. An answer counts once it was asked for, whether or not it came.

    Args:
        before: the event of the round before, or the start event.
        asked: the numbers of the clients that were to train in this round.
    """
    if scenario.privacy is None:
        return {}
    count = len(scenario.members())
    # The start event has terms in this place, and no answers yet.
    earlier = before.get("privacy", {}).get("answers", [0] * count)
    answers = [earlier[client] + (client in asked) for client in range(count)]
    each = {number: epsilon(scenario.privacy, number) for number in set(answers)}
    return {"privacy": {"answers": answers, "epsilon": [each[number] for number in answers]}}
