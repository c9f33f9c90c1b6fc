"""The reduction path of a model: one nested sequence from the full client (prune 0) to the smallest (1).

Units can be given up one at a time, in an order fixed once for a run:

- a share of every batch's examples (`examples`): the model and its gradient stay, but for more noise;
- the adapters of the lowest layer still trained (`depth`): the function stays, backward stops earlier;
- examples and adapters by turns (`mixed`), so that computing and sending shrink together;
- a block of MLP neurons or a KV group of one layer (`width`): the model gets smaller.

The pruning rate of a position is the share of the *prunable step cost* given up there, so compute falls
exactly in proportion to it. NumPy only: planning needs the path, not the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from airtune.costs.count import Workload, step_flops
from airtune.costs.shapes import ModelShape

BLOCKS_PER_LAYER = 48  # neurons go in blocks, so that matrix sizes stay friendly to the kernels
MIXED_TRAINED_SHARE = 1 / 3  # where `mixed` stops freezing
EXAMPLES_A_UNIT = 1 / 16  # of a batch; what is no whole number of rows evens out over the steps
TOLERANCE = 1e-6  # of a pruning rate: a solver's last digits must not give up a whole unit

Step = tuple[int, int]  # a Unit and its layer


class Unit(IntEnum):
    """What one step along the path gives up."""

    NEURONS = 0
    GROUP = 1
    ADAPTERS = 2
    EXAMPLES = 3


@dataclass(frozen=True)
class MeanInputs:
    """What o_proj and down_proj read on average: `queries` (layers, queries), `neurons` (layers, neurons).

    A sub-model puts the mean of what it lost in its place, see `pruning.compensation`.
    """

    queries: npt.NDArray[np.float32]
    neurons: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Importance:
    """Scores of what a width reduction may remove: neurons (layers, neurons), groups (layers, groups).

    `mean` where the criterion has sub-models compensate for what they lost.
    """

    neurons: npt.NDArray[np.float64]
    groups: npt.NDArray[np.float64]
    mean: MeanInputs | None = None

    @staticmethod
    def equal(full: ModelShape) -> "Importance":
        """No unit before another."""
        layers = full.layers
        return Importance(
            np.zeros((layers, int(full.neurons[0]))), np.zeros((layers, int(full.kv_groups[0])))
        )


@dataclass(frozen=True)
class Reduction:
    """What a sub-model keeps: masks (layers, neurons) and (layers, groups), and its lowest trained layer.

    `examples` is the share of every batch that it is trained on; `mean` if it compensates for what it lost.
    `rank` if its adapters keep only so many of the model's first rows of A and columns of B; `stacked` if it
    is sent a stack of this rank instead of them.
    """

    neurons: npt.NDArray[np.bool_]
    groups: npt.NDArray[np.bool_]
    first_trained: int
    examples: float = 1.0
    mean: MeanInputs | None = None
    rank: int | None = None
    stacked: int | None = None

    @staticmethod
    def none(full: ModelShape) -> "Reduction":
        """Nothing given up: all units kept, every layer trained."""
        neurons = np.ones((full.layers, int(full.neurons[0])), dtype=bool)
        groups = np.ones((full.layers, int(full.kv_groups[0])), dtype=bool)
        return Reduction(neurons, groups, 0)

    @property
    def is_whole(self) -> bool:
        """Whether every unit is there, so that the sub-model computes the full model's function."""
        return bool(self.neurons.all() and self.groups.all())

    def shape(self, full: ModelShape) -> ModelShape:
        """The shape of the sub-model of a model of shape `full`."""
        smaller = full.reduced(self.groups.sum(axis=1), self.neurons.sum(axis=1), self.first_trained)
        return smaller if self.rank is None else replace(smaller, rank=self.rank)

    def step_flops(self, full: ModelShape, work: Workload) -> float:
        """FLOPs of a step on what it keeps, of the model and of the examples of a full client's `work`."""
        return step_flops(self.shape(full), work.fewer(self.examples))


@dataclass(frozen=True)
class ReductionPath:
    """The order in which units go.

    `neuron_order` (layers, neurons) and `group_order` (layers, groups) list a layer's units from the
    first to go to the last. Step i gives up the next unit of kind `kinds[i]` in layer `layers[i]`;
    `prune` (steps + 1,) is the pruning rate before the first step, after it, and so on, from 0 to 1.
    """

    full: ModelShape
    neuron_order: npt.NDArray[np.int64]
    group_order: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int64]
    layers: npt.NDArray[np.int64]
    prune: npt.NDArray[np.float64]
    mean: MeanInputs | None = None

    def reduction(self, prune: float) -> Reduction:
        """The largest sub-model whose pruning rate is at least `prune`, so it is never later than planned."""
        steps = self._steps(prune)
        whole = Reduction.none(self.full)
        neurons, groups = whole.neurons, whole.groups
        taken = units_taken(self.kinds[:steps], self.layers[:steps], self.full.layers)
        block = neurons_a_block(self.full)
        for layer in range(self.full.layers):
            neurons[layer, self.neuron_order[layer, : taken[Unit.NEURONS, layer] * block]] = False
            groups[layer, self.group_order[layer, : taken[Unit.GROUP, layer]]] = False
        examples = 1 - EXAMPLES_A_UNIT * float(taken[Unit.EXAMPLES].sum())
        return Reduction(neurons, groups, int(taken[Unit.ADAPTERS].sum()), examples, self.mean)

    def snapped(self, prune: float) -> float:
        """The pruning rate that `reduction(prune)` really has: a path has as many rates as it has units."""
        return float(self.prune[self._steps(prune)])

    def within(self, prune: float) -> float:
        """The largest pruning rate of the path that is at most `prune`."""
        return float(self.prune[np.searchsorted(self.prune, prune + TOLERANCE, side="right") - 1])

    def _steps(self, prune: float) -> int:
        return min(int(np.searchsorted(self.prune, prune - TOLERANCE)), len(self.kinds))


