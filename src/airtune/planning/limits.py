"""What keeps a client from being full: its deadline and its energy budget, as straight lines over x = 1 - ρ.

Seconds of computing and bits are convex and piecewise linear in x, so a client's time is the largest of one
line for each piece, each extended over all x: room_l + T ≥ compute_l·x + (bits0_l + bits_l·x)/R. An energy
budget, divided by the transmit power, has the same form but for T. So every client has some limits of one
shape, and the keep rate that its rate R supports is the least of what they allow.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from airtune.planning.problem import Problem
    from airtune.planning.tables import Falling

Array = npt.NDArray[np.float64]

_STRAIGHT = 1e-12  # relative: a table's slopes that are one
_ROUNDING = 1e-9  # relative, of bits: what does not depend on x is met within it
_Line = tuple[float, float, float, float, float, float, float]


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
        lines = [list(_lines(problem, k)) for k in range(len(problem.ids))]
        longest = max(map(len, lines))
        filled = [own + own[:1] * (longest - len(own)) for own in lines]
        return cls(*np.ascontiguousarray(np.array(filled).transpose(2, 1, 0)))

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


def _lines(problem: "Problem", k: int) -> Iterator[_Line]:
    """A client's lines: room, compute and bits of each, the deadline's first."""
    end, fixed = float(problem.prune_max[k]), float(problem.fixed_s[k])
    payload = None if problem.payload is None else problem.payload[k]
    compute = None if problem.compute is None else problem.compute[k]
    upload = float(problem.fixed_bits[k]), float(problem.payload_bits[k])
    busy = 0.0, float(problem.compute_s[k])
    for left, right in _pieces(end, payload, compute):
        offset, slope = _line(compute, busy, left, right)
        yield 1.0, -(fixed + offset), slope, *_line(payload, upload, left, right), 1.0 - right, 1.0 - left
    limit = problem.energy
    if limit is None or not limit.budget_j[k] < np.inf or limit.transmit_w[k] == 0:
        return
    watts = float(limit.transmit_w[k])
    room, per_keep = float(limit.budget_j[k] - limit.fixed_j[k]) / watts, float(limit.compute_j[k]) / watts
    for left, right in _pieces(end, payload):
        yield 0.0, room, per_keep, *_line(payload, upload, left, right), 1.0 - right, 1.0 - left


def _pieces(end: float, *tables: "Falling | None") -> list[tuple[float, float]]:
    """Intervals of ρ up to `end` over which all tables are straight, from 0 on."""
    given = [table for table in tables if table is not None]
    inner = sorted({point for table in given for point in table.prune.tolist() if 0 < point < end})
    nodes = [0.0]
    for node, right in pairwise([*inner, max(end, np.finfo(float).tiny)]):
        if any(_bends(table, nodes[-1], node, right) for table in given):
            nodes.append(node)
    return list(pairwise([*nodes, max(end, np.finfo(float).tiny)]))


def _bends(table: "Falling", left: float, node: float, right: float) -> bool:
    before, at, after = (float(table(prune)) for prune in (left, node, right))
    steep, flat = (before - at) / (node - left), (at - after) / (right - node)
    return abs(steep - flat) > _STRAIGHT * max(abs(steep), abs(flat))


def _line(
    table: "Falling | None", numbers: tuple[float, float], left: float, right: float
) -> tuple[float, float]:
    """Value at x = 0 and slope over x of a table between two points, or the two numbers in its place."""
    if table is None:
        return numbers
    start, end = float(table(left)), float(table(right))
    slope = (start - end) / (right - left)
    return end - slope * (1.0 - right), slope
