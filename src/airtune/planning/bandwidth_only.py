"""`bandwidth-only`: clients as full as they may be, bandwidth so that those of a cell finish together."""

import numpy as np

from airtune.planning.fleet import Array, Fleet
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.radio.rate import LN2, bandwidth_for_rate, rate, reached

# Cells are filled but for this part, so that bandwidths rounded and summed in any order still fit.
FILLING_MARGIN = 1e-13
# A deadline is met to this precision, or an upload shorter than the rounding of the round would fail.
ROUND_UP = 1 + 1e-15


def solve(problem: Problem) -> Plan:
    """Least round time with ρ at its floor (`prune_min`, or what memory asks for)."""
    prune = problem.prune_floor()
    fleet = Fleet.of(problem)
    _, bandwidth = finish_together(fleet, 1.0 - prune[fleet.order])
    return evaluate(problem, "bandwidth-only", prune, fleet.restore(bandwidth))


def finish_together(fleet: Fleet, keep: Array) -> tuple[Array, Array]:
    """The least time in which each cell's clients can finish with keep rates (K,), and the bandwidth for it.

    The bandwidth that a cell needs to finish by T falls with T, so its inverse is increasing; Newton's
    method on that inverse (close to a straight line), inside a bracket, finds where it meets the cell's.

    Returns:
        (cells,) seconds, (K,) bandwidths that sum to each cell's own.
    """
    bits = fleet.fixed_bits + fleet.payload_bits * keep
    busy = fleet.fixed_s + fleet.compute_s * keep
    all_of_it = fleet.spread(fleet.bandwidth_hz)
    equal = all_of_it / fleet.spread(fleet.total(np.ones(len(keep))))
    low = fleet.largest(busy + bits / rate(all_of_it, fleet.snr_hz, fleet.rate))
    high = fleet.largest(busy + bits / rate(equal, fleet.snr_hz, fleet.rate))
    time, bandwidth = low, equal
    for _ in range(200):
        bandwidth = _needed(fleet, bits, fleet.spread(time) * ROUND_UP - busy, bandwidth)
        need = fleet.total(bandwidth) / fleet.bandwidth_hz
        low, high = np.where(need > 1, time, low), np.where(need > 1, high, time)
        done = (np.abs(need - 1) <= 1e-13) | (high - low <= 4e-16 * high)
        if done.all():
            break
        slope = fleet.total(_needed_slope(fleet, bandwidth, bits, fleet.spread(time) * ROUND_UP - busy))
        with np.errstate(invalid="ignore", divide="ignore"):
            proposal = time - (need - 1) * need * fleet.bandwidth_hz / slope
        inside = (low < proposal) & (proposal < high)
        time = np.where(done, time, np.where(inside, proposal, 0.5 * (low + high)))
    time = np.where(np.abs(need - 1) <= 1e-13, time, high)
    bandwidth = _needed(fleet, bits, fleet.spread(time) * ROUND_UP - busy, bandwidth)
    need = fleet.total(bandwidth)
    whole = fleet.bandwidth_hz * (1 - FILLING_MARGIN)
    stretch = np.divide(whole, need, out=np.ones_like(need), where=need > 0)
    return time, bandwidth * fleet.spread(stretch)


def _needed(fleet: Fleet, bits: Array, upload_s: Array, near: Array) -> Array:
    """(K,) the bandwidth on which each client sends its bits in `upload_s`; infinite if none is enough."""
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        wanted = np.where(upload_s > 0, bits / np.maximum(upload_s, 0.0), np.where(bits > 0, np.inf, 0.0))
    return bandwidth_for_rate(wanted, fleet.snr_hz, fleet.rate, near)


def _needed_slope(fleet: Fleet, bandwidth: Array, bits: Array, upload_s: Array) -> Array:
    """(K,) its derivative with respect to time, -bits / (upload_s² R'(b))."""
    slope = np.zeros_like(bandwidth)
    some = (bandwidth > 0) & np.isfinite(bandwidth)
    at = reached(bandwidth[some], fleet.snr_hz[some], fleet.rate)
    slope[some] = -bits[some] / upload_s[some] ** 2 * LN2 / at.slope
    return slope
