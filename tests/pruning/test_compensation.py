import numpy as np
import pytest
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.models import load_base
from airtune.learning.tokens import Batch
from airtune.pruning.adapters import initial_adapter, slice_adapter, units_kept
from airtune.pruning.criteria import CRITERIA
from airtune.pruning.path import MeanInputs, Reduction
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape
from airtune.scenario import Lora

LORA = Lora(rank=3, alpha=6)


@pytest.fixture(scope="module")
def base() -> nn.Module:
    return load_base("tiny").model


@pytest.fixture(scope="module")
def full(base: nn.Module) -> ModelShape:
    return model_shape(base, LORA)


def some_mean(full: ModelShape) -> MeanInputs:
    numbers = np.random.default_rng(2)
    widths = (int(full.width("queries")[0]), int(full.neurons[0]))
    return MeanInputs(*(numbers.normal(0, 0.3, (full.layers, width)).astype(np.float32) for width in widths))


def some_reduction(full: ModelShape, mean: MeanInputs | None) -> Reduction:
    """Layer 0 loses nothing, layer 1 neurons alone, layers 2 and 3 a KV group as well."""
    numbers = np.random.default_rng(1)
    neurons = numbers.random((full.layers, int(full.neurons[0]))) < 0.6
    neurons[0] = True
    groups = np.ones((full.layers, int(full.kv_groups[0])), dtype=bool)
    groups[2, 0] = groups[3, 1] = False
    return Reduction(neurons, groups, 0, mean=mean)


def model_with(base: nn.Module, full: ModelShape, reduction: Reduction) -> nn.Module:
    model = build_submodel(base, full, reduction, LORA)
    load_adapter(model, slice_adapter(initial_adapter(full, 0), full, reduction))
    return model


def logits(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=tokens).logits


def test_lost_units_act_as_if_at_their_mean(base: nn.Module, full: ModelShape) -> None:
    mean = some_mean(full)
    reduction = some_reduction(full, mean)
    pinned = model_with(base, full, Reduction.none(full))

    def pin(kept: np.ndarray, means: np.ndarray):
        lost = torch.ones(len(means), dtype=torch.bool)
        lost[torch.from_numpy(kept)] = False
        return lambda _module, arguments: (torch.where(lost, torch.from_numpy(means), arguments[0]),)

    for number, layer in enumerate(pinned.model.layers):
        kept = units_kept(full, reduction, number)
        layer.mlp.down_proj.register_forward_pre_hook(pin(kept["neurons"], mean.neurons[number]))
        layer.self_attn.o_proj.register_forward_pre_hook(pin(kept["queries"], mean.queries[number]))
    tokens = torch.arange(2, 42).reshape(2, 20)
    smaller = model_with(base, full, reduction)
    assert torch.allclose(logits(smaller, tokens), logits(pinned, tokens), atol=2e-6)
    assert not torch.allclose(
        logits(smaller, tokens), logits(model_with(base, full, some_reduction(full, None)), tokens), atol=1e-3
    )


def test_units_that_never_leave_their_mean_are_not_missed(base: nn.Module, full: ModelShape) -> None:
    """A text of one token: what FLAP takes for the mean is what the units compute."""
    tokens = torch.tensor([[77]])
    whole = model_with(base, full, Reduction.none(full))
    text = Batch(tokens.repeat(1, 2), torch.tensor([[1, 0]]), torch.tensor([[-100, 77]]))
    mean = CRITERIA["flap"](whole, full, [text], 0).mean
    smaller = model_with(base, full, some_reduction(full, mean))
    assert torch.allclose(logits(smaller, tokens), logits(whole, tokens), atol=2e-6)


def test_the_base_keeps_its_biases(base: nn.Module, full: ModelShape) -> None:
    smaller = model_with(base, full, some_reduction(full, some_mean(full)))
    assert all(layer.mlp.down_proj.bias is None for layer in base.model.layers)
    assert all(layer.self_attn.o_proj.bias is None for layer in base.model.layers)
    biases = [
        smaller.get_submodule(f"model.layers.{number}.{path}").base_layer.bias is not None
        for number in range(4)
        for path in ("self_attn.o_proj", "mlp.down_proj")
    ]
    assert biases == [False, False, False, True, True, True, True, True]


def test_a_bias_that_was_there_stays() -> None:
    """Against torch alone: one layer of a model whose projections have biases."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=12,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        mlp_bias=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).requires_grad_(False)
    dense = model.model.layers[0].mlp.down_proj
    dense.bias.data = torch.linspace(-1, 1, 16)
    full = model_shape(model, LORA)
    mean = some_mean(full)
    reduction = Reduction(np.arange(12)[None] < 5, np.ones((1, 2), bool), 0, mean=mean)
    found = build_submodel(model, full, reduction, LORA).model.layers[0].mlp.down_proj.base_layer.bias
    expected = dense.bias.numpy() + dense.weight.numpy()[:, 5:] @ mean.neurons[0, 5:]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)
