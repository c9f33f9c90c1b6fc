"""`pruning-only`: the best pruning rates on equal bandwidth within each cell."""

from dataclasses import dataclass

import numpy as np

from airtune.planning.fleet import Array, Fleet
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.radio.rate import rate


def solve(problem: Problem) -> Plan:
    """Least N·T over ρ alone."""
    fleet = Fleet.of(problem)
    bandwidth = fleet.equal_bandwidth()
    keep = best_keep(fleet, bandwidth)
    return evaluate(problem, "pruning-only", fleet.prune(keep), fleet.restore(bandwidth))


def best_keep(fleet: Fleet, bandwidth_hz: Array) -> Array:
    """Keep rates (K,) of least N·T on given bandwidth (K,)."""
    choice = _Choice.of(fleet, bandwidth_hz)
    low, high = (float(choice.seconds(keep).max()) for keep in (fleet.keep_min, choice.most))
    return choice.keep_by(best_deadline(fleet, bandwidth_hz, low, high, 1e-15))


def totals(fleet: Fleet, bandwidth_hz: Array, deadlines: Array) -> Array:
    """(n,) the least N·T at deadlines (n,) on given bandwidth (K,)."""
    keep = _Choice.of(fleet, bandwidth_hz).keep_by(deadlines[:, None])
    return deadlines * fleet.rounds.count(fleet.pieces.error(keep) @ fleet.weight)


def best_deadline(fleet: Fleet, bandwidth_hz: Array, low: float, high: float, precision: float) -> float:
    """The deadline of least N·T on given bandwidth (K,), between `low` and `high`, to a relative precision.

    On fixed b the time is affine in x (with tables convex), so the best x for a deadline T is a clip (or
    concave), and E(T) = Σ w e(1 - x) is convex. Then (1 - φE)/T, which N·T is the inverse of, has a
    derivative of the sign of φE - φE'T - 1, which never increases with T: its zero, found by bisection, is
    the global optimum.
    """
    choice = _Choice.of(fleet, bandwidth_hz)
    while high - low > precision * high:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if choice.still_falls(middle):
            low = middle
        else:
            high = middle
    return high


@dataclass(frozen=True)
class _Choice:
    """The clients on given bandwidth: on line l they take base + per_keep·x seconds, both (L, K), and the
    largest line counts; energy lets them keep `most` (K,)."""

    fleet: Fleet
    base: Array
    per_keep: Array
    most: Array

    @classmethod
    def of(cls, fleet: Fleet, bandwidth_hz: Array) -> "_Choice":
        rates = rate(bandwidth_hz, fleet.snr_hz, fleet.rate)
        some = fleet.limits
        if some is None:
            seconds = np.array([[fleet.fixed_s], [fleet.compute_s]])
            bits = np.array([[fleet.fixed_bits], [fleet.payload_bits]])
            most = fleet.keep_max
        else:
            # A client's energy has no deadline: its lines are replaced by its first.
            deadline = some.grows > 0
            seconds, bits = (
                np.where(deadline, values, values[:, :1])
                for values in (np.array([-some.room, some.compute]), np.array([some.bits0, some.bits]))
            )
            most = fleet.keep_by(np.array(np.inf), rates)
        base, per_keep = seconds + np.divide(bits, rates, out=np.zeros_like(bits), where=bits != 0)
        return cls(fleet, base, per_keep, most)

    def seconds(self, keep: Array) -> Array:
        """(K,) seconds of the round at keep rates (K,)."""
        return np.asarray((self.base + self.per_keep * keep).max(0))

    def keep_by(self, deadline: Array | float) -> Array:
        """(..., K) the best keep rates for deadlines (..., 1)."""
        keep = self.most
        for base, per_keep in zip(self.base, self.per_keep, strict=True):
            allowed = (deadline - base) / np.where(per_keep > 0, per_keep, 1.0)
            keep = np.where(per_keep > 0, np.clip(allowed, self.fleet.keep_min, keep), keep)
        return keep

    def still_falls(self, deadline: float) -> bool:
        """Whether N·T falls as the deadline grows from here."""
        fleet, keep = self.fleet, self.keep_by(deadline)
        line = np.argmax(self.base + self.per_keep * keep, axis=0)[None]
        per_keep = np.take_along_axis(self.per_keep, line, 0)[0]
        growing = (keep < self.most) & (per_keep > 0)
        gain = fleet.weight * fleet.pieces.slope(keep)
        fall = float((gain[growing] / per_keep[growing]).sum())
        penalty = fleet.rounds.penalty
        return penalty * float(fleet.weight @ fleet.pieces.error(keep)) + penalty * fall * deadline > 1.0
