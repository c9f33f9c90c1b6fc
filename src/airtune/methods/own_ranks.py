"""Adapters whose rank is each client's own, for methods that merge them by A and B together."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from airtune.costs.shapes import ModelShape
from airtune.errors import InputError
from airtune.methods.by_speed import by_speed
from airtune.methods.method import Priced, Updates
from airtune.pruning.adapters import Adapter, check_update
from airtune.pruning.path import Reduction
from airtune.scenario import Scenario

SHARES = (1, 1 / 2, 1 / 4, 1 / 8)  # of the scenario's rank

Matrix = npt.NDArray[np.float64]
Pair = tuple[Matrix, Matrix]  # A (rank, in), B (out, rank)
Weighted = tuple[float, Pair]

A, B = ".lora_A.weight", ".lora_B.weight"


def submodels(full: ModelShape, priced: Priced, number: int) -> Sequence[Reduction]:
    """The whole model with adapters of a lower rank, see `by_speed`."""
    whole = Reduction.none(full)
    return by_speed([replace(whole, rank=max(1, int(share * full.rank))) for share in SHARES], priced)


def check(scenario: Scenario) -> None:
    """Refuse scenarios without A, or with an A that stays as it is."""
    if scenario.lora.rank == "full":
        raise InputError("scenario", "lora.rank", "full", f"a number, as {scenario.method} gives ranks")
    if not scenario.lora.train_a:
        raise InputError("scenario", "lora.train_a", False, f"true, as {scenario.method} merges A and B")


def check_whole_uploads(scenario: Scenario) -> None:
    """Refuse uploads that owe something as well: it would miss an A and B that are others in each round."""
    check(scenario)
    if scenario.payload.owes:
        expected = f"1, as {scenario.method} has other A and B in each round"
        raise InputError("scenario", "payload.keep", scenario.payload.keep, expected)


def pairs(adapter: Adapter, full: ModelShape, updates: Updates) -> Iterator[tuple[str, Pair, list[Weighted]]]:
    """Of every module: its name, its A and B now, and those that clients trained with their weights.

    Raises:
        AirtuneError: an update is not what its sub-model trains, see `check_update`.
    """
    held = list(updates)
    for _, reduction, update in held:
        check_update(update, reduction.shape(full))
    for name in adapter:
        if name.endswith(A):
            module = name.removesuffix(A)
            trained = [(weight, _pair(update, module)) for weight, _, update in held]
            yield module, _pair(adapter, module), trained


def named(module: str, pair: Pair) -> Adapter:
    """A module's A and B in an adapter."""
    return {module + end: matrix.astype(np.float32) for end, matrix in zip((A, B), pair, strict=True)}


def _pair(adapter: Mapping[str, npt.NDArray[np.float32]], module: str) -> Pair:
    return adapter[module + A].astype(np.float64), adapter[module + B].astype(np.float64)
