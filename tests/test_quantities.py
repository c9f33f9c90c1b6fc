"""Quantities: units as people write them, and everything that is none."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from airtune.quantities import (
    BitRate,
    Decibel,
    Distance,
    Duration,
    Frequency,
    Memory,
    Number,
    Power,
    PowerDensity,
    Throughput,
    Watt,
)

KINDS = {
    "frequency": (Frequency, "Hz"),
    "distance": (Distance, "m"),
    "bit rate": (BitRate, "bit/s"),
    "memory": (Memory, "B"),
    "throughput": (Throughput, "FLOP/s"),
    "watt": (Watt, "W"),
    "duration": (Duration, "s"),
    "decibel": (Decibel, "dB"),
    "power": (Power, "dBm"),
    "power density": (PowerDensity, "dBm/Hz"),
}


def read(kind: object, value: object) -> float:
    return TypeAdapter(kind).validate_python(value)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (Frequency, "10 MHz", 10e6),
        (Frequency, "180kHz", 180e3),
        (Frequency, " 2.4  GHz ", 2.4e9),
        (Frequency, "10e6", 10e6),
        (Distance, "300 m", 300),
        (Distance, ".3 km", 300),
        (BitRate, "30 Mbit/s", 30e6),
        (Memory, "4 GB", 4e9),
        (Memory, "4 GiB", 4 * 2**30),
        (Memory, "512 MiB", 2**29),
        (Throughput, "1.5 TFLOP/s", 1.5e12),
        (Duration, "250 ms", 0.25),
        (Duration, "0 s", 0),
        (Decibel, "8 dB", 8),
        (Power, "-3 dBm", -3),
        (PowerDensity, "-174 dBm/Hz", -174),
    ],
)
def test_text_is_read_in_its_unit(kind, text, expected):
    assert read(kind, text) == pytest.approx(expected, rel=1e-15)


@given(st.floats(min_value=1e-200, max_value=1e200))
def test_a_bare_number_is_in_the_si_unit(value):
    for kind in (Frequency, Distance, BitRate, Memory, Throughput):
        assert read(kind, value) == read(kind, repr(value)) == value


@pytest.mark.parametrize("kind", KINDS)
def test_units_of_other_kinds_are_refused(kind):
    wanted, own = KINDS[kind]
    for _, unit in KINDS.values():
        if unit != own:
            with pytest.raises(ValidationError, match=f"a number in {own}"):
                read(wanted, f"3 {unit}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "value",
    [True, False, None, [], {}, [3], b"3", math.nan, math.inf, -math.inf, 10**400, "", "m", "nan", "inf"],
)
def test_what_is_no_number_is_refused(kind, value):
    with pytest.raises(ValidationError):
        read(KINDS[kind][0], value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "value",
    [
        "1 000 m",
        "3 4",
        "1e400",
        "0x10",
        "1_0",
        "3 parsec",
        "3 xHz",
        "3 KiHz",
        "3 kdB",
        "3 dBm/",
        "\0",
        "3 m\nm",
    ],
)
def test_text_that_is_no_quantity_is_refused(kind, value):
    with pytest.raises(ValidationError):
        read(KINDS[kind][0], value)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Frequency, 0),
        (Distance, -1),
        (Memory, "0 GB"),
        (Decibel, -1),
        (Duration, "-1 s"),
        (Power, 101),
        (PowerDensity, 1),
    ],
)
def test_values_out_of_range_are_refused(kind, value):
    with pytest.raises(ValidationError):
        read(kind, value)


@given(st.one_of(st.text(), st.from_regex(r"\s*[-+]?\d*\.?\d*(e\d+)?\s*(Ki|[kMGTm])?(Hz|m|B|dB)?\s*")))
def test_any_text_is_a_finite_number_or_refused(text):
    for kind, _ in KINDS.values():
        with contextlib.suppress(ValidationError):  # and nothing else
            assert math.isfinite(read(kind, text))


@pytest.mark.parametrize(("value", "expected"), [(3, 3), ("5e-4", 5e-4), ("1e3", 1000)])
def test_plain_numbers_may_be_text_as_yaml_reads_5e_minus_4_as_such(value, expected):
    assert read(Number, value) == expected


@pytest.mark.parametrize("value", [True, "3 m", "50%", "3 k", math.nan, 10**400, None])
def test_plain_numbers_have_no_unit(value):
    with pytest.raises(ValidationError, match="a number"):
        read(Number, value)
