"""What every client does at given deadlines when bandwidth has a price: the inner half of the dual.

At deadline T and price λ (weighted error per Hz, one for each cell) client k minimises
w·e(1 - X(b)) + λ·b over b, where X(b) = (R(b)(T - F) - U0) / (U + R(b)C) is the keep rate that b supports.
X is concave and increasing (R is, and X as a function of R), so the minimand is strictly convex: either
b is at a node of the error curve, or w·e'·X'(b) = λ between two. That equation is solved in log b by
Newton's method inside a bracket; b rather than x, because at low SNR x says almost nothing about b.

Everything is done for n deadlines at once: arrays are (n, K), or (n, K, J+1) over nodes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from airtune.planning.bandwidth_only import ROUND_UP
from airtune.planning.fleet import Array, Fleet, Index
from airtune.radio.rate import LN2, bandwidth_for_rate, reached

# A client is given this share of its cell at least, so that the logarithm of b exists.
LEAST_SHARE = 1e-15
_TOLERANCE = 1e-11
_ITERATIONS, _NEWTON_ALONE = 100, 20  # whoever has not converged by then is bisected


@dataclass(frozen=True)
class Schedule:
    """n deadlines with what depends on them alone.

    `deadline` is (n, 1). `node_bandwidth` and `node_gain` (n, K, J+1) are b and X'(b) at the nodes (R'(b)
    for rigid clients, whose X does not depend on b).
    Client k leaves node j to the right when log λ < `leaves` (n, K, J), and reaches node j+1 when
    log λ ≤ `reaches` (n, K, J).
    """

    deadline: Array
    node_bandwidth: Array
    node_gain: Array
    leaves: Array
    reaches: Array

    def rows(self, chosen: Index) -> "Schedule":
        """The schedule of some of its deadlines, by index."""
        return Schedule(*(values[chosen] for values in vars(self).values()))

    @classmethod
    def of(cls, fleet: Fleet, deadlines: Array) -> "Schedule":
        """`deadlines` (n,) have to leave every client time for its smallest sub-model."""
        deadline = deadlines[:, None]
        bandwidth = bandwidth_for_rate(_node_rates(fleet, deadline), fleet.snr_hz[:, None], fleet.rate)
        least = LEAST_SHARE * fleet.spread(fleet.bandwidth_hz)
        bandwidth = np.maximum(bandwidth, least[:, None])
        gain = np.zeros_like(bandwidth)
        rows, clients, nodes = np.nonzero(np.isfinite(bandwidth))
        uplink = _Uplink.of(fleet, deadlines[rows], clients)
        with np.errstate(divide="ignore", invalid="ignore"):
            support = uplink.support(bandwidth[rows, clients, nodes])
        gain[rows, clients, nodes] = np.where(fleet.rigid[clients], support.rate_slope, support.gain)
        with np.errstate(divide="ignore"):
            log_gain = np.log(gain)
        right, left = fleet.log_gain
        return cls(deadline, bandwidth, gain, right + log_gain[..., :-1], left + log_gain[..., 1:])


def _node_rates(fleet: Fleet, deadline: Array) -> Array:
    """(n, K, J+1) the rate that each node needs; infinite where computing alone takes the deadline."""
    bits = fleet.fixed_bits[:, None] + fleet.payload_bits[:, None] * fleet.nodes
    busy = fleet.fixed_s[:, None] + fleet.compute_s[:, None] * fleet.nodes
    time = deadline[..., None] * ROUND_UP - busy
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return np.where(bits > 0, np.where(time > 0, bits / np.maximum(time, 0.0), np.inf), 0.0)


@dataclass(frozen=True)
class Response:
    """The clients' answer to prices.

    `elasticity` is d log b / d log λ (0 at a node), `gain` X'(b). `loss` bounds how far w·e + λ·b is above
    its minimum: where a derivative of ε·λ is left, the convex minimand falls by at most ε·λ·b to the left,
    by ε·w·e to the right, and either way by ε·λ times the width of the bracket that holds the minimum.
    """

    bandwidth: Array
    keep: Array
    error: Array
    elasticity: Array
    gain: Array
    loss: Array


def respond(fleet: Fleet, schedule: Schedule, log_price: Array, guess: Array) -> Response:
    """Best responses to log λ (n, cells), starting from `guess` (n, K) of log b."""
    price = fleet.spread(log_price)
    passed = (price[..., None] < schedule.leaves).sum(-1)
    before = np.maximum(passed - 1, 0)
    clients = np.arange(len(fleet.order))
    entry = np.arange(price.size).reshape(price.shape)
    moving = (passed > 0) & (price > schedule.reaches.take(entry * fleet.scale.shape[1] + before))
    node, fixed_node = (index * fleet.nodes.shape[1] + passed for index in (entry, clients))
    response = Response(
        bandwidth=schedule.node_bandwidth.take(node),
        keep=fleet.nodes.take(fixed_node),
        error=fleet.node_error.take(fixed_node),
        elasticity=np.zeros(price.shape),
        gain=schedule.node_gain.take(node),
        loss=np.zeros(price.shape),
    )
    rows, clients = np.nonzero(moving)
    if len(clients):
        piece = before[moving]
        low = np.log(schedule.node_bandwidth[rows, clients, piece])
        # Nobody gets more than the whole cell: any point beyond it, on the way down, bounds the rest.
        far = np.maximum(np.log(fleet.bandwidth_hz)[fleet.cell[clients]], low) + 1.0
        high = np.minimum(np.log(schedule.node_bandwidth[rows, clients, piece + 1]), far)
        between = _Between.of(fleet, schedule.deadline[rows, 0], clients, piece)
        found = between.solve(price[moving], low, high, guess[moving])
        for values, answer in zip(vars(response).values(), found, strict=True):
            values[moving] = answer
    return response


class _Support(NamedTuple):
    """What b Hz do: X(b), X'(b), d log X'(b) / d log b, and R'(b)."""

    keep: Array
    gain: Array
    bend: Array
    rate_slope: Array


