"""Which entries of a matrix are sent: a bit for each, or the numbers of the kept ones if that is less."""

import numpy as np
import numpy.typing as npt

from airtune.errors import AirtuneError

Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


def largest(values: npt.NDArray[np.float32], kept: int) -> Positions:
    """Positions of the `kept` values of largest magnitude, increasing; of equal ones the first."""
    if kept == len(values):
        return np.arange(kept)
    magnitude = np.nan_to_num(np.abs(values), nan=np.inf, posinf=np.inf)
    threshold = np.partition(magnitude, -kept)[-kept]  # several times as fast as sorting
    above, level = np.flatnonzero(magnitude > threshold), np.flatnonzero(magnitude == threshold)
    return np.sort(np.append(above, level[: kept - len(above)]))


def position_bytes(kept: int, entries: int) -> int:
    """Bytes that say which `kept` of `entries` are sent; none where all are."""
    return 0 if kept == entries else min(_bitmap_bytes(entries), kept * _number(entries).itemsize)


def pack_positions(positions: Positions, entries: int) -> Bytes:
    """Increasing positions as bytes."""
    kept = len(positions)
    if kept == entries:
        return np.zeros(0, np.uint8)
    if _as_bitmap(kept, entries):
        return np.packbits(np.isin(np.arange(entries), positions, assume_unique=True))
    return positions.astype(_number(entries)).view(np.uint8)


def unpack_positions(data: Bytes, kept: int, entries: int) -> Positions:
    """The positions (kept,) in `position_bytes(kept, entries)` bytes.

    Raises:
        AirtuneError: they are not as many as they should be, not increasing, or beyond the last entry.
    """
    if kept == entries:
        return np.arange(entries)
    if _as_bitmap(kept, entries):
        positions = np.flatnonzero(np.unpackbits(data, count=entries))
        if len(positions) != kept:
            raise AirtuneError(f"{len(positions)} positions instead of {kept}")
        return positions
    positions = data.view(_number(entries)).astype(np.int64)
    if (np.diff(positions) <= 0).any():
        raise AirtuneError("positions that are repeated or out of order")
    if positions[-1] >= entries:
        raise AirtuneError(f"position {positions[-1]} of {entries} entries")
    return positions


def _as_bitmap(kept: int, entries: int) -> bool:
    return position_bytes(kept, entries) == _bitmap_bytes(entries)


def _bitmap_bytes(entries: int) -> int:
    return -(-entries // 8)


def _number(entries: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype("<u2" if entries <= 1 << 16 else "<u4")
