"""Rounds to target loss as a function of the fleet's weighted error E: N = base / (1 - penalty·E)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
_ROUNDING = 1e-14  # relative, of a sum of errors


@dataclass(frozen=True)
class ErrorPower:
    """e(ρ) = ρ^exponent, exponent ≥ 1."""

    exponent: float

    def __call__(self, prune: npt.ArrayLike) -> Array:
        return np.asarray(np.asarray(prune, float) ** self.exponent)


@dataclass(frozen=True)
class ErrorTable:
    """e(ρ) linear between points: `prune` and `error` (points,), convex, nondecreasing, from (0, 0).

    Beyond its last point the last slope goes on.
    """

    prune: Array
    error: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "prune", np.asarray(self.prune, float))
        object.__setattr__(self, "error", np.asarray(self.error, float))

    @property
    def slope(self) -> Array:
        """(points - 1,) slopes between the points."""
        return np.diff(self.error) / np.diff(self.prune)

    def __call__(self, prune: npt.ArrayLike) -> Array:
        prune = np.asarray(prune, float)
        inside = np.clip(np.searchsorted(self.prune, prune, side="right") - 1, 0, len(self.prune) - 2)
        return np.asarray(self.error[inside] + self.slope[inside] * (prune - self.prune[inside]))


ErrorCurve = ErrorPower | ErrorTable


@dataclass(frozen=True)
class Rounds:
    """N(E) = base / (1 - penalty·E), infinite where penalty·E ≥ 1; `error` is every client's curve e(ρ)."""

    base: float
    penalty: float
    error: ErrorCurve

    def count(self, error: npt.ArrayLike) -> Array:
        """N of the weighted error E, elementwise."""
        left = 1.0 - self.penalty * np.asarray(error, float)
        with np.errstate(divide="ignore"):
            return np.where(left > 0, self.base / np.maximum(left, 0.0), np.inf)

    def given(self, error: float) -> "Rounds":
        """The same rounds for the rest of the fleet once a part of it is known to add `error` to E.

        base / (1 - φ(c + E)) has the old form with base / (1 - φc) and φ / (1 - φc). c is taken a trifle
        smaller, so that lower bounds on the rest hold for the whole.
        """
        left = 1.0 - self.penalty * error * (1.0 - _ROUNDING)
        return Rounds(self.base / left, self.penalty / left, self.error)
