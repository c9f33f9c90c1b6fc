import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.models import load_base
from airtune.learning.tokens import NO_LABEL, Batch
from airtune.pruning.adapters import Adapter, initial_adapter
from airtune.pruning.path import Reduction
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape
from airtune.scenario import Lora

LORA = Lora(rank=3, alpha=6)


@pytest.fixture(scope="session")
def full() -> ModelShape:
    return model_shape(load_base("tiny").model, LORA)


@pytest.fixture
def base() -> nn.Module:
    """The tiny model, for a test to change as it likes."""
    return copy.deepcopy(load_base("tiny").model)


@pytest.fixture(scope="session")
def adapter(full: ModelShape) -> Adapter:
    """An adapter that has been trained: no matrix is zero."""
    numbers = np.random.default_rng(0)
    return {
        name: numbers.normal(0, 0.1, shape).astype(np.float32) for name, _, _, shape in full.adapter_shapes()
    }


@pytest.fixture(scope="session")
def initial(full: ModelShape) -> Adapter:
    """An adapter at its start, where it changes nothing."""
    return initial_adapter(full, 0)


@pytest.fixture(scope="session")
def batches() -> list[Batch]:
    """Two batches of three texts of unlike length, padded on the right, with answers at their ends."""
    numbers = np.random.default_rng(1)
    found = []
    for _ in range(2):
        lengths = numbers.integers(8, 24, 3)
        real = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None])
        ids = torch.from_numpy(numbers.integers(2, 250, real.shape))
        ids[~real] = 0
        answer = real & (torch.arange(lengths.max()) >= 5)
        found.append(Batch(ids, real.long(), torch.where(answer, ids, NO_LABEL)))
    return found


@pytest.fixture
def with_adapter(full: ModelShape) -> Callable[[nn.Module, Adapter], nn.Module]:
    """The full model with an adapter on it, from a base and the adapter."""

    def build(base: nn.Module, adapter: Adapter) -> nn.Module:
        model = build_submodel(base, full, Reduction.none(full), LORA)
        load_adapter(model, adapter)
        return model

    return build
