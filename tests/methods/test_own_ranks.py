"""HetLoRA, FlexLoRA and FLoRA: adapters of a client's own rank, merged."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airtune import AirtuneError, InputError, Scenario
from airtune.costs.shapes import ModelShape
from airtune.methods import METHODS
from airtune.pruning.adapters import Adapter, initial_adapter, slice_adapter
from airtune.pruning.path import Reduction
from airtune.pruning.stacking import stack, weight_changes

NAMES = ("hetlora", "flexlora", "flora")
ranks_and_weights = st.lists(st.tuples(st.integers(1, 8), st.floats(0.01, 1)), min_size=1, max_size=4)


def drawn(full: ModelShape, seed: int, rank: int | None = None) -> tuple[Reduction, Adapter]:
    """A sub-model of this rank and what it has learnt."""
    reduction, draw = replace(Reduction.none(full), rank=rank), np.random.default_rng(seed)
    shapes = reduction.shape(full).adapter_shapes()
    return reduction, {name: draw.normal(size=size).astype(np.float32) for name, _, _, size in shapes}


def products(adapter: Adapter) -> dict[str, np.ndarray]:
    """B·A of every module."""
    modules = [name.removesuffix(".lora_A.weight") for name in adapter if ".lora_A." in name]
    return {
        module: adapter[f"{module}.lora_B.weight"].astype(float) @ adapter[f"{module}.lora_A.weight"]
        for module in modules
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_slow_get_a_lower_rank_of_the_whole_model(name, full, priced):
    found = METHODS[name].submodels(full, priced(full), 1)
    assert [one.rank for one in found] == [2, 4, 8, 8]
    assert all(one.is_whole and one.first_trained == 0 for one in found)
    lowest = METHODS[name].submodels(replace(full, rank=1), priced(full), 1)
    assert {one.rank for one in lowest} == {1}


@pytest.mark.parametrize("name", NAMES)
def test_who_merges_a_and_b_needs_both(name, tiny):
    fixed = tiny.lora.model_copy(update={"train_a": False})
    for lora, field in ((tiny.lora.model_copy(update={"rank": "full"}), "rank"), (fixed, "train_a")):
        scenario = tiny.model_copy(update={"method": name, "lora": lora})
        with pytest.raises(InputError, match=rf"scenario: lora\.{field}: found .*, expected .*{name}"):
            METHODS[name].check(scenario)
    METHODS[name].check(tiny)


@pytest.mark.parametrize("name", ["flexlora", "flora"])
def test_uploads_may_not_owe_what_turned_matrices_would_miss(name, tiny):
    fields = tiny.model_dump() | {"method": name, "payload": {"keep": 0.5}}
    with pytest.raises(InputError, match=rf"scenario: payload\.keep: found 0\.5, expected 1, as {name} has"):
        METHODS[name].check(Scenario.model_validate(fields))


@pytest.mark.parametrize("name", NAMES)
def test_an_update_of_another_rank_is_refused(name, full):
    reduction, update = drawn(full, 0, 4)
    with pytest.raises(AirtuneError, match="an update without a matrix"):
        METHODS[name].aggregate(drawn(full, 1)[1], full, [(1.0, replace(reduction, rank=2), update)])


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=4), st.integers(1, 8), st.integers(0, 99))
def test_hetlora_of_equal_ranks_and_lengths_is_the_weighted_mean(full, weights, rank, seed):
    """Signs change neither rank nor length, and ±B ±A differ."""
    signs = np.random.default_rng(seed).choice([-1, 1], (len(weights), 2))
    reduction, base = drawn(full, seed, rank)
    updates = [
        {name: (a if ".lora_A." in name else b) * matrix for name, matrix in base.items()} for a, b in signs
    ]
    start = drawn(full, seed + 1)[1]
    holders = [(weight, reduction, update) for weight, update in zip(weights, updates, strict=True)]
    merged = METHODS["hetlora"].aggregate(start, full, holders)
    found = slice_adapter(merged, full, reduction)
    for name, matrix in found.items():
        expected = np.average([update[name] for update in updates], axis=0, weights=weights)
        assert matrix == pytest.approx(expected, rel=1e-5, abs=1e-5)
    # What nobody had stays as it was.
    for name in start:
        cut = np.s_[rank:] if ".lora_A." in name else np.s_[:, rank:]
        assert np.array_equal(merged[name][cut], start[name][cut])


def test_hetlora_weights_by_length_and_fills_up_with_zeros(full):
    """Three times the length is three times the weight; rows that only one has are diluted."""
    (low, short), (high, long) = drawn(full, 0, 2), drawn(full, 1, 4)
    lengths = {module: np.linalg.norm(matrix) for module, matrix in products(short).items()}
    for module, matrix in products(long).items():
        long[f"{module}.lora_B.weight"] *= np.float32(3 * lengths[module] / np.linalg.norm(matrix))
    merged = METHODS["hetlora"].aggregate(drawn(full, 2)[1], full, [(0.5, low, short), (0.5, high, long)])
    for name in merged:
        found, one, two = (m if ".lora_A." in name else m.T for m in (merged[name], short[name], long[name]))
        assert found[:2] == pytest.approx(0.25 * one + 0.75 * two[:2], rel=1e-4, abs=1e-5)
        assert found[2:4] == pytest.approx(0.75 * two[2:], rel=1e-4, abs=1e-5)


def test_hetlora_of_nothing_learnt_is_the_weighted_mean(full):
    """All products are zero in a first round whose training changes nothing."""
    reduction, update = drawn(full, 0, 4)
    still = {name: matrix * (".lora_A." in name) for name, matrix in update.items()}
    merged = METHODS["hetlora"].aggregate(drawn(full, 1)[1], full, [(0.1, reduction, still)] * 2)
    for name, matrix in slice_adapter(merged, full, reduction).items():
        assert matrix == pytest.approx(still[name], rel=1e-6)


@given(ranks_and_weights, st.integers(0, 99))
@settings(max_examples=40)
def test_flexlora_keeps_the_best_of_the_mean_product(full, clients, seed):
    """The oracle is NumPy's decomposition of the whole mean product."""
    trained = [drawn(full, seed + k, rank) for k, (rank, _) in enumerate(clients)]
    weights = [weight for _, weight in clients]
    updates = [(weight, *one) for weight, one in zip(weights, trained, strict=True)]
    merged = METHODS["flexlora"].aggregate(drawn(full, 100)[1], full, updates)
    assert {name: matrix.shape for name, matrix in merged.items()} == {
        name: size for name, _, _, size in full.adapter_shapes()
    }
    for module, found in products(merged).items():
        mean = np.average([products(update)[module] for _, update in trained], axis=0, weights=weights)
        left, values, right = np.linalg.svd(mean)
        for rank in (1, 2, 8):  # what a client of that rank is sent
            a, b = merged[f"{module}.lora_A.weight"][:rank], merged[f"{module}.lora_B.weight"][:, :rank]
            best = left[:, :rank] * values[:rank] @ right[:rank]
            # The product itself is unique only where singular values differ; its distance always is.
            assert np.linalg.norm(b @ a - mean) == pytest.approx(
                np.linalg.norm(best - mean), rel=1e-4, abs=1e-4 * values[0]
            )
        if sum(rank for rank, _ in clients) <= full.rank:
            assert found == pytest.approx(mean, abs=1e-5 * values[0])


