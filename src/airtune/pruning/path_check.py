"""Whether what a file says can be a reduction path: its arrays fit together, and every number can be."""

import numpy as np
import numpy.typing as npt

from airtune.costs.count import Workload
from airtune.costs.curves import GradientError
from airtune.costs.shapes import ModelShape
from airtune.pruning.path import EXAMPLES_A_UNIT, ReductionPath, Unit, neurons_a_block, units_taken

MOST = 10**7  # of any size in a model, or of a step

Array = npt.NDArray[np.generic]


def check_path(path: ReductionPath, steps: tuple[Workload, ...], error: GradientError) -> None:
    """Check all that planning relies on.

    Raises:
        ValueError: it cannot be a path, its training steps, or its gradients' error.
    """
    full = path.full
    _check_sizes(full)
    _demand(_orders(path.neuron_order, full.neurons) and _orders(path.group_order, full.kv_groups))
    count = len(path.prune) - 1
    _demand(path.kinds.shape == path.layers.shape == (count,) and path.prune.shape == (count + 1,))
    _demand(path.kinds.dtype.kind == "i" and bool(np.isin(path.kinds, list(Unit)).all()))
    _demand(path.layers.dtype.kind == "i" and bool(((path.layers >= 0) & (path.layers < full.layers)).all()))
    _demand(_leaves_something(path))
    _demand(path.prune[0] == 0 and _rises(path.prune))
    if path.mean is not None:
        _demand(path.mean.queries.shape == (full.layers, full.width("queries")[0]))
        _demand(path.mean.neurons.shape == (full.layers, full.neurons[0]))
        _demand(all(_finite(values) for values in (path.mean.queries, path.mean.neurons)))
    _demand(all(0 < size <= MOST for step in steps for size in (step.rows, step.length, step.labels)))
    shares = (error.missed, error.wrong, error.noisier)
    _demand(all(one.shape == error.prune.shape == (len(error.prune),) for one in shares))
    _demand(all(_finite(one) and bool((one >= 0).all()) for one in shares))
    _demand(_rises(np.append(0.0, error.prune), strictly=True))


def _check_sizes(full: ModelShape) -> None:
    _demand(full.layers > 0 and full.kv_groups.shape == full.neurons.shape == (full.layers,))
    for units in (full.kv_groups, full.neurons):  # as many in every layer
        _demand(units.dtype.kind == "i" and bool((units == units[0]).all()) and 0 < units[0] <= MOST)
    sizes = (full.hidden, full.vocabulary, full.embeddings, full.head_dim, full.heads_per_group)
    _demand(all(0 < size <= MOST for size in sizes))
    _demand(all(0 <= size <= MOST for size in (full.rank, full.positions, full.norms)))
    _demand(bool(full.adapted))


def _orders(order: Array, units: npt.NDArray[np.int64]) -> bool:
    """Whether every row of `order` names each of its layer's units once."""
    expected = np.broadcast_to(np.arange(units[0]), (len(units), units[0]))
    return order.dtype.kind == "i" and np.array_equal(np.sort(order, axis=1), expected)


def _leaves_something(path: ReductionPath) -> bool:
    """Whether the smallest sub-model has a neuron and a group in every layer, a layer that it trains, and
    examples."""
    full, gone = path.full, units_taken(path.kinds, path.layers, path.full.layers)
    return (
        bool((gone[Unit.NEURONS] * neurons_a_block(full) < full.neurons).all())
        and bool((gone[Unit.GROUP] < full.kv_groups).all())
        and gone[Unit.ADAPTERS].sum() < full.layers
        and gone[Unit.EXAMPLES].sum() * EXAMPLES_A_UNIT < 1
    )


def _finite(values: Array) -> bool:
    return values.dtype.kind == "f" and bool(np.isfinite(values).all())


def _rises(rates: npt.NDArray[np.float64], strictly: bool = False) -> bool:
    """Whether pruning rates do, up to 1 at most."""
    if rates.dtype.kind != "f":
        return False
    steps = np.diff(rates)
    return bool(((steps > 0) | ((steps == 0) & (not strictly))).all()) and 0 <= rates[-1] <= 1 + 1e-9


def _demand(holds: bool) -> None:
    if not holds:
        raise ValueError("not a reduction path")
