"""Criteria on a model whose projections are fused and stored transposed, and with whole weights trained."""

import numpy as np
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from airtune.pruning.adapters import initial_adapter
from airtune.pruning.criteria import CRITERIA
from airtune.pruning.path import Reduction
from airtune.pruning.submodel import build_submodel, load_adapter, model_shape
from airtune.scenario import Lora


@pytest.fixture(scope="module")
def gpt2():
    config = GPT2Config(vocab_size=260, n_positions=64, n_embd=32, n_layer=2, n_head=4, bos_token_id=0)
    config._attn_implementation = "eager"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GPT2LMHeadModel(config).eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("name", "rank"),
    # Scenarios refuse LoRA gradients of whole weights.
    [*((name, 2) for name in CRITERIA), *((name, "full") for name in CRITERIA if name != "lora_gradient")],
)
def test_every_criterion_knows_the_family(name, rank, gpt2, batches):
    lora = Lora(rank=rank)
    full = model_shape(gpt2, lora)
    model = build_submodel(gpt2, full, Reduction.none(full), lora)
    load_adapter(model, initial_adapter(full, 0))
    found = CRITERIA[name](model, full, batches, 0)
    assert found.neurons.shape == (2, 128)
    assert found.groups.shape == (2, 4)
    for scores in (found.neurons, found.groups):
        assert np.isfinite(scores).all()
        assert (scores.std(axis=1) > 0).all()


def test_magnitude_adds_up_the_rows_and_columns_of_a_unit(gpt2):
    lora = Lora(rank=2)
    full = model_shape(gpt2, lora)
    model = build_submodel(gpt2, full, Reduction.none(full), lora)
    load_adapter(model, initial_adapter(full, 0))
    found = CRITERIA["magnitude"](model, full, [], 0)
    for layer, block in enumerate(gpt2.transformer.h):
        into, out = (np.abs(one.weight.numpy()) for one in (block.mlp.c_fc, block.mlp.c_proj))
        np.testing.assert_allclose(found.neurons[layer], into.sum(axis=0) + out.sum(axis=1), rtol=1e-5)
        into, out = (np.abs(one.weight.numpy()) for one in (block.attn.c_attn, block.attn.c_proj))
        by_head = into.sum(axis=0).reshape(3, 4, 8).sum(axis=(0, 2)) + out.sum(axis=1).reshape(4, 8).sum(
            axis=1
        )
        np.testing.assert_allclose(found.groups[layer], by_head, rtol=1e-5)
