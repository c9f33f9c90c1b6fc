import numpy as np

from airtune.learning.loss import answer_losses
from airtune.pruning.criteria.lora_gradient import importance


def test_it_is_the_formula_of_the_paper(base, with_adapter, full, adapter, batches):
    model = with_adapter(base, adapter)
    found = importance(model, full, batches, 0)
    neurons = np.zeros((full.layers, int(full.neurons[0])))
    for batch in batches:
        model.zero_grad()
        answer_losses(model, batch)[0].mean().backward()
        for layer, block in enumerate(model.model.layers):
            for name, axis in (("gate_proj", 1), ("up_proj", 1), ("down_proj", 0)):
                projection = getattr(block.mlp, name)
                a, b = projection.lora_A["default"].weight, projection.lora_B["default"].weight
                gradient = b.grad @ a + b @ a.grad - b.grad @ a.grad
                weight = projection.base_layer.weight + 2.0 * (b @ a)
                effect = (gradient * weight).square().detach().numpy()
                neurons[layer] += effect.sum(axis=axis) / len(batches)
    np.testing.assert_allclose(found.neurons, neurons, rtol=1e-3)
