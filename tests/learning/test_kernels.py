"""Our kernels against finite differences, plain torch, transformers and PEFT."""

import copy

import numpy as np
import pytest
import torch
from peft import inject_adapter_in_model
from torch import nn
from torch.autograd import gradcheck
from torch.nn import functional
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from airtune.costs.shapes import ModelShape
from airtune.learning.attention import CausalAttention
from airtune.learning.fused import FusedMlp, FusedNorm, LoraLinear, fuse
from airtune.learning.kernels import (
    GELU,
    GELU_TANH,
    SILU,
    Activation,
    GatedActivation,
    LoraProjection,
    RmsNorm,
)
from airtune.learning.loss import HeadCrossEntropy, answer_losses
from airtune.learning.models import load_base
from airtune.learning.tokens import NO_LABEL, Batch
from airtune.pruning.adapters import Adapter
from airtune.pruning.path import Reduction
from airtune.pruning.submodel import build_submodel, load_adapter, lora_config, model_shape, read_gradient
from airtune.scenario import Lora

LORA = Lora(rank=3, alpha=6)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def wanted(*shape: int, seed: int = 0) -> torch.Tensor:
    return drawn(*shape, seed=seed).requires_grad_()


@pytest.mark.parametrize("bias", [None, drawn(7, seed=4)])
def test_lora_projection(bias: torch.Tensor | None) -> None:
    x, weight, a, b = wanted(2, 3, 5), drawn(7, 5, seed=1), wanted(2, 5, seed=2), wanted(7, 2, seed=3)
    expected = functional.linear(x, weight + 0.7 * b @ a, bias)
    assert torch.allclose(LoraProjection.apply(x, weight, bias, a, b, 0.7), expected)
    assert gradcheck(lambda x, a, b: LoraProjection.apply(x, weight, bias, a, b, 0.7), (x, a, b))
    assert gradcheck(lambda x: LoraProjection.apply(x, weight, bias, a.detach(), b.detach(), 0.7), (x,))
    assert gradcheck(lambda b: LoraProjection.apply(x.detach(), weight, bias, a.detach(), b, 0.7), (b,))


def test_rms_norm() -> None:
    x, weight = wanted(2, 3, 5), drawn(5, seed=1)
    expected = functional.rms_norm(x, (5,), weight, 1e-3)
    assert torch.allclose(RmsNorm.apply(x, weight, 1e-3), expected)
    assert gradcheck(lambda x: RmsNorm.apply(x, weight, 1e-3), (x,))


@pytest.mark.parametrize("activation", [SILU, GELU, GELU_TANH])
def test_gated_activation(activation: Activation) -> None:
    assert gradcheck(
        lambda gate, up: GatedActivation.apply(gate, up, activation), (wanted(2, 5), wanted(2, 5, seed=1))
    )


@pytest.mark.parametrize("length", [1, 5, 64, 130])
@pytest.mark.parametrize("window", [None, 3])
def test_attention_is_torchs(length: int, window: int | None) -> None:
    query, key, value = (wanted(2, heads, length, 8, seed=heads) for heads in (4, 2, 2))
    near = torch.ones(length, length, dtype=torch.bool).triu(1 - (window or length))
    found = CausalAttention.apply(query, key, value, 0.3, None if window is None else near)
    expected = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=near.tril(), scale=0.3, enable_gqa=True
    )
    assert torch.allclose(found, expected)
    arrived = drawn(*found.shape, seed=3)
    ours, theirs = (torch.autograd.grad(made, (query, key, value), arrived) for made in (found, expected))
    assert all(torch.allclose(one, other) for one, other in zip(ours, theirs, strict=True))


def test_cross_entropy_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airtune.learning.loss.LOGITS_AT_A_TIME", 40)  # three tokens at a time
    hidden, head, targets = wanted(7, 5), drawn(13, 5, seed=1), torch.tensor([0, 12, 3, 3, 7, 1, 11])
    expected = functional.cross_entropy(hidden @ head.t(), targets, reduction="none")
    assert torch.allclose(HeadCrossEntropy.apply(hidden, head, targets), expected)
    assert gradcheck(lambda hidden: HeadCrossEntropy.apply(hidden, head, targets), (hidden,))


