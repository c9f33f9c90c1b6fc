"""The least pruning rate that a bandwidth supports within a deadline."""

import numpy as np
import numpy.typing as npt

from airtune.planning.fleet import rounded_up
from airtune.planning.problem import Problem
from airtune.radio.rate import rate

Array = npt.NDArray[np.float64]

# Relative: a round time computed from ρ and b is a deadline that this ρ meets on this b.
_ROUNDING = 1e-12


def least_prune(problem: Problem, deadline_s: float, bandwidth_hz: Array) -> Array:
    """The least ρ in each client's range with which it meets the deadline.

    Args:
        bandwidth_hz: (..., K), 0 allowed.

    Returns:
        (..., K), NaN where the client is late even at `prune_max`.

    Raises:
        InfeasibleError: a client has too little memory or energy.
    """
    floor = problem.prune_floor()
    rates = rate(bandwidth_hz, problem.snr_hz, problem.rate)
    if problem.limits is not None:
        keep = problem.limits.keep_by(deadline_s * (1 + _ROUNDING), rates)
        late = ~(keep >= (1.0 - problem.prune_max) * (1 - _ROUNDING))
        return np.where(late, np.nan, np.clip(rounded_up(keep), floor, problem.prune_max))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        fixed, per_keep = (
            seconds + np.where(bits > 0, bits / rates, 0.0)
            for seconds, bits in (
                (problem.fixed_s, problem.fixed_bits),
                (problem.compute_s, problem.payload_bits),
            )
        )
        spare = deadline_s * (1 + _ROUNDING) - fixed
        keep = np.where(per_keep > 0, spare / per_keep, np.inf)
        late = ~(spare >= 0) | ~(keep >= 1.0 - problem.prune_max)
        return np.where(late, np.nan, np.clip(1.0 - keep, floor, problem.prune_max))


def fullest(problem: Problem, bandwidth_hz: Array) -> Array:
    """(K,) the least ρ that `prune_min`, memory and energy allow on bandwidth (K,), in whatever time."""
    if problem.energy is None:
        return problem.prune_floor()
    # NaN where rounding has it that not even the smallest sub-model's energy suffices.
    return np.fmin(least_prune(problem, np.inf, bandwidth_hz), problem.prune_max)
