"""Test loss of the full model, over all answer tokens and by label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from airtune.learning.loss import answer_losses
from airtune.learning.tokens import Encoded, collate

ROWS = 16  # sequences a forward pass


@dataclass(frozen=True)
class Evaluation:
    """Summed loss and number of answer tokens of every example, each (examples,)."""

    loss: npt.NDArray[np.float64]
    tokens: npt.NDArray[np.int64]

    def mean(self, chosen: npt.NDArray[np.bool_] | None = None) -> float:
        """Mean loss an answer token, over all examples or the `chosen` ones."""
        chosen = np.ones(len(self.loss), dtype=bool) if chosen is None else chosen
        return float(self.loss[chosen].sum() / self.tokens[chosen].sum())


def evaluate(model: nn.Module, examples: Sequence[Encoded], pad_id: int) -> Evaluation:
    """Evaluate a model with its adapters; examples of like length share a forward pass."""
    order = np.argsort([len(example.input_ids) for example in examples], kind="stable")
    loss, tokens = np.zeros(len(examples)), np.zeros(len(examples), dtype=np.int64)
    with torch.no_grad():
        for start in range(0, len(order), ROWS):
            chosen = order[start : start + ROWS]
            batch = collate([examples[index] for index in chosen], pad_id)
            losses, rows = answer_losses(model, batch)
            np.add.at(loss, chosen[rows.cpu().numpy()], losses.double().cpu().numpy())
            np.add.at(tokens, chosen[rows.cpu().numpy()], 1)
    return Evaluation(loss, tokens)
