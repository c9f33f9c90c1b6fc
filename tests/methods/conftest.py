"""A model's shape and what a round with its sub-models costs, small enough to count by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from airtune import Scenario, load_scenario
from airtune.costs.shapes import ModelShape
from airtune.planning import ErrorPower, Memory, Problem, Rounds
from airtune.pruning.path import Reduction

SPEED = np.array([1.0, 2.0, 4.0, 8.0])


@pytest.fixture(scope="session")
def tiny() -> Scenario:
    return load_scenario(Path(__file__).parents[2] / "examples" / "tiny.yaml")


@pytest.fixture(scope="session")
def full() -> ModelShape:
    projections = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    return ModelShape(8, 16, 1, 4, 2, 8, projections, np.array([4, 4]), np.array([32, 32]))


@pytest.fixture(scope="session")
def priced() -> Callable[..., Callable[[Reduction], Problem]]:
    return _priced


def _priced(full: ModelShape, memory: tuple[float, ...] = (np.inf,) * 4) -> Callable[[Reduction], Problem]:
    """Four clients, each twice as fast as the one before; time and memory go with the adapters' entries."""

    def problem(reduction: Reduction) -> Problem:
        entries = sum(rows * columns for *_, (rows, columns) in reduction.shape(full).adapter_shapes())
        nothing = np.zeros(4)
        return Problem(
            ids=("a", "b", "c", "d"),
            cell_ids=("cell",),
            cell=np.zeros(4, int),
            bandwidth_hz=np.array([1.0]),
            weight=np.full(4, 0.25),
            snr_hz=np.ones(4),
            fixed_s=entries / SPEED,
            compute_s=nothing,
            fixed_bits=nothing,
            payload_bits=nothing,
            prune_min=nothing,
            prune_max=nothing,
            rounds=Rounds(20.0, 0.8, ErrorPower(2.0)),
            memory=Memory(np.array(memory), np.full(4, float(entries)), nothing),
        )

    return problem
