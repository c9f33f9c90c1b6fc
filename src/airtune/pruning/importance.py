"""What a width reduction may remove with least damage: first-order Taylor scores on calibration text.

Removing a unit with activation a changes the loss by about |a · dL/da| (Molchanov et al., "Importance
Estimation for Neural Network Pruning", 2019). The score of a unit is that product summed over the
tokens of a sample, its absolute value summed over samples.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.loss import answer_losses
from airtune.learning.tokens import Batch
from airtune.pruning.path import Importance

Hook = Callable[[nn.Module, tuple[torch.Tensor, ...]], None]


def taylor_importance(model: nn.Module, full: ModelShape, batches: Iterable[Batch]) -> Importance:
    """Scores of neurons (layers, neurons) and KV groups (layers, groups) of a model with adapters on it."""
    neurons = torch.zeros(full.layers, int(full.neurons[0]), dtype=torch.float64)
    groups = torch.zeros(full.layers, int(full.kv_groups[0]), dtype=torch.float64)
    inputs: dict[tuple[str, int], torch.Tensor] = {}

    def keep(name: str, layer: int) -> Hook:
        def hook(_module: nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
            if not arguments[0].requires_grad:
                arguments[0].requires_grad_(True)
            arguments[0].retain_grad()
            inputs[name, layer] = arguments[0]

        return hook

    handles = []
    for number in range(full.layers):
        for name, units in (("neurons", "neurons"), ("groups", "queries")):
            reader = model.get_submodule(full.module_path(number, full.layout.reading(units)))
            handles.append(reader.register_forward_pre_hook(keep(name, number)))
    try:
        for batch in batches:
            losses, _ = answer_losses(model, batch)
            losses.mean().backward()
            for (name, number), activation in inputs.items():
                # Rows of a batch do not mix, so the product summed over a row's tokens is that sample's.
                effect = (activation.detach().float() * activation.grad.float()).sum(dim=1).cpu()
                if name == "neurons":
                    neurons[number] += effect.abs().sum(dim=0)
                else:
                    groups[number] += effect.unflatten(1, (groups.shape[1], -1)).sum(dim=2).abs().sum(dim=0)
            inputs.clear()
            model.zero_grad(set_to_none=True)
    finally:
        for handle in handles:
            handle.remove()
    return Importance(neurons=np.asarray(neurons), groups=np.asarray(groups))
