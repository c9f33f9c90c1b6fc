"""A fully fine-tuned model as a folder: `AutoModelForCausalLM.from_pretrained(folder)` loads it."""

from pathlib import Path
from typing import Any

from airtune.learning.dense_change import changed_model
from airtune.learning.huggingface import quiet
from airtune.learning.models import BaseModel
from airtune.pruning.adapters import Adapter


def save_model(directory: Path, adapter: Adapter, base: BaseModel) -> None:
    """Write the base with its changed weights, in its own type of number, and its tokenizer.

    Args:
        directory: an existing folder.
        adapter: changes of weights, of full rank.
    """
    model: Any = changed_model(base.model, adapter)
    with quiet():
        model.save_pretrained(directory)
        base.tokenizer.save_pretrained(directory)
