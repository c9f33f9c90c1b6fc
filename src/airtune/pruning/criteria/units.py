"""From scores of weights to scores of units, and what a unit's weights are."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.dense_change import DenseChange, weight_of
from airtune.pruning.path import Importance


def sum_over_units(
    model: nn.Module, full: ModelShape, score: Callable[[nn.Module], torch.Tensor | None]
) -> Importance:
    """Add up the scores (out, in) that `score` gives the weights of every projection, unit by unit.

    A unit owns the rows that compute it and the columns that read it: a neuron those of gate_proj, up_proj
    and down_proj, a KV group those of q_proj, k_proj, v_proj and o_proj. None scores nothing.
    """
    neurons = np.zeros((full.layers, int(full.neurons[0])))
    groups = np.zeros((full.layers, int(full.kv_groups[0])))
    for layer in range(full.layers):
        for projection in full.layout.projections:
            scores = score(model.get_submodule(full.module_path(layer, projection)))
            if scores is None:
                continue
            is_output = projection.reads == "hidden"
            summed = scores.sum(dim=1 if is_output else 0, dtype=torch.float64).cpu().numpy()
            start = 0
            for units in projection.writes if is_output else (projection.reads,):
                end = start + int(full.width(units)[layer])
                if units == "neurons":
                    neurons[layer] += summed[start:end]
                else:
                    groups[layer] += summed[start:end].reshape(groups.shape[1], -1).sum(axis=1)
                start = end
    return Importance(neurons, groups)


def weights_of_units(full: ModelShape) -> tuple[int, int]:
    """How many weights a neuron has, and a KV group: a score times these is ranked by the score itself.

    For `build_path` divides by the FLOPs that a unit saves, which are in proportion to its weights.
    """
    touched = [
        units for projection in full.layout.projections for units in (projection.reads, *projection.writes)
    ]
    heads = touched.count("queries") * full.heads_per_group + touched.count("values")
    return full.hidden * touched.count("neurons"), full.hidden * full.head_dim * heads


def merged_weight(projection: nn.Module) -> torch.Tensor:
    """The weight (out, in) that a projection and its adapter, if it has one, apply together; float32."""
    if isinstance(projection, DenseChange):
        return weight_of(projection.base_layer).detach().float() + projection.change.weight.detach()
    if not hasattr(projection, "lora_A"):
        return weight_of(projection).detach().float()
    down, up = projection.lora_A["default"].weight, projection.lora_B["default"].weight
    weight = weight_of(projection.base_layer).detach().float()
    return torch.addmm(weight, up.detach(), down.detach(), alpha=projection.scale)
