"""LoRAPrune's score: Taylor's, with the weights' gradients guessed from those of their adapters.

Zhang et al., "LoRAPrune: Structured Pruning Meets Low-Rank Parameter-Efficient Fine-Tuning", Findings of ACL
2024 (arXiv:2305.18403): what training needs anyway is enough, and no gradient of a dense weight is computed.
"""

from collections.abc import Sequence

import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.loss import answer_losses
from airtune.learning.tokens import Batch
from airtune.pruning.criteria.units import merged_weight, sum_over_units
from airtune.pruning.path import Importance


def importance(model: nn.Module, full: ModelShape, batches: Sequence[Batch], _seed: int) -> Importance:
    """Sum over a unit's weights of (G · W)², the mean over batches, with W the adapter's share included.

    G = ∂L/∂B · A + B · ∂L/∂A − ∂L/∂B · ∂L/∂A stands for the gradient: what one step of gradient descent takes
    off B · A. The paper averages over the steps of a training with decay; nothing moves here, so all weigh
    alike. Weights without an adapter score nothing.
    """
    scores = Importance.equal(full)
    for batch in batches:
        losses, _ = answer_losses(model, batch)
        losses.mean().backward()
        found = sum_over_units(model, full, _squared_effect)
        scores.neurons[:] += found.neurons / len(batches)
        scores.groups[:] += found.groups / len(batches)
        model.zero_grad(set_to_none=True)
    return scores


def _squared_effect(projection: nn.Module) -> torch.Tensor | None:
    if not hasattr(projection, "base_layer"):
        return None
    down, up = projection.lora_A["default"].weight, projection.lora_B["default"].weight
    if up.grad is None:  # a frozen layer's
        return None
    with torch.no_grad():
        step = torch.zeros_like(down) if down.grad is None else down.grad  # a frozen A takes none
        gradient = up.grad @ (down - step) + up @ step
        return (gradient * merged_weight(projection)).square_()
