"""Lower bounds on N·T where clients may be left out: a multiple-choice knapsack, relaxed by its dual.

At deadline T a client either pays for bandwidth b at its cell's price λ and trains as full as b lets it, at
w·e(ρ(b; T)) + λ·b, or it is left out at w·d. For any prices, the sum of the clients' cheapest choices less
λ·B bounds the weighted error from below. The first is convex in b and known on a grid: between two of its
points it lies above the lines through the pairs on either side, and never below the error at the one and
the price at the other. So the grid bounds the minimum over all b.

Over deadlines from T1 to T2 the error is least at T2, so N·T is at least T1·N(error at T2).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from airtune.planning import Problem, evaluate
from airtune.planning.support import least_prune

Array = npt.NDArray[np.float64]
States = npt.NDArray[np.int8]

UNDECIDED, IN, OUT = 0, 1, 2
_POINTS = 33  # of the grid over b, from the least that a client can do with to the whole cell
_NARROWEST = 1e-12  # the least share of a cell that is looked at
_CHEAPEST, _DEAREST = -30.0, 15.0  # of log λ·B
_HALVINGS = 36
_REMEMBERED = 1_000_000  # clients times deadlines, at half a kilobyte each
_ROUNDING = 1e-8  # relative: of the least bandwidth, and so of the bound on the error


@dataclass(frozen=True)
class Relaxed:
    """n intervals of deadlines. `bound` (n,) is below every N·T, `margin` (n, K) what a client's part costs
    beyond its being left out, in error: negative where it takes part, infinite where it cannot. `otherwise`
    (n, K) bounds N·T with an undecided client's choice the other way round."""

    bound: Array
    margin: Array
    otherwise: Array


