from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airtune.costs.shapes import ModelShape
from airtune.errors import AirtuneError
from airtune.pruning.adapters import (
    Adapter,
    average_over_holders,
    complete_sent,
    initial_adapter,
    put_back,
    slice_adapter,
    slice_sent,
)
from airtune.pruning.path import Reduction

FULL = ModelShape(
    hidden=12,
    vocabulary=50,
    embeddings=1,
    head_dim=4,
    heads_per_group=2,
    rank=3,
    projections=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
    kv_groups=np.full(3, 2),
    neurons=np.full(3, 10),
)


def random_adapter(seed: int) -> Adapter:
    numbers = np.random.default_rng(seed)
    return {
        name: numbers.normal(size=shape).astype(np.float32) for name, _, _, shape in FULL.adapter_shapes()
    }


@st.composite
def reductions(draw: st.DrawFn) -> Reduction:
    numbers = np.random.default_rng(draw(st.integers(0, 2**32)))
    neurons, groups = numbers.random((3, 10)) < 0.6, numbers.random((3, 2)) < 0.6
    neurons[:, 0] = groups[:, 1] = True
    rank = draw(st.sampled_from([None, 1, 2, 3]))
    return Reduction(neurons, groups, draw(st.integers(0, 2)), rank=rank)


@given(reductions())
def test_slices_have_the_shapes_of_the_sub_model(reduction: Reduction) -> None:
    held = slice_adapter(random_adapter(0), FULL, reduction)
    assert {name: matrix.shape for name, matrix in held.items()} == {
        name: shape for name, _, _, shape in reduction.shape(FULL).adapter_shapes()
    }


@given(reductions())
def test_what_goes_down_comes_back_to_its_place(reduction: Reduction) -> None:
    """Sending unchanged values back changes nothing, whatever the sub-model."""
    adapter = random_adapter(1)
    trained = slice_adapter(adapter, FULL, reduction, trained_only=True)
    merged = average_over_holders(adapter, FULL, [(0.3, reduction, trained)])
    assert all(np.array_equal(merged[name], adapter[name]) for name in adapter)


@given(reductions())
def test_only_held_entries_move(reduction: Reduction) -> None:
    """Zeros sent back land exactly where the dense model keeps a unit and trains its layer."""
    adapter = {name: np.ones_like(matrix) for name, matrix in random_adapter(2).items()}
    trained = slice_adapter(adapter, FULL, reduction, trained_only=True)
    zeros = {name: np.zeros_like(matrix) for name, matrix in trained.items()}
    merged = average_over_holders(adapter, FULL, [(1.0, reduction, zeros)])
    moved = sum(int((matrix == 0).sum()) for matrix in merged.values())
    assert moved == sum(matrix.size for matrix in trained.values())
    assert all(
        (merged[name] == 1).all()
        for name, layer, _, _ in FULL.adapter_shapes()
        if layer < reduction.first_trained
    )


@given(reductions())
def test_a_part_is_put_back_where_it_was_taken(reduction: Reduction) -> None:
    adapter, other = random_adapter(4), random_adapter(5)
    part = slice_adapter(other, FULL, reduction, trained_only=True)
    found = put_back(adapter, FULL, reduction, part)
    again = slice_adapter(found, FULL, reduction, trained_only=True)
    assert all(np.array_equal(again[name], part[name]) for name in part)
    back = put_back(found, FULL, reduction, slice_adapter(adapter, FULL, reduction, trained_only=True))
    assert all(np.array_equal(back[name], adapter[name]) for name in adapter)


@given(reductions(), st.booleans(), st.integers(0, 1000))
def test_what_is_not_sent_is_drawn_by_the_client(reduction: Reduction, train_a: bool, seed: int) -> None:
    full = replace(FULL, train_a=train_a)
    adapter = initial_adapter(full, seed)
    sent = slice_sent(adapter, full, reduction)
    found = complete_sent(sent, full, reduction, seed)
    held = slice_adapter(adapter, full, reduction)
    assert found.keys() == held.keys()
    assert all(np.array_equal(found[name], held[name]) for name in held)
    assert any(".lora_A." in name for name in sent) == train_a


def test_entries_are_averaged_over_their_holders_by_weight() -> None:
    adapter = {name: np.zeros_like(matrix) for name, matrix in random_adapter(3).items()}
    half = Reduction(np.ones((3, 10), bool), np.ones((3, 2), bool), 0)
    half.neurons[:, 5:] = False
    ones = {name: np.ones_like(m) for name, m in slice_adapter(adapter, FULL, Reduction.none(FULL)).items()}
    fives = {name: np.full_like(m, 5) for name, m in slice_adapter(adapter, FULL, half).items()}
    merged = average_over_holders(adapter, FULL, [(0.75, Reduction.none(FULL), ones), (0.25, half, fives)])
    gate = merged["model.layers.0.mlp.gate_proj.lora_B.weight"]
    assert np.allclose(gate[:5], 2.0)
    assert np.allclose(gate[5:], 1.0)
    down = merged["model.layers.2.mlp.down_proj.lora_A.weight"]
    assert np.allclose(down[:, :5], 2.0)
    assert np.allclose(down[:, 5:], 1.0)


@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=5))
@settings(max_examples=20)
def test_full_clients_alone_are_fedavg(weights: list[float]) -> None:
    updates = [random_adapter(seed) for seed in range(len(weights))]
    merged = average_over_holders(
        random_adapter(99),
        FULL,
        [(w, Reduction.none(FULL), u) for w, u in zip(weights, updates, strict=True)],
    )
    for name in merged:
        expected = np.average([update[name] for update in updates], axis=0, weights=weights)
        assert np.allclose(merged[name], expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("harm", ["missing", "shape", "nan", "extra"])
def test_a_bad_update_is_refused(harm: str) -> None:
    adapter = random_adapter(4)
    update = dict(adapter)
    name = next(iter(update))
    if harm == "missing":
        del update[name]
    elif harm == "shape":
        update[name] = update[name][:, :1]
    elif harm == "nan":
        update[name] = np.full_like(update[name], np.nan)
    else:
        update["another"] = update[name]
    with pytest.raises(AirtuneError, match="update"):
        average_over_holders(adapter, FULL, [(1.0, Reduction.none(FULL), update)])


def test_the_start_is_lora_s_and_depends_on_the_seed_alone() -> None:
    adapter = initial_adapter(FULL, 7)
    assert all((matrix == 0).all() for name, matrix in adapter.items() if "lora_B" in name)
    assert all(
        0 < np.abs(matrix).max() <= 1 / np.sqrt(matrix.shape[1])
        for name, matrix in adapter.items()
        if "lora_A" in name
    )
    assert all(np.array_equal(adapter[name], initial_adapter(FULL, 7)[name]) for name in adapter)
    assert any(not np.array_equal(adapter[name], initial_adapter(FULL, 8)[name]) for name in adapter)
