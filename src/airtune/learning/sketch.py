"""A client's gradients, small enough to send: what the server needs to see how unlike others they are.

A count sketch (Charikar, Chen and Farach-Colton, "Finding frequent items in data streams", 2002) of a random
sample: some entries of every matrix are added, with random signs, to the few buckets of their layer. Sample,
signs and buckets are the same for all clients, so inner products of sketches are those of the gradients but
for noise of mean zero.
"""

from collections.abc import Mapping

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
        self._steps = 0
        self._parameters: list[nn.Parameter] = []
        chosen, factors, places, layers = [], [], [], []
        for name, layer, _, _ in shape.adapter_shapes(trained_only=True):
            if (shape.kv_groups[layer], shape.neurons[layer]) == (full.kv_groups[layer], full.neurons[layer]):
                draw, size = generator(seed, "sketch", name), parameters[name].numel()
                # Drawn with replacement, each entry stands for size / SAMPLES of them.
                chosen.append(draw.integers(0, size, SAMPLES))
                self._parameters.append(parameters[name])
                factors.append(draw.choice([-1.0, 1.0], SAMPLES) * np.sqrt(size / SAMPLES))
                layers.append(layer)
                places.append(draw.integers(0, BUCKETS, SAMPLES))
        self._layers = sorted(set(layers))
        if self._parameters:
            rows = np.searchsorted(self._layers, layers)
            place = np.concatenate([BUCKETS * row + place for row, place in zip(rows, places, strict=True)])
            device = self._parameters[0].device
            self._chosen = torch.from_numpy(np.array(chosen)).to(device)
            self._factor = torch.from_numpy(np.concatenate(factors)).to(device)
            self._place = torch.from_numpy(place).to(device)
            self._sums = self._factor.new_zeros((2, len(self._layers) * BUCKETS))

    def add(self) -> None:
        """Take in the gradients of one step, after its backward pass."""
        half = self._steps % 2
        self._steps += 1
        if self._parameters:
            # All matrices at once: on a GPU every single look at a number waits for all that is under way.
            values = [
                torch.zeros_like(chosen, dtype=torch.float32)
                if parameter.grad is None
                else parameter.grad.detach().flatten()[chosen].float()
                for parameter, chosen in zip(self._parameters, self._chosen, strict=True)
            ]
            self._sums[half].index_add_(0, self._place, self._factor * torch.cat(values))

    def halves(self) -> Sketches:
        """(2, BUCKETS) by layer; nothing after a single step, which has no two halves."""
        if self._steps < 2 or not self._parameters:
            return {}
        counts = np.array([[(self._steps + 1) // 2], [self._steps // 2]], dtype=np.float32)
        sums = self._sums.cpu().numpy().astype(np.float32).reshape(2, -1, BUCKETS)
        return {layer: sums[:, row] / counts for row, layer in enumerate(self._layers)}
