"""`joint`: the certified optimum of N·T over pruning rates and bandwidths, by branch and bound over T.

For a fixed deadline T the least error V(T) is a convex problem (`deadline`); J(T) = T·N(V(T)) need not be
convex or unimodal in T. The best deadline T* is found first, as a zero of J'(T), which the dual's slope
gives (`stationary`). Then the range of T is cut into intervals around it, each with a lower bound on J
(`interval`); intervals whose bound reaches the best plan found are settled, the others are cut further.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from airtune.planning import deadline
from airtune.planning.bandwidth_only import finish_together, slowest
from airtune.planning.fleet import Array, Fleet, Mask
from airtune.planning.infeasible import exhausted
from airtune.planning.interval import MOST_CUTS, Interval, cuts, ladder, least_on_lines, lines
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.pruning_only import totals
from airtune.planning.runs import Runs
from airtune.planning.stationary import stationary
from airtune.radio.rate import rate

_ROUNDING = 1e-11  # relative: of the least deadline, and of N·T
_NARROW = 1e-13  # relative: intervals that are cut no further
_LEAST_GAP = 1e-9  # what double precision can certify
_MOST_SWEEPS = 1000  # tens of times what ordinary problems need; then the gap is what it is
_MOST_CUT = 16  # intervals at once, of the least bounds, of clients with tables or energy budgets
_MOST_ROWS = 32  # deadlines solved at once
_GUESSES = np.linspace(0.0, 1.0, 16)[5:-1] ** 2  # in the range of T
_FURTHEST = 5.0  # that log b and log λ are taken to move from one deadline to another
_COARSE = 0.1  # how precisely deadlines far from T* are solved, as J's distance from its least value
_MOST_DOUBLINGS = 40  # of the deadline, fourfold each, where none is long enough for everybody to be full
_SAMPLE = 4096  # clients that the first guess of T* looks at


def solve(problem: Problem, gap: float = 1e-6) -> Plan:
    """The optimum of N·T within a relative `gap`; `lower_bound_s` is valid for every feasible plan."""
    fleet = Fleet.of(problem)
    keep, bandwidth = fleet.keep_max.copy(), fleet.equal_bandwidth()
    late = _late(fleet, bandwidth)
    clients, harm = fleet.spread(late), fleet.least_errors()
    part = replace(fleet.only(late), rounds=fleet.rounds.given(float(harm[~clients].sum())))
    with Runs(part) as runs:
        search = _Search(part, max(gap, _LEAST_GAP), runs)
        if problem.energy is not None and not np.isfinite(search.best):
            keep[clients] = search.keep
            raise exhausted(problem, fleet.prune(keep))
        bound = search.run()
    keep[clients], bandwidth[clients] = search.keep, search.bandwidth
    plan = evaluate(problem, "joint", fleet.prune(keep), fleet.restore(bandwidth))
    return plan.bounded(bound)


def _late(fleet: Fleet, equal: Array) -> Mask:
    """(cells,) those whose clients may not all be full in the least time that some other cell needs at least.

    The other cells need no search: whatever the deadline, equal bandwidth is enough for them.
    """
    if len(fleet.starts) == 1:
        return np.ones(1, bool)
    least = slowest(fleet, fleet.keep_min, fleet.spread(fleet.bandwidth_hz)).max()
    late = ~(slowest(fleet, fleet.keep_max, equal) < least * (1.0 - _ROUNDING))
    if fleet.limits is not None:
        late |= fleet.total(np.where(fleet.floors(fleet.keep_max) > equal, 1.0, 0.0)) > 0
    return np.asarray(late)


class _Search:
    """Branch and bound over T; `keep` and `bandwidth` (K,) are the best choice so far, `best` its J.

    `v` (K,) and `log_price` (cells,) solve the deadline `centre`, with derivatives `drift` and `price_drift`:
    what the next solve starts from. `left` is 1 - penalty·V there.
    """

    def __init__(self, fleet: Fleet, gap: float, runs: Runs) -> None:
        self.fleet, self.gap, self.runs = fleet, gap, runs
        self.sweeps = 0
        self.coarse = _COARSE
        (shortest, longest), (self.bandwidth, self.full) = self._finish_together(
            np.array([fleet.keep_min, fleet.keep_max])
        )
        least_error = fleet.total(fleet.least_errors())
        self.fleet = replace(fleet, longest=longest, least_error=least_error)
        self.keep = fleet.keep_min
        self.first, self.last = float(shortest.max()), float(longest.max())
        extremes = (fleet.keep_min, fleet.keep_max)
        most, fewest = fleet.rounds.count([fleet.pieces.error(keep) @ fleet.weight for keep in extremes])
        self.best = self.first * float(most) if np.isfinite(most) else np.inf
        if np.isfinite(self.last) and self.last * float(fewest) <= self.best:
            self.best, self.keep, self.bandwidth = self.last * float(fewest), fleet.keep_max, self.full
        self.v = np.log(fleet.equal_bandwidth() / fleet.snr_hz)
        self.drift = np.zeros_like(self.v)
        self.log_price, self.price_drift = np.full(len(longest), np.nan), np.zeros(len(longest))
        self.centre, self.left = self.first, fleet.rounds.base / float(fewest)
        if not np.isfinite(self.last):
            self._without_end()
        self.last = max(self.first, min(self.last, self.best / float(fewest)))

    def _without_end(self) -> None:
        """Find a plan where energy keeps clients from being full, so that no deadline is long enough."""
        fleet, bandwidth = self.fleet, self.fleet.equal_bandwidth()
        rates = rate(bandwidth, fleet.snr_hz, fleet.rate)
        keep = fleet.keep_by(np.array(np.inf), rates)
        bits = fleet.bits(keep)
        time = float(np.max(fleet.busy(keep) + np.where(bits > 0, bits / rates, 0.0)))
        self._offer(time, keep, bandwidth)
        for _ in range(_MOST_DOUBLINGS):
            if np.isfinite(self.best):
                return
            self.centre, time = time, 4.0 * time
            self._take(time)

    def run(self) -> float:
        """Cut intervals, the least bounds first, until every bound is within `gap` of the best; returns the
        least bound.

        On numbers that leave no digits it gives up after `_MOST_SWEEPS`, with the bounds it has.
        """
        beyond = self.last * float(self.fleet.rounds.count(self.fleet.least_error.sum()))
        if not self.last > self.first:
            return beyond * (1.0 - _ROUNDING)
        centre, bend = stationary(self._probe, self.first, self.last, self._guess(), self.gap)
        rounds, apart = self.fleet.rounds, self._take(centre)
        apart *= rounds.penalty * centre * centre / (self.left * bend)
        # Beyond this the best plan found is faster even than the fewest rounds.
        self.last = min(self.last, self.best / float(rounds.count(self.fleet.least_error.sum())))
        beyond = self.last * float(rounds.count(self.fleet.least_error.sum()))
        unsettled = self._bounded([ladder(centre, self.first, self.last, np.sqrt(self.gap / bend), apart)])
        settled = np.inf
        while unsettled:
            goal = self.best * (1.0 - self.gap)
            cut: list[Interval] = []
            room = (_MOST_SWEEPS - self.sweeps) * _MOST_ROWS // (MOST_CUTS + 1)
            for each in sorted(unsettled, key=lambda each: each.bound):
                narrow = each.right - each.left <= _NARROW * each.right
                if each.bound >= goal or narrow or len(cut) >= room:
                    settled = min(settled, each.bound)
                else:
                    cut.append(each)
            self.coarse *= 0.1
            now = len(cut) if self.fleet.limits is None else _MOST_CUT
            unsettled = self._bounded([cuts(each, goal, self.first) for each in cut[:now]]) + cut[now:]
        return min(settled, beyond, self.best) * (1.0 - _ROUNDING)

    def _finish_together(self, keep: Array) -> tuple[Array, Array]:
        """Least times (n, cells) with keep rates (n, K), and bandwidths (n, K)."""

        def task(cells: slice) -> tuple[Array, Array]:
            return finish_together(self.fleet.cells(cells), keep[:, self.runs.clients(cells)])

        times, bandwidths = zip(*self.runs.each(task, len(keep)), strict=True)
        return np.concatenate(times, axis=-1), np.concatenate(bandwidths, axis=-1)

    def _guess(self) -> float:
        """About the best deadline for some of the clients on equal bandwidth."""
        chosen = slice(None, None, -(-len(self.fleet.order) // _SAMPLE))
        some = self.fleet.sample(chosen)
        some = replace(some, weight=some.weight / np.sum(some.weight) * np.sum(self.fleet.weight))
        deadlines = self.first + (self.last - self.first) * _GUESSES
        return float(deadlines[np.argmin(totals(some, self.fleet.equal_bandwidth()[chosen], deadlines))])

    def _probe(self, time: float, step: float) -> tuple[float, float]:
        """What `stationary` asks of a deadline about `step` off the best.

        J' has the sign of 1 - φE - φST where S is how fast the least error E falls.
        """
        error, slope, bend, _ = self._move(time, max(1e-2 * self.gap, 1e-2 * abs(step) ** 1.5))
        penalty = self.fleet.rounds.penalty
        left = max(1.0 - penalty * float(error), 0.0)
        self.left = left if left > 0 else self.left
        excess = float(np.log(np.divide(penalty * slope * time, left)))
        return excess, float(np.expm1(excess) - time * bend / slope)

    def _move(self, time: float, precision: float) -> Array:
        """Solve at a deadline and make it the centre: (4,) about the least error, how fast it falls, the
        derivative of that, and how fast bounds on it part from it."""

        def task(cells: slice) -> tuple[list[float], int]:
            solved = self._solve(cells, np.array([time]), precision)
            clients = self.runs.clients(cells)
            drift, price_drift, *sums = solved.drift()
            ahead, dearer = solved.ahead()
            slope, (v,), (log_price,) = solved.slope(ahead), ahead, dearer
            np.copyto(self.v[clients], v, where=~_spread_idle(solved) & np.isfinite(v))
            self.drift[clients], self.price_drift[cells] = drift[0], price_drift[0]
            self.log_price[cells] = np.where(np.isfinite(log_price), log_price, np.nan)
            return [float(values[0]) for values in (solved.error(), slope, *sums)], solved.sweeps

        sums, sweeps = zip(*self.runs.each(task), strict=True)
        self.sweeps += max(sweeps)
        self.centre = time
        return np.asarray(np.sum(sums, axis=0))

    def _take(self, time: float) -> float:
        """Make a deadline the centre, and keep the choice there if it is the best so far; how fast bounds on
        the slope of the least error part from it there."""
        *_, apart = self._move(time, self.gap)

        def task(cells: slice) -> tuple[Array, Array, float]:
            fleet, clients = self.fleet.cells(cells), self.runs.clients(cells)
            idle = fleet.spread(time >= fleet.longest)
            bandwidth = np.where(idle, self.full[clients], fleet.snr_hz * np.exp(self.v[clients]))
            bandwidth = fleet.fill(bandwidth)
            rates = rate(bandwidth, fleet.snr_hz, fleet.rate)
            keep = np.where(idle, fleet.keep_max, fleet.keep_by(np.array(time), rates))
            bits = fleet.bits(keep)
            upload = np.where(bits > 0, bits / rates, 0.0)
            return bandwidth, keep, float(np.max(fleet.busy(keep) + upload))

        bandwidths, keeps, times = zip(*self.runs.each(task), strict=True)
        bandwidth, keep, slowest = np.concatenate(bandwidths), np.concatenate(keeps), max(times)
        if slowest > time * (1.0 + 0.1 * self.gap):
            # What a smallest sub-model lacks in bandwidth may be little in error, and much in time.
            together, exact = self._finish_together(keep[None])
            if np.isfinite(together).all():
                slowest, bandwidth = float(together.max()), exact[0]
        self._offer(slowest, keep, bandwidth)
        return float(apart)

    def _offer(self, slowest: float, keep: Array, bandwidth: Array) -> None:
        """Keep a choice, whose round takes so long, if it is the best so far."""
        total = slowest * float(self.fleet.rounds.count(self.fleet.pieces.error(keep) @ self.fleet.weight))
        if total <= self.best:
            self.best, self.keep, self.bandwidth = total, keep, bandwidth

    def _solve(self, cells: slice, deadlines: Array, precision: float) -> deadline.Solved:
        """J is found to a relative `precision` at `centre`, and less precisely far from it."""
        clients, far = self.runs.clients(cells), 1.0 - deadlines / self.centre
        known = (precision + self.coarse * far * far) * self.left / self.fleet.rounds.penalty
        ahead = self._ahead(deadlines)[:, None]
        v = self.v[clients] + _limited(self.drift[clients] * ahead)
        log_price = self.log_price[cells] + _limited(self.price_drift[cells] * ahead)
        return deadline.solve(self.fleet.cells(cells), deadlines, v, log_price, known)

    def _ahead(self, deadlines: Array) -> Array:
        """How far to go with `drift` from the centre: clients and prices move about as log(T - T_least)."""
        width = self.centre - self.first
        ahead = width * np.log((deadlines - self.first) / width)
        return np.where(np.isfinite(ahead), ahead, 0.0)

    def _bounded(self, chains: list[Array]) -> list[Interval]:
        """The intervals of chains of deadlines, with their bounds."""
        found: list[Interval] = []
        rows: list[float] = []
        starts: list[int] = []
        for chain in chains:
            if rows and len(rows) + len(chain) > _MOST_ROWS:
                found += self._bound(np.array(rows), starts)
                rows, starts = [], []
            starts.append(len(rows))
            rows += list(chain)
        return found + self._bound(np.array(rows), starts) if rows else found

    def _bound(self, times: Array, starts: list[int]) -> list[Interval]:
        """Bounds over the intervals between `times`, which fall into chains that begin at `starts`.

        At the least deadline there may be no prices; the interval next to it is bounded from its right end.
        """
        unsolved = times[:-1] == self.first
        at = np.where(times == self.first, np.append(times[1:], 0.0), times)

        def task(cells: slice) -> tuple[Array, Array, int]:
            solved = self._solve(cells, at, 0.05 * self.gap)
            return lines(solved, np.diff(times), unsolved), solved.error(), solved.sweeps

        found, errors, sweeps = zip(*self.runs.each(task, len(times)), strict=True)
        self.sweeps += max(sweeps)
        bounds = least_on_lines(self.fleet.rounds, times[:-1], times[1:], np.sum(found, axis=0))
        totals = at * self.fleet.rounds.count(np.sum(errors, axis=0))
        ends = np.minimum(totals[:-1], totals[1:])
        best = int(np.argmin(totals))
        if totals[best] < self.best * (1.0 - 0.1 * self.gap):
            self._take(float(at[best]))
        inside = np.ones(len(bounds), bool)
        inside[np.array(starts[1:], int) - 1] = False
        return [
            Interval(*(float(values[i]) for values in (times[:-1], times[1:], bounds, ends)))
            for i in np.flatnonzero(inside)
        ]


def _limited(step: Array) -> Array:
    return np.minimum(np.maximum(step, -_FURTHEST), _FURTHEST)


def _spread_idle(solved: deadline.Solved) -> npt.NDArray[np.bool_]:
    return solved.market.fleet.spread(solved.idle[0])
