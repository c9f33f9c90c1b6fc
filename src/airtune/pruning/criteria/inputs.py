"""What o_proj and down_proj read: the activations of the units that a width reduction may remove."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.loss import answer_losses
from airtune.learning.tokens import Batch
from airtune.pruning.path import MeanInputs

UNITS = ("queries", "neurons")
See = Callable[[str, int, torch.Tensor], None]


@dataclass(frozen=True)
class InputStatistics:
    """Mean and mean square over the text's tokens, (layers, inputs), of what one projection reads."""

    mean: npt.NDArray[np.float64]
    mean_square: npt.NDArray[np.float64]

    @property
    def variance(self) -> npt.NDArray[np.float64]:
        """Of every input, (layers, inputs)."""
        return np.maximum(self.mean_square - self.mean**2, 0.0)


def readers(model: nn.Module, full: ModelShape) -> dict[str, list[nn.Module]]:
    """Every layer's projection that reads "queries", its o_proj, and "neurons", its down_proj."""
    return {
        units: [
            model.get_submodule(full.module_path(layer, full.layout.reading(units)))
            for layer in range(full.layers)
        ]
        for units in UNITS
    }


@contextmanager
def watched(model: nn.Module, full: ModelShape, see: See) -> Iterator[None]:
    """Call `see` with "queries" or "neurons", layer and input whenever an o_proj or a down_proj runs."""

    def hook(units: str, layer: int) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        return lambda _module, arguments: see(units, layer, arguments[0])

    handles = [
        projection.register_forward_pre_hook(hook(units, layer))
        for units, projections in readers(model, full).items()
        for layer, projection in enumerate(projections)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def input_statistics(
    model: nn.Module, full: ModelShape, batches: Iterable[Batch]
) -> dict[str, InputStatistics]:
    """Of "queries", the inputs of o_proj, and "neurons", those of down_proj: forward passes only."""
    total = {units: np.zeros((2, full.layers, int(full.width(units)[0]))) for units in UNITS}
    tokens = 0
    for batch in batches:
        real = batch.attention_mask.bool()  # padding is no text

        def see(units: str, layer: int, inputs: torch.Tensor, real: torch.Tensor = real) -> None:
            values = inputs[real.to(inputs.device)].double()
            total[units][0, layer] += values.sum(dim=0).cpu().numpy()
            total[units][1, layer] += values.square().sum(dim=0).cpu().numpy()

        with torch.no_grad(), watched(model, full, see):
            answer_losses(model, batch)
        tokens += int(real.sum())
    return {units: InputStatistics(*(sums / tokens)) for units, sums in total.items()}


def mean_inputs(means: Mapping[str, npt.NDArray[np.float64]]) -> MeanInputs:
    """Means as a path keeps them, from those of "queries" and "neurons"."""
    return MeanInputs(*(means[units].astype(np.float32) for units in UNITS))
