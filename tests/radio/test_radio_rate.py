"""Rates against high-precision and sampled references; inverses over many decades."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from airtune.radio import RATES, bandwidth_for_rate, ergodic_rate, rate, shannon_rate
from airtune.radio.rate import reached, snr_for_rate

decades = st.floats(-7, 7).map(lambda exponent: 10.0**exponent)
kinds = pytest.mark.parametrize("kind", RATES)


def reference(kind: str, z: float) -> tuple[float, ...]:
    """u, 1 - u, u' and u'' at z with 60 digits."""
    with mpmath.workdps(60):
        z = mpmath.mpf(z)
        if kind == "shannon":
            log = mpmath.log1p(1 / z)
            values = z * log, 1 - z * log, log - 1 / (1 + z), -1 / (z * (1 + z) ** 2)
        else:
            scaled = mpmath.exp(z) * mpmath.e1(z)
            share = z * scaled
            values = share, 1 - share, (1 + z) * scaled - 1, (2 + z) * scaled - 1 - 1 / z
        return tuple(float(value) for value in values)


@kinds
def test_curve_and_derivatives_over_24_decades(kind: str) -> None:
    z = np.append(10.0 ** np.linspace(-14, 10, 73), [99.9, 100.1])
    expected = np.array([reference(kind, value) for value in z]).T
    for found, wanted in zip(reached(z, np.ones_like(z), kind), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10)


@pytest.mark.parametrize("bandwidth", [1e4, 1e6, 1e8])
def test_ergodic_rate_is_the_mean_over_fading(bandwidth: float) -> None:
    snr = 3e7
    mean, _ = quad(lambda h: np.exp(-h) * shannon_rate(bandwidth, snr * h), 0, 60, limit=200)
    assert ergodic_rate(bandwidth, snr) == pytest.approx(mean, rel=1e-7)
    gains = np.random.default_rng(1).exponential(size=200_000)
    sampled = shannon_rate(bandwidth, snr * gains).mean()
    assert ergodic_rate(bandwidth, snr) == pytest.approx(sampled, rel=0.01)


@kinds
def test_limits(kind: str) -> None:
    ceiling = 5.0 / np.log(2)
    assert rate([0.0, 1e30, np.inf], 5.0, kind) == pytest.approx([0.0, ceiling, ceiling])
    assert rate(1e-300, 5.0, kind) < 1e-296


@kinds
@given(z=decades, snr=decades)
def test_bandwidth_inverts_the_rate(kind: str, z: float, snr: float) -> None:
    bandwidth = z * snr
    wanted = rate(bandwidth, snr, kind)
    found = bandwidth_for_rate(wanted, snr, kind)
    assert rate(found, snr, kind) == pytest.approx(wanted, rel=1e-13)
    # The rate itself carries only 16 digits, of which large z = b/g leaves few to tell b by.
    assert found == pytest.approx(bandwidth, rel=1e-13 + 1e-15 * z)


@kinds
def test_no_bandwidth_is_enough_beyond_the_ceiling(kind: str) -> None:
    ceiling = 5.0 / np.log(2)
    found = bandwidth_for_rate([0.0, 0.5 * ceiling, ceiling * (1 + 1e-15), 2 * ceiling, np.inf], 5.0, kind)
    assert found[0] == 0
    assert np.isfinite(found[1])
    assert np.isinf(found[2:]).all()


@kinds
@given(efficiency=st.floats(-6, 2.8).map(lambda exponent: 10.0**exponent), bandwidth=decades)
def test_snr_inverts_the_rate(kind: str, efficiency: float, bandwidth: float) -> None:
    wanted = efficiency * bandwidth
    assert rate(bandwidth, snr_for_rate(wanted, bandwidth, kind), kind) == pytest.approx(wanted, rel=1e-12)


@kinds
def test_snr_beyond_all_floats_is_infinite(kind: str) -> None:
    assert np.isinf(snr_for_rate(1e6, 1.0, kind))


@kinds
@given(z=decades)
def test_more_bandwidth_helps_ever_less(kind: str, z: float) -> None:
    slow, middle, fast = rate(np.array([0.5, 1.0, 1.5]) * z, 1.0, kind)
    assert slow < middle < fast
    assert middle >= 0.5 * (slow + fast)


def test_fading_costs_rate() -> None:
    z = np.geomspace(1e-6, 1e6, 25)
    assert (ergodic_rate(z, 1.0) < shannon_rate(z, 1.0)).all()
