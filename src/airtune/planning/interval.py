"""Lower bounds on J(T) = T·N(V(T)) over intervals of T, and where to cut those.

A bound on [T1, T2] holds prices λ fixed. Let φ(T) be the least Lagrangian of one client. Then:
- The larger T, the larger the client's keep rate x(T): the bandwidth β(x, T) that x needs has ∂²β/∂x∂T ≤ 0.
- -φ'(T) = p(T)·Q(T), where p = λ ∂β/∂x falls with T (where x moves, p = w e'(1 - x); where it stays, β
  is convex in T), and Q = ∂X/∂T = r/(U + rC) increases with the rate r that x needs in T.
- So p(T2)·Q(r(x1, T2)) ≤ -φ' ≤ p(T1)·Q(r(x2, T1)) on [T1, T2], with x1 = x(T1) and x2 = x(T2).
Summed over clients, each end at its own prices gives a line under the dual function: from T1 one that falls
at least as fast, up to T2 one that falls at most as fast. What the bounds need of the other end holds for
this end's prices too where prices fall with T; in cells where they rise, both ends swap them. The lines and
the least error part by O((T2 - T1)²). On a line E = α - σT, T·N(E) is monotone, so its least value is at an
end or where the two lines meet.

The distance from J to its least value is of second order too, so that intervals may grow in proportion to
their distance from the best deadline.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airtune.planning import deadline
from airtune.planning.fleet import Array
from airtune.planning.response import answer
from airtune.planning.rounds import Rounds

_SAFE = 0.6  # of the steps that would do if J were what it is at T*
_INNER, _GROWTH = (
    (1.0, 4.0),
    (2.0, 16.0),
)  # limits of the first step over √(gap/bend), and of the ratio of steps
MOST_CUTS = 8


@dataclass(frozen=True)
class Interval:
    """Deadlines from `left` to `right`, a lower bound on J over them, and about the least J at their ends."""

    left: float
    right: float
    bound: float
    total: float


def ladder(centre: float, first: float, last: float, tolerance: float, apart: float) -> Array:
    """Deadlines from the first to the last, in steps that grow with the distance from the centre.

    Let log J be bend·t²/2 at the relative distance t, and let the slope of a line leave J's by apart·bend·h
    on an interval of width h. From a to a·r the lines meet half-way, above the centre by something in
    proportion to r - apart·(r - 1)²; from the centre to a they meet apart·bend·a²/4 below it.

    Args:
        tolerance: √(gap/bend).
    """
    apart = max(1e-9, apart)
    inner = np.clip(_SAFE * np.sqrt(2.0 / apart), *_INNER)
    growth = np.clip(1.0 + _SAFE * (1.0 + np.sqrt(1.0 + 4.0 * apart)) / (2.0 * apart), *_GROWTH)
    steps = inner * tolerance * centre * growth ** np.arange(64.0)
    # Close to the least deadline prices change fastest.
    middle = 0.5 * (first + centre)
    left, right = centre - steps, centre + steps
    left, right = left[left > middle], right[right < last]
    end = [last] if last > centre else []
    return np.array([first, middle, *left[::-1], centre, *right, *end])


def cuts(interval: Interval, goal: float, first: float) -> Array:
    """An interval's ends and where to cut it: as often as a bound with a quadratic error needs."""
    left, right = interval.left, interval.right
    count = MOST_CUTS
    if np.isfinite([interval.total, goal]).all():
        missing = max(interval.total - interval.bound, 0.0) / max(interval.total - goal, 1e-300)
        count = int(np.clip(np.ceil(1.1 * np.sqrt(missing)), 2, MOST_CUTS))
    if left == first:
        # Close to the least deadline prices change fastest, so that is where to look most closely.
        return np.asarray(left + (right - left) * np.append(0.0, 4.0 ** np.arange(-count + 1, 1)))
    return np.linspace(left, right, count + 1)


def lines(solved: deadline.Solved, width: Array, unsolved: npt.NDArray[np.bool_]) -> Array:
    """The lines under the least error of all cells over the n - 1 intervals between n deadlines in order.

    Args:
        width: (n-1,) of the intervals.
        unsolved: (n-1,) intervals whose left end is not that deadline; their lines from there say nothing.

    Returns:
        (4, n-1): the dual from below at the left and at the right end, how fast it falls from the left one at
        most and up to the right one at least.
    """
    own = np.where(solved.idle, -np.inf, solved.log_price)
    early, late = slice(None, -1), slice(1, None)
    high, low = np.maximum(own[early], own[late]), np.minimum(own[early], own[late])
    left, right = (
        solved.answer.rows(rows)
        if np.array_equal(prices, own[rows])
        else answer(solved.market.rows(rows), solved.at.rows(rows), prices)
        for rows, prices in ((early, high), (late, low))
    )
    steep, flat = deadline.slopes(solved, left, right, high, low, unsolved)
    at_first, at_last = deadline.dual(solved, early, left, high), deadline.dual(solved, late, right, low)
    # A line falls below the least error there is at its own peril: it is left for that, which does not fall.
    least = solved.market.fleet.least_error
    low_first, low_last = ~(at_first > least), ~(at_last + 0.5 * flat * width[:, None] > least)
    at_first, steep = np.where(low_first, least, at_first), np.where(low_first, 0.0, steep)
    at_last, flat = np.where(low_last, least, at_last), np.where(low_last, 0.0, flat)
    at_first = np.where(unsolved, -np.inf, at_first.sum(-1))
    steep = np.where(unsolved, np.inf, steep.sum(-1))
    return np.array([at_first, at_last.sum(-1), steep, flat.sum(-1)])


def least_on_lines(rounds: Rounds, first: Array, last: Array, found: Array) -> Array:
    """(n,) the least J over [first, last] where the least error is above two `lines` (4, n)."""
    at_first, at_last, steep, flat = found
    width = last - first
    meet = np.fmin(np.fmax((at_first - at_last - flat * width) / (steep - flat), 0.0), width)
    here = np.fmax(at_first - steep * meet, at_last + flat * (width - meet))
    at_first = np.fmax(at_first, at_last + flat * width)
    second_order = np.minimum(_total(rounds, first, at_first), _total(rounds, last, at_last))
    second_order = np.minimum(second_order, _total(rounds, first + meet, here))
    return np.asarray(np.fmax(second_order, _total(rounds, first, at_last)))


def _total(rounds: Rounds, time: Array, error: Array) -> Array:
    """N·T, infinite where N is, even if there is no time to spend."""
    count = rounds.count(error)
    return np.where(np.isinf(count), np.inf, time * count)