def build_path(full: ModelShape, importance: Importance, kind: str, work: Workload) -> ReductionPath:
    """Order the units of a model of shape `full`: `kind` is "examples", "depth", "mixed" or "width".

    Width ranks all units globally by score per FLOP saved (damage per unit of cost) and leaves every layer
    one KV group and one block of neurons; depth leaves one layer, examples leave a row.
    """
    share = MIXED_TRAINED_SHARE if kind == "mixed" else 1 / full.layers
    frozen = full.layers - max(1, round(share * full.layers))
    fewer = int((1 - 1 / work.rows) / EXAMPLES_A_UNIT)
    depth: list[Step] = [(Unit.ADAPTERS, layer) for layer in range(frozen)]
    examples: list[Step] = [(Unit.EXAMPLES, 0) for _ in range(fewer)]
    if kind == "width":
        steps = _width_order(full, importance, work)
    else:
        steps = {"examples": examples, "depth": depth, "mixed": _by_turns(examples, depth)}[kind]
    kinds, layers = np.array(steps, dtype=np.int64).reshape(-1, 2).T
    share_left = 1 - EXAMPLES_A_UNIT * np.concatenate([[0], np.cumsum(kinds == Unit.EXAMPLES)])
    shapes = _shapes_along(full, kinds, layers)
    costs = np.array(
        [step_flops(shape, work.fewer(left)) for shape, left in zip(shapes, share_left, strict=True)]
    )
    return ReductionPath(
        full=full,
        neuron_order=np.argsort(importance.neurons, axis=1, kind="stable"),
        group_order=np.argsort(importance.groups, axis=1, kind="stable"),
        kinds=kinds,
        layers=layers,
        # A model with nothing to give up has the one rate 0.
        prune=(costs[0] - costs) / max(costs[0] - costs[-1], 1.0),
        mean=importance.mean,
    )


def _by_turns(first: Sequence[Step], second: Sequence[Step]) -> list[Step]:
    """Both lists in their own order, evenly spread over one another."""
    place = [(number + 0.5) / len(steps) for steps in (first, second) for number in range(len(steps))]
    together = [*first, *second]
    return [together[index] for index in np.argsort(place, kind="stable")]


def neurons_a_block(full: ModelShape) -> int:
    """How many MLP neurons go in one step."""
    return max(1, int(full.neurons[0]) // BLOCKS_PER_LAYER)


def units_taken(
    kinds: npt.NDArray[np.int64], layers: npt.NDArray[np.int64], layer_count: int
) -> npt.NDArray[np.int64]:
    """How many units of each kind are gone from each layer, (kinds, layers)."""
    taken = np.zeros((len(Unit), layer_count), dtype=np.int64)
    np.add.at(taken, (kinds, layers), 1)
    return taken


def _width_order(shape: ModelShape, importance: Importance, work: Workload) -> list[Step]:
    """Blocks of neurons and KV groups, least damage per FLOP saved first."""
    block = neurons_a_block(shape)
    whole = step_flops(shape, work)
    ranked = []
    for layer in range(shape.layers):
        one = np.arange(shape.layers) == layer
        saved = whole - step_flops(
            shape.reduced(shape.kv_groups, shape.neurons - block * one, shape.first_trained), work
        )
        blocks = int(shape.neurons[layer]) // block
        scores = np.sort(importance.neurons[layer])[: blocks * block].reshape(blocks, block).sum(axis=1)
        ranked += [(score / saved, Unit.NEURONS, layer) for score in scores[: blocks - 1]]
        saved = whole - step_flops(
            shape.reduced(shape.kv_groups - one, shape.neurons, shape.first_trained), work
        )
        ranked += [(score / saved, Unit.GROUP, layer) for score in np.sort(importance.groups[layer])[:-1]]
    ranked.sort(key=lambda item: item[0])
    return [(int(kind), layer) for _, kind, layer in ranked]


def _shapes_along(
    full: ModelShape, kinds: npt.NDArray[np.int64], layers: npt.NDArray[np.int64]
) -> list[ModelShape]:
    """The shape before the first step, after it, and so on."""
    block = neurons_a_block(full)
    groups, neurons, first_trained = full.kv_groups.copy(), full.neurons.copy(), 0
    shapes = [full]
    for kind, layer in zip(kinds, layers, strict=True):
        groups, neurons = groups.copy(), neurons.copy()
        if kind == Unit.NEURONS:
            neurons[layer] -= block
        elif kind == Unit.GROUP:
            groups[layer] -= 1
        elif kind == Unit.ADAPTERS:
            first_trained += 1
        shapes.append(full.reduced(groups, neurons, first_trained))
    return shapes
