"""`joint`: the certified optimum of N·T over pruning rates and bandwidths, by branch and bound over T.

For a fixed deadline T the least error V(T) is a convex problem (`deadline`); J(T) = T·N(V(T)) need not be
convex or unimodal in T. The range of T is cut into intervals, each with a lower bound on J; intervals whose
bound reaches the best plan found are settled, the others are cut further.

The bound on [T1, T2] holds prices λ fixed. Let φ(T) be the least Lagrangian of one client. Then:
- The larger T, the larger the client's keep rate x(T): the bandwidth β(x, T) that x needs has ∂²β/∂x∂T ≤ 0.
- -φ'(T) = p(T)·Q(T), where p = λ ∂β/∂x falls with T (where x moves, p = w e'(1 - x); where it stays, β
  is convex in T), and Q = ∂X/∂T = r/(U + rC) increases with the rate r that x needs in T.
- So p(T2)·Q(r(x1, T2)) ≤ -φ' ≤ p(T1)·Q(r(x2, T1)) on [T1, T2], with x1 = x(T1) and x2 = x(T2).
Summed over clients this gives two lines under the dual function; they and it part by O((T2 - T1)²). On a
line E = α - σT, T·N(E) is monotone, so its least value is at an end or where the two lines meet.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from airtune.planning import deadline
from airtune.planning.bandwidth_only import finish_together
from airtune.planning.fleet import Array, Fleet
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.response import Response, Schedule, respond
from airtune.radio.rate import LN2

_HALVINGS, _MOST_CUTS = 8, 8
_ROUNDING = 1e-11  # relative: of the least deadline, and of N·T
_SLACK = 1e-8  # relative: of slopes taken from responses that are only nearly minimisers
_BATCH = 100_000  # clients times deadlines solved at once
_NARROW = 1e-13  # relative: intervals that are cut no further
_LEAST_GAP = 1e-9  # what double precision can certify
_MOST_DEADLINES = 4096  # a hundred times what ordinary problems need; then the gap is what it is


@dataclass(frozen=True)
class _Point:
    """One deadline solved: J = T·N at a feasible choice, its log λ and log b, and the dual's bound on E."""

    deadline: float
    total: float
    log_price: Array
    guess: Array
    error_bound: float


@dataclass(frozen=True)
class _Interval:
    """Deadlines between two solved ones, and a lower bound on J over them."""

    left: _Point
    right: _Point
    bound: float


def solve(problem: Problem, gap: float = 1e-6) -> Plan:
    """The optimum of N·T within a relative `gap`; `lower_bound_s` is valid for every feasible plan."""
    fleet = Fleet.of(problem)
    search = _Search(fleet)
    bound = search.run(gap)
    plan = evaluate(problem, "joint", fleet.prune(search.keep), fleet.restore(search.bandwidth))
    return plan.bounded(bound)


