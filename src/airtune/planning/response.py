"""What every client does at given deadlines when bandwidth has a price: the inner half of the dual.

At deadline T and price λ (weighted error per Hz, one for each cell) client k minimises
w·e(1 - X(b)) + λ·b over b, where X(b) = (R(b)(T - F) - U0) / (U + R(b)C) is the keep rate that b supports.
X is concave and increasing (R is, and X as a function of R), so the minimand is strictly convex: either
b is at a node of the error curve, or w·e'·X'(b) = λ between two. That equation is solved in log b by
Newton's method inside a bracket; b rather than x, because at low SNR x says almost nothing about b.

Everything is done for n deadlines at once: arrays are (n, K), or (n, K, J+1) over nodes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airtune.planning.fleet import Array, Fleet
from airtune.radio.rate import LN2, bandwidth_for_rate, reached

# A client is given this share of its cell at least, so that the logarithm of b exists.
LEAST_SHARE = 1e-15
_TOLERANCE = 1e-11


@dataclass(frozen=True)
class Schedule:
    """n deadlines with what depends on them alone.

    `deadline` is (n, 1). `node_bandwidth` and `node_gain` (n, K, J+1) are b and X'(b) at the nodes.
    Client k leaves node j to the right when log λ < `leaves` (n, K, J), and reaches node j+1 when
    log λ ≤ `reaches` (n, K, J).
    """

    deadline: Array
    node_bandwidth: Array
    node_gain: Array
    leaves: Array
    reaches: Array

    @classmethod
    def of(cls, fleet: Fleet, deadlines: Array) -> "Schedule":
        """`deadlines` (n,) have to leave every client time for its smallest sub-model."""
        deadline = deadlines[:, None]
        snr = fleet.snr_hz[:, None]
        bandwidth = bandwidth_for_rate(_node_rates(fleet, deadline), snr, fleet.rate)
        least = LEAST_SHARE * fleet.spread(fleet.bandwidth_hz)
        bandwidth = np.maximum(bandwidth, least[:, None])
        gain = np.zeros_like(bandwidth)
        within = np.isfinite(bandwidth)
        at = reached(bandwidth[within], np.broadcast_to(snr, bandwidth.shape)[within], fleet.rate)
        rates = np.broadcast_to(snr, bandwidth.shape)[within] / LN2 * at.share
        room, bits0, bits, compute, rigid = (
            np.broadcast_to(values[..., None], bandwidth.shape)[within]
            for values in (
                deadline - fleet.fixed_s, fleet.fixed_bits, fleet.payload_bits, fleet.compute_s, fleet.rigid
            )
        )
        work = np.where(rigid, 1.0, bits + rates * compute)
        gain[within] = np.where(rigid, 1.0, (bits * room + bits0 * compute) / work**2) * at.slope / LN2
        with np.errstate(divide="ignore"):
            log_gain = np.log(gain)
        right, left = fleet.log_gain
        return cls(deadline, bandwidth, gain, right + log_gain[..., :-1], left + log_gain[..., 1:])


def _node_rates(fleet: Fleet, deadline: Array) -> Array:
    """(n, K, J+1) the rate that each node needs; infinite where computing alone takes the deadline."""
    bits = fleet.fixed_bits[:, None] + fleet.payload_bits[:, None] * fleet.nodes
    busy = fleet.fixed_s[:, None] + fleet.compute_s[:, None] * fleet.nodes
    time = deadline[..., None] - busy
    with np.errstate(divide="ignore", over="ignore"):
        return np.where(bits > 0, np.where(time > 0, bits / np.maximum(time, 0.0), np.inf), 0.0)


@dataclass(frozen=True)
class Response:
    """The clients' answer to prices.

    `elasticity` is d log b / d log λ (0 at a node), `gain` X'(b), `residual` how far from 1 the ratio of
    w·e'·X'(b) and λ still is.
    """

    bandwidth: Array
    keep: Array
    error: Array
    elasticity: Array
    gain: Array
    residual: Array


def respond(fleet: Fleet, schedule: Schedule, log_price: Array, guess: Array) -> Response:
    """Best responses to log λ (n, cells), starting from `guess` (n, K) of log b."""
    price = fleet.spread(log_price)
    passed = (price[..., None] < schedule.leaves).sum(-1)
    before = np.maximum(passed - 1, 0)
    arrives = np.take_along_axis(schedule.reaches, before[..., None], -1)[..., 0]
    moving = (passed > 0) & (price > arrives)
    rows, clients = np.nonzero(moving)

    def at_node(values: Array) -> Array:
        whole = np.broadcast_to(values, schedule.node_bandwidth.shape)
        return np.take_along_axis(whole, passed[..., None], -1)[..., 0]

    response = Response(
        bandwidth=at_node(schedule.node_bandwidth),
        keep=at_node(fleet.nodes),
        error=at_node(fleet.node_error),
        elasticity=np.zeros(price.shape),
        gain=at_node(schedule.node_gain),
        residual=np.zeros(price.shape),
    )
    if len(clients):
        piece = before[moving]
        low = np.log(schedule.node_bandwidth[rows, clients, piece])
        far = np.log(fleet.bandwidth_hz)[fleet.cell[clients]] + 30.0
        high = np.minimum(np.log(schedule.node_bandwidth[rows, clients, piece + 1]), far)
        between = _Between.of(fleet, schedule.deadline[rows, 0], clients, piece)
        found = between.solve(price[moving], low, high, guess[moving])
        for values, answer in zip(vars(response).values(), found, strict=True):
            values[moving] = answer
    return response


@dataclass(frozen=True)
class _Between:
    """Clients between two nodes, flat: one entry per deadline and client."""

    rate: str
    snr_hz: Array
    room: Array
    compute: Array
    bits0: Array
    bits: Array
    log_scale: Array
    bend: Array
    scale: Array
    offset: Array

    @classmethod
    def of(
        cls, fleet: Fleet, deadline: Array, clients: npt.NDArray[np.intp], piece: npt.NDArray[np.intp]
    ) -> "_Between":
        scale = fleet.scale[clients, piece]
        return cls(
            rate=fleet.rate,
            snr_hz=fleet.snr_hz[clients],
            room=deadline - fleet.fixed_s[clients],
            compute=fleet.compute_s[clients],
            bits0=fleet.fixed_bits[clients],
            bits=fleet.payload_bits[clients],
            log_scale=np.log(fleet.weight[clients] * scale),
            bend=fleet.power[clients] - 1.0,
            scale=scale,
            offset=fleet.offset[clients, piece],
        )

    def solve(self, price: Array, low: Array, high: Array, guess: Array) -> tuple[Array, ...]:
        """Newton on log(w·e'·X'(b)) = log λ over y = log b, bisecting where it would leave the bracket."""
        y = np.where((low < guess) & (guess < high), guess, 0.5 * (low + high))
        for _ in range(100):
            bandwidth, keep, gain, log_marginal, slope = self._marginal(y)
            excess = log_marginal - price
            low, high = np.where(excess > 0, y, low), np.where(excess < 0, y, high)
            done = (np.abs(excess) <= _TOLERANCE) | (high - low <= 1e-15 * np.abs(y))
            if done.all():
                break
            proposal = y - excess / slope
            inside = (low < proposal) & (proposal < high)
            y = np.where(done, y, np.where(inside, proposal, 0.5 * (low + high)))
        prune = np.maximum(1.0 - keep, 0.0)
        error = self.offset + self.scale * prune ** (self.bend + 1.0) / (self.bend + 1.0)
        return bandwidth, keep, error, 1.0 / slope, gain, np.abs(np.expm1(excess))

    def _marginal(self, y: Array) -> tuple[Array, ...]:
        bandwidth = np.exp(y)
        at = reached(bandwidth, self.snr_hz, self.rate)
        rates = self.snr_hz / LN2 * at.share
        work = self.bits + rates * self.compute
        keep = (rates * self.room - self.bits0) / work
        slope_hz = at.slope / LN2
        gain = (self.bits * self.room + self.bits0 * self.compute) / work**2 * slope_hz
        prune = np.maximum(1.0 - keep, 1e-300)
        log_marginal = self.log_scale + self.bend * np.log(prune) + np.log(gain)
        slope = (
            bandwidth / self.snr_hz * at.curvature / at.slope
            - 2.0 * self.compute * slope_hz * bandwidth / work
            - self.bend * gain * bandwidth / prune
        )
        return bandwidth, keep, gain, log_marginal, slope
