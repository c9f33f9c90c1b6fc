"""Clients with several limits: X(b) is the least of their X_l(b), and β, the largest β_l, has kinks.

At one b every β_l has a tangent, and all of these are below β. Let limit a be the least there and p_a its
price λ/X_a'. Going to larger x, a limit j of a larger price takes over at about where its tangent crosses
that of a; going to smaller x, one of a smaller price. So x' stops there if w·e' lies between the two prices,
and the mixture of both whose price is w·e' bounds φ from below, as any mixture does.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from airtune.planning.fleet import Array, Fleet
from airtune.radio.rate import LN2

Index = npt.NDArray[np.intp]

_FLAT = 5e-10  # relative slope over x that a line without any gets: within what a judge of plans allows


@dataclass(frozen=True)
class Terms:
    """Numbers of the limits at n deadlines: on the share u of the link's ceiling, X = (u·room - bits0) /
    (bits + u·compute).

    (K,) or (n, K) where there is one limit a client, or one was chosen; else (L, 1, K) or (L, n, K).
    `work` is what dX/du is proportional to; `grows` is 1 where `room` grows with the deadline, else 0; None
    if it always does.
    """

    compute: Array
    bits0: Array
    bits: Array
    room: Array
    work: Array
    grows: Array | None = None

    @classmethod
    def of(cls, fleet: Fleet, deadlines: Array) -> "Terms":
        per_bit = LN2 / fleet.snr_hz
        if fleet.limits is None:
            bits0, bits = fleet.fixed_bits * per_bit, fleet.payload_bits * per_bit
            # Clients without a choice get one whose x is their own where they meet the deadline.
            bits = np.where(fleet.rigid, bits0, bits)
            bits0 = np.where(fleet.rigid, bits0 * (1.0 - fleet.keep_max), bits0)
            room = deadlines[:, None] - fleet.fixed_s
            return cls(fleet.compute_s, bits0, bits, room, bits * room + bits0 * fleet.compute_s)
        some = fleet.limits
        bits0, bits, compute, grows = some.bits0 * per_bit, some.bits * per_bit, some.compute, some.grows
        # Lines that do not depend on x get a slope: any for clients without a choice, else a trifle.
        flat, none = (bits == 0) & (compute == 0), fleet.keep_min == fleet.keep_max
        slope = np.where(flat, bits0 * np.where(none, 1.0, _FLAT), 0.0)
        start = np.where(none, fleet.keep_max, some.until)
        bits, bits0 = bits + slope, bits0 - slope * start
        # A limit without anything that it could limit is replaced by the client's first.
        empty = (bits == 0) & (compute == 0)
        room = some.room[:, None] + grows[:, None] * deadlines[:, None]
        bits, bits0, compute, grows = (
            np.where(empty, values[0], values) for values in (bits, bits0, compute, grows)
        )
        room = np.where(empty[:, None], room[0], room)
        bits, bits0, compute, grows = (values[:, None] for values in (bits, bits0, compute, grows))
        return cls(compute, bits0, bits, room, bits * room + bits0 * compute, grows)

    def rows(self, chosen: slice) -> "Terms":
        """The limits at some of the deadlines."""
        some = {name: _rows(values, chosen) for name, values in vars(self).items() if values is not None}
        return Terms(**some)

    def take(self, limit: Index) -> "Terms":
        """One limit (n, K) for each client."""
        return Terms(*(_take(values, limit) for values in vars(self).values()))

    def use(self, share: Array) -> Array:
        """∂X/∂T on shares of the ceiling."""
        use = share / (self.bits + share * self.compute)
        return use if self.grows is None else use * self.grows

    def use_for(self, keep: Array) -> Array:
        """∂X/∂T at the rate that keep rates need; at the whole ceiling where no rate is enough."""
        need, time = self.bits0 + self.bits * keep, self.room - self.compute * keep
        return self.use(np.where(time > 0, np.minimum(need / time, 1.0), 1.0))

    def gain(self, share: Array) -> Array:
        """What X' is proportional to on the same bandwidth."""
        inverse = 1.0 / (self.bits + share * self.compute)
        return self.work * inverse * inverse

    @property
    def early(self) -> Array:
        """∂log X'/∂T at the same bandwidth."""
        early = self.bits / self.work
        return early if self.grows is None else early * self.grows


def _rows(values: Array, chosen: slice) -> Array:
    if values.ndim == 1 or (values.ndim == 3 and values.shape[1] == 1):
        return values
    return values[..., chosen, :]


def _take(values: Array, limit: Index) -> Array:
    wide = np.broadcast_to(values, (len(values), *limit.shape))
    return np.asarray(np.take_along_axis(wide, limit[None], 0)[0])


@dataclass(frozen=True)
class Kinks:
    """Where other limits take over from the limit `own` (n, K) on the `share` of the ceiling; all (n, K).

    `up` and `down` are the limits that do so first to the right and to the left, `up_by` and `down_by` how
    far off in x, infinite where none does, and `up_log` and `down_log` the logarithms of their prices
    over a's.
    """

    share: Array
    own: Index
    up: Index
    up_by: Array
    up_log: Array
    down: Index
    down_by: Array
    down_log: Array

    def rows(self, chosen: slice) -> "Kinks":
        return Kinks(*(values[chosen] for values in vars(self).values()))


def binding(terms: Terms, share: Array) -> tuple[Terms, Kinks]:
    """The limits that count on shares of the ceiling (n, K), and where others take over."""
    x = (share * terms.room - terms.bits0) / (terms.bits + share * terms.compute)
    gain = terms.gain(share)
    own = np.argmin(x, axis=0)
    gap, ratio = x - _take(x, own), gain / _take(gain, own)
    up_by = np.where((ratio > 0) & (ratio < 1), gap / (1.0 - ratio), np.inf)
    down_by = np.where(ratio > 1, gap / (1.0 - ratio), -np.inf)
    up, down = np.argmin(up_by, axis=0), np.argmax(down_by, axis=0)
    up_log, down_log = (-np.log(_take(ratio, limit)) for limit in (up, down))
    kinks = Kinks(share, own, up, _take(up_by, up), up_log, down, _take(down_by, down), down_log)
    return terms.take(own), kinks


def ahead(kinks: Kinks, right: npt.NDArray[np.bool_]) -> tuple[Array, Array, Index]:
    """The next kink to the right or else to the left: how far it is, the logarithm of the price beyond it
    over that before it, and the limit that takes over there."""
    return (
        np.where(right, kinks.up_by, kinks.down_by),
        np.where(right, kinks.up_log, kinks.down_log),
        np.where(right, kinks.up, kinks.down),
    )
