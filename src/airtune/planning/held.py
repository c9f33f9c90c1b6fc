"""How fast the dual falls over an interval where clients pass from one limit to another.

A limit that binds at one end of the interval may not at the other, and where two do, x may move either way as
T grows. But for any part θ in [0, 1], λ·β ≥ (1-θ)·λ·β_a + θ·λ·β_j. With θ held over the interval as λ is,
the client is one of a single smooth limit: its x(T) never falls as T grows, and its φ falls by

    -φ'(T) = (1-θ)·D_a(x(T), T) + θ·D_j(x(T), T),    D_l(x, T) = -λ ∂β_l/∂T

which rises with x and falls with T (D = 0 for energy). So D at one end's T, and at the other end's x, bounds
it. That x, at the θ and λ of this end, is not known; but where the mixture of prices there is above w·e',
x is smaller, and where it is below, larger. A guess that proves so is good enough.
"""

from typing import TYPE_CHECKING

import numpy as np

from airtune.planning.fleet import Array
from airtune.planning.kinks import Index, Terms
from airtune.radio.rate import LN2, bandwidth_for_rate, reached

if TYPE_CHECKING:
    from airtune.planning.deadline import Solved
    from airtune.planning.response import Answer, Market

_STRIDES = (1.5, 6.0)  # of Newton's steps, for x on the safe side of the optimum
_ROUNDING = 1e-9


def held(
    solved: "Solved", here: slice, there: slice, found: "Answer", log_price: Array, slopes: Array, sign: float
) -> Array:
    """`slopes` (n-1, K), bounds on -φ' over n-1 intervals, with those of clients that change limits replaced.

    Args:
        here, there: rows of the ends whose prices are held, and of the other ends.
        found: the answers `here` to log prices (n-1, cells).
        sign: 1 for bounds from above, where `here` are the left ends; -1 for bounds from below.
    """
    market, at, own = solved.market, solved.at, solved.answer
    assert at.kinks is not None
    assert own.mixed is not None
    assert found.mixed is not None
    assert found.other is not None
    limit = at.kinks.own
    changing = (found.mixed > 0) | (own.mixed[there] > 0) | (limit[here] != limit[there])
    if not changing.any():
        return slopes
    row, client = np.nonzero(changing)
    rows = np.arange(len(limit))
    both = limit[here][row, client], found.other[row, client]
    ends = [[_flat(market.terms, chosen, rows[end][row], client) for chosen in both] for end in (here, there)]
    theta = found.mixed[row, client]
    fleet = market.fleet
    log_worth = fleet.spread(log_price)[row, client] + np.log(fleet.snr_hz[client])

    def mixture(terms: list[Terms], keep: Array) -> tuple[Array, Array]:
        """The price of x, and D."""
        priced = [_priced(each, keep, log_worth, fleet.rate) for each in terms]
        (price, fall), (more, faster) = priced
        return _mixed(theta, price, more), _mixed(theta, fall, faster)

    keep, low, high = at.keep[here][row, client], market.nodes[0, client], market.nodes[-1, client]
    price, _ = mixture(ends[1], keep)
    worth = _worth(market, keep, client, sign)
    bend = worth * at.stiff[here][row, client] - price * (at.fall / at.per_v)[here][row, client]
    step = np.abs(worth - price) / bend
    far = high if sign > 0 else low
    safe = far
    for stride in reversed(_STRIDES):
        guess = np.clip(keep + sign * (stride * step + 1e-12), low, high)
        price, _ = mixture(ends[1], guess)
        proven = sign * (price - _worth(market, guess, client, sign)) >= 0
        safe = np.where(proven & (fleet.floor_hz[client] == 0), guess, safe)
    _, fall = mixture(ends[0], safe)
    if sign > 0:
        use = np.maximum(*(terms.use_for(safe) for terms in ends[0]))
        most = found.price * np.maximum(np.exp(np.minimum(found.excess, 700.0)), 1.0)
        fall = np.fmin(fall, most[row, client] * use) * (1.0 + _ROUNDING)
        fall = np.where(np.isnan(fall), np.inf, fall)
    else:
        fall = np.where(np.isfinite(fall) & (fleet.floor_hz[client] == 0), fall * (1.0 - _ROUNDING), 0.0)
    slopes = slopes.copy()
    slopes[row, client] = fall
    return slopes


def _flat(terms: Terms, limit: Index, row: Index, client: Index) -> Terms:
    """The terms of chosen limits at chosen rows of clients."""
    some = (values[limit, row if values.shape[1] > 1 else 0, client] for values in vars(terms).values())
    return Terms(*some)


def _mixed(theta: Array, first: Array, other: Array) -> Array:
    """(1-θ)·first + θ·other, without infinities that count for nothing."""
    return np.where(theta < 1, (1.0 - theta) * first, 0.0) + np.where(theta > 0, theta * other, 0.0)


def _priced(terms: Terms, keep: Array, log_worth: Array, kind: str) -> tuple[Array, Array]:
    """λ·∂β/∂x and -λ·∂β/∂T at keep rates, infinite where no bandwidth is enough."""
    need, time = terms.bits0 + terms.bits * keep, terms.room - terms.compute * keep
    share = np.where(time > 0, need / np.where(time > 0, time, 1.0), np.inf)
    z = bandwidth_for_rate(share / LN2, 1.0, kind)
    within = (z > 0) & np.isfinite(z)
    slope = reached(np.where(within, z, 1.0), 1.0, kind).slope
    price = np.exp(log_worth) / (terms.gain(np.where(within, share, 0.5)) * slope)
    price = np.where(within, price, np.where(share <= 0, 0.0, np.inf))
    use = np.where(within, terms.use(np.where(within, share, 0.5)), np.where(share <= 0, 0.0, 1.0))
    grows = 1.0 if terms.grows is None else terms.grows
    return price, np.where(grows > 0, price * use, 0.0)


def _worth(market: "Market", keep: Array, client: Index, sign: float) -> Array:
    """w·e' at keep rates; at a kink of the error curve the larger slope (`sign` 1) or the smaller."""
    nodes = market.nodes[1:-1, client]
    piece = (keep > nodes).sum(0) if sign > 0 else (keep >= nodes).sum(0)
    piece = np.where(market.straight[client], piece, 0)
    lead = market.marginal[piece, client]
    bend = market.bend[client]
    return np.asarray(np.exp(lead + np.where(bend > 0, bend * np.log(1.0 - keep), 0.0)))