class _Search:
    """Branch and bound over T; `keep` and `bandwidth` (K,) are the best choice so far, `best` its J."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.best = np.inf
        self.keep, self.bandwidth = fleet.keep_min, np.zeros(len(fleet.order))
        self.solved = 0

    def run(self, gap: float) -> float:
        """Cut intervals until every bound is within `gap` of the best; returns the least bound.

        On numbers that leave no digits it gives up after `_MOST_DEADLINES`, with the bounds it has.
        """
        intervals, settled = self._first_intervals(), np.inf
        while intervals:
            goal = self.best * (1.0 - max(gap, _LEAST_GAP))
            unsettled = []
            for each in intervals:
                exhausted = self.solved >= _MOST_DEADLINES
                if exhausted or each.bound >= goal or self._as_good_as_its_ends(each):
                    settled = min(settled, each.bound)
                else:
                    unsettled.append(each)
            intervals = self._cut(unsettled, goal)
        return min(settled, self.best) * (1.0 - _ROUNDING)

    def _as_good_as_its_ends(self, interval: _Interval) -> bool:
        """Whether the duals at both ends, known to a finite precision, hardly promise more than the bound."""
        ends = (interval.left, interval.right)
        if interval.right.deadline - interval.left.deadline <= _NARROW * interval.right.deadline:
            return True
        if not np.isfinite(self.best):
            return False
        known = max(end.deadline * float(self.fleet.rounds.count(end.error_bound)) for end in ends)
        return self.best - interval.bound <= 2.0 * (self.best - known)

    def _first_intervals(self) -> list[_Interval]:
        """From the least feasible deadline to the last that can be the best."""
        fleet = self.fleet
        shortest, self.bandwidth = finish_together(fleet, fleet.keep_min)
        longest, _ = finish_together(fleet, fleet.keep_max)
        first, last = float(shortest.max()), float(longest.max())
        extremes = (fleet.keep_min, fleet.keep_max)
        most, fewest = fleet.rounds.count([fleet.error(keep) @ fleet.weight for keep in extremes])
        self.best = first * float(most) if np.isfinite(most) else np.inf
        last = max(first, min(last, self.best / float(fewest)))
        # Close to the least deadline prices change fastest, so that is where to look most closely.
        deadlines = first + (last - first) * np.append(0.0, 2.0 ** np.arange(-_HALVINGS, 1))
        deadlines[-1] = last
        deadlines = deadlines if last > first else deadlines[:1]
        cells = len(fleet.bandwidth_hz)
        equal = fleet.bandwidth_hz / fleet.total(np.ones(len(fleet.order)))
        guess = np.tile(np.log(fleet.spread(equal)), (len(deadlines), 1))
        points = self._solve(deadlines, np.full((len(deadlines), cells), np.inf), guess)
        pairs = list(pairwise(points)) or [(points[0], points[0])]
        return self._bounded(pairs)

    def _cut(self, intervals: list[_Interval], goal: float) -> list[_Interval]:
        """Every interval in as many pieces as a bound with a quadratic error needs to reach `goal`."""
        deadlines, prices, guesses, counts = [], [], [], []
        for each in intervals:
            left, right = each.left, each.right
            cuts = _cuts(each, goal)
            counts.append(len(cuts))
            for cut in cuts:
                deadlines.append(cut)
                share = (cut - left.deadline) / (right.deadline - left.deadline)
                prices.append(_blend(left.log_price, right.log_price, share))
                guesses.append((1 - share) * left.guess + share * right.guess)
        if not intervals:
            return []
        points = iter(self._solve(np.array(deadlines), np.array(prices), np.array(guesses)))
        pairs: list[tuple[_Point, _Point]] = []
        for each, count in zip(intervals, counts, strict=True):
            chain = [each.left, *(next(points) for _ in range(count)), each.right]
            pairs.extend(pairwise(chain))
        return self._bounded(pairs)

    def _solve(self, deadlines: Array, log_price: Array, guess: Array) -> list[_Point]:
        """Solve at `deadlines` (n,) and remember the best choice."""
        points = []
        self.solved += len(deadlines)
        for rows in self._batches(len(deadlines)):
            solved = deadline.solve(self.fleet, deadlines[rows], log_price[rows], guess[rows])
            totals = deadlines[rows] * self.fleet.rounds.count(solved.error)
            k = int(np.argmin(totals))
            if totals[k] <= self.best:
                self.best, self.keep, self.bandwidth = float(totals[k]), solved.keep[k], solved.bandwidth[k]
            fields = (deadlines[rows], totals, solved.log_price, solved.guess, solved.bound)
            points += [_Point(*values) for values in zip(*fields, strict=True)]
        return points

    def _bounded(self, pairs: list[tuple[_Point, _Point]]) -> list[_Interval]:
        found = []
        for rows in self._batches(len(pairs)):
            chosen = pairs[rows]
            left, right = ([pair[side] for pair in chosen] for side in (0, 1))
            bounds = _interval_bounds(self.fleet, left, right)
            found += [_Interval(*pair, float(bound)) for pair, bound in zip(chosen, bounds, strict=True)]
        return found

    def _batches(self, count: int) -> list[slice]:
        size = max(1, _BATCH // self.fleet.nodes.size)
        return [slice(start, start + size) for start in range(0, count, size)]


def _blend(left: Array, right: Array, share: float) -> Array:
    """Log prices to start from: between both ends, or the later end's where they are far apart or zero."""
    with np.errstate(invalid="ignore"):
        blend = (1 - share) * left + share * right
        blend = np.where(np.abs(left - right) < 2.0, blend, right)
    return np.where(np.isfinite(blend), blend, left)


