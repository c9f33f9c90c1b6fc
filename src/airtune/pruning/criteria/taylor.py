"""First-order Taylor scores (Molchanov et al., "Importance Estimation for Neural Network Pruning", 2019).

Removing a unit with activation a changes a sample's loss by about a · dL/da. The score of a unit is that
product summed over the tokens of a sample, its absolute value summed over samples.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.loss import answer_losses
from airtune.learning.tokens import Batch
from airtune.pruning.criteria.inputs import watched
from airtune.pruning.path import Importance


def importance(model: nn.Module, full: ModelShape, batches: Sequence[Batch], _seed: int) -> Importance:
    """The estimated change of the mean loss when a unit is gone, its adapter included."""
    neurons = np.zeros((full.layers, int(full.neurons[0])))
    groups = np.zeros((full.layers, int(full.kv_groups[0])))
    activations: dict[tuple[str, int], torch.Tensor] = {}

    def keep(units: str, layer: int, activation: torch.Tensor) -> None:
        if not activation.requires_grad:  # nothing below carries a trained adapter
            activation.requires_grad_(True)
        activations[units, layer] = activation

    for batch in batches:
        with watched(model, full, keep):
            losses, _ = answer_losses(model, batch)
        # Of activations alone: gradients of adapters would double the time.
        gradients = torch.autograd.grad(losses.mean(), list(activations.values()))
        for (units, layer), gradient in zip(activations, gradients, strict=True):
            # Rows of a batch do not mix, so the product summed over a row's tokens is that sample's.
            product = activations[units, layer].detach().float() * gradient.float()
            effect = product.sum(dim=1).cpu().numpy()
            if units == "neurons":
                neurons[layer] += np.abs(effect).sum(axis=0)
            else:
                of_group = effect.reshape(len(effect), groups.shape[1], -1).sum(axis=2)
                groups[layer] += np.abs(of_group).sum(axis=0)
        activations.clear()
    return Importance(neurons, groups)
