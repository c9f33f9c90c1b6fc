"""Error curves cut into pieces over the keep rate x = 1 - ρ, for all clients at once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from airtune.planning.rounds import ErrorCurve, ErrorPower

if TYPE_CHECKING:
    from airtune.planning.problem import Problem

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Pieces:
    """From left to right over x lie `nodes` (K, J+1): the least x, the kinks of a client's error curve, the
    largest x. Between two of them e(ρ) = offset + scale·ρ^power / power, with `scale` and `offset` (K, J) and
    `power` (K,), which is 1 on a table's straight pieces. Clients with fewer pieces have empty ones too.
    """

    nodes: Array
    scale: Array
    offset: Array
    power: Array

    @classmethod
    def of(cls, problem: "Problem", floor: Array, ceiling: Array) -> "Pieces":
        """Those of every client for ρ from `floor` to `ceiling`, both (K,), or from where pruning begins to
        cost error; of a client without weight at `ceiling` alone."""
        curves = problem.curves()
        longest = max(1 if isinstance(curve, ErrorPower) else len(curve.slope) for curve, _ in curves)
        count = len(problem.ids)
        nodes = np.empty((count, longest + 1))
        scale, offset, power = np.empty((count, longest)), np.empty((count, longest)), np.ones(count)
        for curve, clients in curves:
            kinks, scales, offsets, exponent, free = _cut(curve)
            high = ceiling[clients]
            low = np.minimum(np.maximum(floor[clients], free), high)
            low = np.where(problem.weight[clients] > 0, low, high)
            inner = np.clip(kinks, low[:, None], high[:, None])
            prune = np.column_stack([high, inner, *[low] * (longest + 1 - len(scales))])
            nodes[clients] = 1.0 - prune
            # Pieces outside of the range have no width and go on with the nearest one inside.
            first = (kinks >= high[:, None]).sum(1)[:, None]
            last = np.maximum(first, (kinks > low[:, None]).sum(1)[:, None])
            piece = np.minimum(np.maximum(np.arange(longest), first), last)
            scale[clients], offset[clients], power[clients] = scales[piece], offsets[piece], exponent
        return cls(nodes, scale, offset, power)

    def take(self, clients: slice | Mask | Index) -> "Pieces":
        """The pieces of some of the clients."""
        return Pieces(*(values[clients] for values in vars(self).values()))

    def error(self, keep: Array) -> Array:
        """(..., K) e at keep rates within the nodes' range. A convex curve is the largest of its pieces."""
        bent = (1.0 - keep) ** self.power / self.power
        return np.asarray((self.offset + self.scale * bent[..., None]).max(-1))

    def slope(self, keep: Array) -> Array:
        """(K,) e'(ρ) at keep rates (K,); at a kink one of the two slopes."""
        prune = 1.0 - keep
        bent = prune**self.power / self.power
        piece = np.argmax(self.offset + self.scale * bent[:, None], axis=-1)
        scale = np.take_along_axis(self.scale, piece[:, None], -1)[:, 0]
        return np.asarray(scale * prune ** (self.power - 1.0))


def _cut(curve: ErrorCurve) -> tuple[Array, Array, Array, float, float]:
    """Inner kinks by falling ρ, scale and offset of the pieces, power, the largest ρ without error."""
    if isinstance(curve, ErrorPower):
        return np.empty(0), np.array([curve.exponent]), np.zeros(1), curve.exponent, 0.0
    # Where rounding has bent a table the wrong way: a convex curve below it, no slope of which is larger.
    slope = np.minimum.accumulate(curve.slope[::-1])[::-1]
    free = curve.prune[int(np.argmax(slope > 0))] if (slope > 0).any() else 1.0
    error = np.append(0.0, np.cumsum(slope * np.diff(curve.prune)))
    offset = error[:-1] - slope * curve.prune[:-1]
    return curve.prune[-2:0:-1], slope[::-1], offset[::-1], 1.0, float(free)
