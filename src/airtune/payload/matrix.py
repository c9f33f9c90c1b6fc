"""One matrix of an adapter as it is sent: itself, or bytes: which entries are kept, then their values."""

from typing import Any

import numpy as np
import numpy.typing as npt

from airtune.payload.positions import largest, pack_positions, position_bytes, unpack_positions
from airtune.payload.values import pack, packed_bytes, unpack
from airtune.scenario import Payload

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
Form = tuple[np.dtype[Any], tuple[int, ...]]  # type and shape of an array


def sent_form(shape: tuple[int, int], payload: Payload) -> Form:
    """Type and shape of the one array that carries a matrix of `shape`; both are fixed beforehand."""
    if payload.is_lossless:
        return np.dtype(np.float32), shape
    entries = shape[0] * shape[1]
    kept = _kept(entries, payload)
    return np.dtype(np.uint8), (position_bytes(kept, entries) + packed_bytes(kept, payload.format),)


def encode(matrix: Floats, payload: Payload, draw: np.random.Generator) -> Bytes:
    """The matrix as bytes (n,): top-k first, then stochastic rounding of what is left."""
    values = matrix.reshape(-1)
    positions = largest(values, _kept(len(values), payload))
    return np.concatenate(
        [pack_positions(positions, len(values)), pack(values[positions], payload.format, draw)]
    )


def decode(sent: Bytes, shape: tuple[int, int], payload: Payload) -> Floats:
    """The matrix of `shape` in what `encode` made, zero where nothing was kept.

    Args:
        sent: bytes (n,), as many as `sent_form` says.

    Raises:
        AirtuneError: positions or scales are not what `encode` makes.
    """
    entries = shape[0] * shape[1]
    kept = _kept(entries, payload)
    split = position_bytes(kept, entries)
    values = np.zeros(entries, dtype=np.float32)
    positions = unpack_positions(sent[:split], kept, entries)
    values[positions] = unpack(sent[split:], kept, payload.format)
    return values.reshape(shape)


def _kept(entries: int, payload: Payload) -> int:
    return min(entries, max(1, round(payload.keep * entries)))
