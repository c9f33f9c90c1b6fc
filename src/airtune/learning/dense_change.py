"""Full fine-tuning of a dense layer: its weight stays, and a change of it is trained in float32."""

import copy
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from airtune.pruning.stacking import CHANGE


class DenseChange(nn.Module):
    """A frozen dense layer whose weight has `change.weight` (out, in) added.

    AdamW without weight decay moves a change as it would move the weight. Clients share the frozen weights,
    the change is a float32 master copy of what is learnt, and uploads need no more than it. It holds no
    values at first (device "meta").
    """

    def __init__(self, base_layer: nn.Module) -> None:
        super().__init__()
        self.base_layer = base_layer
        outputs, inputs = weight_of(base_layer).shape
        self.change = nn.Linear(inputs, outputs, bias=False, device="meta")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in) to (…, out)."""
        dense: Any = self.base_layer
        weight = (weight_of(dense) + self.change.weight).to(x.dtype)
        return nn.functional.linear(x, weight, dense.bias)


def changed_model(model: nn.Module, changes: Mapping[str, npt.NDArray[np.float32]]) -> nn.Module:
    """A copy of a model with changed weights, in its own type of number; it shares all others.

    Args:
        changes: (out, in) float32 to add to a weight, named as an adapter of full rank.
    """
    tensors = itertools.chain(model.parameters(), model.buffers())
    changed = copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
    for name, change in changes.items():
        dense: Any = changed.get_submodule(name.removesuffix(CHANGE))
        dtype, weight = dense.weight.dtype, dense.weight.to(torch.float32, copy=True)
        dense.weight = nn.Parameter(weight, requires_grad=False)
        weight_of(dense).add_(torch.from_numpy(change).to(weight.device))
        dense.weight.data = weight.to(dtype)
    return changed


def weight_of(dense: Any) -> torch.Tensor:
    """A dense layer's weight as (out, in): GPT-2's Conv1D holds the transpose."""
    weight: torch.Tensor = dense.weight
    return weight.t() if isinstance(dense, Conv1D) else weight