def _cuts(interval: _Interval, goal: float) -> Array:
    """Deadlines at which to cut: as many as a bound with a quadratic error needs to reach `goal`."""
    left, right = interval.left.deadline, interval.right.deadline
    total, pieces = min(interval.left.total, interval.right.total), float(_MOST_CUTS)
    if np.isfinite(total):
        pieces = np.ceil(1.1 * np.sqrt((total - interval.bound) / max(total - goal, 1e-300)))
    share = np.linspace(0.0, 1.0, int(np.clip(pieces, 2, _MOST_CUTS)) + 1)[1:-1]
    if left > 0 and right > 2 * left:
        return np.asarray(left ** (1 - share) * right**share)
    return np.asarray((1 - share) * left + share * right)


def _interval_bounds(fleet: Fleet, left: list[_Point], right: list[_Point]) -> Array:
    """(n,) lower bounds on J over n intervals, as the head of this file derives them."""
    first, last = (np.array([point.deadline for point in points]) for points in (left, right))
    log_price = np.logaddexp([point.log_price for point in left], [point.log_price for point in right])
    log_price -= np.log(2.0)
    deadlines, place = np.unique(np.concatenate([first, last]), return_inverse=True)
    schedule = Schedule.of(fleet, deadlines)
    ends = []
    for points, rows in zip((left, right), np.split(place, 2), strict=True):
        guess = np.array([point.guess for point in points])
        ends.append(respond(fleet, schedule.rows(rows), log_price, guess))
    early, late = ends
    at_first = deadline.lagrangian(fleet, early, log_price).sum(-1)
    at_last = deadline.lagrangian(fleet, late, log_price).sum(-1)
    price = fleet.spread(np.exp(log_price))
    steep = _slopes(fleet, price, early, late.keep, first).sum(-1) * (1 + _SLACK)
    flat = np.nan_to_num(_slopes(fleet, price, late, early.keep, last).sum(-1), posinf=0.0) * (1 - _SLACK)
    width = last - first
    with np.errstate(divide="ignore", invalid="ignore"):
        meet = np.nan_to_num(np.clip((at_first - at_last - flat * width) / (steep - flat), 0.0, width))
        here = np.fmax(at_first - steep * meet, at_last + flat * (width - meet))
    count = fleet.rounds.count
    second_order = np.minimum(first * count(at_first), last * count(at_last))
    second_order = np.minimum(second_order, (first + meet) * count(here))
    least_error = np.array([point.error_bound for point in right])
    return np.asarray(np.maximum(second_order, first * count(least_error)))


def _slopes(fleet: Fleet, price: Array, response: Response, other_keep: Array, deadlines: Array) -> Array:
    """(n, K) p·Q with p at this end's response and Q at the keep rate of the other end's, this end's T."""
    time = deadlines[:, None] - fleet.fixed_s - fleet.compute_s * other_keep
    bits = fleet.fixed_bits + fleet.payload_bits * other_keep
    ceiling = fleet.snr_hz / LN2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        needed = np.where(time > 0, np.minimum(bits / time, ceiling), ceiling)
        work = np.where(fleet.rigid, time, fleet.payload_bits + needed * fleet.compute_s)
        marginal = np.where(price > 0, price / response.gain, 0.0)
        return np.asarray(np.where(marginal > 0, marginal * needed / work, 0.0))
