"""`base` and `penalty` of N = base / (1 - penalty·E), from the rounds that runs really took to a target.

A round of error E goes (1 - penalty·E) / base of the way. So whoever reaches the target after n rounds whose
errors sum to S has a·n - c·S = 1, with a = 1/base and c = penalty/base. Both are found by least squares over
runs. Runs of one and the same mean error S/n tell 1 - penalty·E and base as a ratio only, not apart.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_LEAST_SPREAD = 0.01  # of the runs' mean errors: with less, noise would be taken for the penalty


@dataclass(frozen=True)
class Reached:
    """A run's `rounds` n to the target, and `error` S summed over them; the last one counts in part."""

    rounds: float
    error: float

    @property
    def mean_error(self) -> float:
        """E of its rounds in the mean."""
        return self.error / self.rounds


@dataclass(frozen=True)
class Fit:
    """`residual`: root mean square of the runs' a·n - c·S - 1, the share of the way they are off."""

    base: float
    penalty: float
    residual: float


def reached(loss: Array, error: Array, target: float) -> Reached | None:
    """When a run first has the loss `target`, linear between rounds; None if it never does.

    Args:
        loss: (R + 1,) before the first round and after each; the first is above the target.
        error: (R,) planned E of each round.
    """
    there = np.flatnonzero(loss <= target)
    if not len(there):
        return None
    last = int(there[0]) - 1  # the round in which it happens, counted from 0
    part = float((loss[last] - target) / (loss[last] - loss[last + 1]))
    return Reached(last + part, float(error[:last].sum() + part * error[last]))


def tells_penalty(runs: list[Reached]) -> bool:
    """Whether the runs' mean errors are apart enough to tell what error costs."""
    errors = [run.mean_error for run in runs]
    return max(errors) - min(errors) >= _LEAST_SPREAD


def fit(runs: list[Reached], penalty: float | None = None) -> Fit | None:
    """Base and penalty, or the base alone where the `penalty` is given; None if no base above 0 fits."""
    n = np.array([run.rounds for run in runs])
    s = np.array([run.error for run in runs])
    columns = np.column_stack([n, -s]) if penalty is None else (n - penalty * s)[:, None]
    found = np.linalg.lstsq(columns, np.ones(len(n)))[0]
    if not found[0] > 0:
        return None
    residual = float(np.sqrt(np.mean((columns @ found - 1) ** 2)))
    return Fit(float(1 / found[0]), float(found[1] / found[0]) if penalty is None else penalty, residual)