@pytest.mark.parametrize("kind", [LlamaRMSNorm, GemmaRMSNorm])
def test_norms_are_known_by_what_they_compute(kind: type[nn.Module]) -> None:
    holder = nn.ModuleDict({"norm": kind(6)})
    nn.init.normal_(holder["norm"].weight)
    plain = copy.deepcopy(holder["norm"])
    fuse_parts(holder)
    assert isinstance(holder["norm"], FusedNorm)
    x = drawn(2, 6).float()
    assert torch.allclose(holder["norm"](x), plain(x), atol=1e-6)


def test_what_computes_something_else_stays() -> None:
    class Centred(LlamaRMSNorm):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x - x.mean())

    holder = nn.ModuleDict({"norm": Centred(6), "layer": nn.LayerNorm(6), "group": nn.GroupNorm(2, 6)})
    fuse_parts(holder)
    assert not any(isinstance(part, FusedNorm) for part in holder.values())


def fuse_parts(holder: nn.Module) -> None:
    """`fuse` for parts without a model around them."""
    holder.config = load_base("tiny").model.config
    fuse(holder)


@pytest.fixture(scope="module")
def batch() -> Batch:
    """Rows padded on the right, as they are in training."""
    tokens = torch.randint(2, 200, (3, 90), generator=torch.Generator().manual_seed(0))
    lengths = torch.tensor([90, 71, 40])
    mask = (torch.arange(90) < lengths[:, None]).long()
    labels = torch.where((mask == 1) & (torch.arange(90) > 20), tokens, NO_LABEL)
    return Batch(tokens * mask, mask, labels)


def plain_losses(
    dtype: torch.dtype, full: ModelShape, adapter: Adapter, batch: Batch
) -> tuple[torch.Tensor, Adapter]:
    """What transformers and PEFT make of the batch, the mask given."""
    model = copy.deepcopy(load_base("tiny").model)
    inject_adapter_in_model(lora_config(full, LORA), model)
    model.to(dtype)
    load_adapter(model, adapter)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".lora_" in name)
    logits = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask).logits[:, :-1]
    chosen = batch.labels[:, 1:] != NO_LABEL
    losses = functional.cross_entropy(logits[chosen].float(), batch.labels[:, 1:][chosen], reduction="none")
    losses.mean().backward()
    return losses.detach(), read_gradient(model)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.03)])
def test_training_is_that_of_transformers_and_peft(
    batch: Batch, dtype: torch.dtype, tolerance: float
) -> None:
    base = copy.deepcopy(load_base("tiny").model).to(dtype)
    full = model_shape(base, LORA)
    numbers = np.random.default_rng(0)
    adapter = {
        name: numbers.normal(0, 0.1, shape).astype(np.float32) for name, _, _, shape in full.adapter_shapes()
    }
    model = build_submodel(base, full, Reduction.none(full), LORA)
    kinds = {type(part) for part in model.modules()}
    assert {LoraLinear, FusedNorm, FusedMlp} <= kinds
    assert LlamaRMSNorm not in kinds
    load_adapter(model, adapter)
    losses, _ = answer_losses(model, batch)
    losses.mean().backward()
    expected, gradient = plain_losses(dtype, full, adapter, batch)
    assert torch.allclose(losses, expected, rtol=tolerance, atol=tolerance)
    found = read_gradient(model)
    assert found.keys() == gradient.keys()
    assert distance(found, gradient) <= tolerance * distance(gradient, {})


def distance(one: Adapter, other: Adapter) -> float:
    """The norm of the difference of two gradients; what one lacks is zero."""
    return float(np.sqrt(sum(np.sum((matrix - other.get(name, 0)) ** 2) for name, matrix in one.items())))
