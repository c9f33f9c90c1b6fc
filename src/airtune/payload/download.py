"""What a client is sent, in half the bits: bfloat16, rounded to the nearest.

The server keeps float32 and rounds it anew for every round, the same for all clients. So a rounding error
never adds to the next one, and whatever clients change arrives, be it less than what bfloat16 can tell apart:
they send the change from what they were sent, and the server adds it to what it has (`payload.update`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from airtune.scenario import Payload

Matrices = Mapping[str, npt.NDArray[np.float32]]
TYPES: dict[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "bfloat16": np.dtype("<u2"),
}  # as NumPy holds them


def pack_download(matrices: Matrices, payload: Payload) -> dict[str, npt.NDArray[Any]]:
    """The matrices as they are sent: of the same shapes, in one of `TYPES`."""
    if payload.download == "float32":
        return dict(matrices)
    return {name: _nearest(matrix) for name, matrix in matrices.items()}


def unpack_download(sent: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[np.float32]]:
    """What a client makes of it. Raises ValueError for a matrix in another type of number."""
    matrices = {}
    for name, matrix in sent.items():
        if matrix.dtype not in TYPES.values():
            raise ValueError(f"matrix {name} in {matrix.dtype}, not float32 or bfloat16")
        is_half = matrix.dtype == TYPES["bfloat16"]
        matrices[name] = (matrix.astype(np.uint32) << 16).view(np.float32) if is_half else matrix
    return matrices


def _nearest(matrix: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The upper half of float32's bits; halfway between two, the even one."""
    bits = np.ascontiguousarray(matrix).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
