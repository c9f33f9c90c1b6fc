"""What keeps a client from being full: its deadline and its energy budget, as straight lines over x = 1 - ρ.

Seconds of computing and bits are convex and piecewise linear in x, so a client's time is the largest of one
line for each piece, each extended over all x: room_l + T ≥ compute_l·x + (bits0_l + bits_l·x)/R. An energy
budget, divided by the transmit power, has the same form but for T. So every client has some limits of one
shape, and the keep rate that its rate R supports is the least of what they allow.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from airtune.planning.tables import Stacked, straight_pieces

if TYPE_CHECKING:
    from airtune.planning.budgets import Energy
    from airtune.planning.problem import Problem

Array = npt.NDArray[np.float64]

_ROUNDING = 1e-9  # relative, of bits: what does not depend on x is met within it
_Lines = tuple[list[Array], npt.NDArray[np.bool_]]  # a limit's fields as (K, L), and which of them there are


@dataclass(frozen=True)
class Limits:
    """(L, K): x is within limit l of a client on rate R if (bits0 + bits·x)/R + compute·x ≤ room + grows·T.

    `grows` is 1 for deadlines, which come first, and 0 for energy. A line is the largest of its kind, or one
    of them, for x from `since` to `until`. Clients with fewer limits than others have the first again.
    """

    grows: Array
    room: Array
    compute: Array
    bits0: Array
    bits: Array
    since: Array
    until: Array

    @classmethod
    def of(cls, problem: "Problem") -> "Limits":
        """The limits of every client for ρ from 0 to its `prune_max`."""
        clients, end = len(problem.ids), np.maximum(problem.prune_max, np.finfo(float).tiny)
        payload, compute = Stacked.of(problem.payload, clients), Stacked.of(problem.compute, clients)
        lines, given = _deadline_lines(problem, end, payload, compute)
        if problem.energy is not None:
            more, also = _energy_lines(problem, problem.energy, end, payload)
            lines = [np.column_stack(pair) for pair in zip(lines, more, strict=True)]
            given = np.column_stack([given, also])
        place = np.argsort(~given, axis=1, kind="stable")[:, : given.sum(1).max()]
        place = np.where(np.take_along_axis(given, place, 1), place, 0)
        return cls(*(np.ascontiguousarray(np.take_along_axis(values, place, 1).T) for values in lines))

    def take(self, clients: slice | npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> "Limits":
        """The limits of some of the clients."""
        return Limits(*(values[:, clients] for values in vars(self).values()))

    def keep_by(self, deadline: Array | float, rates: Array) -> Array:
        """(..., K) the largest keep rates with which rates (..., K) meet deadlines (..., 1), if any does."""
        keep = np.full(np.broadcast_shapes(np.shape(deadline), rates.shape), np.inf)
        for limit in range(len(self.room)):
            grows, room, compute, bits0, bits = (
                values[limit] for values in (self.grows, self.room, self.compute, self.bits0, self.bits)
            )
            room = np.where(grows > 0, room + deadline, room)
            sends = (bits0 != 0) | (bits != 0)
            spare = np.where(sends, rates * room - bits0, room)
            per_keep = np.where(sends, bits + rates * compute, compute)
            allowed = np.where(spare >= -_ROUNDING * np.abs(bits0), np.inf, -np.inf)
            allowed = np.where(per_keep > 0, spare / np.where(per_keep > 0, per_keep, 1.0), allowed)
            keep = np.minimum(keep, np.where(np.isfinite(room), allowed, np.inf))
        return keep

    def bits_at(self, keep: Array) -> Array:
        """(..., K) bits of the upload at keep rates (..., K)."""
        return self._largest(self.bits0, self.bits, keep)

    def busy_at(self, keep: Array) -> Array:
        """(..., K) seconds besides the upload at keep rates (..., K)."""
        return self._largest(-self.room, self.compute, keep)

    def _largest(self, offset: Array, slope: Array, keep: Array) -> Array:
        largest = offset[0] + slope[0] * keep
        for limit in range(1, len(offset)):
            deadline = self.grows[limit] > 0
            own = np.where(deadline, offset[limit] + slope[limit] * keep, -np.inf)
            largest = np.maximum(largest, own)
        return np.asarray(largest)

    def least_rate(self, keep: Array) -> Array:
        """(..., K) the bit/s that energy asks for at keep rates (..., K); infinite where none does."""
        least = np.zeros(keep.shape)
        for limit in range(1, len(self.room)):
            need = self.bits0[limit] + self.bits[limit] * keep
            left = self.room[limit] - self.compute[limit] * keep
            rates = np.where(left > 0, need / np.where(left > 0, left, 1.0), np.inf)
            least = np.maximum(least, np.where((self.grows[limit] == 0) & (need > 0), rates, 0.0))
        return least

    def least_keep(self) -> tuple[Array, npt.NDArray[np.bool_]]:
        """(K,) the keep rate below which pruning saves nothing, and whether it never saves anything."""
        saves = (self.bits > 0) | (self.compute > 0)
        return np.where(saves, self.since, np.inf).min(0), np.asarray(~saves.any(0))


def _deadline_lines(problem: "Problem", end: Array, payload: Stacked, compute: Stacked) -> _Lines:
    left, right = straight_pieces(end, [payload, compute])
    offset, slope = _line(compute, np.zeros_like(end), problem.compute_s, left, right)
    bits = _line(payload, problem.fixed_bits, problem.payload_bits, left, right)
    grows = np.ones_like(left)
    return [grows, -(problem.fixed_s[:, None] + offset), slope, *bits, 1.0 - right, 1.0 - left], left < right


def _energy_lines(problem: "Problem", energy: "Energy", end: Array, payload: Stacked) -> _Lines:
    left, right = straight_pieces(end, [payload])
    limited = (energy.budget_j < np.inf) & (energy.transmit_w != 0)
    watts = np.where(limited, energy.transmit_w, 1.0)
    room, slope = (energy.budget_j - energy.fixed_j) / watts, energy.compute_j / watts
    bits = _line(payload, problem.fixed_bits, problem.payload_bits, left, right)
    width = np.ones_like(left)
    lines = [0.0 * width, room[:, None] * width, slope[:, None] * width, *bits, 1.0 - right, 1.0 - left]
    return lines, (left < right) & limited[:, None]


def _line(table: Stacked, fixed: Array, slope: Array, left: Array, right: Array) -> tuple[Array, Array]:
    """(K, L) value at x = 0 and slope over x of tables between two points, or the numbers in their place."""
    start, end = table(left), table(right)
    fall = np.divide(start - end, right - left, out=np.zeros_like(left), where=right > left)
    given = table.given[:, None]
    return np.where(given, end - fall * (1.0 - right), fixed[:, None]), np.where(given, fall, slope[:, None])
