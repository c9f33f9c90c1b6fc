"""The least pruning rate that a bandwidth supports within a deadline."""

import numpy as np
import numpy.typing as npt

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
        InfeasibleError: a client does not fit in its memory.
    """
    floor = problem.prune_floor()
    rates = rate(bandwidth_hz, problem.snr_hz, problem.rate)
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
