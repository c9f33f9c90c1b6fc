"""The adapter as PEFT stores it: `PeftModel.from_pretrained(base, folder)` loads it."""

import json
from pathlib import Path

from safetensors.numpy import save_file

from airtune.costs.shapes import ModelShape
from airtune.pruning.adapters import Adapter
from airtune.pruning.submodel import lora_config
from airtune.scenario import Lora


def save_adapter(directory: Path, adapter: Adapter, full: ModelShape, lora: Lora, base_path: str) -> None:
    """Write adapter_model.safetensors and adapter_config.json; same adapter, same bytes.

    Args:
        directory: an existing folder.
        full: the shape of the base model.
        base_path: where the base model is, as PEFT's configuration names it.
    """
    config = lora_config(full, lora)
    config.base_model_name_or_path = base_path
    config.inference_mode = True
    settings: dict[str, object] = config.to_dict()  # type: ignore[no-untyped-call]
    fields = {key: sorted(value) if isinstance(value, set) else value for key, value in settings.items()}
    (directory / "adapter_config.json").write_text(
        json.dumps(fields, indent=1, sort_keys=True, default=str) + "\n"
    )
    matrices = {f"base_model.model.{name}": matrix for name, matrix in adapter.items()}
    save_file(matrices, directory / "adapter_model.safetensors", metadata={"format": "pt"})
