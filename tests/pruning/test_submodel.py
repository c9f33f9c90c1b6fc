from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.models import load_base
from airtune.pruning.adapters import Adapter, slice_adapter, units_kept
from airtune.pruning.path import Reduction
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape, read_adapter
from airtune.scenario import Lora

LORA = Lora(rank=3, alpha=6)


@pytest.fixture(scope="module")
def base() -> nn.Module:
    return load_base("tiny").model


@pytest.fixture(scope="module")
def full(base: nn.Module) -> ModelShape:
    return model_shape(base, LORA)


@pytest.fixture(scope="module")
def adapter(full: ModelShape) -> Adapter:
    numbers = np.random.default_rng(0)
    return {
        name: numbers.normal(0, 0.1, shape).astype(np.float32) for name, _, _, shape in full.adapter_shapes()
    }


def some_reduction(full: ModelShape, first_trained: int = 0) -> Reduction:
    numbers = np.random.default_rng(1)
    neurons = numbers.random((full.layers, int(full.neurons[0]))) < 0.5
    groups = np.ones((full.layers, int(full.kv_groups[0])), dtype=bool)
    groups[1, 0] = groups[3, 1] = False
    return Reduction(neurons, groups, first_trained)


def with_units_masked(model: nn.Module, full: ModelShape, reduction: Reduction) -> nn.Module:
    """The full model with the pruned units' activations set to zero."""

    def mask(kept: np.ndarray, width: int):
        keep = torch.zeros(width)
        keep[torch.from_numpy(kept)] = 1
        return lambda _module, arguments: (arguments[0] * keep,)

    for number, layer in enumerate(model.model.layers):
        kept = units_kept(full, reduction, number)
        layer.mlp.down_proj.register_forward_pre_hook(mask(kept["neurons"], int(full.neurons[number])))
        width = int(full.kv_groups[number]) * full.heads_per_group * full.head_dim
        layer.self_attn.o_proj.register_forward_pre_hook(mask(kept["queries"], width))
    return model


def logits(model: nn.Module) -> torch.Tensor:
    tokens = torch.arange(2, 42).reshape(2, 20)
    return model(input_ids=tokens).logits


def test_the_sub_model_is_the_full_model_with_units_masked(
    base: nn.Module, full: ModelShape, adapter: Adapter
) -> None:
    reduction = some_reduction(full)
    smaller = build_submodel(base, full, reduction, LORA)
    load_adapter(smaller, slice_adapter(adapter, full, reduction))
    masked = build_submodel(base, full, Reduction.none(full), LORA)
    load_adapter(masked, adapter)
    masked = with_units_masked(masked, full, reduction)
    assert torch.allclose(logits(smaller), logits(masked), atol=2e-6)


def test_gradients_of_the_sub_model_are_those_of_the_masked_model(
    base: nn.Module, full: ModelShape, adapter: Adapter
) -> None:
    reduction = some_reduction(full)
    gradients = []
    for chosen, held in (
        (reduction, slice_adapter(adapter, full, reduction)),
        (Reduction.none(full), adapter),
    ):
        model = build_submodel(base, full, chosen, LORA)
        load_adapter(model, held)
        if chosen is not reduction:
            model = with_units_masked(model, full, reduction)
        logits(model).square().mean().backward()
        gradients.append(
            {
                name.replace(".default", ""): parameter.grad.numpy()
                for name, parameter in model.named_parameters()
                if parameter.requires_grad
            }
        )
    smaller, masked = gradients
    expected = slice_adapter(masked, full, reduction)
    assert all(np.allclose(smaller[name], expected[name], atol=1e-6) for name in smaller)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_a_lower_rank_is_the_full_model_with_the_rest_of_its_adapters_zero(
    base: nn.Module, full: ModelShape, adapter: Adapter, rank: int
) -> None:
    reduction = replace(some_reduction(full), rank=rank)
    lower = build_submodel(base, full, reduction, LORA)
    load_adapter(lower, slice_adapter(adapter, full, reduction))
    rest = {name: matrix.copy() for name, matrix in adapter.items()}
    for name, matrix in rest.items():
        if ".lora_B." in name:
            matrix[:, rank:] = 0
    whole = build_submodel(base, full, replace(reduction, rank=None), LORA)
    load_adapter(whole, slice_adapter(rest, full, replace(reduction, rank=None)))
    assert torch.allclose(logits(lower), logits(whole), atol=2e-6)


def test_layers_get_smaller_and_the_base_stays_whole(base: nn.Module, full: ModelShape) -> None:
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    reduction = some_reduction(full)
    smaller = build_submodel(base, full, reduction, LORA)
    shape = reduction.shape(full)
    for number, layer in enumerate(smaller.model.layers):
        assert layer.mlp.gate_proj.base_layer.weight.shape == (shape.neurons[number], full.hidden)
        assert layer.mlp.gate_proj.base_layer.weight.is_contiguous()
        assert layer.self_attn.k_proj.base_layer.out_features == shape.kv_groups[number] * full.head_dim
    after = base.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_depth_keeps_the_function_and_trains_only_above(
    base: nn.Module, full: ModelShape, adapter: Adapter
) -> None:
    models = []
    for first_trained in (0, 3):
        whole = Reduction.none(full)
        model = build_submodel(base, full, replace(whole, first_trained=first_trained), LORA)
        load_adapter(model, adapter)
        models.append(model)
    assert torch.equal(logits(models[0]), logits(models[1]))
    logits(models[1]).sum().backward()
    trained = {name for name, parameter in models[1].named_parameters() if parameter.grad is not None}
    assert trained
    assert all(".layers.3." in name for name in trained)
    assert set(read_adapter(models[1])) == {name for name, layer, _, _ in full.adapter_shapes() if layer == 3}


def test_values_come_out_as_they_went_in(base: nn.Module, full: ModelShape, adapter: Adapter) -> None:
    reduction = some_reduction(full, first_trained=2)
    model = build_submodel(base, full, reduction, LORA)
    held = slice_adapter(adapter, full, reduction)
    load_adapter(model, held)
    found = read_adapter(model, trained_only=False)
    assert found.keys() == held.keys()
    assert all(np.array_equal(found[name], held[name]) for name in held)


def test_building_leaves_the_global_generator_alone(base: nn.Module, full: ModelShape) -> None:
    state = torch.get_rng_state()
    build_submodel(base, full, some_reduction(full), LORA)
    assert torch.equal(state, torch.get_rng_state())
