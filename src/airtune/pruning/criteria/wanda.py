"""Wanda made structured: weights times the size of what they read (Sun et al., 2024, arXiv:2306.11695)."""

from collections.abc import Sequence

import numpy as np
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.tokens import Batch
from airtune.pruning.criteria.inputs import input_statistics, readers
from airtune.pruning.criteria.units import merged_weight
from airtune.pruning.path import Importance


def importance(model: nn.Module, full: ModelShape, batches: Sequence[Batch], _seed: int) -> Importance:
    """Sum of |W_ij| · ||x_j|| over the columns of o_proj and down_proj that read a unit.

    The norm is the root mean square over the text's tokens.
    """
    read = input_statistics(model, full, batches)
    scores = {
        units: np.sqrt(read[units].mean_square)
        * [merged_weight(projection).abs().sum(dim=0).cpu().numpy() for projection in projections]
        for units, projections in readers(model, full).items()
    }
    groups = scores["queries"].reshape(full.layers, int(full.kv_groups[0]), -1).sum(axis=2)
    return Importance(scores["neurons"], groups)
