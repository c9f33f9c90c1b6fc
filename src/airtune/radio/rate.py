"""Bit rate of a link of given bandwidth, its derivatives and its inverses.

A link with received power P·h over noise density N0 has g = P·h/N0 in Hz (`snr_hz`): on b Hz its
signal-to-noise ratio is g/b. However much bandwidth it gets, its rate stays below g/ln 2. Both kinds of
link are therefore one curve u(z) of z = b/g, the share of that ceiling that is reached:

    shannon           u(z) = z ln(1 + 1/z)        R = b log2(1 + g/b)
    ergodic-rayleigh  u(z) = z exp(z) E1(z)       R = E[b log2(1 + |h|² g/b)], |h|² ~ Exp(1)

u increases from 0 to 1 and is concave; R = (g/ln 2) u(b/g). The second form is eq. (15.26) of Simon and
Alouini, Digital Communication over Fading Channels.
"""

from collections.abc import Callable
from math import factorial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
LN2 = float(np.log(2.0))

# From here on the closed forms of the two curves cancel too much and their series in 1/z take over.
_SERIES_FROM = 1e2


class Reached(NamedTuple):
    """u(z), 1 - u(z) without cancellation, and the derivatives u'(z) and u''(z)."""

    share: Array
    missing: Array
    slope: Array
    curvature: Array


def _shannon(z: Array) -> Reached:
    snr = 1.0 / z
    logarithm = np.log1p(snr)
    part = 1.0 / (1.0 + z)
    share = z * logarithm
    exact = Reached(share, 1.0 - share, logarithm - part, -snr * part * part)
    return _with_series(z, exact, _SHANNON_SERIES)


def _ergodic_rayleigh(z: Array) -> Reached:
    # Imported here, because the import alone takes longer than planning a cell.
    from scipy.special import exp1

    near = np.minimum(z, _SERIES_FROM)
    scaled = np.exp(near) * exp1(near)
    share = near * scaled
    slope = (1.0 + near) * scaled - 1.0
    exact = Reached(share, 1.0 - share, slope, slope + scaled - 1.0 / near)
    return _with_series(z, exact, _RAYLEIGH_SERIES)


# Coefficients of 1/z, 1/z², ... for missing, slope and curvature.
_Series = tuple[list[float], list[float], list[float]]
_SHANNON_SERIES: _Series = (
    [(-1.0) ** (n + 1) / (n + 1) for n in range(1, 10)],
    [(-1.0) ** n * (n - 1) / n for n in range(1, 10)],
    [(-1.0) ** n * max(n - 2, 0) for n in range(1, 10)],
)
_RAYLEIGH_SERIES: _Series = (
    [(-1.0) ** (n + 1) * factorial(n) for n in range(1, 15)],
    [(-1.0) ** n * (n - 1) * factorial(n - 1) for n in range(1, 15)],
    [(-1.0) ** n * max(n - 2, 0) * factorial(n - 1) for n in range(1, 15)],
)


def _with_series(z: Array, exact: Reached, series: _Series) -> Reached:
    far = z > _SERIES_FROM
    if not far.any():
        return exact
    inverse = 1.0 / z[far]
    for values, coefficients in zip(exact[1:], series, strict=True):
        total = np.zeros_like(inverse)
        for coefficient in reversed(coefficients):
            total = (total + coefficient) * inverse
        values[far] = total
    exact.share[far] = 1.0 - exact.missing[far]
    return exact


_CURVES: dict[str, Callable[[Array], Reached]] = {"shannon": _shannon, "ergodic-rayleigh": _ergodic_rayleigh}


def reached(bandwidth_hz: Array, snr_hz: Array | float, kind: str) -> Reached:
    """The curve `kind` (a key of RATES) at z = b/g, for bandwidths and `snr_hz` above 0 that broadcast."""
    return _CURVES[kind](np.atleast_1d(np.divide(bandwidth_hz, snr_hz)))


