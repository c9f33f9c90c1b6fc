"""Wanda made structured: weights times the size of what they read (Sun et al., 2024, arXiv:2306.11695)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.tokens import Batch
from airtune.pruning.criteria.inputs import input_statistics, readers
from airtune.pruning.criteria.units import merged_weight, weights_of_units
from airtune.pruning.path import Importance


def importance(model: nn.Module, full: ModelShape, batches: Sequence[Batch], _seed: int) -> Importance:
    """Sum of |W_ij| · ||x_j|| over the columns of o_proj and down_proj that read a unit, within its layer.

    Wanda compares what is within a layer: outputs of different layers have sizes of their own. So a unit
    scores its sum over the mean of its kind in the layer, times its number of weights.
    """
    read = input_statistics(model, full, batches)
    columns = {
        units: np.sqrt(read[units].mean_square)
        * [merged_weight(projection).abs().sum(dim=0).cpu().numpy() for projection in projections]
        for units, projections in readers(model, full).items()
    }
    groups = columns["queries"].reshape(full.layers, int(full.kv_groups[0]), -1).sum(axis=2)
    of_neuron, of_group = weights_of_units(full)
    return Importance(_relative(columns["neurons"]) * of_neuron, _relative(groups) * of_group)


def _relative(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Over the layer's mean, (layers, units)."""
    relative: npt.NDArray[np.float64] = scores / scores.mean(axis=1, keepdims=True)
    return relative
