"""What clients do at given deadlines when bandwidth has a price: the inner half of the dual.

At deadline T and price λ (weighted error per Hz, one for each cell) client k minimises w·e(1 - x) + λ·β(x)
over its keep rate x, where β is the inverse of X(b) = (R(b)(T - F) - U0) / (U + R(b)C), the keep rate that
b supports. X is concave and increasing, β convex and increasing. The state of a client is v = log(b/g).

Nothing here has to converge to be of use. From any b, with x = X(b), the tangent p = λ/X'(b) prices x, and
the x' that is best at that price answers in closed form. The optimum lies between x and x'; this bounds
what is missing, in value and in place. Newton's step on log(w·e'·X'(b)) = log λ goes no further than x'.

With tables or an energy budget X is the least of several such curves, so that β has kinks. The least one
counts at b; the others' tangents there stop x' where they become dearer (see `kinks`).

Arrays are (n, K) for n deadlines; rates are shares of the link's ceiling g/ln 2, bits are seconds at it.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from airtune.planning.fleet import Array, Fleet
from airtune.planning.kinks import Kinks, Terms, ahead, binding
from airtune.radio.rate import reached

# A client is given this share of its cell at least, so that the logarithm of b exists.
LEAST_SHARE = 1e-15
ROUNDING = 1e-15  # of x
_BLUR = 4e-15  # relative: of the terms that x is the difference of
_LEAST_PRUNE = 1e-18  # so that the logarithm of ρ exists
_CLOSE = 0.1  # how far v may be from the optimum for a bound by the curvature of the rate


@dataclass(frozen=True)
class Market:
    """Some whole cells at n deadlines; per client (K,), per deadline and client (n, K).

    `terms` are the limits' numbers, `top` above what x may be however much bandwidth there is. `marginal` is
    log(w·scale) and `nodes` x at the ends of the pieces of the error curve, both with pieces first: (J, K)
    and (J+1, K).
    A floor under a client's bandwidth is one under its v, `least`, and under its keep rate, `low`, which
    grows with the deadline; (K,) without floors. `dear` is log(w·e') at `low`. Who is full on its floor
    `waits` there, at no price.
    """

    fleet: Fleet
    terms: Terms
    top: Array
    bend: Array
    marginal: Array
    nodes: Array
    straight: npt.NDArray[np.bool_]
    least: Array
    most: Array
    low: Array
    dear: Array | None = None
    waits: npt.NDArray[np.bool_] | None = None

    @classmethod
    def of(cls, fleet: Fleet, deadlines: Array) -> "Market":
        terms = Terms.of(fleet, deadlines)
        top = (terms.room - terms.bits0) / (terms.bits + terms.compute) + ROUNDING
        whole = np.log(fleet.spread(fleet.bandwidth_hz) / fleet.snr_hz)
        nodes = np.ascontiguousarray(fleet.pieces.nodes.T)
        market = cls(
            fleet=fleet,
            terms=terms,
            top=top if fleet.limits is None else top.min(0),
            bend=fleet.pieces.power - 1.0,
            marginal=np.log(fleet.weight[:, None] * fleet.pieces.scale).T,
            nodes=nodes,
            straight=fleet.pieces.power == 1.0,
            least=whole + np.log(LEAST_SHARE),
            most=whole + 1.0,
            low=nodes[0],
        )
        return market._on_floors() if fleet.floor_hz.any() else market

    def _on_floors(self) -> "Market":
        """With the floors under bandwidth as floors under v and x."""
        fleet, low, high = self.fleet, self.nodes[0], self.nodes[-1]
        some = fleet.floor_hz > 0
        least = np.maximum(self.least, np.log(fleet.floor_hz / fleet.snr_hz))
        share, terms = reached(np.exp(least), 1.0, fleet.rate).share, self.terms
        x = (share * terms.room - terms.bits0) / (terms.bits + share * terms.compute)
        x = np.where(some, x if fleet.limits is None else x.min(0), -np.inf)
        keep = np.minimum(np.maximum(x, low), high)
        piece = (keep > self.nodes[1:-1, None]).sum(0, dtype=np.intp)
        dear = self.marginal.take(np.where(self.straight, piece, 0) * len(low) + np.arange(len(low)))
        dear = dear + self.bend * np.log(np.maximum(1.0 - keep, _LEAST_PRUNE))
        dear = np.where(x > low, dear, np.inf)
        return replace(self, least=least, low=keep, dear=dear, waits=x >= high)

    def rows(self, chosen: slice) -> "Market":
        """The market at some of the deadlines."""
        some = replace(self, terms=self.terms.rows(chosen), top=self.top[chosen])
        if self.dear is None or self.waits is None:
            return some
        return replace(some, low=self.low[chosen], dear=self.dear[chosen], waits=self.waits[chosen])


@dataclass(frozen=True)
class State:
    """Clients on bandwidth g·exp(v): x and dx/dv; what does not depend on a price.

    `gain` is log X'(b), `fall` its derivative by v and `flattening` the part of that which the rate has.
    `error` is w·e at `keep`, which is x moved into its range, `lead` log(w·e') there and `stiff` its
    derivative by x. `use` is ∂X/∂T. `terms` are those of the limit that counts, `kinks` what is known of the
    others, where there are any.
    """

    bandwidth: Array
    x: Array
    keep: Array
    per_v: Array
    gain: Array
    fall: Array
    flattening: Array
    error: Array
    lead: Array
    stiff: Array
    use: Array
    terms: Terms
    kinks: Kinks | None

    def rows(self, chosen: slice) -> "State":
        values = {name: value[chosen] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        kinks = None if self.kinks is None else self.kinks.rows(chosen)
        return replace(self, **values, terms=self.terms.rows(chosen), kinks=kinks)

    def blur(self) -> Array:
        """How far x may be off by rounding: much where little is left of the room after the fixed bits."""
        if self.kinks is None:
            return _BLUR * (2.0 * self.use * self.terms.room - self.x + 1.0)
        whole = self.terms.room * self.kinks.share / (self.terms.bits + self.kinks.share * self.terms.compute)
        return _BLUR * (np.abs(whole) + np.abs(whole - self.x) + 1.0)


def state(market: Market, v: Array) -> State:
    """The clients at v (n, K)."""
    fleet = market.fleet
    z = np.exp(v)
    bandwidth = z * fleet.snr_hz
    at = reached(z, 1.0, fleet.rate)
    terms, kinks = market.terms, None
    if fleet.limits is not None:
        terms, kinks = binding(terms, at.share)
    inverse = 1.0 / (terms.bits + at.share * terms.compute)
    x = (at.share * terms.room - terms.bits0) * inverse
    pinned = v <= market.least
    if pinned.any():
        # Who is fuller than may be on the least bandwidth there is has nothing to give back.
        x = np.where(pinned, np.minimum(x, market.nodes[-1]), x)
    use = at.share * inverse if terms.grows is None else at.share * inverse * terms.grows
    per_z = terms.work * inverse * inverse * at.slope
    per_v = per_z * z
    flattening = at.curvature * z / at.slope
    fall = flattening - 2.0 * terms.compute * inverse * (at.slope * z)
    gain = np.log(per_z / fleet.snr_hz)
    # Beyond ρ = 0 the mirrored ρ keeps the logarithm; the way back is part of the step.
    prune = np.minimum(np.maximum(np.abs(1.0 - x), 1.0 - market.nodes[-1]), 1.0 - market.low)
    prune = np.maximum(prune, _LEAST_PRUNE)
    keep = 1.0 - prune
    if len(market.marginal) == 1:
        scale, offset, lead = fleet.pieces.scale[:, 0], fleet.pieces.offset[:, 0], market.marginal[0]
    else:
        piece = (keep > market.nodes[1:-1, None]).sum(0, dtype=np.intp)
        piece = np.where(market.straight, piece, 0)
        place = np.arange(len(fleet.order)) * fleet.pieces.scale.shape[1] + piece
        scale, offset = fleet.pieces.scale.take(place), fleet.pieces.offset.take(place)
        lead = market.marginal.take(piece * len(fleet.order) + np.arange(len(fleet.order)))
    if market.straight.all():
        error, lead, stiff = offset + scale * prune, lead + 0.0 * prune, np.zeros_like(prune)
    else:
        log_prune = np.log(prune)
        lead = lead + market.bend * log_prune
        error = offset + scale * np.exp(fleet.pieces.power * log_prune) / fleet.pieces.power
        stiff = market.bend / prune
    error = fleet.weight * error
    return State(bandwidth, x, keep, per_v, gain, fall, flattening, error, lead, stiff, use, terms, kinks)


@dataclass(frozen=True)
class Answer:
    """The clients' answer to prices from where they are.

    `excess` is log(w·e'·X'/λ). `shift` and `step` are changes of v: into the range of x, and from there to
    the optimum as far as Newton knows; `elasticity` is dv/dlog λ there. `price` is λ/X', `paid` λ·b.
    `reach` bounds how far x is from the optimum, `missing` how much the minimand can still fall. Where
    another limit stops x', `reach` and `missing` hold with the price made up of this limit's and, by the part
    `mixed`, of the limit `other`'s.
    """

    excess: Array
    shift: Array
    step: Array
    elasticity: Array
    price: Array
    paid: Array
    reach: Array
    missing: Array
    other: npt.NDArray[np.intp] | None = None
    mixed: Array | None = None

    def rows(self, chosen: slice) -> "Answer":
        return Answer(**{name: values[chosen] for name, values in vars(self).items() if values is not None})


def answer(market: Market, at: State, log_price: Array) -> Answer:
    """Answers to log λ (n, cells)."""
    fleet = market.fleet
    log_keep = fleet.spread(log_price) - at.gain
    excess = at.lead - log_keep
    price = np.exp(log_keep)
    inverse = 1.0 / at.per_v
    # Along the rate curve the logarithm of `flattening` changes by 2 per v at most.
    distance = -2.0 * np.abs(excess) / at.flattening
    outside = at.keep - at.x
    shift = np.where(np.abs(outside) > ROUNDING, outside, 0.0) * inverse
    if market.waits is not None:
        shift = np.where(market.waits, market.least - np.log(at.bandwidth / fleet.snr_hz), shift)
    close = (distance <= _CLOSE) & (np.abs(shift) <= 1e-9)
    near = np.where(close, 2.0 * distance * at.per_v, np.inf)
    best, ends = _best(market, at, log_keep, excess)
    other, mixed = None, None
    if at.kinks is not None:
        kink, dearer, other = ahead(at.kinks, excess > 0)
        # A kink counts unless the optimum is known to be closer, or x was moved into its range.
        counts = (np.abs(kink) <= near) & (shift == 0)
        kink = np.where(counts, at.keep + kink, np.where(excess > 0, np.inf, -np.inf))
        beyond, _ = _best(market, at, log_keep + dearer, excess - dearer)
        stop = np.where(excess > 0, np.maximum(kink, beyond), np.minimum(kink, beyond))
        stops = np.where(excess > 0, kink < best, kink > best)
        mixed = np.where(stops, np.minimum(np.expm1(excess) / np.expm1(dearer), 1.0), 0.0)
        best, ends = np.where(stops, stop, best), ends | (stops & (stop == kink))
    away = np.minimum(best, np.maximum(market.top, at.keep)) - at.keep
    # dX/dv grows as exp((1 + fall)·v), and less and less: to the right this falls short of x', to the left
    # a step in log b does.
    go, rise = away * inverse, 1.0 + at.fall
    go = np.where(go > 0, np.log1p(np.maximum(rise * go, -0.95)) / rise, go)
    newton = -excess / (at.fall - at.stiff * at.per_v)
    limited = np.abs(newton) >= np.abs(go)
    step = np.where(limited, go, newton)
    elasticity = np.where(limited & ends, 0.0, 1.0 / (at.fall - at.stiff * at.per_v))
    if market.waits is not None:
        step, elasticity = (np.where(market.waits, 0.0, values) for values in (step, elasticity))
    reach = np.minimum(np.abs(away), near)
    paid = price * at.per_v
    # |w·e' - p|, where one of the two may be below all floats.
    missing = np.exp(np.maximum(at.lead, log_keep)) * -np.expm1(-np.abs(excess)) * reach
    if mixed is not None:
        # To the kink at this limit's price, from there on at the other's.
        reach = np.where(mixed > 0, np.abs(away), reach)
        first = np.minimum(np.abs(kink - at.keep), reach)
        log_beyond = log_keep + dearer
        fall = np.exp(np.maximum(at.lead, log_keep)) * -np.expm1(-np.abs(excess)) * first
        rest = np.exp(np.maximum(at.lead, log_beyond)) * -np.expm1(-np.abs(excess - dearer))
        fall += np.where(reach > first, rest * (reach - first), 0.0) + _BLUR * np.exp(log_beyond)
        missing = np.where(mixed > 0, fall, missing)
    return Answer(excess, shift, step, elasticity, price, paid, reach, missing, other, mixed)


def _best(market: Market, at: State, log_keep: Array, excess: Array) -> tuple[Array, npt.NDArray[np.bool_]]:
    """The keep rate that is best where x costs exp(log_keep) each, and whether it is an end of a piece."""
    nodes = market.nodes
    if not market.straight.all():
        high, low = np.maximum(1.0 - nodes[-1], _LEAST_PRUNE), np.maximum(1.0 - market.low, _LEAST_PRUNE)
        prune = (1.0 - at.keep) * np.exp(-excess / market.bend)
        inside = np.minimum(np.maximum(prune, high), low)
        best, fixed = 1.0 - inside, inside != prune
        if not market.straight.any():
            return best, fixed
    if len(market.marginal) == 1:
        kink = np.where(market.marginal[0] > log_keep, nodes[1], nodes[0])
    else:
        wanted = (market.marginal[:, None] > log_keep).sum(0, dtype=np.intp)
        kink = nodes.take(wanted * nodes.shape[1] + np.arange(nodes.shape[1]))
    kink = np.maximum(kink, market.low)
    if market.straight.all():
        return kink, np.ones(kink.shape, bool)
    return np.where(market.straight, kink, best), market.straight | fixed
