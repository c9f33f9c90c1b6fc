"""`pruning-only`: the best pruning rates on equal bandwidth within each cell."""

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
    base, per_keep = _times(fleet, bandwidth_hz)
    low = float((base + per_keep * fleet.keep_min).max())
    high = float((base + per_keep * fleet.keep_max).max())
    deadline = best_deadline(fleet, bandwidth_hz, low, high, 1e-15)
    return _keep_by(fleet, base, per_keep, deadline)


def totals(fleet: Fleet, bandwidth_hz: Array, deadlines: Array) -> Array:
    """(n,) the least N·T at deadlines (n,) on given bandwidth (K,)."""
    base, per_keep = _times(fleet, bandwidth_hz)
    keep = _keep_by(fleet, base, per_keep, deadlines[:, None])
    return deadlines * fleet.rounds.count(fleet.error(keep) @ fleet.weight)


def best_deadline(fleet: Fleet, bandwidth_hz: Array, low: float, high: float, precision: float) -> float:
    """The deadline of least N·T on given bandwidth (K,), between `low` and `high`, to a relative precision.

    On fixed b the time is affine in x, so the best x for a deadline T is a clip, and E(T) = Σ w e(1 - x) is
    convex. Then (1 - φE)/T, which N·T is the inverse of, has a derivative of the sign of
    φE - φE'T - 1, which never increases with T: its zero, found by bisection, is the global optimum.
    """
    base, per_keep = _times(fleet, bandwidth_hz)
    while high - low > precision * high:
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if _still_falls(fleet, _keep_by(fleet, base, per_keep, middle), per_keep, middle):
            low = middle
        else:
            high = middle
    return high


def _times(fleet: Fleet, bandwidth_hz: Array) -> tuple[Array, Array]:
    """(K,) a round's seconds without what pruning removes, and those that it removes."""
    rates = rate(bandwidth_hz, fleet.snr_hz, fleet.rate)
    bits_s = np.array([fleet.fixed_bits, fleet.payload_bits])
    base, per_keep = np.divide(bits_s, rates, out=np.zeros_like(bits_s), where=bits_s > 0)
    return fleet.fixed_s + base, fleet.compute_s + per_keep


def _keep_by(fleet: Fleet, base: Array, per_keep: Array, deadline: Array | float) -> Array:
    keep = (deadline - base) / np.where(per_keep > 0, per_keep, 1.0)
    return np.where(per_keep > 0, np.clip(keep, fleet.keep_min, fleet.keep_max), fleet.keep_max)


def _still_falls(fleet: Fleet, keep: Array, per_keep: Array, deadline: float) -> bool:
    """Whether N·T falls as the deadline grows from here."""
    growing = (keep < fleet.keep_max) & (per_keep > 0)
    gain = fleet.weight * fleet.error_slope(keep)
    fall = float((gain[growing] / per_keep[growing]).sum())
    penalty = fleet.rounds.penalty
    return penalty * float(fleet.weight @ fleet.error(keep)) + penalty * fall * deadline > 1.0
