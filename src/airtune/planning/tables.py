"""Bits or seconds over the pruning rate as tables, where two numbers do not tell them."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Falling:
    """Bits or seconds over ρ, linear between points: `prune` and `value` (points,), convex, never increasing,
    from ρ = 0 to `prune_max` at least."""

    prune: Array
    value: Array

    def __post_init__(self) -> None:
        object.__setattr__(self, "prune", np.asarray(self.prune, float))
        object.__setattr__(self, "value", np.asarray(self.value, float))

    def __call__(self, prune: Array | float) -> Array:
        return np.asarray(np.interp(prune, self.prune, self.value))


Tables = tuple[Falling | None, ...]


def with_tables(values: Array, tables: Tables | None, prune: Array) -> Array:
    """(..., K) values, those of clients with a table taken from it at ρ (..., K)."""
    if tables is None:
        return values
    values = values * np.ones_like(prune)
    for k, table in enumerate(tables):
        if table is not None:
            values[..., k] = table(prune[..., k])
    return values
