"""Physical quantities as people write them ("10 MHz", "300 m"), read into SI floats.

A bare number is in the SI unit; text carries its unit, and a unit of the wrong kind is refused.
"""

import math
import re
from typing import Annotated

from pydantic import BeforeValidator, Field

_PREFIX = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "m": 1e-3}
_BINARY = {"Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(.*?)\s*")


def _scale(text: str, unit: str) -> float | None:
    """What one `text` is worth in `unit`: 1e6 for ("MHz", "Hz"), None if it is not that kind of unit."""
    if not unit or not text.endswith(unit):
        return None
    prefix = text.removesuffix(unit)
    if unit in ("dB", "dBm", "dBm/Hz"):
        return 1.0 if prefix == "" else None
    if unit == "B" and prefix in _BINARY:
        return _BINARY[prefix]
    return _PREFIX.get(prefix)


def read_amount(value: object, units: tuple[str, ...], expected: str) -> tuple[float, str]:
    """A number and its unit, one of `units`; the first where there is none.

    Raises:
        ValueError: it is neither a finite number nor text of one; says what is `expected`.
    """
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    written = match[2] if match else ""
    unit = next((unit for unit in units if _scale(written, unit) is not None), units[0])
    return _read(value, unit, expected), unit


def _read(value: object, unit: str, expected: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(expected)
    scale: float | None = 1.0
    if isinstance(value, str):
        match = _NUMBER.fullmatch(value)
        if match is None:
            raise ValueError(expected)
        scale = _scale(match[2], unit) if match[2] else 1.0
        value = match[1]
    try:
        number = math.nan if scale is None else float(value) * scale
    except OverflowError:  # an integer beyond all floats
        number = math.inf
    if not math.isfinite(number):
        raise ValueError(expected)
    return number


def _reader(unit: str, example: str) -> BeforeValidator:
    expected = f"a number in {unit}, or text with a unit such as '{example}'"
    return BeforeValidator(lambda value: _read(value, unit, expected))


Number = Annotated[float, BeforeValidator(lambda value: _read(value, "", "a number"))]
Frequency = Annotated[float, _reader("Hz", "10 MHz"), Field(gt=0)]
Distance = Annotated[float, _reader("m", "300 m"), Field(gt=0)]
BitRate = Annotated[float, _reader("bit/s", "30 Mbit/s"), Field(gt=0)]
Memory = Annotated[float, _reader("B", "4 GB"), Field(gt=0)]
Throughput = Annotated[float, _reader("FLOP/s", "200 GFLOP/s"), Field(gt=0)]
Duration = Annotated[float, _reader("s", "5 s"), Field(ge=0, le=1e9)]
Decibel = Annotated[float, _reader("dB", "8 dB"), Field(ge=0)]
Watt = Annotated[float, _reader("W", "10 W"), Field(gt=0)]
Power = Annotated[float, _reader("dBm", "23 dBm"), Field(ge=-100, le=100)]
PowerDensity = Annotated[float, _reader("dBm/Hz", "-174 dBm/Hz"), Field(ge=-250, le=0)]
