"""Base and penalty from runs whose base and penalty are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtune.planning import ErrorPower, Rounds
from airtune.planning.calibrate import Reached, fit, reached, tells_penalty

START, TARGET = 2.0, 0.5


def played(error: np.ndarray, base: float, penalty: float) -> np.ndarray:
    """Losses of a run that goes (1 - penalty·E)/base of the way in every round."""
    progress = 1 / Rounds(base, penalty, ErrorPower(2.0)).count(error)
    return START - (START - TARGET) * np.append(0.0, np.cumsum(progress))


@given(
    base=st.floats(1.5, 30),
    penalty=st.floats(0.05, 1.5),
    means=st.lists(st.floats(0, 0.5), min_size=2, max_size=6),
    seed=st.integers(0, 1000),
)
def test_what_made_the_runs_is_found(base, penalty, means, seed):
    rng = np.random.default_rng(seed)
    rounds = int(np.ceil(base / (1 - penalty * 0.55))) + 1
    errors = [np.clip(mean + rng.uniform(-0.05, 0.05, rounds), 0, 0.55) for mean in means]
    runs = [reached(played(error, base, penalty), error, TARGET + 1e-9) for error in errors]
    if not tells_penalty(runs):
        return
    found = fit(runs)
    assert (found.base, found.penalty) == (pytest.approx(base, rel=1e-5), pytest.approx(penalty, rel=1e-4))
    assert found.residual < 1e-6
    assert fit(runs[:1], penalty).base == pytest.approx(base, rel=1e-6)


def test_noise_is_the_residual():
    """Three runs by hand: without error 10 rounds, at error 0.5 once 19 and once 21 instead of 20."""
    found = fit([Reached(10, 0), Reached(19, 9.5), Reached(21, 10.5)])
    assert found.base == pytest.approx(10)
    assert found.penalty == pytest.approx(1, rel=0.01)
    assert found.residual == pytest.approx(np.sqrt(2 / 3) * 0.05, rel=0.02)


def test_the_first_crossing_counts_between_rounds():
    loss, error = np.array([2.0, 1.5, 1.0, 1.2, 0.8]), np.array([0.1, 0.2, 0.3, 0.4])
    assert reached(loss, error, 1.25) == Reached(1.5, pytest.approx(0.2))
    assert reached(loss, error, 1.0) == Reached(2.0, pytest.approx(0.3))
    assert reached(loss, error, 0.7) is None


def test_runs_of_one_error_do_not_tell_the_penalty():
    assert not tells_penalty([Reached(10, 2)])
    assert not tells_penalty([Reached(10, 2), Reached(12, 2.4)])
    assert tells_penalty([Reached(10, 2), Reached(12, 3.6)])


def test_no_base_fits_what_no_base_made():
    assert fit([Reached(10, 9)], penalty=2.0) is None
