"""The size of a unit's weights: no text needed, and the least to compare with."""

from collections.abc import Sequence

from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.tokens import Batch
from airtune.pruning.criteria.units import merged_weight, sum_over_units
from airtune.pruning.path import Importance


def importance(model: nn.Module, full: ModelShape, _batches: Sequence[Batch], _seed: int) -> Importance:
    """Sum of |W| over a unit's weights (Li et al., "Pruning Filters for Efficient ConvNets", 2017)."""
    return sum_over_units(model, full, lambda projection: merged_weight(projection).abs())
