"""A fully fine-tuned model as a folder: `AutoModelForCausalLM.from_pretrained(folder)` loads it."""

import copy
import itertools
from pathlib import Path
from typing import Any

import torch
from torch import nn

from airtune.learning.dense_change import weight_of
from airtune.learning.huggingface import quiet
from airtune.learning.models import BaseModel
from airtune.pruning.adapters import Adapter

CHANGE = ".change.weight"  # ends the names of an adapter of full rank


def save_model(directory: Path, adapter: Adapter, base: BaseModel) -> None:
    """Write the base with its changed weights, in its own type of number, and its tokenizer.

    Args:
        directory: an existing folder.
        adapter: changes of weights, of full rank.
    """
    tensors = itertools.chain(base.model.parameters(), base.model.buffers())
    model = copy.deepcopy(base.model, {id(tensor): tensor for tensor in tensors})
    for name, change in adapter.items():
        dense: Any = model.get_submodule(name.removesuffix(CHANGE))
        weight = dense.weight.to(torch.float32, copy=True)
        dense.weight = nn.Parameter(weight, requires_grad=False)
        weight_of(dense).add_(torch.from_numpy(change).to(weight.device))
        dense.weight.data = weight.to(base.model.dtype)
    with quiet():
        model.save_pretrained(directory)
        base.tokenizer.save_pretrained(directory)
