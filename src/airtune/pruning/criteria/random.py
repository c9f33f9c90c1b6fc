"""Any order at all: what the other criteria must beat."""

from collections.abc import Sequence

from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.tokens import Batch
from airtune.pruning.criteria.units import weights_of_units
from airtune.pruning.path import Importance
from airtune.randomness import generator


def importance(_model: nn.Module, full: ModelShape, _batches: Sequence[Batch], seed: int) -> Importance:
    """Uniform between 0 and the number of a unit's weights, so that no kind of unit goes before another."""
    numbers, (of_neuron, of_group) = generator(seed, "criterion"), weights_of_units(full)
    none = Importance.equal(full)
    return Importance(
        numbers.random(none.neurons.shape) * of_neuron, numbers.random(none.groups.shape) * of_group
    )
