"""The loss everybody trains and is judged on: cross entropy of the answer's tokens alone."""

import torch
from torch import nn

from airtune.learning.tokens import NO_LABEL, Batch


def answer_losses(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy of every answer token, float32 (answer tokens,), and the row each belongs to.

    The LM head is evaluated only where there is a label: with a large vocabulary it is a fifth of the step.
    """
    device = model.lm_head.weight.device
    hidden = model.model(
        input_ids=batch.input_ids.to(device), attention_mask=batch.attention_mask.to(device), use_cache=False
    ).last_hidden_state
    targets = batch.labels[:, 1:].to(device)
    rows, columns = torch.nonzero(targets != NO_LABEL, as_tuple=True)
    logits = model.lm_head(hidden[rows, columns])
    losses = nn.functional.cross_entropy(logits.float(), targets[rows, columns], reduction="none")
    return losses, rows