@given(st.integers(0, 99))
def test_flexlora_leaves_directions_to_learn(full, seed):
    """Where the mean has fewer than the adapter's rank, A stays and B is zero."""
    reduction, update = drawn(full, seed, 3)
    start = drawn(full, seed + 1)[1]
    merged = METHODS["flexlora"].aggregate(start, full, [(1.0, reduction, update)])
    for name in start:
        if ".lora_A." in name:
            assert np.array_equal(merged[name][3:], start[name][3:])
            assert np.linalg.norm(merged[name][:3], axis=1) == pytest.approx(np.ones(3), rel=1e-5)
        else:
            assert not merged[name][:, 3:].any()


@given(ranks_and_weights, st.integers(0, 99))
@settings(max_examples=40)
def test_flora_stacks_to_the_mean_product_and_adds_up_what_was_merged(full, clients, seed):
    """The oracle is the weighted mean of the products themselves, round after round."""
    learnt = initial_adapter(full, seed)
    whole = {module: np.zeros_like(product) for module, product in products(learnt).items()}
    weights = [weight for _, weight in clients]
    for number in range(3):
        trained = [drawn(full, seed + 10 * number + k, rank) for k, (rank, _) in enumerate(clients)]
        updates = [(weight, *one) for weight, one in zip(weights, trained, strict=True)]
        learnt = METHODS["flora"].aggregate(learnt, full, updates)
        of_clients = [products(update) for _, update in trained]
        for module, product in products(stack(learnt)).items():
            mean = np.average([one[module] for one in of_clients], axis=0, weights=weights)
            assert product == pytest.approx(mean, rel=1e-4, abs=1e-4)
            assert len(learnt[f"{module}.lora_A.weight"]) == sum(rank for rank, _ in clients)
            whole[module] += mean
    for name, change in weight_changes(learnt, 2.0).items():
        assert change == pytest.approx(2 * whole[name.removesuffix(".change.weight")], rel=1e-4, abs=1e-3)


def test_flora_is_sent_the_stack_of_all_but_for_the_first_time(full, priced):
    first, later = (METHODS["flora"].submodels(full, priced(full), number) for number in (1, 2))
    assert {one.stacked for one in first} == {8}
    assert {one.stacked for one in later} == {2 + 4 + 8 + 8}
