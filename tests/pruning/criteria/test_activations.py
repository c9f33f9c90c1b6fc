"""Wanda and FLAP against their formulas in plain NumPy, on activations of every text without padding."""

import numpy as np
import pytest
import torch

from airtune.pruning.criteria import CRITERIA

SCALE = 2.0  # LoRA's alpha over its rank


@pytest.fixture
def recomputed(base, with_adapter, full, adapter, batches):
    """Model, and by layer the inputs (tokens, in) and weights (out, in) of o_proj and down_proj."""
    model = with_adapter(base, adapter)
    inputs, weights = {}, {}
    for layer, block in enumerate(model.model.layers):
        for name, path in (("o_proj", "self_attn.o_proj"), ("down_proj", "mlp.down_proj")):
            inputs[name, layer] = []
            block.get_submodule(path).register_forward_pre_hook(
                lambda _module, arguments, seen=inputs[name, layer]: seen.append(arguments[0][0].numpy())
            )
            dense = base.model.layers[layer].get_submodule(path).weight.detach().numpy().astype(float)
            a, b = (adapter[f"model.layers.{layer}.{path}.lora_{one}.weight"] for one in "AB")
            weights[name, layer] = dense + SCALE * b.astype(float) @ a
    with torch.no_grad():
        for batch in batches:
            for ids, real in zip(batch.input_ids, batch.attention_mask.bool(), strict=True):
                model(input_ids=ids[real][None])
    inputs = {key: np.concatenate(seen).astype(float) for key, seen in inputs.items()}
    for module in model.modules():
        module._forward_pre_hooks.clear()
    return model, inputs, weights


def weights_of_neuron(full):
    return 3 * full.hidden


def weights_of_group(full):
    return (2 * full.heads_per_group + 2) * full.head_dim * full.hidden


def by_group(full, columns):
    return columns.reshape(int(full.kv_groups[0]), -1)


def test_wanda_is_weights_times_the_norm_of_their_inputs_relative_to_the_layer(recomputed, full, batches):
    model, inputs, weights = recomputed
    found = CRITERIA["wanda"](model, full, batches, 0)
    for layer in range(full.layers):
        columns = {
            name: sum(
                np.abs(weights[name, layer][row]) * np.sqrt((inputs[name, layer] ** 2).mean(axis=0))
                for row in range(full.hidden)
            )
            for name in ("o_proj", "down_proj")
        }
        groups = by_group(full, columns["o_proj"]).sum(axis=1)
        neurons = columns["down_proj"] / columns["down_proj"].mean() * weights_of_neuron(full)
        np.testing.assert_allclose(found.neurons[layer], neurons, rtol=1e-4)
        np.testing.assert_allclose(
            found.groups[layer], groups / groups.mean() * weights_of_group(full), rtol=1e-4
        )


def test_flap_is_the_standardised_fluctuation(recomputed, full, batches):
    model, inputs, weights = recomputed
    found = CRITERIA["flap"](model, full, batches, 0)
    for layer in range(full.layers):
        columns = {
            name: inputs[name, layer].var(axis=0) * (weights[name, layer] ** 2).sum(axis=0)
            for name in ("o_proj", "down_proj")
        }
        standard = {name: (one - one.mean()) / one.std() for name, one in columns.items()}
        np.testing.assert_allclose(
            found.neurons[layer] / weights_of_neuron(full), standard["down_proj"], rtol=1e-3, atol=1e-4
        )
        np.testing.assert_allclose(
            found.groups[layer] / weights_of_group(full),
            by_group(full, standard["o_proj"]).mean(axis=1),
            rtol=1e-3,
            atol=1e-4,
        )


@pytest.mark.parametrize("name", ["flap", "taylor"])
def test_the_means_are_those_of_the_text_without_padding(name, recomputed, full, batches):
    model, inputs, _ = recomputed
    found = CRITERIA[name](model, full, batches, 0).mean
    for layer in range(full.layers):
        np.testing.assert_allclose(found.queries[layer], inputs["o_proj", layer].mean(axis=0), atol=1e-5)
        np.testing.assert_allclose(found.neurons[layer], inputs["down_proj", layer].mean(axis=0), atol=1e-5)
