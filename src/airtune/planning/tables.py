"""Bits or seconds over the pruning rate as tables, where two numbers do not tell them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

_STRAIGHT = 1e-12  # relative: a table's slopes that are one


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


@dataclass(frozen=True)
class Stacked:
    """The tables of K clients side by side: `prune` and `value` (K, P), a table's last point as often as it
    takes; zeros for clients without one. `given` (K,) says who has one."""

    given: npt.NDArray[np.bool_]
    prune: Array
    value: Array

    @classmethod
    def of(cls, tables: Tables | None, clients: int) -> "Stacked":
        """Those of all clients, of whom nobody may have one."""
        tables = tables or (None,) * clients
        longest = max((len(table.prune) for table in tables if table is not None), default=1)
        prune, value = np.zeros((clients, longest)), np.zeros((clients, longest))
        for k, table in enumerate(tables):
            if table is not None:
                points = len(table.prune)
                prune[k, :points], prune[k, points:] = table.prune, table.prune[-1]
                value[k, :points], value[k, points:] = table.value, table.value[-1]
        return cls(np.array([table is not None for table in tables]), prune, value)

    def __call__(self, prune: Array) -> Array:
        """(K, M) every client's table at its own ρ (K, M)."""
        left = np.zeros(prune.shape, np.intp)
        for point in range(1, self.prune.shape[1]):
            left += self.prune[:, point, None] <= prune
        right = np.minimum(left + 1, self.prune.shape[1] - 1)
        (start, end), (low, high) = (
            (np.take_along_axis(values, left, 1), np.take_along_axis(values, right, 1))
            for values in (self.prune, self.value)
        )
        slope = np.divide(high - low, end - start, out=np.zeros_like(low), where=end > start)
        return np.asarray(slope * (prune - start) + low)


def straight_pieces(end: Array, tables: Sequence[Stacked]) -> tuple[Array, Array]:
    """Intervals of ρ from 0 to `end` (K,) over which all of a client's tables are straight.

    Returns:
        Where they begin and end, both (K, L); clients with fewer have some of no width, at `end`.
    """
    last = end[:, None]
    knots = np.concatenate([table.prune for table in tables], axis=1)
    knots = np.sort(np.where((knots > 0) & (knots < last), knots, last))
    knots[:, 1:] = np.where(knots[:, 1:] == knots[:, :-1], last, knots[:, 1:])
    knots = np.column_stack([np.sort(knots), end])
    nodes, left = np.tile(last, knots.shape[1]), np.zeros_like(last)
    for place in range(knots.shape[1] - 1):
        node, right = knots[:, [place]], knots[:, [place + 1]]
        bends = np.any([_bends(table, left, node, right) for table in tables], axis=0) & (node < last)
        nodes[:, [place]] = np.where(bends, node, last)
        left = np.where(bends, node, left)
    nodes = np.sort(nodes)[:, : 1 + (nodes < last).sum(1).max()]
    return np.column_stack([np.zeros_like(end), nodes[:, :-1]]), nodes


def _bends(table: Stacked, left: Array, node: Array, right: Array) -> npt.NDArray[np.bool_]:
    """(K, 1) whether the slopes on both sides of a node differ."""
    before, at, after = (table(prune) for prune in (left, node, right))
    with np.errstate(divide="ignore", invalid="ignore"):  # at the end there is nothing on the right
        steep, flat = (before - at) / (node - left), (at - after) / (right - node)
        return np.asarray(np.abs(steep - flat) > _STRAIGHT * np.maximum(np.abs(steep), np.abs(flat)))
