import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtune.results.formats import amount, duration, number, si_scale, time_scale

PREFIX = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


@given(st.floats(1, 9e20))
def test_amount_keeps_three_digits(value):
    digits, unit = amount(value, "B").split()
    assert float(digits) * PREFIX[unit.removesuffix("B")] == pytest.approx(value, rel=0.006)
    assert float(digits) < 1000


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (999_960, "1 MB"), (1.234e7, "12.3 MB"), (5e11, "500 GB")]
)
def test_amount(value, text):
    assert amount(value, "B") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (8.44, "8.44 s"),
        (59.4, "59.4 s"),
        (59.97, "1 min 0 s"),
        (119.9, "2 min 0 s"),
        (200, "3 min 20 s"),
        (3599.8, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@given(st.floats(1e-4, 9e8))
def test_number_has_four_digits_and_no_exponent(value):
    text = number(value)
    assert float(text.replace(",", "")) == pytest.approx(value, rel=1e-3, abs=5e-4)
    assert "e" not in text


def test_scales_suit_the_largest_value():
    assert si_scale(0.0, "Hz") == (1.0, "Hz")
    assert si_scale(2.5e6, "Hz") == (1e6, "MHz")
    assert [time_scale(seconds)[1] for seconds in (0, 300, 301, 1e5)] == ["s", "s", "min", "h"]