class Choices:
    """What the clients of a problem can choose from; `drop` (K,) is w·d, `least` (K,) the least harm."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.rounds = problem, problem.rounds
        self.cell, self.bandwidth_hz = problem.cell, problem.bandwidth_hz
        self.drop = problem.weight * problem.drop_error
        self.least = np.minimum(self.drop, problem.weight * problem.error_at(problem.prune_floor()))
        self._curves_at = lru_cache(max(1, _REMEMBERED // len(problem.ids)))(self._curves)

    def deadlines(self) -> tuple[Array, float]:
        """(K,) the least deadline of every client alone, and one at which everybody can be full."""
        problem, members = self.problem, np.bincount(self.cell)[self.cell]
        whole = self.bandwidth_hz[self.cell]
        floors = np.bincount(self.cell, problem.bandwidth_min_hz, len(self.bandwidth_hz))[self.cell]
        alone = evaluate(problem, "", problem.prune_max, whole)
        together = evaluate(
            problem, "", problem.prune_floor(), np.maximum(whole - floors, 1e-3 * whole) / members
        )
        return alone.client_round_s, together.round_s

    def relax(self, first_s: Array, last_s: Array, states: States) -> Relaxed:
        """Bounds on N·T over deadlines from `first_s` to `last_s` (n,), with `states` (n, K) decided."""
        bandwidth, harm = (np.array(values) for values in zip(*map(self._curves_at, last_s), strict=True))
        drop = np.where(states == IN, np.inf, self.drop)
        log_whole = np.log(self.bandwidth_hz)
        low = np.tile(_CHEAPEST - log_whole, (len(states), 1))
        high = low + (_DEAREST - _CHEAPEST)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            cost, place = self._cheapest(harm, bandwidth, np.exp(middle))
            bought = np.take_along_axis(bandwidth, place[..., None], -1)[..., 0]
            joins = (states != OUT) & (cost < drop)
            over = self._per_cell(np.where(joins, bought, 0.0)) > self.bandwidth_hz
            low, high = np.where(over, middle, low), np.where(over, high, middle)
        price = np.exp(high)
        part = self._least(harm, bandwidth, price)
        error = self._error(price, part, drop, states)
        least = self._per_cell(np.where(states == IN, bandwidth[..., 0], 0.0))
        error[(least > self.bandwidth_hz * (1 + _ROUNDING)).any(-1)] = np.inf
        margin = part - self.drop
        with np.errstate(invalid="ignore"):
            otherwise = self._total(first_s[:, None], error[:, None] + np.abs(margin))
        # With nobody in it, the error has a margin in it already.
        someone = ((states == IN) | ((states == UNDECIDED) & (margin < 0))).any(-1)
        bound = self._total(first_s, error)
        return Relaxed(bound, margin, np.where(someone[:, None], otherwise, bound[:, None]))

    def _total(self, time_s: Array, error: Array) -> Array:
        """N·T, infinite where N is, even in no time."""
        rounds = self.rounds.count(error)
        with np.errstate(invalid="ignore"):
            return np.where(np.isinf(rounds), np.inf, time_s * rounds)

    def _curves(self, deadline_s: float) -> tuple[Array, Array]:
        """(K, points) b, and w·e with it: infinite for clients that are late even with their whole cell."""
        whole = self.bandwidth_hz[self.cell]

        low, high = np.full(len(whole), np.log(_NARROWEST)), np.zeros(len(whole))
        while (high - low).max() > 0.1 * _ROUNDING:
            shares = np.linspace(low, high, _POINTS)
            late = np.isnan(least_prune(self.problem, deadline_s, whole * np.exp(shares))).sum(0)
            low, high = (
                np.take_along_axis(shares, np.clip(index, 0, _POINTS - 1)[None], 0)[0]
                for index in (late - 1, late)
            )
        shares = np.exp(np.linspace(high, 0.0, _POINTS))
        prune = least_prune(self.problem, deadline_s, whole * shares)
        harm = [
            self.problem.weight * self.problem.error_at(np.where(np.isnan(row), 1.0, row)) for row in prune
        ]
        return (whole * shares).T, np.where(np.isnan(prune[-1]), np.inf, harm).T

    def _cheapest(self, harm: Array, bandwidth: Array, price: Array) -> tuple[Array, npt.NDArray[np.intp]]:
        """(n, K) the least cost on the grid, and where."""
        cost = harm + price[:, self.cell, None] * bandwidth
        place = np.argmin(cost, axis=-1)
        return np.take_along_axis(cost, place[..., None], -1)[..., 0], place

    def _least(self, harm: Array, bandwidth: Array, price: Array) -> Array:
        """(n, K) lower bounds on the least cost over all b; infinite where a client cannot take part."""
        least, place = self._cheapest(harm, bandwidth, price)
        paid = price[:, self.cell, None] * bandwidth

        def at(values: Array, offset: int) -> Array:
            """One grid point beside the cheapest, NaN beyond the grid."""
            index = place + offset
            inside = np.take_along_axis(values, np.clip(index, 0, _POINTS - 1)[..., None], -1)[..., 0]
            return np.where((index >= 0) & (index < _POINTS), inside, np.nan)

        def dip(way: int) -> Array:
            """How far the cost may fall on the way to a neighbour: above two lines, each as far as known."""
            costs = [at(harm + paid, way * step) for step in (-1, 0, 1, 2)]
            places = [at(bandwidth, way * step) for step in (-1, 0, 1, 2)]
            width = places[2] - places[1]
            fall = (costs[0] - costs[1]) * width / (places[1] - places[0])
            rise = (costs[3] - costs[2]) * width / (places[3] - places[2])
            excess = rise - (costs[2] - costs[1])
            both = np.where(fall <= 0, 0.0, excess / (1.0 + rise / fall))
            return np.fmin(np.fmin(both, excess), fall)

        with np.errstate(divide="ignore", invalid="ignore"):
            to_more = np.fmin(dip(1), at(harm, 0) - at(harm, 1))
            to_less = np.fmin(dip(-1), at(paid, 0) - at(paid, -1))
        loss = np.maximum(np.nan_to_num(to_more), np.nan_to_num(to_less))
        return np.where(np.isinf(least), np.inf, np.maximum(least - np.maximum(loss, 0.0), 0.0))

    def _error(self, price: Array, part: Array, drop: Array, states: States) -> Array:
        """(n,) the Lagrangian: a lower bound on the weighted error, with at least one participant."""
        chosen = np.where(states == OUT, self.drop, np.minimum(part, drop))
        held, budget = chosen.sum(-1), price @ self.bandwidth_hz
        undecided = (states == UNDECIDED) & np.isfinite(part)
        spare = np.subtract(part, chosen, out=np.full_like(part, np.inf), where=undecided).min(-1)
        someone = (states == IN).any(-1)
        error = held - budget + np.where(someone, 0.0, np.maximum(spare, 0.0))
        possible = np.isfinite(held) & (someone | np.isfinite(spare))
        with np.errstate(invalid="ignore"):
            return np.where(possible, np.maximum(error - _ROUNDING * (held + budget), 0.0), np.inf)

    def _per_cell(self, values: Array) -> Array:
        """(n, K) summed within each cell: (n, cells)."""
        cells = len(self.bandwidth_hz)
        return np.array([np.bincount(self.cell, row, cells) for row in values])
