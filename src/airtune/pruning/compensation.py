"""Bias compensation: the mean of what a sub-model lost stays, as a constant (FLAP, arXiv:2312.11983)."""

import numpy as np
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.dense_change import weight_of
from airtune.pruning.adapters import units_kept
from airtune.pruning.path import Reduction


def compensate(submodel: nn.Module, base: nn.Module, full: ModelShape, reduction: Reduction) -> None:
    """Add W_lost · E[x_lost] to o_proj and down_proj wherever `reduction` knows the mean inputs E[x].

    W_lost are the columns of `base` that `submodel`, already smaller, does without. Adapters are left out:
    theirs are zero when a run starts and change while the constant must not.
    """
    if reduction.mean is None:
        return
    for layer in range(full.layers):
        kept = units_kept(full, reduction, layer)
        for units, mean in (("queries", reduction.mean.queries), ("neurons", reduction.mean.neurons)):
            lost = np.setdiff1d(np.arange(mean.shape[1]), kept[units])
            if not len(lost):
                continue
            path = full.module_path(layer, full.layout.reading(units))
            whole, smaller = base.get_submodule(path), submodel.get_submodule(path)
            weight = weight_of(whole)
            index = torch.from_numpy(lost).to(weight.device)
            constant = weight[:, index].float() @ torch.from_numpy(mean[layer, lost]).to(weight.device)
            if smaller.bias is not None:
                constant += smaller.bias.float()
            smaller.bias = nn.Parameter(constant.to(weight.dtype), requires_grad=False)
