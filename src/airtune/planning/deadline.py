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

_EXCESS = 1e-7  # relative, and the error it causes is of second order
_STRIDE = 8.0


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
    slack = (fleet.total(schedule.node_bandwidth[..., -1]) <= whole) | np.isneginf(steepest)
    low, high = np.full_like(steepest, -np.inf), np.where(slack, 0.0, steepest)
    log_price = np.where(slack, -np.inf, np.minimum(np.where(np.isfinite(log_price), log_price, high), high))
    for _ in range(200):
        response = respond(fleet, schedule, log_price, guess)
        guess = np.log(response.bandwidth)
        demand = fleet.total(response.bandwidth) / whole
        low, high = np.where(demand > 1, log_price, low), np.where(demand < 1, log_price, high)
        done = slack | (np.abs(demand - 1) <= _EXCESS) | (high - low <= 1e-14 * np.abs(high))
        if done.all():
            break
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = fleet.total(response.bandwidth * response.elasticity) / whole / demand
            proposal = log_price - np.log(demand) / slope
            middle = np.where(np.isneginf(low), log_price - _STRIDE, 0.5 * (low + high))
        inside = (low < proposal) & (proposal < high) & (np.abs(proposal - log_price) < _STRIDE)
        proposal = np.where(inside, proposal, middle)
        # Where prices go, bandwidths follow: this saves most of the next response's steps.
        proposal = np.where(done, log_price, proposal)
        step = fleet.spread(np.where(done, 0.0, proposal - log_price))
        guess = guess + response.elasticity * step
        log_price = np.where(done, log_price, proposal)
    bandwidth = _fit(fleet, schedule, response.bandwidth)
    keep = fleet.keep_by(schedule.deadline, rate(bandwidth, fleet.snr_hz, fleet.rate))
    error = fleet.error(keep) @ fleet.weight
    bound = lagrangian(fleet, response, log_price).sum(-1)
    return Solved(log_price, bandwidth, keep, error, np.minimum(bound, error), guess)


def lagrangian(fleet: Fleet, response: Response, log_price: Array) -> Array:
    """(n, cells) lower bounds on Σ w e over each cell's clients under its bandwidth; their sum bounds E.

    A response that is not quite a minimiser costs its residual: to the right the minimand falls by at most
    residual·(what error is left), to the left by at most residual·λ·b. Rounding is taken off as well.
    """
    price = np.exp(log_price)
    harm = fleet.weight * response.error
    paid = fleet.spread(price) * np.where(np.isfinite(response.bandwidth), response.bandwidth, 0.0)
    loss = fleet.total(response.residual * np.maximum(harm, paid))
    held, cost, budget = fleet.total(harm), fleet.total(paid), price * fleet.bandwidth_hz
    rounding = (1e-13 + np.finfo(float).eps * len(fleet.order)) * (held + cost + budget)
    return np.asarray(held + cost - budget - loss - rounding)


def _fit(fleet: Fleet, schedule: Schedule, bandwidth: Array) -> Array:
    """Bandwidths that fill each cell exactly and leave every client enough for its smallest sub-model."""
    whole = fleet.bandwidth_hz * (1 - FILLING_MARGIN)
    least = schedule.node_bandwidth[..., 0]
    total, floor = fleet.total(bandwidth), fleet.total(least)
    with np.errstate(divide="ignore", invalid="ignore"):
        shrink = np.clip((whole - floor) / (total - floor), 0.0, 1.0)
    shrunk = least + (bandwidth - least) * fleet.spread(np.nan_to_num(shrink))
    return np.where(fleet.spread(total > whole), shrunk, bandwidth * fleet.spread(whole / total))
