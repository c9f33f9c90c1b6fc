"""The least weighted error within deadlines, by its dual: one price of bandwidth for each cell.

At deadline T: minimise E = Σ w e(1 - X(b)) subject to Σ b ≤ B in each cell. Separable and convex, so for
any prices λ ≥ 0 the sum of the clients' least w·e + λ·b (see `response`) bounds E from below, and at the
right prices, where each cell's demand meets its bandwidth, the bound is attained.

Prices and clients are solved together: in each sweep every client takes one Newton step, and its cell's
price the step that makes the demand after it meet the bandwidth. Sweeps stop once what is missing in value
is small, not when every client has converged: bounds hold from any point.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airtune.planning.fleet import Array, Fleet
from airtune.planning.held import held
from airtune.planning.response import ROUNDING, Answer, Market, State, answer, state

_SWEEPS = 100
_TOGETHER = 8  # sweeps after which a price moves only once its clients have settled
_STRIDE, _RISE, _PRICE_STRIDE = 3.0, 12.0, 4.0  # the longest steps of log b down and up, and of log λ
_SETTLED = 1e-9
_NEAR = 0.05  # in v
_ON_FLOOR = 1e-9  # in x
_ON_LEAST = 1e-9  # in v
_ALIKE = 1e-11  # relative: of p and w·e', known as logarithms


@dataclass(frozen=True)
class Solved:
    """n deadlines: where clients are and what they answer to the prices `log_price` (n, cells).

    `idle` (n, cells) marks cells in which everyone is as full as may be; their price is 0. `v` (n, K) is
    where `at` is, which took `sweeps`; `step` and `move` (n, cells) go on from it and from `log_price`.
    """

    market: Market
    v: Array
    at: State
    answer: Answer
    log_price: Array
    idle: npt.NDArray[np.bool_]
    step: Array
    move: Array
    sweeps: int

    def ahead(self) -> tuple[Array, Array]:
        """v (n, K) and log prices (n, cells) one step further, clients at the new prices."""
        market, at = self.market, self.at
        push = self.answer.elasticity * market.fleet.spread(self.move)
        bent = push * at.per_v * at.stiff
        # Not ρ but its logarithm follows the price, so that ρ does not fall below 0.
        push = np.where(bent > 1e-3, -np.expm1(-bent) / np.maximum(bent, 1e-3), 1.0) * push
        v = np.minimum(np.maximum(self.v + self.step + push, market.least), market.most)
        return v, self.log_price + self.move

    def error(self) -> Array:
        """(n,) about the least Σ w e: what it is here, and what bandwidth too much or too little is worth."""
        fleet = self.market.fleet
        excess = fleet.total(self.at.bandwidth) - fleet.bandwidth_hz
        error = fleet.total(self.at.error) + np.exp(self.log_price) * excess
        return np.asarray(np.where(self.idle, fleet.least_error, np.fmax(error, fleet.least_error)).sum(-1))

    def slope(self, ahead: Array) -> Array:
        """(n,) about how fast the least error falls with the deadline, with clients at v `ahead` (n, K)."""
        market, at = self.market, self.at
        fleet, push = market.fleet, ahead - self.v
        change = fleet.spread(self.move) - at.fall * push
        price = self.answer.price * np.exp(np.minimum(np.maximum(change, -1.0), 1.0))
        use = at.use + at.per_v * at.terms.early * push
        if market.waits is not None and market.dear is not None:
            floored = np.minimum(price, np.exp(market.dear))
            price = np.where(
                market.waits, 0.0, np.where(self.at.keep <= market.low + _ON_FLOOR, floored, price)
            )
        if at.kinks is not None and self.answer.other is not None and self.answer.mixed is not None:
            share, mixed = at.kinks.share, self.answer.mixed
            beyond = market.terms.take(self.answer.other)
            dearer = at.terms.gain(share) / beyond.gain(share)
            use = (1.0 - mixed) * use + np.where(mixed > 0, mixed * dearer * beyond.use(share), 0.0)
        fall = fleet.total(price * use)
        return np.asarray(np.where(self.idle, 0.0, fall).sum(-1))

    def drift(self) -> tuple[Array, Array, Array, Array]:
        """About the derivatives by the deadline of v (n, K), log prices (n, cells) and `slope` (n,); and how
        fast the slopes of bounds over an interval part from it as that grows (n,)."""
        fleet, at, found = self.market.fleet, self.at, self.answer
        early = at.terms.early  # of log X'
        # At a held price: either x stays, or w·e'·X' does, or the client stays between two limits.
        stays = -at.use / at.per_v
        if at.kinks is not None and found.other is not None and found.mixed is not None:
            beyond, share = self.market.terms.take(found.other), at.kinks.share
            cheaper = beyond.gain(share) / at.terms.gain(share)
            between = (beyond.use(share) - at.use) / (at.per_v * (1.0 - cheaper))
            stays = np.where(found.mixed > 0, between, stays)
        alone = np.where(found.elasticity == 0, stays, found.elasticity * (at.stiff * at.use - early))
        elastic = fleet.total(at.bandwidth * found.elasticity)
        price = -fleet.total(at.bandwidth * alone) / elastic
        price = np.where(np.isfinite(price) & ~self.idle, price, 0.0)
        v = alone + found.elasticity * fleet.spread(price)
        v = np.where(np.isfinite(v) & ~fleet.spread(self.idle), v, 0.0)
        bend = at.use * (fleet.spread(price) - at.fall * v - early) + at.per_v * early * v
        slope = np.where(self.idle, 0.0, fleet.total(found.price * bend)).sum(-1)
        fuller = at.use * at.terms.bits / (at.terms.bits0 + at.terms.bits * at.keep)
        apart = fleet.total(found.price * fuller * (at.per_v * v + at.use))
        return v, price, np.asarray(slope), np.asarray(np.where(self.idle, 0.0, apart).sum(-1))


def solve(fleet: Fleet, deadlines: Array, v: Array, log_price: Array, precision: Array) -> Solved:
    """Solve at `deadlines` (n,) from v (n, K) and prices (n, cells) on; NaN prices are guessed.

    A deadline is done once E is known to `precision` (n,) in proportion to the clients' weights. Every
    deadline has to be feasible: the clients' smallest sub-models fit into their cells.
    """
    market = Market.of(fleet, deadlines)
    whole = fleet.bandwidth_hz
    idle = deadlines[:, None] >= fleet.longest
    enough = precision * fleet.weight.sum()
    ones = np.ones((len(deadlines), 1))
    v, log_price = np.minimum(np.maximum(v, market.least), market.most) * ones, log_price * ones
    price_low, price_high = np.full(log_price.shape, -np.inf), np.full(log_price.shape, np.inf)
    for sweep in range(_SWEEPS):
        at = state(market, v)
        if sweep == 0 and np.isnan(log_price).any():
            log_price = np.where(np.isnan(log_price), _usual_price(fleet, at), log_price)
        found = answer(market, at, log_price)
        step = np.minimum(np.maximum(found.shift + found.step, -_STRIDE), _RISE)
        step = np.where(step == step, step, 0.0)  # NaN where a price is 0
        if sweep >= _TOGETHER:
            if sweep == _TOGETHER:
                low, high = np.full(v.shape, -np.inf), np.full(v.shape, np.inf)
            # Bisection for whoever Newton does not serve; prices wait for their clients.
            right = found.shift + found.step > 0
            low, high = np.where(right, np.maximum(low, v), low), np.where(right, high, np.minimum(high, v))
            outside = ((v + step <= low) | (v + step >= high)) & (np.abs(step) > _SETTLED)
            middle = 0.5 * (np.maximum(low, market.least) + np.minimum(high, market.most))
            step = np.where(outside, middle - v, step)
        step = np.minimum(np.maximum(v + step, market.least), market.most) - v
        demand = at.bandwidth * np.exp(step)
        total = fleet.total(demand)
        elasticity = fleet.total(demand * found.elasticity) / total
        excess = np.log(total / whole)
        move = np.where(elasticity < 0, -excess / elasticity, np.sign(excess) * _PRICE_STRIDE)
        move = np.where(np.abs(excess) < 1e-15, 0.0, move)
        move = np.minimum(np.maximum(move, -_PRICE_STRIDE), _PRICE_STRIDE)
        missing = fleet.total(found.missing + found.paid * found.shift**2)
        missing += np.exp(log_price) * whole * np.abs(excess * move)
        missing = np.where(idle, 0.0, missing)
        done = missing.sum(-1) <= enough
        if sweep >= _TOGETHER:
            settled = fleet.largest(np.abs(step)) <= _SETTLED
            price_low = np.where(settled & (excess > 0), np.maximum(price_low, log_price), price_low)
            price_high = np.where(settled & (excess < 0), np.minimum(price_high, log_price), price_high)
            outside = (log_price + move <= price_low) | (log_price + move >= price_high)
            middle = 0.5 * (price_low + price_high) - log_price
            move = np.where(outside & np.isfinite(middle), middle, move)
            move = np.where(settled, move, 0.0)
            moved = fleet.spread(move) != 0
            low, high = np.where(moved, -np.inf, low), np.where(moved, np.inf, high)
            done |= ((price_high - price_low <= 1e-14 * np.abs(log_price)) | idle).all(-1)
        solved = Solved(market, v, at, found, log_price, idle, step, move, sweep + 1)
        if done.all():
            break
        ahead, dearer = solved.ahead()
        if sweep >= _TOGETHER:
            ahead, dearer = np.where(done[:, None], v, ahead), np.where(done[:, None], log_price, dearer)
        v, log_price = ahead, dearer
    return solved


def _usual_price(fleet: Fleet, at: State) -> Array:
    """(n, cells) the mean log price at which clients would stay where they are, over their bandwidth."""
    price = at.lead + at.gain
    counts = np.where(np.isfinite(price), at.bandwidth, 0.0)
    return np.asarray(fleet.total(counts * np.nan_to_num(price)) / np.maximum(fleet.total(counts), 1e-300))


def dual(solved: Solved, rows: slice, found: Answer, log_price: Array) -> Array:
    """(n, cells) lower bounds on the least error, from the answers of `rows` to prices (n, cells), -inf at 0.

    What the answers lack of their minima is taken off, and what rounding may have added.
    """
    fleet, at = solved.market.fleet, solved.at.rows(rows)
    held, missing = fleet.total(at.error), fleet.total(found.missing)
    cost, paid = (fleet.total(found.paid * (1.0 + each)) for each in (found.shift, np.abs(found.shift)))
    budget = np.exp(log_price) * fleet.bandwidth_hz
    rounding = (1e-13 + np.finfo(float).eps * len(fleet.order)) * (held + paid + budget)
    # x is blurred; ρ is known to ROUNDING; where p and w·e' are alike, each moves the other's best x.
    harm, price = np.exp(at.lead), found.price
    blurred = price * at.blur() + ROUNDING * harm + _ALIKE * np.minimum(price, harm)
    bound = held + cost - budget - missing * (1.0 + _ALIKE) - rounding - fleet.total(blurred)
    return np.asarray(np.where(np.isneginf(log_price), fleet.least_error, bound))


def slopes(
    solved: Solved, left: Answer, right: Answer, high: Array, low: Array, unsolved: npt.NDArray[np.bool_]
) -> tuple[Array, Array]:
    """For n-1 intervals between n deadlines in order: how fast the dual falls at most from the left end, at
    log prices `high` that `left` answers, and at least up to the right end, at `low` and `right`; per cell.

    It falls by p·Q(r) (see `joint`), with p at this end and the rate r that the keep rate at the other end
    needs in the time of this one. Nothing is known of the left ends that are `unsolved`.
    """
    market, own, at = solved.market, solved.answer, solved.at
    blur = at.blur()
    upper = np.minimum(at.keep + np.where(own.step > 0, own.reach, 0.0) + blur, market.nodes[-1])
    lower = np.maximum(at.keep - np.where(own.step < 0, own.reach, 0.0) - blur, market.nodes[0])
    upper = np.where(market.fleet.spread(solved.idle), market.nodes[-1], upper)
    early, late = slice(None, -1), slice(1, None)
    steep = _dearest(market.rows(early), left, at.rows(early), high, blur[early], 1.0)
    steep *= at.terms.rows(early).use_for(upper[1:])
    lower = np.where(unsolved[:, None], market.nodes[0], lower[:-1])
    flat = _dearest(market.rows(late), right, at.rows(late), low, blur[late], -1.0)
    flat *= at.terms.rows(late).use_for(lower)
    if own.mixed is not None:
        steep = held(solved, early, late, left, high, steep, 1.0)
        flat = held(solved, late, early, right, low, flat, -1.0)
        flat = np.where(unsolved[:, None], np.minimum(flat, 0.0), flat)
    if market.waits is not None:
        steep, flat = np.where(market.waits[:-1], 0.0, steep), np.where(market.waits[1:], 0.0, flat)
    steep, flat = market.fleet.total(steep), market.fleet.total(np.where(np.isfinite(flat), flat, 0.0))
    steep, flat = steep * (1.0 + _ALIKE), flat * (1.0 - _ALIKE)
    # At no price the dual does not change; the answers of idle cells are to a price that they do not have.
    return np.where(np.isneginf(high), 0.0, steep), np.where(np.isneginf(low), 0.0, flat)


def _dearest(market: Market, found: Answer, at: State, log_price: Array, blur: Array, sign: float) -> Array:
    """Bounds on the true p, from above (`sign` 1) or below (-1).

    It lies between λ/X' and w·e' where the client is. The logarithm of X' changes by at most 4 per v, and
    where x is close, v is at most twice as far as X' says. On its floor a client's p is w·e', below λ/X';
    who is full on the least bandwidth there is may be so on less, where p is as small as one likes.
    """
    near, off = found.reach / at.per_v, np.abs(found.shift) + blur / at.per_v
    towards = np.minimum(np.maximum(sign * found.excess, 0.0), np.where(near <= _NEAR, 8.0 * near, np.inf))
    most = towards + np.where(off <= _NEAR, 8.0 * off, np.inf)
    bound = np.exp(market.fleet.spread(log_price) - at.gain + sign * most)
    if sign < 0:
        pinned = at.bandwidth <= np.exp(market.least + _ON_LEAST) * market.fleet.snr_hz
        bound = np.where(pinned & (at.x >= market.nodes[-1]), 0.0, bound)
    if market.dear is None:
        return np.asarray(bound)
    if sign > 0:
        return np.asarray(np.minimum(bound, np.exp(market.dear + 1e-12)))
    floored = np.isfinite(market.dear) & (at.keep - found.reach <= market.low + _ON_FLOOR)
    return np.asarray(np.where(floored, found.price * np.exp(np.minimum(found.excess, 0.0)), bound))
