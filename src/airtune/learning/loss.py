"""The loss everybody trains and is judged on: cross entropy of the answer's tokens alone."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

from airtune.costs.count import LOGITS_AT_A_TIME
from airtune.learning.tokens import NO_LABEL, Batch


class HeadCrossEntropy(torch.autograd.Function):
    """Cross entropy of hidden states (tokens, hidden) under a frozen LM head (vocabulary, hidden), (tokens,).

    The gradient comes with the loss, chunk by chunk, so that the logits of all tokens are never held at once.
    """

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, head: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        losses = torch.empty(len(hidden), dtype=wide, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        size = max(1, LOGITS_AT_A_TIME // len(head))
        for start in range(0, len(hidden), size):
            part = slice(start, start + size)
            logits = (hidden[part] @ head.t()).to(wide)
            target = targets[part, None]
            top = logits.amax(1, keepdim=True)
            logits -= top
            wanted = logits.gather(1, target)
            total = logits.exp_().sum(1, keepdim=True)
            losses[part] = (total.log() - wanted)[:, 0]
            if gradient is not None:
                chances = logits.div_(total)
                chances.scatter_add_(1, target, torch.full_like(total, -1))
                gradient[part] = chances.to(head.dtype) @ head
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, arrived: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * arrived[:, None].to(gradient.dtype), None, None


def answer_losses(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross entropy of every answer token, float32 (answer tokens,), and the row each belongs to.

    The LM head is evaluated only where there is a label. No mask is passed: batches are padded on the right,
    and causal attention never looks there.
    """
    head = model.get_output_embeddings().weight
    hidden = model.base_model(input_ids=batch.input_ids.to(head.device), use_cache=False).last_hidden_state
    targets = batch.labels[:, 1:].to(head.device)
    rows, columns = torch.nonzero(targets != NO_LABEL, as_tuple=True)
    losses = HeadCrossEntropy.apply(hidden[rows, columns], head, targets[rows, columns])
    return losses, rows