def rate(bandwidth_hz: npt.ArrayLike, snr_hz: npt.ArrayLike, kind: str) -> Array:
    """Rate in bit/s on `bandwidth_hz` (≥ 0, infinite allowed): 0 on no bandwidth, at most g/ln 2."""
    bandwidth, snr = np.broadcast_arrays(np.asarray(bandwidth_hz, float), np.asarray(snr_hz, float))
    rates = np.zeros(bandwidth.shape)
    some = (bandwidth > 0) & (snr > 0)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        rates[some] = snr[some] / LN2 * reached(bandwidth[some], snr[some], kind).share
    return rates


def shannon_rate(bandwidth_hz: npt.ArrayLike, snr_hz: npt.ArrayLike) -> Array:
    """b log2(1 + g/b) in bit/s, for arrays that broadcast."""
    return rate(bandwidth_hz, snr_hz, "shannon")


def ergodic_rate(bandwidth_hz: npt.ArrayLike, snr_hz: npt.ArrayLike) -> Array:
    """The Shannon rate averaged over Rayleigh fading, b log2(e) exp(b/g) E1(b/g), in bit/s."""
    return rate(bandwidth_hz, snr_hz, "ergodic-rayleigh")


RATES: dict[str, Callable[[npt.ArrayLike, npt.ArrayLike], Array]] = {
    "shannon": shannon_rate,
    "ergodic-rayleigh": ergodic_rate,
}


def bandwidth_for_rate(
    rate_bps: npt.ArrayLike, snr_hz: npt.ArrayLike, kind: str, near: npt.ArrayLike = 0.0
) -> Array:
    """The bandwidth in Hz on which the rate is `rate_bps`; infinite where no bandwidth is enough.

    `near` is where to start from, where it is finite and above 0.

    Newton on the logarithm of (1 - u)/u as a function of log z: close to a straight line from one end
    to the other, so that it converges in a few steps wherever it starts.
    """
    wanted, snr = np.broadcast_arrays(np.asarray(rate_bps, float), np.asarray(snr_hz, float))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        share = np.atleast_1d(wanted * LN2 / snr)
        within = (share > 0) & (share < 1)
        share = np.where(within, share, 0.5)
        target = np.log((1.0 - share) / share)
        z = np.broadcast_to(near, wanted.shape) / snr
        z = np.where(within & (z > 0) & np.isfinite(z), z, np.exp(-target))
        for _ in range(60):
            at = _CURVES[kind](z)
            odds = np.log(at.missing / at.share) - target
            step = odds * at.share * at.missing / (z * at.slope)
            z = z * np.exp(np.minimum(np.maximum(step, -5.0), 5.0))
            if np.abs(step).max(initial=0.0) < 1e-8:  # quadratic convergence: what is left is below rounding
                break
        outside = np.where(wanted <= 0, 0.0, np.inf)
        return np.asarray(np.where(within, z * snr, outside)).reshape(wanted.shape)


def snr_for_rate(rate_bps: npt.ArrayLike, bandwidth_hz: npt.ArrayLike, kind: str) -> Array:
    """The `snr_hz` with which `bandwidth_hz` carries `rate_bps` (both above 0); infinite on overflow.

    With v = R ln 2 / b, Shannon gives g/b = exp(v) - 1. The same transform makes the ergodic mean
    exp(z)E1(z) = v close to a straight line over log z, on which Newton converges.
    """
    wanted, bandwidth = np.broadcast_arrays(np.asarray(rate_bps, float), np.asarray(bandwidth_hz, float))
    efficiency = wanted * LN2 / bandwidth
    with np.errstate(over="ignore"):
        ratio = np.expm1(efficiency)
    if kind == "shannon":
        return np.asarray(ratio * bandwidth)
    snr = np.full(wanted.shape, np.inf)
    within = np.isfinite(ratio)
    z = 1.0 / ratio[within]
    target = np.log(ratio[within])
    for _ in range(60):
        at = _CURVES[kind](z)
        value = at.share / z  # exp(z) E1(z)
        excess = np.log(np.expm1(value)) - target
        step = excess * -np.expm1(-value) / at.missing
        z = z * np.exp(np.clip(step, -5.0, 5.0))
        if step.size == 0 or np.abs(step).max() < 1e-8:
            break
    snr[within] = bandwidth[within] / z
    return snr
