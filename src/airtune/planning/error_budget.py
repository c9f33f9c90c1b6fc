"""The shortest round within an error budget: least T with Σ w e(ρ) ≤ a.

The least error V(T) within a deadline falls with T, so the answer is where V(T) = a. It is bracketed: a
deadline at which the dual bound on V is above a is too short, and so is every shorter one; a deadline at
which some ρ and b have at most the error a is long enough. Newton's steps on V(T) = a, whose slope the prices
give, end a little beyond the zero, on the side of the end of the bracket that is further away.
"""

from dataclasses import replace

import numpy as np

from airtune.errors import InfeasibleError
from airtune.planning import deadline
from airtune.planning.bandwidth_only import finish_together
from airtune.planning.fleet import Array, Fleet
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.radio.rate import rate

_ROUNDING = 1e-11  # relative: of the least deadline
_LEAST_GAP = 1e-9  # what double precision can certify
_NOTHING = 1e-15  # of error, what rounding makes of none
_MOST_DEADLINES = 100  # ten do; where numbers leave no digits the gap is what it is
_PATIENCE = 8  # deadlines of which neither side can be told
_MOST_DOUBLINGS = 40  # of a deadline, fourfold each, where no deadline is known to be long enough
_HALVINGS = 12  # of the range in which the first deadline is looked for


def shortest_round(problem: Problem, error_budget: float, used: float = 0.0, gap: float = 1e-6) -> Plan:
    """The least round within `error_budget`, to a relative `gap`; its `round_lower_bound_s` is certified.

    Args:
        used: what clients that are left out have used up of it.

    Raises:
        InfeasibleError: with every client as full as it may be the error is still above the budget.
    """
    search = _Search(Fleet.of(problem), error_budget - used, max(gap, _LEAST_GAP))
    least = search.least()
    if least > search.budget:
        k = int(np.argmax(problem.weight * problem.error_at(problem.prune_floor())))
        said = f"an error of {error_budget:.6g} is out of reach at every deadline"
        raise InfeasibleError(problem.ids[k], f"{said}; {_rounded_up(least + used)} would do")
    search.start()
    search.run()
    fleet = search.fleet
    plan = evaluate(problem, "joint", fleet.prune(search.keep), fleet.restore(search.bandwidth))
    return replace(plan, round_lower_bound_s=min(search.low * (1.0 - _ROUNDING), plan.round_s))


