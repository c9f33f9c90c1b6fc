"""What every criterion must do, whatever it measures."""

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airtune.pruning.criteria import CRITERIA
from airtune.scenario import CRITERIA as NAMES

INFORMED = sorted(set(NAMES) - {"random"})
LAYER, NEURON, GROUP = 1, 17, 1


def mlp_of(model):
    return model.model.layers[LAYER].mlp


def rows_of_group(full, heads: int) -> slice:
    width = full.head_dim * heads
    return slice(GROUP * width, (GROUP + 1) * width)


def scaled(base, full, neuron: float, group: float):
    """Multiply all weights of one neuron and of one KV group."""
    mlp, attention = mlp_of(base), base.model.layers[LAYER].self_attn
    queries, values = rows_of_group(full, full.heads_per_group), rows_of_group(full, 1)
    for rows in (mlp.gate_proj.weight, mlp.up_proj.weight):
        rows.data[NEURON] *= neuron
    mlp.down_proj.weight.data[:, NEURON] *= neuron
    attention.q_proj.weight.data[queries] *= group
    for projection in (attention.k_proj, attention.v_proj):
        projection.weight.data[values] *= group
    attention.o_proj.weight.data[:, queries] *= group
    return base


def test_scenarios_know_all_criteria():
    assert tuple(CRITERIA) == NAMES


@pytest.mark.parametrize("name", INFORMED)
def test_a_useless_unit_goes_first(name, base, with_adapter, full, initial, batches):
    model = with_adapter(scaled(base, full, 0.0, 0.0), initial)
    found = CRITERIA[name](model, full, batches, 0)
    assert found.neurons[LAYER].argmin() == NEURON
    assert found.groups[LAYER].argmin() == GROUP


@pytest.mark.parametrize("name", INFORMED)
def test_an_important_unit_goes_last(name, base, with_adapter, full, initial, batches):
    model = with_adapter(scaled(base, full, 8.0, 8.0), initial)
    found = CRITERIA[name](model, full, batches, 0)
    assert found.neurons[LAYER].argmax() == NEURON
    assert found.groups[LAYER].argmax() == GROUP


@pytest.mark.parametrize("name", NAMES)
def test_the_same_text_gives_the_same_bytes(name, base, with_adapter, full, adapter, batches):
    model = with_adapter(base, adapter)
    one, other = (CRITERIA[name](model, full, batches, 3) for _ in range(2))
    assert (one.neurons == other.neurons).all()
    assert (one.groups == other.groups).all()
    assert np.isfinite(one.neurons).all()
    assert np.isfinite(one.groups).all()


@pytest.mark.parametrize("name", NAMES)
def test_scoring_leaves_nothing_behind(name, base, with_adapter, full, adapter, batches):
    model = with_adapter(base, adapter)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    CRITERIA[name](model, full, batches, 0)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_seed_decides_at_random(base, with_adapter, full, adapter):
    model = with_adapter(base, adapter)
    one, other = (CRITERIA["random"](model, full, [], seed) for seed in (0, 1))
    assert (one.neurons != other.neurons).any()
    assert (one.groups != other.groups).any()


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("name", INFORMED)
def test_scores_move_with_their_units(name, base, with_adapter, full, adapter, batches, seed):
    """Neurons in another order: the same function, and the same scores in that order."""
    order = np.random.default_rng(seed).permutation(int(full.neurons[LAYER]))
    expected = CRITERIA[name](with_adapter(base, adapter), full, batches, 0)
    moved, path = dict(adapter), f"model.layers.{LAYER}.mlp"
    mlp = mlp_of(base)
    kept = {one: getattr(mlp, one).weight.data.clone() for one in ("gate_proj", "up_proj", "down_proj")}
    for one in ("gate_proj", "up_proj"):
        getattr(mlp, one).weight.data = kept[one][order]
        moved[f"{path}.{one}.lora_B.weight"] = adapter[f"{path}.{one}.lora_B.weight"][order]
    mlp.down_proj.weight.data = kept["down_proj"][:, order]
    moved[f"{path}.down_proj.lora_A.weight"] = adapter[f"{path}.down_proj.lora_A.weight"][:, order]
    found = CRITERIA[name](with_adapter(base, moved), full, batches, 0)
    for one, weight in kept.items():
        getattr(mlp, one).weight.data = weight
    # Sums run in another order: their rounding is measured by the largest score.
    for left, right in (
        (found.neurons[LAYER], expected.neurons[LAYER][order]),
        (found.groups, expected.groups),
    ):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4 * np.abs(right).max())
