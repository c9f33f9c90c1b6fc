"""Quotas of the processor, and the time factor that they need."""

import numpy as np
import pytest

from airtune import AirtuneError
from airtune.testbed.pace import FOR_OTHERS, MOST_OF_A_CORE, choose_pace


def test_slow_devices_run_in_real_time():
    pace = choose_pace(np.array([10e9, 30e9]), 100e9, cores=2)
    assert pace.factor == 1
    np.testing.assert_allclose(pace.cores, [0.1, 0.3])


def test_a_device_faster_than_a_core_slows_all_down_alike():
    pace = choose_pace(np.array([20e9, 200e9]), 100e9, cores=64)
    assert pace.factor == pytest.approx(2 / MOST_OF_A_CORE)
    np.testing.assert_allclose(pace.cores, [MOST_OF_A_CORE / 10, MOST_OF_A_CORE])


def test_all_devices_together_have_to_fit_the_machine():
    pace = choose_pace(np.full(8, 50e9), 100e9, cores=2)
    assert pace.cores.sum() == pytest.approx(2 * (1 - FOR_OTHERS))
    np.testing.assert_allclose(pace.cores * pace.factor, 0.5)


def test_a_device_too_slow_beside_the_fastest_is_refused():
    with pytest.raises(AirtuneError, match="at least 1 %"):
        choose_pace(np.array([1e9, 1000e9]), 100e9, cores=2)