class _Search:
    """A bracket of the least deadline; `keep` and `bandwidth` (K,) meet the budget by its end `high`."""

    def __init__(self, fleet: Fleet, budget: float, gap: float) -> None:
        self.budget, self.gap = budget * (1.0 + 1e-12) + _NOTHING, gap
        shortest, fastest = finish_together(fleet, fleet.keep_min)
        longest, full = finish_together(fleet, fleet.keep_max)
        least_error = fleet.total(fleet.weight * fleet.pieces.error(fleet.keep_max))
        self.fleet = replace(fleet, longest=longest, least_error=least_error)
        self.low, self.high = float(shortest.max()), float(longest.max())
        self.keep, self.bandwidth, self.full = fleet.keep_max, full, full
        equal = fleet.spread(fleet.bandwidth_hz / fleet.total(np.ones(len(fleet.order))))
        self.v = np.log(np.maximum(fastest, 1e-3 * equal) / fleet.snr_hz)
        self.log_price = np.full(len(longest), np.nan)
        self.fastest = fastest

    def least(self) -> float:
        """The least error at any deadline, where energy keeps clients from being full only about so."""
        least = float(self.fleet.least_error.sum())
        if np.isfinite(self.high) or least > self.budget:
            return least
        # No deadline is long enough for everybody to be full; one is to be found that meets the budget.
        fleet, self.bandwidth = self.fleet, self.fleet.equal_bandwidth()
        rates = rate(self.bandwidth, fleet.snr_hz, fleet.rate)
        self.keep = fleet.keep_by(np.array(np.inf), rates)
        bits = fleet.bits(self.keep)
        time = float(np.max(fleet.busy(self.keep) + np.where(bits > 0, bits / rates, 0.0)))
        error = self._error(self.keep)
        if error <= self.budget:
            self.high = time
            return error
        for _ in range(_MOST_DOUBLINGS):
            time *= 4.0
            error = min(error, self._narrow(time, 1e-4 * max(self.budget, 1e-12))[0])
            if np.isfinite(self.high):
                break
        return self.budget if np.isfinite(self.high) else max(error, self.budget * (1 + 1e-6))

    def run(self) -> None:
        """Narrow the bracket down to the gap."""
        time, precision, beyond = self.high, 1e-4 * max(self.budget, 1e-12), 0.2 * self.gap
        undecided = 0
        for _ in range(_MOST_DEADLINES):
            # Half of the gap is left to the clients, who meet the deadline only about as precisely.
            if self.high - self.low <= 0.5 * self.gap * self.high or undecided > _PATIENCE:
                return
            if not self.low < time < self.high:
                time = 0.5 * (self.low + self.high)
            before = self.low, self.high
            error, slope = self._narrow(time, precision)
            if before == (self.low, self.high):
                precision, beyond, undecided = 0.01 * precision, 2.0 * beyond, undecided + 1
            elif slope > 0:
                precision = min(precision, max(0.02 * self.gap * time * slope, 1e-16))
            aim = time + (error - self.budget) / slope if slope > 0 else np.nan
            further = 1.0 if self.high - aim > aim - self.low else -1.0
            time = aim * (1.0 + further * beyond)
            if self.high - self.low > 0.7 * (before[1] - before[0]) and abs(aim / time - 1.0) > 0.1:
                time = np.nan  # bisection where Newton does not serve

    def start(self) -> None:
        """About the least deadline for the bandwidth of the fastest round: it is long enough."""
        fleet, bandwidth = self.fleet, self.fastest
        rates = rate(bandwidth, fleet.snr_hz, fleet.rate)
        low = self.low
        for step in range(_HALVINGS):
            middle = low if step == 0 else 0.5 * (low + self.high)
            keep = fleet.keep_by(np.array(middle), rates)
            if self._error(keep) <= self.budget:
                self.high, self.keep, self.bandwidth = middle, keep, bandwidth
                if step == 0:
                    return
            else:
                low = middle

    def _narrow(self, time: float, precision: float) -> tuple[float, float]:
        """Solve at a deadline; about the least error there and how fast it falls."""
        fleet = self.fleet
        solved = deadline.solve(fleet, np.array([time]), self.v, self.log_price, np.array([precision]))
        idle = fleet.spread(solved.idle[0])
        ahead, (self.log_price,) = solved.ahead()
        v = ahead[0]
        self.v = np.where(idle, self.v, v)
        bandwidth = np.where(idle, self.full, fleet.snr_hz * np.exp(v))
        bandwidth = fleet.fill(bandwidth)
        keep = fleet.keep_by(np.array(time), rate(bandwidth, fleet.snr_hz, fleet.rate))
        keep = np.where(idle, fleet.keep_max, keep)
        if self._error(keep) <= self.budget:
            self.high, self.keep, self.bandwidth = time, keep, bandwidth
        else:
            prices = np.where(solved.idle, -np.inf, solved.log_price)
            bound = deadline.dual(solved, slice(0, 1), solved.answer, prices)[0]
            if np.fmax(bound, fleet.least_error).sum() > self.budget:
                self.low = time
        return float(solved.error()[0]), float(solved.slope(ahead)[0])

    def _error(self, keep: Array) -> float:
        return float(self.fleet.pieces.error(keep) @ self.fleet.weight)


def _rounded_up(error: float) -> str:
    """Six digits that are not below the error."""
    said = f"{error:.6g}"
    return said if float(said) >= error * (1 - 1e-12) else f"{error * (1 + 1e-5):.6g}"
