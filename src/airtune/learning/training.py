"""One client's local training: AdamW on the adapters of its sub-model for a few steps."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from airtune.costs.count import Workload
from airtune.learning.loss import answer_losses
from airtune.learning.tokens import Batch


@dataclass(frozen=True)
class Trained:
    """What local training reports: mean loss over its answer tokens, and the work of every step.

    Of a client that withholds both None and nothing.
    """

    loss: float | None
    work: tuple[Workload, ...]


def train(
    submodel: nn.Module,
    batches: Iterable[Batch],
    learning_rate: float,
    proximal: float = 0.0,
) -> Trained:
    """Train the adapters in place, one AdamW step a batch. The optimiser starts afresh every round.

    Args:
        proximal: μ of ½·μ·‖θ − θ_t‖² in the loss, θ_t being where training begins (FedProx); the loss that
            is reported is without it.
    """
    parameters = [parameter for parameter in submodel.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.0)
    start = [parameter.detach().clone() for parameter in parameters] if proximal else []
    total, count, work = 0.0, 0, []
    for batch in batches:
        losses, _ = answer_losses(submodel, batch)
        optimiser.zero_grad(set_to_none=True)
        losses.mean().backward()
        for parameter, origin in zip(parameters, start, strict=False):  # no origins without the term
            assert parameter.grad is not None
            parameter.grad.add_(parameter.detach() - origin, alpha=proximal)
        optimiser.step()
        total += float(losses.detach().sum())
        count += len(losses)
        rows, length = batch.input_ids.shape
        work.append(Workload(rows, length, len(losses) / rows))
    return Trained(total / count, tuple(work))
