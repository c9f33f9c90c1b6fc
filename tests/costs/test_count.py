"""What is counted on paper against what torch really does with the tiny model."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from airtune.costs.count import (
    Workload,
    compensation_bytes,
    download_bytes,
    memory_bytes,
    step_flops,
    upload_bytes,
)
from airtune.costs.shapes import ModelShape
from airtune.federation.messages import Assignment, Update, adapter_bytes
from airtune.learning.loss import answer_losses
from airtune.learning.models import load_base
from airtune.learning.tokens import Batch
from airtune.payload.download import pack_download
from airtune.payload.update import encode_update
from airtune.pruning.adapters import initial_adapter, slice_adapter, slice_sent
from airtune.pruning.path import MeanInputs, Reduction
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape
from airtune.randomness import generator
from airtune.scenario import Lora, Payload

LORA = Lora(rank=4, alpha=8)
FROZEN_A = Lora(rank=4, alpha=8, train_a=False)
ROWS, LENGTH, LABELS = 3, 40, 12


def cases() -> list[tuple[str, Reduction]]:
    full = model_shape(load_base("tiny").model, LORA)
    whole = Reduction.none(full)
    thin = Reduction(whole.neurons.copy(), whole.groups.copy(), 0)
    thin.neurons[:, ::2] = False
    thin.groups[1:3, 0] = False
    return [
        ("full", whole),
        ("width", thin),
        ("depth", Reduction(whole.neurons, whole.groups, 2)),
        ("mixed", Reduction(thin.neurons, thin.groups, 3)),
    ]


def a_batch() -> Batch:
    tokens = torch.randint(2, 200, (ROWS, LENGTH), generator=torch.Generator().manual_seed(0))
    labels = tokens.clone()
    labels[:, : LENGTH - LABELS] = -100
    return Batch(tokens, torch.ones_like(tokens), labels)


def trained_model(reduction: Reduction, lora: Lora) -> tuple[torch.nn.Module, ModelShape]:
    base = load_base("tiny").model
    full = model_shape(base, lora)
    model = build_submodel(base, full, reduction, lora)
    load_adapter(model, slice_adapter(initial_adapter(full, 0), full, reduction))
    return model, reduction.shape(full)


@pytest.mark.parametrize("lora", [LORA, FROZEN_A])
@pytest.mark.parametrize(("kind", "reduction"), cases())
def test_flops_are_those_torch_counts(kind: str, reduction: Reduction, lora: Lora) -> None:
    model, shape = trained_model(reduction, lora)
    with FlopCounterMode(display=False) as counter:
        losses, _ = answer_losses(model, a_batch())
        losses.mean().backward()
    # Rotary embeddings are one small product that the count leaves out.
    rotary = 2 * LENGTH * shape.head_dim / 2
    counted = step_flops(shape, Workload(ROWS, LENGTH, LABELS))
    assert counted == pytest.approx(counter.get_total_flops() - rotary, rel=2e-3)


@pytest.mark.parametrize("lora", [LORA, FROZEN_A])
@pytest.mark.parametrize(
    "payload",
    [
        Payload(format="float32", download="float32"),
        Payload(format="bfloat16"),
        Payload(),
        Payload(format="int4", keep=0.1),
    ],
)
@pytest.mark.parametrize(("kind", "reduction"), cases())
def test_bytes_are_those_flower_sends(kind: str, reduction: Reduction, payload: Payload, lora: Lora) -> None:
    full = model_shape(load_base("tiny").model, lora)
    adapter = initial_adapter(full, 0)
    told = pack_download(slice_sent(adapter, full, reduction), payload)
    down = Assignment(1, 1, reduction, 0.0, told).to_content()
    held = slice_adapter(adapter, full, reduction, trained_only=True)
    sent, _ = encode_update(held, held, held, payload, lambda name: generator(0, name))
    up = Update(0, 1, sent, 1.0, ()).to_content()
    shape = reduction.shape(full)
    assert adapter_bytes(down) == download_bytes(shape, payload)
    means = MeanInputs(
        np.ones((full.layers, full.width("queries")[0]), np.float32),
        np.ones(reduction.neurons.shape, np.float32),
    )
    compensated = Assignment(1, 1, replace(reduction, mean=means), 0.0, told).to_content()
    assert adapter_bytes(compensated) == download_bytes(shape, payload) + compensation_bytes(full, shape)
    assert adapter_bytes(up) == upload_bytes(shape, payload)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lora", [LORA, FROZEN_A])
@pytest.mark.parametrize(("kind", "reduction"), cases())
def test_memory_is_near_what_autograd_keeps(
    kind: str, reduction: Reduction, lora: Lora, dtype: torch.dtype
) -> None:
    model, shape = trained_model(reduction, lora)
    model = copy.deepcopy(model)  # it shares weights with the base, which stays as it is
    for name, parameter in model.named_parameters():
        if ".lora_" not in name:
            parameter.data = parameter.data.to(dtype)
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in weights:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses, _ = answer_losses(model, a_batch())
    activations = sum(kept.values())
    parameters = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    optimiser = sum(tensor.numel() * 12 for tensor in model.parameters() if tensor.requires_grad)
    logits = (4 if dtype == torch.float32 else 6) * ROWS * LABELS * shape.vocabulary  # they come and go
    counted = memory_bytes(shape, Workload(ROWS, LENGTH, LABELS), dtype.itemsize)
    assert counted == pytest.approx(activations + parameters + optimiser + logits, rel=0.05)
    assert losses.shape == (ROWS * LABELS,)


@pytest.mark.parametrize(
    "projections",
    [
        ("q_proj", "v_proj"),
        ("o_proj",),
        ("down_proj",),
        ("gate_proj", "up_proj", "down_proj"),
        ("k_proj", "up_proj"),
    ],
)
@pytest.mark.parametrize("first_trained", [0, 3])
def test_flops_are_those_torch_counts_whatever_carries_adapters(
    projections: tuple[str, ...], first_trained: int
) -> None:
    base, lora = load_base("tiny").model, Lora(rank=4, alpha=8, projections=projections)
    full = model_shape(base, lora)
    reduction = replace(Reduction.none(full), first_trained=first_trained)
    model = build_submodel(base, full, reduction, lora)
    load_adapter(model, initial_adapter(full, 0))
    with FlopCounterMode(display=False) as counter:
        losses, _ = answer_losses(model, a_batch())
        losses.mean().backward()
    counted = step_flops(reduction.shape(full), Workload(ROWS, LENGTH, LABELS))
    # Scores' gradients are counted whole where q, k or v has an adapter, whichever of them it is.
    assert counted == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_a_smaller_model_costs_less_of_everything() -> None:
    full = model_shape(load_base("tiny").model, LORA)
    work = Workload(ROWS, LENGTH, LABELS)
    for _, reduction in cases()[1:]:
        shape = reduction.shape(full)
        assert step_flops(shape, work) < step_flops(full, work)
        assert upload_bytes(shape, Payload()) < upload_bytes(full, Payload())
        assert memory_bytes(shape, work, 2) < memory_bytes(full, work, 2)


def test_the_published_rule_of_thumb_holds_for_the_blocks() -> None:
    """LoRA training costs about 4 FLOPs a weight and token where scores and head are small."""
    layers = np.full(12, 1)
    shape = ModelShape(2048, 1, 1, 128, 16, 1, ("q_proj",), layers, layers * 5504)
    weights = 12 * (2 * 2048 * 2048 + 2 * 2048 * 128 + 3 * 2048 * 5504)
    assert step_flops(shape, Workload(1, 16, 1)) == pytest.approx(4 * weights * 16, rel=0.03)
