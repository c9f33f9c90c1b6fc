"""All matrices of a message as one array: Flower sends every array by itself, with 1.5 kB around it.

They follow one another in the order of their names, row by row, and share one type of number.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

JOINED = "matrices"  # the array's name

Array = npt.NDArray[Any]
Shape = tuple[int, ...]


def join(matrices: Mapping[str, Array]) -> Array:
    """The matrices, at least one, as one array (n,)."""
    return np.concatenate([matrices[name].reshape(-1) for name in sorted(matrices)])


def split(joined: Array, shapes: Mapping[str, Shape]) -> dict[str, Array]:
    """The matrices of these shapes in what `join` made of them. Raises ValueError if it has another size."""
    sizes = [math.prod(shapes[name]) for name in sorted(shapes)]
    if joined.shape != (sum(sizes),):
        raise ValueError(f"an array of shape {joined.shape} for matrices of {sum(sizes)} entries")
    parts = np.split(joined, np.cumsum(sizes)[:-1])
    flat = dict(zip(sorted(shapes), parts, strict=True))
    return {name: flat[name].reshape(shape) for name, shape in shapes.items()}
