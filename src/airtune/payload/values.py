"""Numbers in fewer bits, rounded at random so that each is right in the mean.

Integers share a scale in blocks of consecutive values. Blocks rather than rows: B's rows have as few
entries as the rank, where a scale would cost more than the values, A's have thousands, where one outlier
would coarsen all; and what top-k keeps has no rows left. 32 bits a block of 128 are a quarter of a bit
a value.
"""

import numpy as np
import numpy.typing as npt

from airtune.errors import AirtuneError

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

BLOCK = 128
WIDTH = {"float32": 32, "bfloat16": 16, "int8": 8, "int4": 4}  # bits of a value
LEVELS = {"int8": 127, "int4": 7}  # values are -LEVELS..LEVELS times their block's scale


def packed_bytes(count: int, form: str) -> int:
    """Bytes of `count` values, scales included."""
    scales = 4 * -(-count // BLOCK) if form in LEVELS else 0
    return scales + -(-count * WIDTH[form] // 8)


def pack(values: Floats, form: str, draw: np.random.Generator) -> Bytes:
    """Values (count,) as bytes. What is not finite stays so, for the receiver to refuse."""
    if form == "float32":
        return values.astype("<f4").view(np.uint8)
    if form == "bfloat16":
        return _bfloat16(values, draw).view(np.uint8)
    scale, codes = _integers(values, LEVELS[form], draw)
    if form == "int4":
        codes = np.append(codes, np.zeros(len(codes) % 2, np.int8)) + np.int8(8)
        codes = codes[0::2] | codes[1::2] << 4
    return np.concatenate([scale.astype("<f4").view(np.uint8), codes.view(np.uint8)])


def unpack(data: Bytes, count: int, form: str) -> Floats:
    """The values (count,) in `packed_bytes(count, form)` bytes.

    Raises:
        AirtuneError: a scale is negative or not finite.
    """
    if form == "float32":
        return data.view("<f4").astype(np.float32)
    if form == "bfloat16":
        return (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
    blocks = -(-count // BLOCK)
    scale, codes = data[: 4 * blocks].view("<f4"), data[4 * blocks :].view(np.int8)
    if not (np.isfinite(scale) & (scale >= 0)).all():
        raise AirtuneError("a scale that is negative or not finite")
    if form == "int4":
        nibbles = data[4 * blocks :]
        codes = np.stack([nibbles & 15, nibbles >> 4], axis=1).reshape(-1)[:count].view(np.int8) - np.int8(8)
    with np.errstate(over="ignore"):
        return np.repeat(scale.astype(np.float32), BLOCK)[:count] * codes


def _bfloat16(values: Floats, draw: np.random.Generator) -> npt.NDArray[np.uint16]:
    """The upper half of float32's bits, after adding a random lower half: rounds up as often as it should."""
    lower = draw.integers(0, 1 << 16, len(values), dtype=np.uint16)
    upper = (values.view(np.uint32).astype(np.uint64) + lower) >> 16
    return np.where(np.isnan(values), 0x7FC0, upper).astype("<u2")


def _integers(
    values: Floats, levels: int, draw: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int8]]:
    """Scales (blocks,) and codes (count,): floor(value / scale + uniform) is value / scale in the mean."""
    starts = np.arange(0, len(values), BLOCK)
    peak = np.maximum.reduceat(np.abs(values), starts) if len(values) else values
    # One float up: the largest value of a block must not round beyond the last level.
    scale = np.where(peak == 0, np.float32(0), np.nextafter(peak / np.float32(levels), np.float32(np.inf)))
    divisor = np.repeat(np.where(scale == 0, 1.0, scale), BLOCK)[: len(values)]
    with np.errstate(invalid="ignore"):  # a value that is not finite shows in its scale
        codes = np.floor(values / divisor + draw.random(len(values))).astype(np.int8)
    return scale, codes
