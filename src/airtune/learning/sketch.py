"""A client's gradients, small enough to send: what the server needs to see how unlike others they are.

A count sketch (Charikar, Chen and Farach-Colton, "Finding frequent items in data streams", 2002) of a random
sample: some entries of every matrix are added, with random signs, to the few buckets of their layer. Sample,
signs and buckets are the same for all clients, so inner products of sketches are those of the gradients but
for noise of mean zero.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.randomness import generator

BUCKETS = 64  # a layer and half: 15 kB for thirty layers, where an adapter of rank 16 has 20 MB
SAMPLES = 2048  # a matrix: milliseconds a step

Sketches = dict[int, npt.NDArray[np.float32]]


class GradientSketch:
    """Averages a sub-model's gradients over the even and over the odd steps of a local training.

    Two halves on different examples have independent noise. Layers that a width reduction made smaller
    are left out: their gradients cannot be compared with others'.

    Args:
        parameters: what the sub-model trains, by the adapters' names.
        shape: of the sub-model.
        full: of the full model.
        seed: the run's.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], shape: ModelShape, full: ModelShape, seed: int
    ) -> None:
        self._parts: list[tuple[int, nn.Parameter, torch.Tensor, npt.NDArray[Any], npt.NDArray[Any]]] = []
        self._steps = 0
        self._sums: Sketches = {}
        for name, layer, _, _ in shape.adapter_shapes(trained_only=True):
            if (shape.kv_groups[layer], shape.neurons[layer]) == (full.kv_groups[layer], full.neurons[layer]):
                draw, size = generator(seed, "sketch", name), parameters[name].numel()
                # Drawn with replacement, each entry stands for size / SAMPLES of them.
                chosen = torch.from_numpy(draw.integers(0, size, SAMPLES)).to(parameters[name].device)
                factor = draw.choice([-1.0, 1.0], SAMPLES) * np.sqrt(size / SAMPLES)
                bucket = draw.integers(0, BUCKETS, SAMPLES)
                self._parts.append((layer, parameters[name], chosen, factor, bucket))
                self._sums[layer] = np.zeros((2, BUCKETS), dtype=np.float32)

    def add(self) -> None:
        """Take in the gradients of one step, after its backward pass."""
        half = self._steps % 2
        self._steps += 1
        for layer, parameter, chosen, factor, bucket in self._parts:
            if parameter.grad is not None:
                values = parameter.grad.detach().flatten()[chosen].float().cpu().numpy()
                self._sums[layer][half] += np.bincount(bucket, weights=factor * values, minlength=BUCKETS)

    def halves(self) -> Sketches:
        """(2, BUCKETS) by layer; nothing after a single step, which has no two halves."""
        if self._steps < 2:
            return {}
        counts = np.array([[(self._steps + 1) // 2], [self._steps // 2]], dtype=np.float32)
        return {layer: sums / counts for layer, sums in self._sums.items()}
