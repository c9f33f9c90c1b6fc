"""Adapters going down to a sub-model and coming back: slicing, scattering and averaging over holders.

An adapter is a dict from PEFT's names (`ModelShape.adapter_shapes`) to float32 matrices, B (out, rank)
and A (rank, in), or of full rank to the change of a weight (out, in). A sub-model holds the rows of B and
of changes and the columns of A and of changes that its smaller layers have, and of the rank its first part
if it has a rank of its own.
"""

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from airtune.costs.layouts import Projection
from airtune.costs.shapes import ModelShape
from airtune.errors import AirtuneError
from airtune.pruning.path import Reduction
from airtune.randomness import generator

Adapter = dict[str, npt.NDArray[np.float32]]
Index = slice | npt.NDArray[np.int64]
EVERYTHING = slice(None)


def initial_adapter(full: ModelShape, seed: int, *purpose: str | int) -> Adapter:
    """LoRA's usual start: A uniform within 1/sqrt(in) (PEFT's Kaiming rule), B zero; and so are changes.

    A is another one for every `purpose`.
    """
    adapter: Adapter = {}
    for name, _, _, shape in full.adapter_shapes():
        if ".lora_A." in name:
            bound = 1 / np.sqrt(shape[1])
            draw = generator(seed, "adapter", *purpose, name)
            adapter[name] = draw.uniform(-bound, bound, shape).astype(np.float32)
        else:
            adapter[name] = np.zeros(shape, dtype=np.float32)
    return adapter


def units_kept(full: ModelShape, reduction: Reduction, layer: int) -> dict[str, npt.NDArray[np.int64]]:
    """Which inner coordinates a layer of the sub-model keeps: of "queries", "values" and "neurons"."""
    values = np.repeat(reduction.groups[layer], full.head_dim)
    queries = np.repeat(reduction.groups[layer], full.head_dim * full.heads_per_group)
    return {
        "queries": np.flatnonzero(queries),
        "values": np.flatnonzero(values),
        "neurons": np.flatnonzero(reduction.neurons[layer]),
    }


def kept_coordinates(
    full: ModelShape, kept: Mapping[str, npt.NDArray[np.int64]], layer: int, projection: Projection
) -> tuple[Index, Index]:
    """The outputs and the inputs of a projection that a sub-model keeps: `weight[outputs, inputs]`.

    One of them is everything, as one side of every projection is the hidden state.

    Args:
        kept: what `units_kept` says of this layer.
    """
    if projection.writes == ("hidden",):
        return EVERYTHING, kept[projection.reads]
    widths = [int(full.width(units)[layer]) for units in projection.writes]
    starts = np.cumsum([0, *widths[:-1]])
    parts = [kept[units] + start for units, start in zip(projection.writes, starts, strict=True)]
    return np.concatenate(parts), EVERYTHING


def _places(full: ModelShape, reduction: Reduction) -> Iterable[tuple[str, int, tuple[Index, Index]]]:
    """(name, layer, index) of every adapter matrix: `full_matrix[index]` is what the sub-model holds."""
    kept = [units_kept(full, reduction, layer) for layer in range(full.layers)]
    for name, layer, projection, _ in full.adapter_shapes():
        outputs, inputs = kept_coordinates(full, kept[layer], layer, projection)
        if ".lora_" in name:  # one side is the rank
            rank = slice(reduction.rank)
            outputs, inputs = (rank, inputs) if ".lora_A." in name else (outputs, rank)
        yield name, layer, (outputs, inputs)


def slice_adapter(
    adapter: Mapping[str, npt.NDArray[np.float32]],
    full: ModelShape,
    reduction: Reduction,
    trained_only: bool = False,
) -> Adapter:
    """The part of a full adapter that a sub-model holds, or only the part that it trains and sends back."""
    lowest = reduction.first_trained if trained_only else 0
    return {
        name: np.ascontiguousarray(adapter[name][index])
        for name, layer, index in _places(full, reduction)
        if layer >= lowest and (full.changes(name) or not trained_only)
    }


def put_back(adapter: Adapter, full: ModelShape, reduction: Reduction, part: Adapter) -> Adapter:
    """The full adapter with a sub-model's `part` of it replaced, wherever `part` has a matrix."""
    whole = {name: matrix.copy() for name, matrix in adapter.items()}
    for name, _, index in _places(full, reduction):
        if name in part:
            whole[name][index] = part[name]
    return whole


def slice_sent(adapter: Adapter, full: ModelShape, reduction: Reduction) -> Adapter:
    """What a client is sent: its sub-model's part, but for a frozen A, which it draws itself."""
    held = slice_adapter(adapter, full, reduction)
    return {name: matrix for name, matrix in held.items() if full.changes(name)}


def complete_sent(
    sent: Mapping[str, npt.NDArray[np.float32]], full: ModelShape, reduction: Reduction, seed: int
) -> Adapter:
    """A sub-model's whole part from what `slice_sent` gave, with the run's seed."""
    if full.train_a:
        return dict(sent)
    return slice_adapter(initial_adapter(full, seed), full, reduction) | dict(sent)


def average_over_holders(
    adapter: Adapter,
    full: ModelShape,
    updates: Iterable[tuple[float, Reduction, Mapping[str, npt.NDArray[np.float32]]]],
) -> Adapter:
    """The next full adapter: every entry is the weighted mean over the clients that trained it.

    An entry that nobody trained keeps its value. With full clients alone this is FedAvg. The sum runs in
    the order of `updates`, in float64; callers sort them by client for a result independent of arrival.

    Args:
        adapter: the current full adapter.
        updates: (weight, reduction, trained matrices as `slice_adapter(..., trained_only=True)` has them).

    Raises:
        AirtuneError: an update is not what its sub-model trains, see `check_update`.
    """
    total = {name: np.zeros(matrix.shape) for name, matrix in adapter.items()}
    weight_of = {name: np.zeros(matrix.shape) for name, matrix in adapter.items()}
    for weight, reduction, update in updates:
        check_update(update, reduction.shape(full))
        for name, layer, index in _places(full, reduction):
            if layer < reduction.first_trained or not full.changes(name):
                continue
            total[name][index] += weight * update[name].astype(np.float64)
            weight_of[name][index] += weight
    return {
        name: np.where(
            weight_of[name] > 0, total[name] / np.where(weight_of[name] > 0, weight_of[name], 1), matrix
        ).astype(np.float32)
        for name, matrix in adapter.items()
    }


def check_update(update: Mapping[str, npt.NDArray[np.float32]], shape: ModelShape) -> None:
    """Refuse an update that is not exactly the trained matrices of a sub-model, or not finite.

    Raises:
        AirtuneError: names the first matrix that is wrong.
    """
    agreed = {name: size for name, _, _, size in shape.adapter_shapes(trained_only=True)}
    for name in update:
        if name not in agreed:
            raise AirtuneError(f"an update with a matrix {name} that was not asked for")
    for name, size in agreed.items():
        if name not in update or update[name].shape != size:
            raise AirtuneError(f"an update without a matrix {name} of shape {size}")
        if not np.isfinite(update[name]).all():
            raise AirtuneError(f"an update whose matrix {name} is not finite")
