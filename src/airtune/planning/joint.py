"""`joint`: the certified optimum of N·T over pruning rates and bandwidths, by branch and bound over T.

For a fixed deadline T the least error V(T) is a convex problem (`deadline`); J(T) = T·N(V(T)) need not be
convex or unimodal in T. The range of T is cut into intervals, each with a lower bound on J; intervals whose
bound reaches the best plan found are settled, the others are cut further.

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

The distance from J to its least value is of second order too. So the best deadline T* is found first, as
the zero of J'(T), which the dual's slope gives; intervals then grow in proportion to their distance from it.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from airtune.planning import deadline
from airtune.planning.bandwidth_only import finish_together
from airtune.planning.fleet import Array, Fleet
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.pruning_only import best_deadline
from airtune.planning.response import answer
from airtune.radio.rate import rate

_BLOCK = 65_536  # clients times deadlines solved in one go: what a core's cache holds
_KEPT = 2**21
_ROUNDING = 1e-11  # relative: of the least deadline, and of N·T
_NARROW = 1e-13  # relative: intervals that are cut no further
_LEAST_GAP = 1e-9  # what double precision can certify
_MOST_DEADLINES = 4096  # a hundred times what ordinary problems need; then the gap is what it is
_MOST_ROWS = 32  # deadlines solved at once
_SAMPLE = 4096  # clients that the first guess of T* looks at
_INNER, _GROWTH = 2.0, 4.0  # the ladder around T*: its first step over √gap, and the ratio of its steps

_Found = TypeVar("_Found")


@dataclass(frozen=True)
class _Interval:
    """Deadlines from `left` to `right`, a lower bound on J over them, and about the least J at their ends."""

    left: float
    right: float
    bound: float
    total: float


def solve(problem: Problem, gap: float = 1e-6) -> Plan:
    """The optimum of N·T within a relative `gap`; `lower_bound_s` is valid for every feasible plan."""
    fleet = Fleet.of(problem)
    with _threads() as each:
        search = _Search(fleet, max(gap, _LEAST_GAP), each)
        bound = search.run()
    plan = evaluate(problem, "joint", fleet.prune(search.keep), fleet.restore(search.bandwidth))
    return plan.bounded(bound)


_Each = Callable[[Callable[[slice], _Found], list[slice]], list[_Found]]


@contextmanager
def _threads() -> Iterator["_Each[Any]"]:
    """A map over runs of cells that uses every core; its results do not depend on how many there are."""
    # Freeing a large array tells the C library to keep memory: blocks would fault their pages in each time.
    np.empty(_KEPT)
    with ThreadPoolExecutor(os.cpu_count()) as pool:

        def each(task: Callable[[slice], _Found], parts: list[slice]) -> list[_Found]:
            def quiet(part: slice) -> _Found:
                with np.errstate(all="ignore"):
                    return task(part)

            return [task(parts[0])] if len(parts) == 1 else list(pool.map(quiet, parts))

        yield each


class _Search:
    """Branch and bound over T; `keep` and `bandwidth` (K,) are the best choice so far, `best` its J.

    `v` (K,) and `log_price` (cells,) are what the next solve starts from; `bend` is about d²log J/d(log T)².
    """

    def __init__(self, fleet: Fleet, gap: float, each: "_Each[Any]") -> None:
        self.fleet, self.gap, self.each = fleet, gap, each
        self.ends = np.append(fleet.starts, len(fleet.order))
        self.best = np.inf
        self.solved, self.bend = 0, 1.0
        shortest, self.bandwidth = self._finish_together(fleet.keep_min)
        longest, full = self._finish_together(fleet.keep_max)
        least_error = fleet.total(fleet.weight * fleet.error(fleet.keep_max))
        self.fleet = replace(fleet, longest=longest, least_error=least_error)
        self.keep = fleet.keep_min
        self.first, self.last = float(shortest.max()), float(longest.max())
        extremes = (fleet.keep_min, fleet.keep_max)
        most, self.fewest = fleet.rounds.count([fleet.error(keep) @ fleet.weight for keep in extremes])
        self.best = self.first * float(most) if np.isfinite(most) else np.inf
        self.last = max(self.first, min(self.last, self.best / float(self.fewest)))
        self.full = full
        self.centre, self.left = self.first, fleet.rounds.base / float(self.fewest)
        equal = fleet.spread(fleet.bandwidth_hz / fleet.total(np.ones(len(fleet.order))))
        self.v = np.log(np.maximum(self.bandwidth, 1e-3 * equal) / fleet.snr_hz)
        self.log_price = np.full(len(longest), np.nan)

    def run(self) -> float:
        """Cut intervals until every bound is within `gap` of the best; returns the least bound.

        On numbers that leave no digits it gives up after `_MOST_DEADLINES`, with the bounds it has.
        """
        if not self.last > self.first:
            # Everyone can be full by the least deadline, not only those who have no choice.
            total = self.first * float(self.fewest)
            if total < self.best:
                self.best, self.keep, self.bandwidth = total, self.fleet.keep_max, self.full
            return self.best * (1.0 - _ROUNDING)
        centre = self._centre()
        self._take(centre)
        unsettled = self._bounded([self._ladder(centre)])
        settled = np.inf
        while unsettled:
            goal = self.best * (1.0 - self.gap)
            cut = []
            for each in unsettled:
                narrow = each.right - each.left <= _NARROW * each.right
                if each.bound >= goal or narrow or self.solved >= _MOST_DEADLINES:
                    settled = min(settled, each.bound)
                else:
                    cut.append(each)
            unsettled = self._bounded([_cuts(each, goal, self.first) for each in cut])
        return min(settled, self.best) * (1.0 - _ROUNDING)

    def _centre(self) -> float:
        """A deadline at which J has a zero derivative, or one next to an end, by secants in a bracket.

        J' has the sign of 1 - φE - φST where S is how fast the least error falls.
        """
        penalty = self.fleet.rounds.penalty
        low, high = self.first, self.last
        time, step = self._guess(), 0.1
        ends: dict[bool, tuple[float, float]] = {}
        before: tuple[float, float] | None = None
        for _ in range(60):
            if not low < time < high:
                # Where J seems to rise from the least deadline on, close to that.
                time = low + (0.01 if time <= low == self.first else 0.5) * (high - low)
            if high - low <= 0.1 * np.sqrt(self.gap / self.bend) * high or not low < time < high:
                break
            error, slope = self._probe(time, max(1e-5 * self.gap, 1e-3 * step * step))
            left = max(1.0 - penalty * error, 0.0)
            self.left = left if left > 0 else self.left
            excess = float(np.log(np.divide(penalty * slope * time, left)))
            low, high = (time, high) if excess > 0 else (low, time)
            # Close to the least deadline bandwidth is dear: the excess is close to a line over this log.
            here, step = float(np.log(time - self.first)), 0.5 * excess
            ends[excess > 0] = here, excess
            if before is not None and np.isfinite(before[1]) and before[1] != excess:
                fall = (before[1] - excess) / (here - before[0])
                step = excess / fall
                self.bend = max(fall * time / (time - self.first), 1.0)
                if len(ends) == 2:
                    # The secant of the bracket's ends where that of the last two leaves it; an end that
                    # stays counts half (Illinois).
                    (left_at, up), (right_at, down) = ends[True], ends[False]
                    if not left_at < here + step < right_at:
                        step = (left_at * down - right_at * up) / (down - up) - here
                    stays = excess <= 0
                    ends[stays] = ends[stays][0], 0.5 * ends[stays][1]
            before = here, excess
            step = min(max(step, -5.0), 5.0)
            change = (time - self.first) * float(np.expm1(step))
            step = change / time
            time = time + change if np.isfinite(change) else 0.5 * (low + high)
            if abs(step) <= 0.1 * np.sqrt(self.gap / self.bend) and low < time < high:
                break
        return time

    def _guess(self) -> float:
        """The best deadline for some of the clients, with the bandwidth they have at the least deadline."""
        chosen = slice(None, None, -(-len(self.fleet.order) // _SAMPLE))
        some = self.fleet.sample(chosen)
        some = replace(some, weight=some.weight / np.sum(some.weight) * np.sum(self.fleet.weight))
        return best_deadline(some, self.bandwidth[chosen], self.first, self.last, 0.02)

    def _finish_together(self, keep: Array) -> tuple[Array, Array]:
        def task(part: slice) -> tuple[Array, Array]:
            return finish_together(self.fleet.cells(part), keep[self._clients(part)])

        found = self.each(task, self._parts(1))
        times, bandwidths = zip(*found, strict=True)
        return np.concatenate(times), np.concatenate(bandwidths)

    def _probe(self, time: float, precision: float) -> tuple[float, float]:
        """About the least error at a deadline and how fast it falls; where it got to is kept."""

        def task(part: slice) -> tuple[float, float]:
            solved = self._solve(part, np.array([time]), precision)
            clients = self._clients(part)
            self.v[clients] = np.where(self._spread_idle(solved), self.v[clients], solved.v[0])
            self.log_price[part] = solved.next_price[0]
            return float(solved.error()[0]), float(solved.slope()[0])

        self.solved += 1
        self.centre = time
        errors, slopes = zip(*self.each(task, self._parts(1)), strict=True)
        return float(np.sum(errors)), float(np.sum(slopes))

    @staticmethod
    def _spread_idle(solved: deadline.Solved) -> npt.NDArray[np.bool_]:
        return solved.market.fleet.spread(solved.idle[0])

    def _take(self, time: float) -> None:
        """Solve at a deadline exactly, and keep the choice if it is the best so far."""

        def task(part: slice) -> tuple[Array, Array]:
            solved = self._solve(part, np.array([time]), 1e-4 * self.gap)
            fleet, clients = solved.market.fleet, self._clients(part)
            idle = self._spread_idle(solved)
            self.v[clients] = np.where(idle, self.v[clients], solved.v[0])
            self.log_price[part] = solved.next_price[0]
            bandwidth = np.where(idle, self.full[clients], fleet.snr_hz * np.exp(solved.v[0]))
            bandwidth = fleet.fill(bandwidth)
            keep = fleet.keep_by(np.array(time), rate(bandwidth, fleet.snr_hz, fleet.rate))
            return bandwidth, np.where(idle, fleet.keep_max, keep)

        self.solved += 1
        self.centre = time
        bandwidths, keeps = zip(*self.each(task, self._parts(1)), strict=True)
        bandwidth, keep = np.concatenate(bandwidths), np.concatenate(keeps)
        total = time * float(self.fleet.rounds.count(self.fleet.error(keep) @ self.fleet.weight))
        if total <= self.best:
            self.best, self.keep, self.bandwidth = total, keep, bandwidth

    def _solve(self, part: slice, deadlines: Array, precision: float) -> deadline.Solved:
        """J is found to a relative `precision` at `centre`, and less precisely far from it."""
        clients = self._clients(part)
        far = 1.0 - deadlines / self.centre
        known = (precision + 0.01 * far * far) * self.left / self.fleet.rounds.penalty
        return deadline.solve(self.fleet.cells(part), deadlines, self.v[clients], self.log_price[part], known)

    def _clients(self, part: slice) -> slice:
        return slice(self.ends[part.start], self.ends[part.stop])

    def _parts(self, rows: int) -> list[slice]:
        """Runs of whole cells with about _BLOCK clients times rows."""
        size = max(1, _BLOCK // rows)
        if self.ends[-1] <= size:
            return [slice(0, len(self.ends) - 1)]
        group = self.ends[1:] // size
        edges = np.flatnonzero(np.diff(group)) + 1
        return [slice(int(a), int(b)) for a, b in pairwise([0, *edges, len(group)])]

    def _ladder(self, centre: float) -> Array:
        """Deadlines from the first to the last, in steps that grow with the distance from the centre."""
        steps = _INNER * np.sqrt(self.gap / self.bend) * centre * _GROWTH ** np.arange(64)
        left, right = centre - steps, centre + steps
        left, right = left[left > self.first], right[right < self.last]
        return np.array([self.first, *left[::-1], centre, *right, self.last])

    def _bounded(self, chains: list[Array]) -> list[_Interval]:
        """The intervals of chains of deadlines, with their bounds."""
        found: list[_Interval] = []
        rows: list[float] = []
        starts: list[int] = []
        for chain in chains:
            if rows and len(rows) + len(chain) > _MOST_ROWS:
                found += self._bound(np.array(rows), starts)
                rows, starts = [], []
            starts.append(len(rows))
            rows += list(chain)
        return found + self._bound(np.array(rows), starts) if rows else found

    def _bound(self, times: Array, starts: list[int]) -> list[_Interval]:
        """Bounds over the intervals between `times`, which fall into chains that begin at `starts`.

        At the least deadline there may be no prices; the interval next to it is bounded from its right end.
        """
        unsolved = times[:-1] == self.first
        at = np.where(times == self.first, np.append(times[1:], 0.0), times)

        def task(part: slice) -> Array:
            solved = self._solve(part, at, 0.05 * self.gap)
            own = np.where(solved.idle, -np.inf, solved.log_price)
            early, late = slice(None, -1), slice(1, None)
            high, low = np.maximum(own[early], own[late]), np.minimum(own[early], own[late])
            left, right = (
                solved.answer.rows(rows)
                if np.array_equal(prices, own[rows])
                else answer(solved.market.rows(rows), solved.at.rows(rows), prices)
                for rows, prices in ((early, high), (late, low))
            )
            lines = (
                deadline.dual(solved, early, left, high),
                deadline.dual(solved, late, right, low),
                *(each.sum(-1) for each in deadline.slopes(solved, left, right, high, low, unsolved)),
            )
            return np.array([*lines, *(solved.error()[rows] for rows in (early, late))])

        self.solved += len(times)
        sums = np.sum(self.each(task, self._parts(len(times))), axis=0)
        at_first, at_last, steep, flat, left_error, right_error = sums
        at_first, steep = np.where(unsolved, -np.inf, at_first), np.where(unsolved, np.inf, steep)
        bounds = _least_on_lines(self.fleet, times[:-1], times[1:], at_first, at_last, steep, flat)
        totals = at * self.fleet.rounds.count(np.append(left_error, right_error[-1]))
        ends = np.minimum(totals[:-1], totals[1:])
        best = int(np.argmin(totals))
        if totals[best] < self.best * (1.0 - 0.1 * self.gap):
            self._take(float(at[best]))
        inside = np.ones(len(bounds), bool)
        inside[np.array(starts[1:], int) - 1] = False
        return [
            _Interval(*(float(values[i]) for values in (times[:-1], times[1:], bounds, ends)))
            for i in np.flatnonzero(inside)
        ]


def _cuts(interval: _Interval, goal: float, first: float) -> Array:
    """An interval's ends and where to cut it: as often as a bound with a quadratic error needs."""
    left, right = interval.left, interval.right
    count = 8
    if np.isfinite([interval.total, goal]).all():
        missing = max(interval.total - interval.bound, 0.0) / max(interval.total - goal, 1e-300)
        count = int(np.clip(np.ceil(1.1 * np.sqrt(missing)), 2, 8))
    if left == first:
        # Close to the least deadline prices change fastest, so that is where to look most closely.
        return np.asarray(left + (right - left) * np.append(0.0, 4.0 ** np.arange(-count + 1, 1)))
    return np.linspace(left, right, count + 1)


def _least_on_lines(
    fleet: Fleet, first: Array, last: Array, at_first: Array, at_last: Array, steep: Array, flat: Array
) -> Array:
    """(n,) the least J over [first, last] where the least error is above two lines, as the head derives."""
    width = last - first
    meet = np.nan_to_num(np.clip((at_first - at_last - flat * width) / (steep - flat), 0.0, width))
    here = np.fmax(at_first - steep * meet, at_last + flat * (width - meet))
    at_first = np.fmax(at_first, at_last + flat * width)
    count = fleet.rounds.count
    second_order = np.minimum(first * count(at_first), last * count(at_last))
    second_order = np.minimum(second_order, (first + meet) * count(here))
    return np.asarray(np.fmax(second_order, first * count(at_last)))
