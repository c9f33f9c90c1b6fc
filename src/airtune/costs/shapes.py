"""The shape of a decoder-only model and of its sub-models: all that costs and adapters need to know."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class ModelShape:
    """A Llama-type decoder, layer by layer.

    `embeddings` is the number of (vocabulary, hidden) matrices: 1 where input and output share theirs.
    `kv_groups` and `neurons` are (layers,) int: key-value groups and MLP neurons that a layer has.
    Layers below `first_trained` take part in the forward pass only: their adapters are frozen.
    `projections` are those that carry a LoRA adapter of rank `rank`.
    """

    hidden: int
    vocabulary: int
    embeddings: int
    head_dim: int
    heads_per_group: int
    rank: int
    projections: tuple[str, ...]
    kv_groups: npt.NDArray[np.int64]
    neurons: npt.NDArray[np.int64]
    first_trained: int = 0

    @property
    def layers(self) -> int:
        return len(self.neurons)

    def reduced(
        self, kv_groups: npt.NDArray[np.int64], neurons: npt.NDArray[np.int64], first_trained: int
    ) -> "ModelShape":
        """The same model with fewer units a layer and its lower layers frozen."""
        return replace(self, kv_groups=kv_groups, neurons=neurons, first_trained=first_trained)

    def widths(self, projection: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Inputs and outputs of one projection in every layer, each (layers,)."""
        hidden = np.full(self.layers, self.hidden)
        values = self.kv_groups * self.head_dim
        queries = values * self.heads_per_group
        return {
            "q_proj": (hidden, queries),
            "k_proj": (hidden, values),
            "v_proj": (hidden, values),
            "o_proj": (queries, hidden),
            "gate_proj": (hidden, self.neurons),
            "up_proj": (hidden, self.neurons),
            "down_proj": (self.neurons, hidden),
        }[projection]

    def adapter_shapes(self, trained_only: bool = False) -> Iterator[tuple[str, int, str, tuple[int, int]]]:
        """Every adapter matrix: (name, layer, projection, shape); B is (out, rank) and A is (rank, in)."""
        widths = {projection: self.widths(projection) for projection in self.projections}
        for layer in range(self.first_trained if trained_only else 0, self.layers):
            for projection, (inputs, outputs) in widths.items():
                yield adapter_name(layer, projection, "A"), layer, projection, (self.rank, int(inputs[layer]))
                yield (
                    adapter_name(layer, projection, "B"),
                    layer,
                    projection,
                    (int(outputs[layer]), self.rank),
                )


def adapter_name(layer: int, projection: str, matrix: str) -> str:
    """The name of an adapter matrix ("A" or "B") as PEFT spells it in the decoder's state dict."""
    block = "self_attn" if projection in ATTENTION else "mlp"
    return f"model.layers.{layer}.{block}.{projection}.lora_{matrix}.weight"
