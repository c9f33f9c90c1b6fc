import numpy as np
import pytest
import torch

from airtune.learning.loss import answer_losses
from airtune.pruning.criteria.taylor import importance

STEP = 0.02


def losses_with_scaled(model, projection, coordinate, factor, batch):
    """Every sample's share of the batch's mean loss with one input of a projection scaled."""

    def scale(_module, arguments):
        factors = torch.ones(arguments[0].shape[-1])
        factors[coordinate] = factor
        return (arguments[0] * factors,)

    handle = projection.register_forward_pre_hook(scale)
    with torch.no_grad():
        losses, rows = answer_losses(model, batch)
    handle.remove()
    shares = torch.zeros(len(batch.input_ids), dtype=torch.float64)
    return (shares.index_add_(0, rows, losses.double()) / len(losses)).numpy()


def removed_by_differences(model, projection, coordinate, batches):
    """The change of the samples' losses on the way to removing a coordinate: central differences."""
    total = 0.0
    for batch in batches:
        less, more = (
            losses_with_scaled(model, projection, coordinate, 1 + change, batch) for change in (-STEP, STEP)
        )
        total += np.abs(less - more).sum() / (2 * STEP)
    return total


def test_neurons_score_what_their_removal_changes(base, with_adapter, full, adapter, batches):
    model = with_adapter(base, adapter)
    found = importance(model, full, batches, 0).neurons
    for layer in (0, 3):
        projection = model.model.layers[layer].mlp.down_proj
        for neuron in np.argsort(found[layer])[-3:]:
            expected = removed_by_differences(model, projection, neuron, batches)
            assert found[layer, neuron] == pytest.approx(expected, rel=0.02)


def test_a_group_scores_the_sum_over_its_coordinates(base, with_adapter, full, adapter, batches):
    model = with_adapter(base, adapter)
    found = importance(model, full, batches, 0).groups
    projection = model.model.layers[2].self_attn.o_proj
    width = full.heads_per_group * full.head_dim
    expected = sum(
        removed_by_differences(model, projection, coordinate, batches)
        for coordinate in range(width, 2 * width)
    )
    assert found[2, 1] == pytest.approx(expected, rel=0.02)


def test_a_text_twice_counts_twice(base, with_adapter, full, adapter, batches):
    model = with_adapter(base, adapter)
    once, twice = importance(model, full, batches, 0), importance(model, full, [*batches, *batches], 0)
    np.testing.assert_allclose(twice.neurons, 2 * once.neurons, rtol=1e-6)
    np.testing.assert_allclose(twice.groups, 2 * once.groups, rtol=1e-6)