@dataclass(frozen=True)
class _Uplink:
    """Clients at deadlines, flat: one entry per deadline and client. `room` is T - F."""

    rate: str
    snr_hz: Array
    room: Array
    compute: Array
    bits0: Array
    bits: Array

    @classmethod
    def of(cls, fleet: Fleet, deadlines: Array, clients: Index) -> "_Uplink":
        return cls(
            rate=fleet.rate,
            snr_hz=fleet.snr_hz[clients],
            room=deadlines - fleet.fixed_s[clients],
            compute=fleet.compute_s[clients],
            bits0=fleet.fixed_bits[clients],
            bits=fleet.payload_bits[clients],
        )

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "_Uplink":
        """Some of the entries."""
        rate, *arrays = vars(self).values()
        return _Uplink(rate, *(values[chosen] for values in arrays))

    def support(self, bandwidth: Array) -> _Support:
        at = reached(bandwidth, self.snr_hz, self.rate)
        rates, rate_slope = self.snr_hz / LN2 * at.share, at.slope / LN2
        work = self.bits + rates * self.compute
        keep = (rates * self.room - self.bits0) / work
        gain = (self.bits * self.room + self.bits0 * self.compute) / work**2 * rate_slope
        flattening = bandwidth / self.snr_hz * at.curvature / at.slope
        bend = flattening - 2.0 * self.compute * rate_slope * bandwidth / work
        return _Support(keep, gain, bend, rate_slope)


@dataclass(frozen=True)
class _Between:
    """Clients between two nodes of their error curve, flat. `bend` is m - 1, the others as in Fleet."""

    uplink: _Uplink
    weight: Array
    scale: Array
    offset: Array
    bend: Array

    @classmethod
    def of(cls, fleet: Fleet, deadlines: Array, clients: Index, piece: Index) -> "_Between":
        return cls(
            uplink=_Uplink.of(fleet, deadlines, clients),
            weight=fleet.weight[clients],
            scale=fleet.scale[clients, piece],
            offset=fleet.offset[clients, piece],
            bend=fleet.power[clients] - 1.0,
        )

    def solve(self, price: Array, low: Array, high: Array, guess: Array) -> Array:
        """The fields of a Response, (6, entries): Newton on log(w·e'·X'(b)) = log λ over y = log b."""
        answer = np.empty((6, len(guess)))
        place, work = np.arange(len(guess)), self
        y = np.where((low < guess) & (guess < high), guess, 0.5 * (low + high))
        for iteration in range(_ITERATIONS):
            bandwidth = np.exp(y)
            support = work.uplink.support(bandwidth)
            prune = np.maximum(1.0 - support.keep, 1e-300)
            saved = work.weight * work.scale * support.gain
            excess = work.bend * np.log(prune) + np.log(saved) - price
            with np.errstate(over="ignore"):
                slope = support.bend - work.bend * support.gain * bandwidth / prune
            low, high = np.where(excess > 0, y, low), np.where(excess < 0, y, high)
            finest = 1e-15 * (1.0 + np.abs(y))
            done = (np.abs(excess) <= _TOLERANCE) | (high - low <= 2.0 * finest)
            if iteration == _ITERATIONS - 1:
                done[:] = True
            # The few that take long go on alone.
            if done.sum() > 0.3 * len(done):
                power = work.bend + 1.0
                error = work.offset + work.scale * prune**power / power
                paid = np.exp(price + y)
                loss = np.minimum(np.maximum(work.weight * error, paid), paid * np.expm1(high - low))
                loss *= np.abs(np.expm1(excess))
                answer[:, place] = bandwidth, support.keep, error, 1.0 / slope, support.gain, loss
                if done.all():
                    break
            middle = 0.5 * (low + high) - y
            step = middle if iteration > _NEWTON_ALONE else work._step(excess, slope, finest, middle)
            inside = (low < y + step) & (y + step < high)
            y = np.where(done, y, y + np.where(inside, step, middle))
            if done.sum() > 0.3 * len(done):
                work = work.rows(~done)
                place = place[~done]
                y, low, high, price = (values[~done] for values in (y, low, high, price))
        return answer

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "_Between":
        """Some of the entries."""
        uplink, *others = vars(self).values()
        return _Between(uplink.rows(chosen), *(values[chosen] for values in others))

    def _step(self, excess: Array, slope: Array, finest: Array, middle: Array) -> Array:
        """Newton's step, or a cautious one where log ρ, singular at ρ = 0, would send it out of the bracket.

        The cautious one is Newton's on ρ·(the rest)^(1/(m-1)), unless bisection goes further. No step is
        below the rounding of y: it would never reach the other side, and the bracket would stay wide.
        """
        newton = np.sign(excess) * np.maximum(np.abs(excess / slope), finest)
        bend = np.maximum(self.bend, 1e-300)
        product = bend * np.expm1(np.clip(-excess / bend, -700.0, 700.0)) / slope
        cautious = np.where(np.abs(product) > np.abs(middle), product, middle)
        return np.where(np.abs(newton) < 2.0 * np.abs(middle), newton, cautious)
