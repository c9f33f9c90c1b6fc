"""Sub-models handed out by speed, one for good to each client, as methods without a planner do it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from airtune.methods.method import Priced
from airtune.planning import Problem
from airtune.planning.stragglers import full_round_s
from airtune.pruning.path import Reduction


def by_speed(choices: Sequence[Reduction], priced: Priced) -> list[Reduction]:
    """(clients,) the largest choice with which a client is done in time, and which its memory holds.

    In time is when the faster half of the fleet is done with the first choice, on the mean channels and
    equal bandwidth. Who is late with every choice gets the last.

    Args:
        choices: from the largest to the smallest.
    """
    rounds = [priced(choice) for choice in choices]
    time = np.array([_round_s(one) for one in rounds])
    enough = np.sort(time[0])[(time.shape[1] - 1) // 2]
    in_time = np.isfinite(time) & (time <= enough)
    in_time[-1] = True
    return [choices[int(first)] for first in np.argmax(in_time, axis=0)]


def _round_s(problem: Problem) -> npt.NDArray[np.float64]:
    """(K,) seconds of every client's round on equal bandwidth, infinite where its memory is too small."""
    assert problem.memory is not None
    held = problem.memory.fixed_bytes <= problem.memory.budget_bytes
    return np.where(held, full_round_s(problem), np.inf)
