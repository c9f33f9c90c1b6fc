"""Sketches keep inner products of gradients."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from airtune.costs.shapes import ModelShape
from airtune.learning.models import load_base
from airtune.learning.sketch import BUCKETS, GradientSketch
from airtune.pruning.submodel import model_shape
from airtune.scenario import Lora


@pytest.fixture(scope="module")
def full() -> ModelShape:
    return model_shape(load_base("tiny").model, Lora(rank=4))


def sketched(
    full: ModelShape, steps: list[dict[str, np.ndarray]], shape: ModelShape | None = None
) -> dict[int, np.ndarray]:
    parameters = {name: nn.Parameter(torch.zeros(matrix.shape)) for name, matrix in steps[0].items()}
    sketch = GradientSketch(parameters, shape or full, full, seed=3)
    for step in steps:
        for name, matrix in step.items():
            parameters[name].grad = torch.tensor(matrix, dtype=torch.float32)
        sketch.add()
    return sketch.halves()


def random_gradient(shape: ModelShape, draw: np.random.Generator) -> dict[str, np.ndarray]:
    return {name: draw.normal(size=size) for name, _, _, size in shape.adapter_shapes(trained_only=True)}


def inner(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> float:
    return sum(float(np.sum(left[name] * right[name])) for name in left)


def test_inner_products_survive(full):
    """Within what a few thousand random signs leave of them."""
    draw = np.random.default_rng(0)
    common, own, other = (random_gradient(full, draw) for _ in range(3))
    left = {name: common[name] + own[name] for name in common}
    right = {name: common[name] + other[name] for name in common}
    one, two = (sketched(full, [step, step]) for step in (left, right))
    found = sum(float(one[layer][0] @ two[layer][0]) for layer in one)
    size = np.sqrt(inner(left, left) * inner(right, right))
    assert found == pytest.approx(inner(left, right), abs=4 * size / np.sqrt(BUCKETS * full.layers))
    assert set(one) == set(range(full.layers))


def test_even_and_odd_steps_are_kept_apart(full):
    draw = np.random.default_rng(1)
    steps = [random_gradient(full, draw) for _ in range(3)]
    halves, first, second = (sketched(full, chosen) for chosen in (steps, [steps[0]] * 2, [steps[1]] * 2))
    third = sketched(full, [steps[2]] * 2)
    for layer in halves:
        assert halves[layer].shape == (2, BUCKETS)
        mean = (first[layer][0] + third[layer][0]) / 2
        assert halves[layer][0] == pytest.approx(mean, rel=1e-4, abs=1e-4)
        assert halves[layer][1] == pytest.approx(second[layer][0], rel=1e-4, abs=1e-4)


def test_a_single_step_has_no_halves(full):
    assert sketched(full, [random_gradient(full, np.random.default_rng(2))]) == {}


def test_only_layers_that_others_have_too_are_sketched(full):
    """Not those that are frozen, and not those that are smaller than the full model's."""
    neurons = full.neurons.copy()
    neurons[2] -= 8
    shape = replace(full, neurons=neurons, first_trained=1)
    gradient = random_gradient(shape, np.random.default_rng(4))
    assert set(sketched(full, [gradient] * 2, shape)) == {1, 3}
