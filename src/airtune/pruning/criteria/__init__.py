"""What a width reduction should remove first: one file a criterion, all with the same interface."""

from collections.abc import Callable, Sequence

from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.tokens import Batch
from airtune.pruning.criteria import flap, lora_gradient, magnitude, random, taylor, wanda
from airtune.pruning.path import Importance

Criterion = Callable[[nn.Module, ModelShape, Sequence[Batch], int], Importance]
"""From a full model with its adapters on it, its shape, calibration text and a seed."""

CRITERIA: dict[str, Criterion] = {
    "taylor": taylor.importance,
    "lora_gradient": lora_gradient.importance,
    "flap": flap.importance,
    "wanda": wanda.importance,
    "magnitude": magnitude.importance,
    "random": random.importance,
}
