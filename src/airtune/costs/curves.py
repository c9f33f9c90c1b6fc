"""What the planner sees of a reduction path: cost, payload and error over the pruning rate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SubmodelCosts:
    """What a client's round costs with one sub-model.

    FLOPs of a typical step, bits of the messages, bytes of memory that the largest step takes.
    """

    step_flops: float
    upload_bits: float
    download_bits: float
    memory_bytes: float


@dataclass(frozen=True)
class Affine:
    """fixed + prunable · (1 − prune)."""

    fixed: float
    prunable: float

    def at(self, prune: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Its values at some pruning rates."""
        return self.fixed + self.prunable * (1 - prune)


@dataclass(frozen=True)
class GradientError:
    """How far a sub-model's gradient is from the full model's, as measured: jagged, not convex.

    At the pruning rates `prune` (points,), increasing from above 0: the shares of the squared gradient that
    are `missed`, for the sub-model does not train them, and `wrong`, for its function is another; and how
    much `noisier` fewer examples make it, as a share of the full batch's variance.
    """

    prune: npt.NDArray[np.float64]
    missed: npt.NDArray[np.float64]
    wrong: npt.NDArray[np.float64]
    noisier: npt.NDArray[np.float64]


@dataclass(frozen=True)
class PathCurves:
    """Curves of one client's round along a path, for pruning rates from 0 to the largest allowed.

    `flops` of one training step, `upload_bits` and `download_bits` are fitted; `memory_bytes` (points,) is
    counted at the rates `prune` (points,), from 0 to the largest; `error` is as measured.
    """

    prune: npt.NDArray[np.float64]
    flops: Affine
    upload_bits: Affine
    download_bits: Affine
    memory_bytes: npt.NDArray[np.float64]
    error: GradientError


def fit_curves(
    prune: npt.NDArray[np.float64], costs: Sequence[SubmodelCosts], error: GradientError
) -> PathCurves:
    """Fit the costs of sub-models at several pruning rates, each as fixed + prunable · (1 − prune).

    Args:
        prune: (points,) pruning rates that sub-models really have, increasing from 0.
        costs: of the sub-model at each of them.
        error: of the sub-models' gradients.
    """
    return PathCurves(
        prune=prune,
        flops=fit_affine(prune, np.array([cost.step_flops for cost in costs])),
        upload_bits=fit_affine(prune, np.array([cost.upload_bits for cost in costs])),
        download_bits=fit_affine(prune, np.array([cost.download_bits for cost in costs])),
        memory_bytes=np.array([cost.memory_bytes for cost in costs]),
        error=error,
    )


def fit_affine(prune: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> Affine:
    """Least squares through the value at prune 0, which must be right: it is the full client's cost."""
    square = float(prune @ prune)
    slope = float(prune @ (values[0] - values)) / square if square > 0 else 0.0
    return _from_full(values[0], slope)


def _from_full(full: float, slope: float) -> Affine:
    prunable = float(np.clip(slope, 0.0, full))
    return Affine(float(full - prunable), prunable)


def convex_envelope(
    prune: npt.NDArray[np.float64], error: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The greatest convex function below the points and (0, 0); nondecreasing, as errors are ≥ 0.

    Args:
        prune: (points,) increasing, above 0.
        error: (points,) nonnegative.
    """
    hull = [(0.0, 0.0)]
    for point in zip(prune.tolist(), error.tolist(), strict=True):
        while len(hull) > 1 and _slope(hull[-2], hull[-1]) >= _slope(hull[-1], point):
            hull.pop()
        hull.append(point)
    corners = np.array(hull)
    return corners[:, 0], corners[:, 1]


def _slope(left: tuple[float, float], right: tuple[float, float]) -> float:
    return (right[1] - left[1]) / (right[0] - left[0])
