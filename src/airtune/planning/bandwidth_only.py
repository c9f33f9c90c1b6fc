"""`bandwidth-only`: clients as full as they may be, bandwidth so that those of a cell finish together.

The same for pruning rates that are given: `soonest`.
"""

from dataclasses import replace

import numpy as np

from airtune.planning.fleet import Array, Fleet
from airtune.planning.floors import FILLING_MARGIN, FLOORS_MARGIN
from airtune.planning.plan import Plan, evaluate
from airtune.planning.problem import Problem
from airtune.planning.support import fullest
from airtune.radio.rate import LN2, reached

# A deadline is met to this precision, or an upload shorter than the rounding of the round would fail.
ROUND_UP = 1 + 1e-15
_TOGETHER = 12  # sweeps in which times and bandwidths move together
_FURTHEST = 50.0  # that log b is taken to follow a time


def solve(problem: Problem) -> Plan:
    """Least round time with ρ at its floor: `prune_min`, or for memory, or for energy on equal bandwidth."""
    fleet = Fleet.of(problem)
    prune = fullest(problem, fleet.restore(fleet.equal_bandwidth()))
    _, bandwidth = finish_together(fleet, 1.0 - prune[fleet.order])
    return evaluate(problem, "bandwidth-only", prune, fleet.restore(bandwidth))


def soonest(problem: Problem, plan: Plan) -> Plan:
    """`plan` with the bandwidth that ends its round soonest; who takes part stays, and every ρ.

    Args:
        problem: the round's numbers if those who take part in `plan` do.
    """
    present = plan.participates
    fleet = Fleet.of(problem.restrict(present))
    with np.errstate(all="ignore"):
        _, shares = finish_together(fleet, 1.0 - plan.prune[present][fleet.order])
    bandwidth = np.zeros(len(present))
    bandwidth[present] = fleet.restore(shares)
    found = evaluate(problem, plan.method, plan.prune, bandwidth, present)
    found = replace(found, weight=plan.weight, solve_s=plan.solve_s)
    # Shares that cannot be better may come out later by a rounding.
    return found if found.round_s < plan.round_s else plan


def slowest(fleet: Fleet, keep: Array, bandwidth_hz: Array) -> Array:
    """(..., cells) seconds of the slowest clients with keep rates (..., K) on bandwidth (K,) above 0."""
    bits = fleet.bits(keep)
    share = reached(bandwidth_hz, fleet.snr_hz, fleet.rate).share
    return fleet.largest(fleet.busy(keep) + bits * (LN2 / fleet.snr_hz) / share)


def finish_together(fleet: Fleet, keep: Array) -> tuple[Array, Array]:
    """The least time in which each cell's clients can finish with keep rates (..., K), and its bandwidth.

    The bandwidth that a cell needs to finish by T falls with T, so its inverse is increasing and close to a
    straight line. Each sweep takes one Newton step on it, and one for every client on the log odds of the
    share of its ceiling that its rate has, close to a straight line over the log of its bandwidth.

    Returns:
        (..., cells) seconds, infinite where energy asks for more bandwidth than there is; (..., K) bandwidths
        that sum to each cell's own.
    """
    bits, busy, floor_hz = fleet.bits(keep), fleet.busy(keep), fleet.floors(keep)
    all_of_it = fleet.spread(fleet.bandwidth_hz)
    equal = fleet.equal_bandwidth()
    if fleet.limits is not None:
        # Floors that fill a cell but for rounding are lowered as much; with more than that there is no time.
        most = fleet.bandwidth_hz * (1 - 10 * FILLING_MARGIN)
        least = fleet.total(floor_hz)
        fits = least <= most * (1 + FLOORS_MARGIN)
        lowered = np.where(fits, np.minimum(most / np.maximum(least, most), 1.0), 0.0)
        floor_hz = np.maximum(floor_hz, 0.0) * fleet.spread(lowered)
        floor_hz = np.where(np.isfinite(floor_hz), floor_hz, 0.0)
        equal = fleet.fill(equal, floor_hz)
    equal = np.maximum(equal, 1e-15 * all_of_it)
    low, high = slowest(fleet, keep, all_of_it), slowest(fleet, keep, equal)
    sends, seconds = bits > 0, bits * LN2 / fleet.snr_hz
    time, v = low, np.log(equal / fleet.snr_hz)
    for sweep in range(300):
        upload = fleet.spread(time) * ROUND_UP - busy
        share = np.where(sends, np.minimum(seconds / upload, 1.0 - 1e-16), 0.5)
        z = np.exp(v)
        at = reached(z, 1.0, fleet.rate)
        per_odds = at.share * at.missing / (z * at.slope)
        step = (np.log(at.missing / at.share) - np.log((1.0 - share) / share)) * per_odds
        step = np.minimum(np.maximum(step, -5.0), 5.0)
        bandwidth = np.where(sends, z * fleet.snr_hz * np.exp(step), 0.0)
        more = bandwidth > floor_hz
        bandwidth = np.where(more, bandwidth, floor_hz)
        need = fleet.total(bandwidth) / fleet.bandwidth_hz
        follow = -per_odds / ((1.0 - share) * upload)
        proposal = time - (need - 1.0) * need * fleet.bandwidth_hz / fleet.total(
            np.where(more, bandwidth * follow, 0.0)
        )
        settled = fleet.largest(np.where(sends, np.abs(step), 0.0)) <= 1e-8
        low = np.where(settled & (need > 1), np.maximum(low, time), low)
        high = np.where(settled & (need <= 1), np.minimum(high, time), high)
        met = (np.abs(need - 1) <= 1e-13) | (np.abs(proposal - time) <= 4e-16 * time)
        done = settled & (met | (high - low <= 4e-16 * high))
        if done.all():
            break
        inside = (low < proposal) & (proposal < high)
        after = np.where(inside, proposal, 0.5 * (low + high))
        # Far from convergence time waits for the clients, so that its bracket stays one.
        after = np.where(done | (~settled & (sweep >= _TOGETHER)), time, after)
        # Rates follow the time that uploads have; one far shorter than the step in time is soon far off.
        longer = np.maximum(fleet.spread(after - time) / upload, -0.9)
        v = v + step + np.maximum(-per_odds / (1.0 - share) * np.log1p(longer), -_FURTHEST)
        time = after
    time = np.where(met, time, high)
    if fleet.limits is not None:
        time = np.where(fits, time, np.inf)
    return time, fleet.fill(bandwidth, floor_hz)
