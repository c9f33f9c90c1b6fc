"""When a transfer began and ended, from readings of a counter."""

import numpy as np
import pytest

from airtune.testbed.wire import transfer


def counted(*parts: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Readings every 50 ms of a link that carries, one after the other, (seconds, bytes)."""
    ends, totals = np.cumsum([(0.0, 0.0), *parts], axis=0).T
    times = np.arange(0.0, ends[-1] + 0.05, 0.05)
    return times, np.interp(times, ends, totals)


def test_a_steady_transfer_takes_what_it_takes():
    times, totals = counted((10, 0), (20, 8e6), (10, 0))
    found = transfer(times, totals, 5, 38)
    assert found.bytes == pytest.approx(8e6)
    assert (found.begin, found.end) == (pytest.approx(10, abs=0.05), pytest.approx(30, abs=0.05))


def test_questions_before_and_after_it_do_not_count():
    times, totals = counted((3, 500), (0.1, 20e3), (6.9, 500), (20, 8e6), (3, 500), (0.1, 20e3), (6.9, 500))
    assert transfer(times, totals, 0, 40).seconds == pytest.approx(20, rel=0.01)


def test_a_pause_within_it_counts():
    times, totals = counted((5, 4e6), (2, 0), (5, 4e6))
    assert transfer(times, totals, 0, 12).seconds == pytest.approx(12, rel=0.02)


def test_only_what_passes_between_both_moments_counts():
    times, totals = counted((10, 5e6), (5, 0), (10, 1e6))
    found = transfer(times, totals, 12, 30)
    assert found.bytes == pytest.approx(1e6)
    assert found.seconds == pytest.approx(10, rel=0.01)


def test_nothing_takes_no_time():
    times, totals = counted((10, 0))
    found = transfer(times, totals, 2, 8)
    assert (found.seconds, found.bytes) == (0, 0)
