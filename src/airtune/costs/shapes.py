"""The shape of a decoder-only model and of its sub-models: all that costs and adapters need to know."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from airtune.costs.layouts import LLAMA, Layout, Projection


@dataclass(frozen=True)
class ModelShape:
    """A decoder, layer by layer.

    `embeddings` is the number of (vocabulary, hidden) matrices: 1 where input and output share theirs.
    `positions` is the number of learned position vectors. `kv_groups` and `neurons` are (layers,) int:
    key-value groups and MLP neurons that a layer has. Layers below `first_trained` take part in the
    forward pass only: their adapters are frozen. `projections` names those that carry a LoRA adapter of
    rank `rank`, or that are trained themselves where it is 0; without `train_a` A is frozen everywhere. A
    block has `norms` norms over hidden coordinates; `head_norms`: also of queries and keys.
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
    layout: Layout = LLAMA
    positions: int = 0
    norms: int = 2
    head_norms: bool = False
    train_a: bool = True

    @property
    def layers(self) -> int:
        return len(self.neurons)

    @property
    def adapted(self) -> tuple[Projection, ...]:
        """The projections with an adapter. A fused one has it if any of its names is asked for."""
        return tuple(one for one in self.layout.projections if set(one.names) & set(self.projections))

    def reduced(
        self, kv_groups: npt.NDArray[np.int64], neurons: npt.NDArray[np.int64], first_trained: int
    ) -> "ModelShape":
        """The same model with fewer units a layer and its lower layers frozen."""
        return replace(self, kv_groups=kv_groups, neurons=neurons, first_trained=first_trained)

    def width(self, units: str) -> npt.NDArray[np.int64]:
        """Coordinates of one kind ("hidden", "queries", "values", "neurons") in every layer, (layers,)."""
        if units == "hidden":
            return np.full(self.layers, self.hidden)
        if units == "neurons":
            return self.neurons
        return self.kv_groups * self.head_dim * (self.heads_per_group if units == "queries" else 1)

    def widths(self, projection: Projection) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Inputs and outputs of one projection in every layer, each (layers,)."""
        outputs = np.sum([self.width(units) for units in projection.writes], axis=0)
        return self.width(projection.reads), outputs

    def changes(self, name: str) -> bool:
        """Whether training ever changes the adapter matrix `name`, and so whether it is ever sent."""
        return self.train_a or ".lora_A." not in name

    def adapter_shapes(
        self, trained_only: bool = False
    ) -> Iterator[tuple[str, int, Projection, tuple[int, int]]]:
        """Every adapter matrix: (name, layer, projection, shape).

        B is (out, rank) and A is (rank, in); of full rank there is one matrix, the weight's change (out, in).
        """
        widths = {projection: self.widths(projection) for projection in self.adapted}
        for layer in range(self.first_trained if trained_only else 0, self.layers):
            for projection, (inputs, outputs) in widths.items():
                module = self.module_path(layer, projection)
                if self.rank == 0:
                    yield (
                        f"{module}.change.weight",
                        layer,
                        projection,
                        (int(outputs[layer]), int(inputs[layer])),
                    )
                    continue
                if self.train_a or not trained_only:
                    yield f"{module}.lora_A.weight", layer, projection, (self.rank, int(inputs[layer]))
                yield f"{module}.lora_B.weight", layer, projection, (int(outputs[layer]), self.rank)

    def module_path(self, layer: int, projection: Projection) -> str:
        """Where a layer's projection is in the model; its adapter's names begin so, as PEFT spells them."""
        return f"{self.layout.blocks}.{layer}.{projection.path}"
