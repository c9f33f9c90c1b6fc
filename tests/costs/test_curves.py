import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtune.costs.curves import convex_envelope, fit_affine

points = st.lists(
    st.tuples(st.floats(0.01, 1.0), st.floats(0, 5)), min_size=1, max_size=8, unique_by=lambda p: p[0]
)


@given(st.floats(0, 1e9, allow_subnormal=False), st.floats(0, 1e9, allow_subnormal=False))
def test_an_affine_cost_is_fitted_exactly(fixed: float, prunable: float) -> None:
    prune = np.linspace(0, 1, 7)
    fit = fit_affine(prune, fixed + prunable * (1 - prune))
    assert fit.fixed == pytest.approx(fixed, abs=1e-6 * (fixed + prunable))
    assert fit.prunable == pytest.approx(prunable, abs=1e-6 * (fixed + prunable))


@given(points)
def test_the_envelope_is_convex_nondecreasing_and_below(measured: list[tuple[float, float]]) -> None:
    prune, error = np.array(sorted(measured)).T
    corners, values = convex_envelope(prune, error)
    assert (corners[0], values[0]) == (0, 0)
    assert corners[-1] == prune[-1]
    slopes = np.diff(values) / np.diff(corners)
    assert (slopes >= 0).all()
    assert (np.diff(slopes) >= -1e-9 * (1 + np.abs(slopes[1:]))).all()
    assert (np.interp(prune, corners, values) <= error + 1e-9).all()


@given(points)
def test_the_envelope_of_a_convex_curve_is_the_curve(measured: list[tuple[float, float]]) -> None:
    prune = np.sort(np.array(measured)[:, 0])
    corners, values = convex_envelope(prune, prune**2)
    assert np.allclose(np.interp(prune, corners, values), prune**2)
