"""A client's gradients, small enough to send: what the server needs to see how unlike others they are.

A count sketch (Charikar, Chen and Farach-Colton, "Finding frequent items in data streams", 2002): every
entry of a layer's gradient is added, with a random sign, to one of a few buckets. Signs and buckets are the
same for all clients, so inner products of sketches are those of the gradients, but for noise of mean zero.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from airtune.costs.shapes import ModelShape
from airtune.randomness import generator

BUCKETS = 64  # a layer; 15 kB for thirty layers, where an adapter of rank 16 has 20 MB

Sketches = dict[int, npt.NDArray[np.float32]]


def sketch_gradients(
    halves: tuple[Mapping[str, npt.NDArray[np.float32]], Mapping[str, npt.NDArray[np.float32]]],
    shape: ModelShape,
    full: ModelShape,
    seed: int,
) -> Sketches:
    """(2, BUCKETS) for every layer that a sub-model trains and holds whole; other layers cannot be compared.

    Args:
        halves: two sums of gradients over different examples, by the adapters' names.
        shape: of the sub-model that they belong to.
        full: of the full model.
        seed: the run's.
    """
    found = {}
    names: dict[int, list[str]] = {}
    for name, layer, _, _ in shape.adapter_shapes(trained_only=True):
        names.setdefault(layer, []).append(name)
    for layer, matrices in names.items():
        if (shape.kv_groups[layer], shape.neurons[layer]) == (full.kv_groups[layer], full.neurons[layer]):
            draw = generator(seed, "sketch", layer)
            size = sum(halves[0][name].size for name in matrices)
            bucket = draw.integers(0, BUCKETS, size, dtype=np.uint8)
            sign = draw.integers(0, 2, size, dtype=np.int8) * 2 - 1
            flat = (np.concatenate([half[name].ravel() for name in matrices]) for half in halves)
            found[layer] = np.stack([_sums(sign * values, bucket) for values in flat])
    return found


def _sums(values: npt.NDArray[np.float32], bucket: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.bincount(bucket, weights=values, minlength=BUCKETS).astype(np.float32)
