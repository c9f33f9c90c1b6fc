"""Floors under bandwidth: what a problem gives, and what the energy of the smallest sub-models asks for."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from airtune.planning.infeasible import too_little_energy, too_much_bandwidth
from airtune.planning.limits import Limits
from airtune.radio.rate import bandwidth_for_rate

if TYPE_CHECKING:
    from airtune.planning.problem import Problem

Array = npt.NDArray[np.float64]

# Cells are filled but for this part, so that bandwidths rounded and summed in any order still fit.
FILLING_MARGIN = 1e-13
FLOORS_MARGIN = 5e-10


def bandwidth_floor(problem: "Problem") -> Array:
    """(K,) floors under bandwidth; where they fill a cell a trifle lower, so that it has a price.

    Raises:
        InfeasibleError: they are more than a cell has.
    """
    cells = len(problem.bandwidth_hz)
    least = np.bincount(problem.cell, problem.bandwidth_min_hz, cells).astype(np.float64)
    if (least > problem.bandwidth_hz * (1 + FILLING_MARGIN)).any():
        raise too_much_bandwidth(problem, least)
    whole = problem.bandwidth_hz * (1 - FLOORS_MARGIN)
    lowered = np.divide(whole, least, out=np.ones_like(whole), where=least > whole)
    return np.asarray(problem.bandwidth_min_hz * lowered[problem.cell])


def energy_floor(problem: "Problem", limits: Limits, floor_hz: Array) -> Array:
    """(K,) floors under bandwidth with those that the energy of the smallest sub-models asks for.

    Raises:
        InfeasibleError: they are more than a cell has.
    """
    least = bandwidth_for_rate(limits.least_rate(1.0 - problem.prune_max), problem.snr_hz, problem.rate)
    need_hz = np.maximum(floor_hz, least)
    whole = problem.bandwidth_hz * (1 - FLOORS_MARGIN)
    over = np.bincount(problem.cell, need_hz, len(whole)) > whole
    # Floors that are given may fill a cell by themselves.
    if (over[problem.cell] & (least > floor_hz * (1 + FLOORS_MARGIN))).any():
        raise too_little_energy(problem, least)
    return need_hz
