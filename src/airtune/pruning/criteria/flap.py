"""FLAP: what fluctuates little can be replaced by its mean (An et al., 2024, arXiv:2312.11983)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.tokens import Batch
from airtune.pruning.criteria.inputs import input_statistics, mean_inputs, readers
from airtune.pruning.criteria.units import merged_weight, weights_of_units
from airtune.pruning.path import Importance


def importance(model: nn.Module, full: ModelShape, batches: Sequence[Batch], _seed: int) -> Importance:
    """Var(x_j) · ||W_:,j||² over the inputs of o_proj and down_proj, standardised layer by layer.

    A KV group scores the mean over its inputs. Standardised scores are compared across layers whatever a
    unit's size. Sub-models compensate: the mean of what is gone stays.
    """
    read = input_statistics(model, full, batches)
    scores = {
        units: _standardised(
            read[units].variance
            * [merged_weight(projection).square().sum(dim=0).cpu().numpy() for projection in projections]
        )
        for units, projections in readers(model, full).items()
    }
    groups = scores["queries"].reshape(full.layers, int(full.kv_groups[0]), -1).mean(axis=2)
    means = {units: statistics.mean for units, statistics in read.items()}
    of_neuron, of_group = weights_of_units(full)
    return Importance(scores["neurons"] * of_neuron, groups * of_group, mean_inputs(means))


def _standardised(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Zero mean and unit deviation in every layer; zero where all are alike."""
    centred = scores - scores.mean(axis=1, keepdims=True)
    deviation = scores.std(axis=1, keepdims=True)
    return centred / np.where(deviation > 0, deviation, 1.0)
