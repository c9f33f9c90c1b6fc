"""The least weighted error within a deadline, solved by its dual: one price of bandwidth for each cell.

At deadline T: minimise E = Σ w e(1 - X(b)) subject to Σ b ≤ B in each cell. Separable and convex, so for
any prices λ ≥ 0 the sum of the clients' best responses (see `response`) bounds E from below, and at the
right prices, where each cell's demand meets its bandwidth, the bound is attained.
"""

from dataclasses import dataclass

import numpy as np

from airtune.planning.bandwidth_only import FILLING_MARGIN
from airtune.planning.fleet import Array, Fleet
from airtune.planning.response import Response, Schedule, respond
from airtune.radio.rate import rate

_EXCESS = 1e-7  # of demand over bandwidth, relative
_PRECISION = 1e-12  # of E: twice what a price that is not quite right costs, which is of second order
_STRIDE = 8.0  # the longest step in log λ


@dataclass(frozen=True)
class Solved:
    """n deadlines solved: prices (n, cells), a feasible choice (n, K) with its `error` (n,), and the dual's
    lower bound on the least error, `bound` (n,). `guess` (n, K) is log b, to start the next solve from."""

    log_price: Array
    bandwidth: Array
    keep: Array
    error: Array
    bound: Array
    guess: Array


def solve(fleet: Fleet, deadlines: Array, log_price: Array, guess: Array) -> Solved:
    """Least error at each of `deadlines` (n,), from starting prices (n, cells) and bandwidths (log, (n, K)).

    Every deadline has to be feasible: the clients' smallest sub-models fit into their cells.
    """
    schedule = Schedule.of(fleet, deadlines)
    whole = fleet.bandwidth_hz
    steepest = fleet.largest(schedule.leaves.max(-1))
    # Every client is as full as it may be, or cares no further: bandwidth is free.
    fullest = fleet.total(schedule.node_bandwidth[..., -1])
    slack = (fullest <= whole * (1 + _EXCESS)) | np.isneginf(steepest)
    low, high = np.full_like(steepest, -np.inf), np.where(slack, 0.0, steepest)
    log_price = np.where(np.isfinite(log_price), log_price, _usual_price(fleet, schedule))
    log_price = np.where(slack, -np.inf, np.minimum(log_price, high))
    for _ in range(200):
        response = respond(fleet, schedule, log_price, guess)
        guess = np.log(response.bandwidth)
        demand = np.where(slack, 1.0, fleet.total(response.bandwidth) / whole)
        low, high = np.where(demand > 1, log_price, low), np.where(demand < 1, log_price, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            elasticity = fleet.total(response.bandwidth * response.elasticity) / whole / demand
            step = -np.log(demand) / elasticity
            inside = (low < log_price + step) & (log_price + step < high) & (np.abs(step) < _STRIDE)
            bisect = np.where(np.isneginf(low), -_STRIDE, 0.5 * (low + high) - log_price)
            cost = np.where(elasticity < 0, np.exp(log_price) * whole * np.abs((demand - 1) * step), 0.0)
        met = (np.abs(demand - 1) <= _EXCESS) & (cost <= _PRECISION)
        done = met | (high - low <= 1e-14 * np.abs(high))
        if done.all():
            break
        step = np.where(done, 0.0, np.where(inside, step, bisect))
        log_price = log_price + step
        # Where prices go, bandwidths follow: this saves most of the next response's steps.
        guess = guess + response.elasticity * fleet.spread(step)
    bandwidth = _fit(fleet, schedule, response.bandwidth)
    keep = fleet.keep_by(schedule.deadline, rate(bandwidth, fleet.snr_hz, fleet.rate))
    error = fleet.error(keep) @ fleet.weight
    bound = lagrangian(fleet, response, log_price).sum(-1)
    return Solved(log_price, bandwidth, keep, error, np.minimum(bound, error), guess)


def _usual_price(fleet: Fleet, schedule: Schedule) -> Array:
    """(n, cells) the mean log price at which clients start to buy more than they must."""
    first = schedule.leaves[..., 0]
    buys = np.isfinite(first)
    return np.asarray(fleet.total(np.where(buys, first, 0.0)) / np.maximum(fleet.total(1.0 * buys), 1.0))


def lagrangian(fleet: Fleet, response: Response, log_price: Array) -> Array:
    """(n, cells) lower bounds on Σ w e over each cell's clients under its bandwidth; their sum bounds E.

    What the responses lack of their minima is taken off, and what rounding may have added.
    """
    price = np.exp(log_price)
    harm = fleet.weight * response.error
    paid = fleet.spread(price) * np.where(np.isfinite(response.bandwidth), response.bandwidth, 0.0)
    held, cost, budget = fleet.total(harm), fleet.total(paid), price * fleet.bandwidth_hz
    rounding = (1e-13 + np.finfo(float).eps * len(fleet.order)) * (held + cost + budget)
    return np.asarray(held + cost - budget - fleet.total(response.loss) - rounding)


def _fit(fleet: Fleet, schedule: Schedule, bandwidth: Array) -> Array:
    """Bandwidths that fill each cell exactly and leave every client enough for its smallest sub-model."""
    whole = fleet.bandwidth_hz * (1 - FILLING_MARGIN)
    least = schedule.node_bandwidth[..., 0]
    total, floor = fleet.total(bandwidth), fleet.total(least)
    with np.errstate(divide="ignore", invalid="ignore"):
        shrink = np.clip((whole - floor) / (total - floor), 0.0, 1.0)
    shrunk = least + (bandwidth - least) * fleet.spread(np.nan_to_num(shrink))
    fitted = np.where(fleet.spread(total) > fleet.spread(whole), shrunk, bandwidth)
    return np.asarray(fitted * fleet.spread(whole / fleet.total(fitted)))
